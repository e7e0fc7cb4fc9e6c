//! The commands of `hooks`, before and after a run: how they are started and what they are told.

use super::helper::Helpers;
use crate::engine::{Cause, CauseKind, Hook};
use crate::model::{EXIT_CODE, EXIT_REASON, EXIT_SIGNAL, RunId, Service};
use crate::sys::failpoint::{self, Failpoint};
use crate::sys::{spawn, worker_log};
use std::path::Path;

/// Runs one to its end, in the service's folder and environment, with its output in the service's log, below `root`; without
/// one, in this process's own.
///
/// # Errors
/// With the reason and what to do.
pub async fn perform(service: &Service, run: RunId, hook: &Hook, helpers: &Helpers, root: Option<&Path>) -> Result<(), Cause> {
    let Some(command) = hook.command(service) else { return Ok(()) };
    let (word, name) = (hook.word(), &service.name);
    let failed = |why: String| {
        let hint = format!("see `devstack logs {name}`, and `hooks.{word}` in devstack.toml");
        Cause::new(CauseKind::HookFailed, format!("its {word} hook `{}` failed: {why}", command.join(" ")), Some(hint))
    };
    let output = match root {
        Some(root) => worker_log::open(root, &service.log_file).map(|log| log.file),
        None => spawn::own_error_output(),
    };
    let output = output.map_err(|error| failed(format!("its log cannot be opened: {error}")))?;
    let exit = helpers.run_with(service, Some(run), command, &told(hook), output).await.map_err(failed)?;
    failpoint::reach(Failpoint::HookEnded);
    if exit.is_success() { Ok(()) } else { Err(failed(exit.to_string())) }
}

/// In its environment: how the run ended that it comes after. What does not apply is not there.
fn told(hook: &Hook) -> Vec<(&'static str, String)> {
    let Hook::PostStop { exit, reason } = hook else { return Vec::new() };
    let exit = exit.as_ref();
    let code = exit.and_then(|exit| exit.code()).map(|code| (EXIT_CODE, code.to_string()));
    let signal = exit.and_then(|exit| exit.signal()).map(|signal| (EXIT_SIGNAL, signal.to_string()));
    [Some((EXIT_REASON, reason.word().to_owned())), code, signal].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Exit, Reason, Signal};

    #[test]
    fn a_hook_after_a_run_is_told_how_it_ended_and_nothing_that_does_not_apply() {
        let told =
            |exit, reason| told(&Hook::PostStop { exit, reason }).iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
        assert_eq!(told(Some(Exit::Code(3)), Reason::Crashed), ["DEVSTACK_EXIT_REASON=crashed", "DEVSTACK_EXIT_CODE=3"]);
        let killed = told(Some(Exit::Signal(Signal::KILL)), Reason::MemoryLimit);
        assert_eq!(killed, ["DEVSTACK_EXIT_REASON=memory_limit_exceeded", "DEVSTACK_EXIT_SIGNAL=SIGKILL"]);
        assert_eq!(told(Some(Exit::Unobserved), Reason::Crashed), ["DEVSTACK_EXIT_REASON=crashed"]);
        assert_eq!(told(None, Reason::Requested), ["DEVSTACK_EXIT_REASON=requested"]);
        assert!(super::told(&Hook::PreStart).is_empty());
    }
}
