//! What went wrong with a service, why as far as it is known, and the next step.

use super::words::{names, seconds};
use super::{Ending, Error, Outcome};
use crate::model::{Pid, ServiceName};
use std::collections::BTreeMap;

/// One error a failure; services that wait for the same ones share theirs.
pub fn all(outcomes: &[Outcome], tail: impl Fn(&ServiceName, u64) -> Vec<String>) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut blocked: BTreeMap<&[ServiceName], Vec<ServiceName>> = BTreeMap::new();
    for Outcome { service, result } in outcomes {
        match result {
            Ending::Blocked { by } => blocked.entry(by).or_default().push(service.clone()),
            _ => errors.extend(one(service, result, &tail)),
        }
    }
    errors.extend(blocked.into_iter().map(|(by, services)| not_started(&services, by)));
    errors
}

fn one(service: &ServiceName, ending: &Ending, tail: impl Fn(&ServiceName, u64) -> Vec<String>) -> Option<Error> {
    let error = match ending {
        Ending::Died { exit, log_offset, .. } => {
            let last = quoted(&tail(service, *log_offset));
            let error = Error::failed(format!("{service} ended while starting: {exit}{last}"));
            if exit.is_success() {
                error.hint(
                    "a service stays in the foreground; if its command puts itself into the background, there is an option against that",
                )
            } else {
                error.hint(format!("devstack logs {service}"))
            }
        }
        Ending::NotReady { pid, seconds: waited, wanted, log_offset } => {
            let last = quoted(&tail(service, *log_offset));
            let waited = seconds(*waited);
            Error::failed(format!("{service} runs (pid {pid}) but is not ready after {waited}; waited for {wanted}{last}"))
                .hint(format!("it goes on running; devstack logs {service}, or allow more time with --timeout"))
        }
        Ending::Refused { message, hint } => {
            let error = Error::failed(format!("{service} was not started: {message}"));
            hint.iter().fold(error, |error, hint| error.hint(hint))
        }
        Ending::Survived { survivors } => Error::failed(format!("{service} is not stopped, SIGKILL did not end {}", processes(survivors)))
            .hint("the kernel holds them, often for a disk or a network file system; nothing is started in their place"),
        Ending::Superseded => {
            Error::failed(format!("{service}: another command wanted something else meanwhile")).hint(format!("devstack status {service}"))
        }
        Ending::Blocked { by } => not_started(std::slice::from_ref(service), by),
        Ending::Started { .. } | Ending::AlreadyRunning { .. } | Ending::Present | Ending::Stopped { .. } | Ending::AlreadyStopped => {
            return None;
        }
    };
    Some(error)
}

fn not_started(services: &[ServiceName], by: &[ServiceName]) -> Error {
    let (was, waits) = if services.len() == 1 { ("was", "it waits") } else { ("were", "they wait") };
    Error::failed(format!("{} {was} not started: {waits} for {}", names(services), names(by)))
        .hint(format!("devstack status {}", by.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(" ")))
}

fn quoted(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  | {line}")).collect()
}

fn processes(survivors: &[(Pid, String)]) -> String {
    survivors.iter().map(|(pid, state)| format!("pid {pid} ({state})")).collect::<Vec<_>>().join(", ")
}
