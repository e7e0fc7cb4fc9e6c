//! What comes before a process: set-up commands, external services, stale copies, ports.

use super::helper::Helpers;
use super::message::{Inbox, Message};
use super::probe::Prober;
use crate::engine::{Cause, CauseKind, Notice};
use crate::model::{Probe, ReadyWhen, RunId, Service};
use crate::sys::{spawn, worker_log};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Between two checks of an external service that is being brought up.
const PAUSE: Duration = Duration::from_millis(250);

/// The set-up of one run of one service.
pub struct SetUp {
    pub service: Arc<Service>,
    pub run: RunId,
    pub helpers: Helpers,
    pub prober: Prober,
    pub root: PathBuf,
    pub inbox: Inbox,
    /// Of this process, rather than the service's log.
    pub to_own_output: bool,
}

/// Nothing is to be done: what the set-up creates is there, or there is no set-up.
pub fn is_set_up(service: &Service) -> bool {
    !service.external && service.setup.as_ref().is_none_or(|setup| setup.creates.as_ref().is_some_and(|path| path.exists()))
}

impl SetUp {
    /// Runs the set-up command; for an external service checks that it is there, and if not brings it up.
    ///
    /// # Errors
    /// With the reason and what to do.
    pub async fn perform(&self) -> Result<(), Cause> {
        if self.service.external {
            return self.external().await;
        }
        let Some(setup) = &self.service.setup else { return Ok(()) };
        self.command(&setup.command).await?;
        match &setup.creates {
            Some(path) if !path.exists() => Err(Cause::new(
                CauseKind::SetupFailed,
                format!("its set-up ended well but did not create {}", path.display()),
                Some("correct `setup.creates` in devstack.toml".to_owned()),
            )),
            _ => Ok(()),
        }
    }

    /// Its output goes where the service's does.
    async fn command(&self, command: &[String]) -> Result<(), Cause> {
        let service = &self.service;
        let notice = Notice::SettingUp { command: command.to_vec() };
        let _ = self.inbox.send(Message::Notice(service.name.clone(), notice)).await;
        let failed = |message: String| Cause::new(CauseKind::SetupFailed, message, Some(format!("see `devstack logs {}`", service.name)));
        let output = self.output().map_err(|error| failed(format!("its log cannot be opened: {error}")))?;
        // What brings up an external service may leave it behind as a daemon, which is not ours to end.
        let run = (!service.external).then_some(self.run);
        match self.helpers.run(service, run, command, output).await {
            Ok(exit) if exit.is_success() => Ok(()),
            Ok(exit) => Err(failed(format!("its set-up command `{}` failed: {exit}", command.join(" ")))),
            Err(error) => Err(failed(format!("its set-up command `{}` could not be run: {error}", command.join(" ")))),
        }
    }

    fn output(&self) -> io::Result<File> {
        if self.to_own_output { spawn::own_error_output() } else { Ok(worker_log::open(&self.root, &self.service.log_file)?.file) }
    }

    async fn external(&self) -> Result<(), Cause> {
        let service = &self.service;
        let Some(probe) = check_of(service) else { return Ok(()) };
        let limit = service.health.as_ref().map_or(Duration::from_secs(2), |check| check.timeout);
        let first = self.prober.ask(service, probe, limit).await;
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
        self.command(&service.command).await?;
        let waiting = async {
            while !self.prober.ask(service, probe, limit).await.passed {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(service.ready.timeout, waiting).await.map_err(|_| down("not within its time"))
    }
}

fn check_of(service: &Service) -> Option<&Probe> {
    match &service.ready.when {
        ReadyWhen::Probe(probe) => Some(probe),
        ReadyWhen::Log(_) | ReadyWhen::Notify | ReadyWhen::Delay(_) => service.health.as_ref().map(|check| &check.probe),
    }
}
