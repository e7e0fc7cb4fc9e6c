//! What happened, in a line for a person.

use crate::cli::status::words::{duration, memory};
use crate::journal::{Asker, Ended, Happened};
use crate::model::Exit;

pub fn of(happened: &Happened) -> String {
    match happened {
        Happened::SupervisorStarted { pid, version } => format!("supervisor started (pid {pid}, version {version})"),
        Happened::SupervisorLeft { pid } => format!("supervisor left (pid {pid})"),
        Happened::Asked { what, services, by } => {
            let services: Vec<&str> = services.iter().map(|name| name.as_str()).collect();
            let of = if services.is_empty() { "everything".to_owned() } else { services.join(", ") };
            format!("asked to {what} {of}: {}", asker(by))
        }
        Happened::Signalled { signal } => format!("devstack was sent {signal}: stopping everything"),
        Happened::SettingUp { command } => format!("setting up: {}", command.join(" ")),
        Happened::Hook { hook, command } => format!("{hook}: {}", command.join(" ")),
        Happened::HookFailed { message, .. } | Happened::WatchTrouble { message } => message.clone(),
        Happened::FilesChanged { paths } if paths.is_empty() => "files changed".to_owned(),
        Happened::FilesChanged { paths } => format!("files changed: {}", paths.join(", ")),
        Happened::Waiting { on } => format!("waits for {}", on.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")),
        Happened::Cleared { pid, command, reason } => format!("ended pid {pid} before the start: {reason} ({command})"),
        Happened::Cleaned(one) => {
            format!("cleanup-workers: pid {} {} ({}): {} ({})", one.pid, one.action, one.kind, one.reason, one.command)
        }
        Happened::Starting { pid, .. } => format!("starting (pid {pid})"),
        Happened::Ready { pid, seconds } => format!("ready after {} (pid {pid})", duration(*seconds)),
        Happened::Present => "present".to_owned(),
        Happened::Adopted { pid } => format!("adopted (pid {pid})"),
        Happened::Late { pid, seconds } => format!("not ready after {} (pid {pid})", duration(*seconds)),
        Happened::MainIs { pid } => format!("pid {pid} is its main process from now on"),
        Happened::MainPidRefused { said: Some(said) } => format!("says that pid {said} is its main process, which is none of its run"),
        Happened::MainPidRefused { said: None } => "says that something is its main process that is none".to_owned(),
        Happened::NearLimit { limit } => format!("near its limit: {}", limit.words()),
        Happened::OverLimit { limit } => format!("over its limit: {}", limit.words()),
        Happened::Unhealthy { failures, reason } => format!("unhealthy, {failures} times in a row: {reason}"),
        Happened::Stopping { reason } => format!("stopping: {reason}"),
        Happened::Killing { reason } => format!("killing: {reason}"),
        Happened::Ended(ended) => {
            let known = [
                ended.pid.map(|pid| format!("pid {pid}")),
                ended.uptime_seconds.map(|seconds| format!("after {}", duration(seconds))),
                ended.last_words.peak_memory_mb.map(|peak| format!("peak {}", memory(peak))),
            ];
            let known: Vec<String> = known.into_iter().flatten().collect();
            let about = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
            format!("ended: {} by {}, {}{about}", ended.reason, ended.by.word(), exit(ended))
        }
        Happened::Swept { processes } => {
            let one = |one: &crate::engine::Swept| format!("{} {} ({})", one.pid, one.command, one.evidence);
            format!("ended with it: {}", processes.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Happened::RestartsIn { seconds } => format!("starts again in {}", duration(*seconds)),
        Happened::CutShort { during, reason } => format!("start cut short during {during}: {reason}"),
        Happened::Refused { message, .. } => format!("not started: {message}"),
        Happened::Stopped => "stopped".to_owned(),
        Happened::Exited => "exited, and stays so".to_owned(),
        Happened::Failed { message, .. } => format!("failed: {message}"),
        Happened::Stuck { survivors } => {
            let named: Vec<String> = survivors.iter().map(|one| format!("{} ({})", one.pid, one.doing)).collect();
            format!("stuck: SIGKILL has not ended {}", named.join(", "))
        }
        Happened::Lost { records } => format!("the disk took nothing: {records} events are missing here"),
    }
}

pub fn asker(by: &Asker) -> String {
    let parent = by.parent.as_ref().map(|parent| format!(", from {parent}")).unwrap_or_default();
    format!("{} (pid {}, user {}{parent})", by.command, by.pid, by.uid)
}

/// As in status, where nothing else says it.
pub fn exit(ended: &Ended) -> String {
    match ended.exit() {
        Exit::Unobserved => "unobserved".to_owned(),
        exit => exit.to_string(),
    }
}
