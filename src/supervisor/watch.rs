//! The health of a run, asked for while it lives.

use super::message::Inbox;
use super::probe::Prober;
use super::run::report;
use crate::engine::Report;
use crate::model::{HealthCheck, RunId, Service};
use std::sync::Arc;

/// Asks at every interval, until the run ends.
pub async fn health(service: Arc<Service>, run: RunId, check: HealthCheck, prober: Prober, inbox: Inbox) {
    loop {
        let probed = prober.ask(&service, &check.probe, check.timeout).await;
        if inbox.send(report(&service.name, run, Report::Probed(probed))).await.is_err() {
            return;
        }
        tokio::time::sleep(check.interval).await;
    }
}
