//! Whose process is it that speaks?

use super::LinuxOs;
use crate::model::{Pid, RunId, ServiceName};
use crate::sys::procfs::Reader;

/// No tree is deeper.
const DEEPEST: usize = 64;

impl LinuxOs {
    /// The run that a process belongs to: it is its main process, carries its mark, or descends from its main process. Who has
    /// ended by now belongs to none, since its number may be another's.
    pub fn run_of(&self, sender: Pid) -> Option<(ServiceName, RunId)> {
        let main = |pid: Pid| self.runs.iter().find(|(_, run)| run.main().is_some_and(|main| main.pid == pid));
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
}
