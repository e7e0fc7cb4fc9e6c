//! What is looked at while a run lives: its health, its use of memory and processor.

use super::activity::Look;
use super::message::Inbox;
use super::probe::Prober;
use super::run::report;
use super::{set, view};
use crate::engine::health::Complaint;
use crate::engine::{Monitor, Probed, Report, Sample, Verdict};
use crate::model::{HealthCheck, ProcId, RunId, Service, ServiceName};
use crate::sys::clock;
use crate::sys::procfs::{Stat, proportional_bytes};
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

/// Samples the tree until a limit is crossed or the run ends.
pub async fn limits(service: ServiceName, run: RunId, main: ProcId, mut monitor: Monitor, inbox: Inbox) {
    loop {
        let tree = set::tree(main.pid);
        if tree.first().is_none_or(|first| first.start_ticks != main.start_ticks) {
            return;
        }
        let sample = Sample {
            at: clock::now(),
            cpu_seconds: tree.iter().map(view::cpu_seconds).sum(),
            resident: tree.iter().map(Stat::rss_bytes).sum(),
        };
        let verdict = match monitor.judge(sample) {
            // What may not be read counts as it was: a guess must not save a worker that eats the machine.
            Verdict::ConfirmMemory => {
                let proportional = |stat: &Stat| proportional_bytes(stat.pid).unwrap_or_else(|_| stat.rss_bytes());
                monitor.confirm(tree.iter().map(proportional).sum())
            }
            verdict => verdict,
        };
        match verdict {
            Verdict::Fine { again_in } => tokio::time::sleep(again_in).await,
            Verdict::Exceeded(reason) => {
                let _ = inbox.send(report(&service, run, Report::Exceeded(reason))).await;
                return;
            }
            Verdict::ConfirmMemory => return,
        }
    }
}
