//! What is different where a command itself runs a service in the foreground: whose output it has, who is told its signals, and
//! that nobody else runs it. Also whether somebody else's command does, which concerns every supervisor.

use super::LinuxOs;
use crate::config;
use crate::engine::{Cause, CauseKind};
use crate::model::{Project, ReadyWhen, Service, ServiceName, Signal};
use crate::supervisor::run::Run;
use crate::supervisor::{claim, set};
use crate::sys::cgroup::Groups;
use crate::sys::pidfd::PidFd;
use crate::sys::worker_log::{self, WorkerLog};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// A command that runs a service and stays in the foreground.
#[derive(Debug)]
pub(super) struct Foreground {
    /// Where `health_port` listens.
    health_address: IpAddr,
    predecessors: Option<Vec<PathBuf>>,
}

impl LinuxOs {
    pub(super) fn is_in_foreground(&self) -> bool {
        self.foreground.is_some()
    }

    /// From now on workers write to the output of this process, and read its input. `health_address`: where a `health_port` listens.
    /// `predecessors`: of a command without a project, the projects whose processes end before it starts; nothing else can be in
    /// its way.
    pub fn stay_in_foreground(&mut self, health_address: IpAddr, predecessors: Option<Vec<PathBuf>>) {
        self.foreground = Some(Foreground { health_address, predecessors });
    }

    pub(super) fn predecessors(&self) -> Option<Vec<Project>> {
        let roots = self.foreground.as_ref()?.predecessors.as_ref()?.iter();
        Some(roots.map(|root| Project { root: root.clone(), ..Project::clone(&self.project) }).collect())
    }

    /// A devstack that was killed could not give its group of the kernel back; where processes are left in it, it stays.
    pub(super) fn forget_predecessors(&self) {
        let roots = self.foreground.iter().filter_map(|foreground| foreground.predecessors.as_ref()).flatten();
        roots.filter_map(|root| Groups::of(&config::project_id(root))).for_each(|groups| groups.remove());
    }

    /// A line that is waited for has to stand somewhere.
    pub(super) fn has_log(&self, service: &Service) -> bool {
        self.foreground.is_none() || matches!(service.ready.when, ReadyWhen::Log(_))
    }

    pub(super) fn open_log(&self, service: &Service) -> io::Result<Option<WorkerLog>> {
        self.has_log(service).then(|| worker_log::open(&self.project.root, &service.log_file)).transpose()
    }

    pub(super) fn serve_health(&mut self, service: &Service) -> io::Result<()> {
        let address = self.foreground.as_ref().map(|foreground| foreground.health_address);
        self.health_ports.open(service, address, &self.inbox)
    }

    /// Why it must not be started, if another process runs it in the foreground.
    pub(super) fn is_anothers(&self, service: &ServiceName) -> Option<Cause> {
        let holder = claim::holder(&self.project.id, service)?;
        let hint = format!("stop that one first: `devstack stop {service}`, or its service manager");
        Some(Cause::new(CauseKind::ManualCopy, format!("it runs in the foreground: {holder}"), Some(hint)))
    }

    /// To the main process of each run, and to nobody else.
    pub fn pass_on(&self, signal: Signal) {
        for main in self.runs.values().filter(|run| run.held.is_none()).filter_map(Run::main) {
            if let Ok(Some(process)) = PidFd::open(main) {
                let _ = process.signal(signal);
            }
        }
    }

    /// SIGSTOP or SIGCONT to everyone of each run: a tree of which only the top is stopped goes on.
    pub fn hold_all(&mut self, signal: Signal) {
        self.forget_looks();
        let household = self.household();
        for member in self.runs.values().flat_map(|run| set::belongings(&run.traits, &household)) {
            if let Ok(Some(process)) = PidFd::open(member.stat.id()) {
                let _ = process.signal(signal);
            }
        }
    }
}
