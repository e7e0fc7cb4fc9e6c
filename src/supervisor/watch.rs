//! The health of a run, asked for while it lives.

use super::activity::Look;
use super::message::Inbox;
use super::probe::Prober;
use super::run::report;
use crate::engine::health::Complaint;
use crate::engine::{Probed, Report};
use crate::model::{HealthCheck, ProcId, RunId, Service};
use std::sync::Arc;
use std::time::Duration;

/// Between the two looks at a worker whose endpoint says that it has not come round, at most.
const LOOKING: Duration = Duration::from_millis(500);

/// Asks at every interval, until the run ends.
pub async fn health(service: Arc<Service>, run: RunId, main: Option<ProcId>, check: HealthCheck, prober: Prober, inbox: Inbox) {
    loop {
        let probed = ask(&service, main, &check, &prober).await;
        if inbox.send(report(&service.name, run, Report::Probed(probed))).await.is_err() {
            return;
        }
        tokio::time::sleep(check.interval).await;
    }
}

/// One answer, and where it leaves a doubt, what the run did meanwhile. Who answers well and soon is not looked at.
async fn ask(service: &Service, main: Option<ProcId>, check: &HealthCheck, prober: &Prober) -> Probed {
    let look = || main.and_then(Look::closely);
    let since = |before: Option<Look>| Some(look()?.since(&before?));
    let mut asked = std::pin::pin!(prober.ask(service, &check.probe, check.timeout));
    let Ok(mut probed) = tokio::time::timeout(check.timeout / 2, &mut asked).await else {
        let before = look();
        let mut probed = asked.await;
        probed.activity = since(before).filter(|_| !probed.passed);
        return probed;
    };
    if !probed.passed && matches!(probed.complaint(), Complaint::Heartbeat { .. }) {
        let before = look();
        tokio::time::sleep(LOOKING.min(check.interval)).await;
        probed.activity = since(before);
    }
    probed
}
