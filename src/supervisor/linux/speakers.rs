//! Whose process is it that speaks, and which of them is the main one?

use super::LinuxOs;
use crate::engine::{Event, Process, Report};
use crate::model::{Exit, Pid, ProcId, RunId, ServiceName};
use crate::sys::pidfd::PidFd;
use crate::sys::procfs::{self, Reader};
use crate::sys::readiness::Readiness;
use std::rc::Rc;

/// No tree is deeper.
const DEEPEST: usize = 64;

impl LinuxOs {
    /// The run that a process belongs to: it is its main process, carries its mark, or descends from its main process. Who has
    /// ended by now belongs to none, since its number may be another's.
    pub fn run_of(&self, sender: Pid) -> Option<(ServiceName, RunId)> {
        let main = |pid: Pid| self.runs.iter().find(|(_, run)| run.traits.held().iter().any(|held| held.pid == pid));
        let mut reader = Reader::default();
        let marked = |reader: &mut Reader| {
            let mark = reader.mark(sender).ok()??;
            self.runs.iter().find(|(_, run)| run.traits.mark == mark)
        };
        let below = |reader: &mut Reader| {
            let mut pid = sender;
            for _ in 0..DEEPEST {
                pid = reader.stat(pid).ok().map(|stat| stat.ppid).filter(|parent| *parent > 1)?;
                if let Some(found) = main(pid) {
                    return Some(found);
                }
            }
            None
        };
        let (id, run) = main(sender).or_else(|| marked(&mut reader)).or_else(|| below(&mut reader))?;
        Some((run.service.name.clone(), *id))
    }

    /// Who a run names as its main process, if that is a living process of it and not the main one already.
    pub fn named(&self, id: RunId, pid: Pid) -> Option<Report> {
        let stat = procfs::stat(pid).ok().filter(|stat| !stat.is_dead())?;
        let main = stat.id();
        let is_of_it = self.run_of(pid).is_some_and(|(_, run)| run == id);
        let is_new = is_of_it && self.runs.get(&id)?.main() != Some(main);
        let process = PidFd::open(main).ok().flatten().filter(|_| is_new)?;
        Some(Report::MainNamed { main, inode: process.inode() })
    }

    pub fn is_main(&self, id: RunId, main: ProcId) -> bool {
        self.runs.get(&id).is_some_and(|run| run.main() == Some(main))
    }

    pub(super) fn take_main(&mut self, id: RunId, process: &Process) {
        self.household = None;
        let Some(run) = self.runs.get_mut(&id) else { return };
        (run.traits.main, run.traits.pin) = (Some(process.main), process.pin);
        match PidFd::open(process.main).ok().flatten().and_then(|process| Readiness::of(&process).ok()) {
            Some(pidfd) => self.watch_end(id, Rc::new(pidfd)),
            None => self.due.push(Event::Report(run.service.name.clone(), id, Report::Ended(Exit::Unobserved))),
        }
    }
}
