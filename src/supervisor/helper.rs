//! Commands that devstack runs for a service beside its worker: set-up, hooks, probes. They are not workers, and not orphans.

use super::environment::Environment;
use super::set;
use super::supervise::own_log;
use crate::model::{Exit, Mark, Pid, RunId, Service, Signal};
use crate::sys::failpoint::{self, Failpoint};
use crate::sys::pidfd::PidFd;
use crate::sys::readiness::Readiness;
use crate::sys::reexec::{self, Program};
use crate::sys::{keeper, procfs, rotation, spawn};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// For a program to say its version.
const PATIENCE: Duration = Duration::from_secs(3);

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

    /// What of it carries this mark is from now on what any process of its run is.
    pub fn let_go(&self, mark: Mark) {
        self.running.borrow_mut().retain(|pid| procfs::mark(*pid) != Some(mark));
    }

    /// Kills what runs, for whoever comes after this program would know nothing of it.
    pub fn kill_all(&self) {
        for id in self.running.borrow().iter().filter_map(|pid| procfs::id(*pid).ok()) {
            if let Ok(Some(process)) = PidFd::open(id) {
                let _ = process.signal(Signal::KILL);
            }
        }
    }

    /// A probe by command: it passes with status 0.
    pub async fn check(&self, service: &Service, command: &[String]) -> Result<String, String> {
        let nowhere = File::options().write(true).open("/dev/null").map_err(|error| error.to_string())?;
        let mut started = self.start(service, None, command, &[], &nowhere).map_err(|error| error.to_string())?;
        started.ends_with_company = true;
        started.pidfd.readable().await;
        // What it left behind would pile up, one question after the other.
        let _ = started.process.signal_group(Signal::KILL);
        match keeper::reap_child(started.process.id().pid).unwrap_or(Exit::Unobserved) {
            Exit::Code(0) => Ok("healthy".to_owned()),
            exit => Err(exit.to_string().replace(' ', "_")),
        }
    }

    /// Runs a command to its end, in the service's folder and environment. Dropping the future kills it.
    ///
    /// # Errors
    /// When it could not be started; a sentence for a person.
    pub async fn run(&self, service: &Service, run: Option<RunId>, command: &[String], output: File) -> Result<Exit, String> {
        self.run_with(service, run, command, &[], output).await
    }

    /// As [`Self::run`], with more in its environment.
    ///
    /// # Errors
    /// When it could not be started; a sentence for a person.
    pub async fn run_with(
        &self,
        service: &Service,
        run: Option<RunId>,
        command: &[String],
        more: &[(&'static str, String)],
        output: File,
    ) -> Result<Exit, String> {
        let started = self.start(service, run, command, more, &output).map_err(|error| error.to_string())?;
        failpoint::reach(Failpoint::HelperBegun);
        Ok(started.end().await)
    }

    /// Has a log rotated by a process of its own: copying and compressing take long, and whoever owns the stack waits for nothing.
    ///
    /// # Errors
    /// When it could not be started.
    pub async fn rotate(&self, root: &Path, log: &Path, rule: &rotation::Rule) -> io::Result<Exit> {
        let started = self.begin(&spawn::Launch {
            program: Path::new(reexec::OWN_PROGRAM),
            argv: &rotation::arguments(root, log, rule),
            env: &std::env::vars_os().collect::<Vec<_>>(),
            cwd: Path::new("/"),
            // What goes wrong stands in the supervisor's own log.
            output: spawn::Output::To(own_log().as_fd()),
            inherit: &[],
            mark: None,
            own_pid: &[],
            group: None,
            detach: false,
        })?;
        Ok(started.end().await)
    }

    /// The version of devstack that a program says it is. It is told nothing, and killed if it takes long.
    ///
    /// # Errors
    /// When it is none, or cannot run here; a few words.
    pub async fn version_of(&self, program: &Program) -> Result<String, String> {
        let words = |error: io::Error| error.to_string();
        let (said, output) = io::pipe().map_err(words)?;
        let started = self.begin(&spawn::Launch {
            program: Path::new(reexec::INHERITED_PROGRAM),
            argv: &["devstack".into(), "--version".into()],
            env: &std::env::vars_os().collect::<Vec<_>>(),
            cwd: Path::new("/"),
            output: spawn::Output::To(output.as_fd()),
            inherit: &[program.as_fd()],
            mark: None,
            own_pid: &[],
            group: None,
            detach: false,
        });
        let started = started.map_err(words)?;
        let Ok(exit) = tokio::time::timeout(PATIENCE, started.end()).await else {
            return Err("asked for its version, it does not end".to_owned());
        };
        let said = reexec::what_is_there(said).map_err(words)?;
        let version = said.strip_prefix("devstack ").map(str::trim).filter(|_| exit.is_success());
        version.map(str::to_owned).ok_or_else(|| format!("asked for its version, it ended with {exit}"))
    }

    fn start(
        &self,
        service: &Service,
        run: Option<RunId>,
        command: &[String],
        more: &[(&'static str, String)],
        output: &File,
    ) -> io::Result<Running> {
        let mut launch = self.environment.launch(service, run, command).map_err(|cause| io::Error::other(cause.message))?;
        launch.env.extend(more.iter().map(|(key, value)| (key.into(), value.into())));
        self.begin(&spawn::Launch {
            program: &launch.program,
            argv: &launch.argv,
            env: &launch.env,
            cwd: &service.cwd,
            output: spawn::Output::To(output.as_fd()),
            inherit: &[],
            mark: run.map(|run| self.environment.mark(run)),
            own_pid: &[],
            group: None,
            detach: false,
        })
    }

    fn begin(&self, launch: &spawn::Launch<'_>) -> io::Result<Running> {
        let held = spawn::held(launch)?;
        let pid = held.pid;
        let id = procfs::id(pid)?;
        let process = PidFd::open(id)?.ok_or_else(|| io::Error::other("it ended at once"))?;
        let pidfd = Readiness::of(&process)?;
        self.running.borrow_mut().insert(pid);
        held.release();
        Ok(Running { ends_with_company: false, process, pidfd, running: self.running.clone() })
    }
}

/// Ends with its owner: a probe that took too long is killed, not forgotten.
struct Running {
    /// And so is whatever it has started.
    ends_with_company: bool,
    process: PidFd,
    pidfd: Readiness,
    running: Rc<RefCell<BTreeSet<Pid>>>,
}

impl Running {
    async fn end(&self) -> Exit {
        self.pidfd.readable().await;
        keeper::reap_child(self.process.id().pid).unwrap_or(Exit::Unobserved)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ends_with_company {
            let below = set::tree(self.process.id().pid);
            let _ = self.process.signal_group(Signal::KILL);
            for one in below.iter().filter_map(|stat| PidFd::open(stat.id()).ok().flatten()) {
                let _ = one.signal(Signal::KILL);
            }
        }
        // From here on it counts as an orphan, and orphans are collected when they end.
        let _ = self.process.signal(Signal::KILL);
        self.running.borrow_mut().remove(&self.process.id().pid);
    }
}
