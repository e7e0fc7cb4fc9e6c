//! Waiting until a new run is ready.

use super::message::{Inbox, Message};
use super::probe::Prober;
use super::run::report;
use crate::engine::Report;
use crate::model::{ReadyWhen, RunId, Service};
use crate::sys::follow::Follow;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// Between two questions while a service starts: quick at first, then with more patience.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Begins to watch; `None` when it is ready without a condition.
pub fn watch(service: &Arc<Service>, run: RunId, log_offset: u64, prober: Prober, inbox: Inbox) -> Option<AbortHandle> {
    if service.ready.when == ReadyWhen::Delay(Duration::ZERO) {
        return None;
    }
    let service = service.clone();
    let task = tokio::task::spawn_local(async move {
        wait(&service, run, log_offset, &prober, &inbox).await;
        let _ = inbox.send(report(&service.name, run, Report::Ready)).await;
    });
    Some(task.abort_handle())
}

async fn wait(service: &Service, run: RunId, log_offset: u64, prober: &Prober, inbox: &Inbox) {
    match &service.ready.when {
        ReadyWhen::Delay(delay) => tokio::time::sleep(*delay).await,
        ReadyWhen::Log(pattern) => match regex::bytes::Regex::new(pattern) {
            Ok(pattern) => Follow::from(&service.log_file, log_offset).line_matching(&pattern).await,
            Err(_) => std::future::pending().await,
        },
        // It says so itself, to the supervisor.
        ReadyWhen::Notify => std::future::pending().await,
        ReadyWhen::Probe(probe) => {
            let mut pause = FIRST_PAUSE;
            let limit = service.health.as_ref().map_or(Duration::from_secs(2), |check| check.timeout);
            loop {
                let probed = prober.ask(service, probe, limit).await;
                if probed.passed {
                    let is_health = service.health.as_ref().is_some_and(|check| check.probe == *probe);
                    if is_health {
                        let _ = inbox.send(Message::Report(service.name.clone(), run, Report::Probed(probed))).await;
                    }
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}
