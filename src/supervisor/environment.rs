//! What a worker or a command of a service is started with.

use crate::config;
use crate::engine::{Cause, CauseKind};
use crate::model::{COOKIE, EXIT_CODE, EXIT_REASON, EXIT_SIGNAL, MAIN_PID, Mark, Project, ROOT, RunId, SPEAKER_PID, Service, WATCHDOG_PID};
use crate::sys::{cgroup, socket, spawn};
use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The environment that devstack itself was started in, and whose worker carries which mark.
pub struct Environment {
    project_name: String,
    root: PathBuf,
    base: Vec<(OsString, OsString)>,
    /// Where workers say how they are.
    notify_address: String,
    /// Since when the configuration on disk does not resolve: what runs goes on, but nothing can be started.
    broken: RefCell<Option<String>>,
}

pub struct Prepared {
    pub program: PathBuf,
    pub argv: Vec<OsString>,
    pub env: Vec<(OsString, OsString)>,
}

/// What somebody above devstack wants to hear from devstack, and from nobody below it.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";

/// What a devstack that was started inside a worker must not hand on.
pub fn is_ours(key: &OsStr) -> bool {
    [COOKIE, ROOT, MAIN_PID, SPEAKER_PID, EXIT_REASON, EXIT_CODE, EXIT_SIGNAL].iter().any(|name| key == *name)
}

impl Environment {
    pub fn new(project: &Project, notify_address: String, base: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let of_another = |key: &OsStr| [NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID].iter().any(|name| key == *name);
        let base = base.filter(|(key, _)| !is_ours(key) && !of_another(key)).collect();
        Self { project_name: project.name.clone(), root: project.root.clone(), base, notify_address, broken: RefCell::default() }
    }

    /// The variables in which a worker finds its own pid.
    pub fn own_pid(service: &Service) -> &'static [&'static str] {
        if service.heartbeat_timeout.is_some() { &[MAIN_PID, WATCHDOG_PID] } else { &[MAIN_PID] }
    }

    /// What a worker, and nothing else that is run for its service, needs for sd_notify(3) and sd_watchdog_enabled(3).
    pub fn let_speak(&self, service: &Service, env: &mut Vec<(OsString, OsString)>) {
        let own: Vec<(OsString, OsString)> = [
            Some((NOTIFY_SOCKET.into(), self.notify_address.clone().into())),
            service.heartbeat_timeout.map(|timeout| (WATCHDOG_USEC.into(), timeout.as_micros().to_string().into())),
        ]
        .into_iter()
        .flatten()
        .collect();
        // What the configuration sets is meant.
        let own = own.into_iter().filter(|(key, _)| env.iter().all(|(there, _)| there != key)).collect::<Vec<_>>();
        env.extend(own);
    }

    pub fn cookie(&self, service: &Service, run: RunId) -> String {
        format!("{}/{}/{run}", self.project_name, service.name)
    }

    /// What every process of a run inherits, whatever it does.
    pub fn mark(&self, run: RunId) -> Mark {
        Mark::of(self.root.as_os_str().as_encoded_bytes(), run)
    }

    pub fn may_use_groups(&self) -> bool {
        self.base.iter().all(|(key, _)| key != cgroup::OFF)
    }

    /// Whether the configuration can be relied on; the problems if not.
    pub fn set_broken(&self, problems: Option<String>) {
        *self.broken.borrow_mut() = problems;
    }

    /// Reads the env files and finds the program.
    ///
    /// # Errors
    /// When an env file cannot be read or the program cannot be executed.
    pub fn launch(&self, service: &Service, run: Option<RunId>, command: &[String]) -> Result<Prepared, Cause> {
        if let Some(problems) = &*self.broken.borrow() {
            let message = format!("devstack.toml does not resolve any more:\n{problems}");
            return Err(Cause::new(CauseKind::Environment, message, Some("correct it, then `devstack start`".to_owned())));
        }
        let mut env = config::environment(service, config::Trust::of_user(socket::own_user()), self.base.iter().cloned())
            .map_err(|problem| Cause::new(CauseKind::Environment, problem.render(false), None))?;
        env.push((ROOT.into(), self.root.clone().into_os_string()));
        env.extend(run.map(|run| (OsString::from(COOKIE), OsString::from(self.cookie(service, run)))));
        let path = env.iter().rev().find(|(key, _)| key == "PATH").map_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"), |(_, value)| value);
        let argv: Vec<OsString> = command.iter().map(OsString::from).collect();
        let name = argv.first().cloned().unwrap_or_default();
        let program = spawn::find_program(&name, path, &service.cwd).map_err(|error| {
            let hint = "check `command`, `venv` and `setup` of this service in devstack.toml".to_owned();
            Cause::new(CauseKind::NotSpawned, error.to_string(), Some(hint))
        })?;
        Ok(Prepared { program, argv, env })
    }
}
