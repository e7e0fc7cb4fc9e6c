//! One short sentence for each step and each ending.

use super::{Ending, Step};
use crate::cli::style;
use crate::engine::Swept;
use crate::model::ServiceName;
use std::collections::BTreeSet;

/// A command line is as long as its owner likes; the rest of the sentence must stay in sight.
const LONGEST_COMMAND: usize = 60;

pub fn step(step: &Step) -> String {
    match step {
        Step::SettingUp { command } => format!("setting up: {}", short(&command.join(" "))),
        Step::Hooking { hook, command } => format!("{hook}: {}", short(&command.join(" "))),
        Step::Watching { trouble } => trouble.clone(),
        Step::HookFailed { message, hint: Some(hint) } => format!("{message}; {hint}"),
        Step::HookFailed { message, hint: None } => message.clone(),
        Step::WaitingFor { services } => format!("waiting for {}", names(services)),
        Step::Cleaned { pid, command, why } => format!("ended pid {pid} ({}): {why}", short(command)),
        Step::Swept { processes } => swept(processes),
        Step::Starting { .. } => "starting".to_owned(),
        Step::Replacing { reason } => format!("running but {reason}: restarting"),
        Step::Stopping => "stopping".to_owned(),
        Step::Removing => "no longer in devstack.toml: stopping".to_owned(),
        Step::Killing => "killing what did not stop in time".to_owned(),
        Step::Ended(outcome) => ending(&outcome.result),
    }
}

/// Which, and what proved each kind of them to be the worker's.
fn swept(processes: &[Swept]) -> String {
    let pids: Vec<String> = processes.iter().map(|one| one.pid.to_string()).collect();
    let evidence: BTreeSet<&str> = processes.iter().map(|one| one.evidence.as_str()).collect();
    let evidence: Vec<&str> = evidence.into_iter().collect();
    let what = match processes {
        [only] => format!("ended pid {} ({}), which outlived it", only.pid, short(&only.command)),
        _ => format!("ended {} that outlived it (pids {})", count(pids.len(), "process", "processes"), short(&pids.join(", "))),
    };
    format!("{what}; known by {}", evidence.join(", "))
}

pub fn ending(ending: &Ending) -> String {
    match ending {
        Ending::Started { pid, seconds: took } => format!("ready in {} (pid {pid})", seconds(*took)),
        Ending::AlreadyRunning { pid } => format!("already running (pid {pid}), untouched"),
        Ending::Present => "present".to_owned(),
        Ending::Stopped { exit: Some(exit) } => format!("stopped ({exit})"),
        Ending::Stopped { exit: None } => "stopped".to_owned(),
        Ending::AlreadyStopped => "already stopped".to_owned(),
        Ending::Died { exit, .. } => format!("ended while starting ({exit})"),
        Ending::Refused { .. } => "not started".to_owned(),
        Ending::NotReady { pid, seconds: waited, .. } => format!("not ready after {} (pid {pid})", seconds(*waited)),
        Ending::Blocked { by } => format!("not started: waits for {}", names(by)),
        Ending::Superseded => "overtaken by another command".to_owned(),
        Ending::Survived { survivors } => format!("not stopped: {} survived SIGKILL", count(survivors.len(), "process", "processes")),
    }
}

/// `12 ms`, `0.4 s`, `31 s`.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        _ if seconds < 0.095 => format!("{:.0} ms", (seconds * 1000.0).max(0.0)),
        _ if seconds < 9.95 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

pub fn names(services: &[ServiceName]) -> String {
    services.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ")
}

pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn short(command: &str) -> String {
    console::truncate_str(&style::visible(command).replace('\n', " "), LONGEST_COMMAND, "…").into_owned()
}
