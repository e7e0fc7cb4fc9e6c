//! What happens to each service while `start`, `stop` or `restart` waits: spinners on a terminal, plain lines elsewhere.
//!
//! Decides how updates and outcomes are told, on standard error. Knows nothing of how they come in.

mod failure;
mod spinners;
mod words;

use super::{Error, style};
use crate::control::protocol::{Ending, Outcome, Step, Update};
use crate::model::ServiceName;
use spinners::Spinners;
use std::collections::{BTreeMap, BTreeSet};

/// Whoever waits for signals should block them before making one: spinners turn in threads of their own.
#[derive(Debug)]
pub struct Progress {
    quiet: bool,
    spinners: Option<Spinners>,
    /// A step is told once, however often it is reported.
    last: BTreeMap<ServiceName, String>,
    ended: BTreeSet<ServiceName>,
}

impl Progress {
    /// `quiet`: only failures.
    pub fn new(services: &[ServiceName], quiet: bool) -> Self {
        let term = console::Term::stderr();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let spinners = (!quiet && !dumb && term.is_term()).then(|| Spinners::new(services, term.size()));
        Self { quiet, spinners, last: BTreeMap::new(), ended: BTreeSet::new() }
    }

    pub fn update(&mut self, update: &Update) {
        if self.quiet {
            return;
        }
        if let Step::Ended(outcome) = &update.step {
            return self.end(outcome);
        }
        let said = words::step(&update.step);
        if self.last.get(&update.service) == Some(&said) {
            return;
        }
        match &mut self.spinners {
            Some(spinners) if stays(&update.step) => {
                spinners.keep(&line(&update.service, &said));
            }
            Some(spinners) => spinners.turn(&update.service, &said),
            None => style::say(&format!("{}\n", line(&update.service, &said))),
        }
        self.last.insert(update.service.clone(), said);
    }

    fn end(&mut self, outcome: &Outcome) {
        if !self.ended.insert(outcome.service.clone()) {
            return;
        }
        let said = line(&outcome.service, &words::ending(&outcome.result));
        match &mut self.spinners {
            Some(spinners) => spinners.end(&outcome.service, &said, outcome.result.is_success()),
            None => style::say(&format!("{said}\n")),
        }
    }

    /// Tells what has not been told yet, and each failure in full. `tail` gives the last log lines that a service wrote after an
    /// offset, safe to show.
    ///
    /// # Errors
    /// When anything failed, status 1: the failure itself, or a summary when there are several.
    pub fn finish(mut self, outcomes: &[Outcome], tail: impl Fn(&ServiceName, u64) -> Vec<String>) -> Result<(), Error> {
        if !self.quiet {
            outcomes.iter().for_each(|outcome| self.end(outcome));
        }
        drop(self.spinners.take());
        let mut failures = failure::all(outcomes, tail);
        let failed = outcomes.iter().filter(|outcome| !outcome.result.is_success()).count();
        match failures.pop() {
            None => Ok(()),
            Some(only) if failures.is_empty() => Err(only),
            Some(last) => {
                failures.push(last);
                failures.iter().for_each(Error::print);
                Err(Error::failed(format!("{failed} of {} services failed", outcomes.len())))
            }
        }
    }
}

/// Worth keeping on the screen: a process was ended, a running service was found to be ill, something failed.
fn stays(step: &Step) -> bool {
    matches!(step, Step::Cleaned { .. } | Step::Replacing { .. } | Step::HookFailed { .. } | Step::Watching { .. })
}

fn line(service: &ServiceName, said: &str) -> String {
    format!("{service}: {}", style::visible(said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit_code;
    use crate::model::{Exit, RunId, Signal};

    fn name(text: &str) -> ServiceName {
        ServiceName::new(text).expect("a name")
    }

    fn outcome(service: &str, result: Ending) -> Outcome {
        Outcome { service: name(service), result }
    }

    #[test]
    fn steps_and_endings_are_one_short_line() {
        let cleaned =
            Step::Cleaned { pid: 7, command: format!("python\n\x1b[2J {}", "x".repeat(99)), why: "its worker is gone".to_owned() };
        let stopped = |exit| Step::Ended(outcome("bot", Ending::Stopped { exit }));
        for (step, expected) in [
            (Step::SettingUp { command: vec!["python3".into(), "-m".into(), "venv".into()] }, "setting up: python3 -m venv"),
            (Step::WaitingFor { services: vec![name("postgres"), name("redis")] }, "waiting for postgres, redis"),
            (Step::Starting { pid: Some(4711) }, "starting"),
            (Step::Replacing { reason: "hung".to_owned() }, "running but hung: restarting"),
            (Step::Ended(outcome("bot", Ending::Started { pid: 4711, seconds: 0.42 })), "ready in 0.4 s (pid 4711)"),
            (Step::Ended(outcome("bot", Ending::AlreadyRunning { pid: 4711 })), "already running (pid 4711), untouched"),
            (stopped(Some(Exit::Code(0))), "stopped (exit status 0)"),
            (stopped(Signal::from_number(9).map(Exit::Signal)), "stopped (killed by SIGKILL)"),
            (stopped(None), "stopped"),
        ] {
            assert_eq!(words::step(&step), expected);
        }
        let cleaned = line(&name("bot"), &words::step(&cleaned));
        assert!(cleaned.starts_with("bot: ended pid 7 (python \\x1b[2J xxx") && cleaned.ends_with("…): its worker is gone"), "{cleaned}");
        assert_eq!([0.012, 0.4, 9.96, 31.2].map(words::seconds), ["12 ms", "0.4 s", "10 s", "31 s"]);
    }

    fn texts(outcomes: &[Outcome]) -> Vec<String> {
        let tail = |service: &ServiceName, offset| vec![format!("{service} wrote at {offset}"), "ValueError".to_owned()];
        failure::all(outcomes, tail).iter().map(|error| format!("{error:?}")).collect()
    }

    #[test]
    fn failures_name_the_cause_and_the_next_step() {
        let run = RunId { epoch: 1, seq: 2 };
        let not_ready = Ending::NotReady { pid: 9, seconds: 30.0, wanted: "http://127.0.0.1:9091/ready".to_owned(), log_offset: 0 };
        for (ending, parts) in [
            (
                Ending::Died { exit: Exit::Code(3), run, log_offset: 42 },
                vec!["mtproto ended while starting: exit status 3\\n  | mtproto wrote at 42\\n  | ValueError", "devstack logs mtproto"],
            ),
            (not_ready, vec!["runs (pid 9) but is not ready after 30 s; waited for http://127.0.0.1:9091/ready", "--timeout"]),
            (
                Ending::Refused { message: "port 9091 is held by pid 7 (nc)".to_owned(), hint: Some("kill 7".to_owned()) },
                vec!["mtproto was not started: port 9091 is held by pid 7 (nc)", "kill 7"],
            ),
            (Ending::Survived { survivors: vec![(7, "D, nfs_wait".to_owned())] }, vec!["SIGKILL did not end pid 7 (D, nfs_wait)"]),
            (Ending::Superseded, vec!["another command"]),
        ] {
            let texts = texts(&[outcome("mtproto", ending)]);
            assert!(texts.len() == 1 && parts.iter().all(|part| texts[0].contains(part)), "{texts:?}");
        }
    }

    #[test]
    fn those_that_wait_for_the_same_share_an_error() {
        let blocked = |service| outcome(service, Ending::Blocked { by: vec![name("mtproto")] });
        let texts = texts(&[blocked("api"), outcome("bot", Ending::AlreadyRunning { pid: 1 }), blocked("web")]);
        assert!(texts.len() == 1 && texts[0].contains("api, web were not started: they wait for mtproto"), "{texts:?}");
    }

    #[test]
    fn anything_that_failed_makes_the_command_fail() {
        let quiet = || Progress::new(&[name("bot"), name("api")], true);
        let no_tail = |_: &ServiceName, _| Vec::new();
        let fine = outcome("bot", Ending::AlreadyStopped);
        assert!(quiet().finish(std::slice::from_ref(&fine), no_tail).is_ok());
        let failed = outcome("api", Ending::Superseded);
        let error = quiet().finish(&[fine, failed], no_tail).expect_err("one failed");
        assert_eq!(error.exit_code(), exit_code::FAILED);
    }
}
