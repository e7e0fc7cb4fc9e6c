//! The exit status of a command that ran a service in the foreground: what the people above it expect to learn.
//!
//! A worker that ends by itself gives its own status, and 128 + N for signal N, as a shell does. A stop that somebody asked for is
//! no failure if the worker heeded it, whether it ended with 0 or of the very signal that asks (a service manager takes anything
//! else than 0 for one). SIGINT is answered with 130 then, so that a script around it ends as well. A longest life that
//! is over is planned, hence 0; a limit that was crossed is not, hence never 0.

use crate::model::{Exit, LastExit, Reason, RunId, Signal};

/// Interrupted, as a shell says it.
const INTERRUPTED: u8 = 130;
const FAILED: u8 = 1;

/// A stop that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskedToStop {
    pub by: Signal,
    /// What ran at that moment.
    pub run: Option<RunId>,
}

/// `last`: how the last run ended. `stop_signal`: the signal that this service is asked by.
pub fn exit_status(last: Option<&LastExit>, asked: Option<AskedToStop>, stop_signal: Signal) -> u8 {
    let stopped = asked.map(|asked| if asked.by == Signal::INT { INTERRUPTED } else { 0 });
    let Some(last) = last else { return stopped.unwrap_or(FAILED) };
    match (stopped, last.reason) {
        // It had ended before: nobody was there to be stopped.
        (Some(stopped), _) if asked.is_some_and(|asked| asked.run != Some(last.run)) => stopped,
        (Some(stopped), _) if heeded(&last.exit, stop_signal) => stopped,
        (None, Reason::Requested | Reason::ConfigChanged | Reason::MaxRuntime) if heeded(&last.exit, stop_signal) => 0,
        (None, Reason::MemoryLimit | Reason::CpuLimit | Reason::HeartbeatTimeout | Reason::Unhealthy)
            if heeded(&last.exit, stop_signal) =>
        {
            FAILED
        }
        _ => of_exit(&last.exit),
    }
}

fn heeded(exit: &Exit, stop_signal: Signal) -> bool {
    exit.is_success() || exit.signal() == Some(stop_signal)
}

fn of_exit(exit: &Exit) -> u8 {
    match exit {
        Exit::Code(code) => *code,
        Exit::Signal(signal) => u8::try_from(128 + signal.number()).unwrap_or(u8::MAX),
        Exit::Unobserved | Exit::NotSpawned(_) => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: RunId = RunId { epoch: 1, seq: 7 };

    fn status(exit: Exit, why: Option<Reason>, asked: Option<AskedToStop>) -> u8 {
        exit_status(Some(&LastExit::new(RUN, exit, why, jiff::Timestamp::UNIX_EPOCH)), asked, Signal::TERM)
    }

    fn asked(by: Signal) -> Option<AskedToStop> {
        Some(AskedToStop { by, run: Some(RUN) })
    }

    #[test]
    fn an_end_of_its_own_is_passed_on_as_it_is() {
        for code in 0..=u8::MAX {
            assert_eq!(status(Exit::Code(code), None, None), code);
        }
        for (signal, expected) in [(Signal::KILL, 137), (Signal::TERM, 143), (Signal::from_number(64).expect("a signal"), 192)] {
            assert_eq!(status(Exit::Signal(signal), None, None), expected);
        }
    }

    #[test]
    fn a_stop_that_was_heeded_is_no_failure_and_any_other_end_is_told() {
        for (by, well) in [(Signal::TERM, 0), (Signal::INT, 130)] {
            for (exit, expected) in
                [(Exit::Code(0), well), (Exit::Signal(Signal::TERM), well), (Exit::Code(3), 3), (Exit::Signal(Signal::KILL), 137)]
            {
                assert_eq!(status(exit.clone(), Some(Reason::Requested), asked(by)), expected, "{by} {exit}");
            }
            assert_eq!(exit_status(None, Some(AskedToStop { by, run: None }), Signal::TERM), well, "before anything ran");
            let earlier = Some(AskedToStop { by, run: None });
            assert_eq!(status(Exit::Code(3), None, earlier), well, "what had crashed before was waiting to be started again");
        }
    }

    #[test]
    fn a_planned_end_is_none_either_and_a_limit_is_one() {
        assert_eq!(status(Exit::Signal(Signal::TERM), Some(Reason::MaxRuntime), None), 0);
        for limit in [Reason::MemoryLimit, Reason::CpuLimit, Reason::Unhealthy, Reason::HeartbeatTimeout] {
            assert_eq!((status(Exit::Code(0), Some(limit), None), status(Exit::Signal(Signal::KILL), Some(limit), None)), (1, 137));
        }
    }
}
