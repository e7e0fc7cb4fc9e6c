//! What comes before a process: set-up commands, external services, stale copies, ports.

use super::helper::Helpers;
use super::probe::Prober;
use crate::engine::{Cause, CauseKind};
use crate::model::{Probe, ReadyWhen, RunId, Service};
use crate::sys::worker_log;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Between two checks of an external service that is being brought up.
const PAUSE: Duration = Duration::from_millis(250);

/// Runs the set-up command if what it creates is missing; for an external service checks that it is there.
///
/// # Errors
/// With the reason and what to do.
pub async fn set_up(service: Arc<Service>, run: RunId, helpers: Helpers, prober: Prober, root: PathBuf) -> Result<(), Cause> {
    if service.external {
        return external(&service, run, &helpers, &prober, root).await;
    }
    match &service.setup {
        Some(setup) if setup.creates.as_ref().is_none_or(|path| !path.exists()) => {
            command(&service, run, &setup.command, &helpers, &root).await?;
            match &setup.creates {
                Some(path) if !path.exists() => Err(Cause::new(
                    CauseKind::SetupFailed,
                    format!("its set-up ended well but did not create {}", path.display()),
                    Some("correct `setup.creates` in devstack.toml".to_owned()),
                )),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Its output goes to the service's log.
async fn command(service: &Service, run: RunId, command: &[String], helpers: &Helpers, root: &std::path::Path) -> Result<(), Cause> {
    let failed = |message: String| Cause::new(CauseKind::SetupFailed, message, Some(format!("see `devstack logs {}`", service.name)));
    let log = worker_log::open(root, &service.log_file).map_err(|error| failed(format!("its log cannot be opened: {error}")))?;
    match helpers.run(service, Some(run), command, log.file).await {
        Ok(exit) if exit.is_success() => Ok(()),
        Ok(exit) => Err(failed(format!("its set-up command `{}` failed: {exit}", command.join(" ")))),
        Err(error) => Err(failed(format!("its set-up command `{}` could not be run: {error}", command.join(" ")))),
    }
}

async fn external(service: &Service, run: RunId, helpers: &Helpers, prober: &Prober, root: PathBuf) -> Result<(), Cause> {
    let Some(probe) = check_of(service) else { return Ok(()) };
    let limit = service.health.as_ref().map_or(Duration::from_secs(2), |check| check.timeout);
    let first = prober.ask(service, probe, limit).await;
    if first.passed {
        return Ok(());
    }
    let down = |reason: &str| {
        let hint = if service.command.is_empty() { Some("start it, or give it a `command` that does".to_owned()) } else { None };
        Cause::new(CauseKind::ExternalDown, format!("it does not answer ({reason})"), hint)
    };
    if service.command.is_empty() {
        return Err(down(&first.reason));
    }
    command(service, run, &service.command, helpers, &root).await?;
    let waiting = async {
        loop {
            let probed = prober.ask(service, probe, limit).await;
            if probed.passed {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(service.ready.timeout, waiting).await.map_err(|_| down("not within its time"))
}

fn check_of(service: &Service) -> Option<&Probe> {
    match &service.ready.when {
        ReadyWhen::Probe(probe) => Some(probe),
        ReadyWhen::Log(_) | ReadyWhen::Notify | ReadyWhen::Delay(_) => service.health.as_ref().map(|check| &check.probe),
    }
}
