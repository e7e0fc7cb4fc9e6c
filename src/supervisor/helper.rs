//! Commands that devstack runs for a service beside its worker: set-up, probes. They are not workers, and not orphans.

use super::environment::Environment;
use crate::model::{Exit, Pid, RunId, Service};
use crate::sys::pidfd::PidFd;
use crate::sys::readiness::Readiness;
use crate::sys::{keeper, procfs, spawn};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;

#[derive(Clone)]
pub struct Helpers {
    environment: Rc<Environment>,
    running: Rc<RefCell<BTreeSet<Pid>>>,
}

impl Helpers {
    pub fn new(environment: Rc<Environment>) -> Self {
        Self { environment, running: Rc::default() }
    }

    pub fn pids(&self) -> BTreeSet<Pid> {
        self.running.borrow().clone()
    }

    /// A probe by command: it passes with status 0.
    pub async fn check(&self, service: &Service, command: &[String]) -> Result<String, String> {
        let nowhere = File::options().write(true).open("/dev/null").map_err(|error| error.to_string())?;
        match self.run(service, None, command, nowhere).await {
            Ok(Exit::Code(0)) => Ok("healthy".to_owned()),
            Ok(exit) => Err(exit.to_string().replace(' ', "_")),
            Err(error) => Err(error),
        }
    }

    /// Runs a command to its end, in the service's folder and environment. Dropping the future kills it.
    ///
    /// # Errors
    /// When it could not be started; a sentence for a person.
    pub async fn run(&self, service: &Service, run: Option<RunId>, command: &[String], output: File) -> Result<Exit, String> {
        let started = self.start(service, run, command, &output).map_err(|error| error.to_string())?;
        started.pidfd.readable().await;
        let exit = keeper::reap_child(started.process.id().pid).unwrap_or(Exit::Unobserved);
        Ok(exit)
    }

    fn start(&self, service: &Service, run: Option<RunId>, command: &[String], output: &File) -> io::Result<Running> {
        let other = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
        let launch = self.environment.launch(service, run, command).map_err(|cause| other(&cause.message))?;
        let held = spawn::held(&spawn::Launch {
            program: &launch.program,
            argv: &launch.argv,
            env: &launch.env,
            cwd: &service.cwd,
            output: output.as_fd(),
            inherit: &[],
            mark: run.map(|run| self.environment.mark(run)),
            own_pid: None,
            group: None,
            detach: false,
        })?;
        let pid = held.pid;
        let id = procfs::id(pid)?;
        let process = PidFd::open(id)?.ok_or_else(|| other(&"it ended at once"))?;
        let pidfd = Readiness::of(&process)?;
        self.running.borrow_mut().insert(pid);
        held.release();
        Ok(Running { process, pidfd, running: self.running.clone() })
    }
}

/// Ends with its owner: a probe that took too long is killed, not forgotten.
struct Running {
    process: PidFd,
    pidfd: Readiness,
    running: Rc<RefCell<BTreeSet<Pid>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // From here on it counts as an orphan, and orphans are collected when they end.
        let _ = self.process.signal(crate::model::Signal::KILL);
        self.running.borrow_mut().remove(&self.process.id().pid);
    }
}
