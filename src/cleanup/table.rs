//! One scan with its family relations.

use super::Me;
use crate::model::{Observed, Pid};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;

pub struct Table<'a> {
    pub processes: &'a [Observed],
    by_pid: HashMap<Pid, usize>,
}

impl<'a> Table<'a> {
    pub fn new(processes: &'a [Observed]) -> Self {
        let by_pid = processes.iter().enumerate().map(|(index, process)| (process.id.pid, index)).collect();
        Self { processes, by_pid }
    }

    /// The living parent in this scan. A "parent" younger than its child took over the number of the real one.
    pub fn parent(&self, index: usize) -> Option<usize> {
        let child = &self.processes[index];
        let parent = *self.by_pid.get(&child.ppid)?;
        (parent != index && self.processes[parent].id.start_ticks <= child.id.start_ticks).then_some(parent)
    }

    pub fn contains_pid(&self, pid: Pid) -> bool {
        self.by_pid.contains_key(&pid)
    }

    /// The asking process and everything it descends from.
    pub fn lineage(&self, me: &Me) -> HashSet<usize> {
        let mut line = HashSet::new();
        let mut next = self.by_pid.get(&me.pid).copied();
        while let Some(index) = next.filter(|index| line.insert(*index)) {
            next = self.parent(index);
        }
        line
    }

    /// Parents before children, each with its parent.
    pub fn top_down(&self) -> Vec<(usize, Option<usize>)> {
        let mut order: Vec<usize> = (0..self.processes.len()).collect();
        // A child never starts before its parent; within one tick the depth decides.
        order.sort_by_cached_key(|&index| (self.processes[index].id.start_ticks, self.depth(index)));
        order.into_iter().map(|index| (index, self.parent(index))).collect()
    }

    fn depth(&self, index: usize) -> usize {
        std::iter::successors(Some(index), |&index| self.parent(index)).take(self.processes.len()).count()
    }
}

/// Whether it is devstack itself, of this or another project, also when its file was replaced by an upgrade.
pub fn is_devstack(process: &Observed, me: &Me) -> bool {
    let Some(exe) = &process.exe else { return false };
    let name = exe.file_name().map(OsStr::as_encoded_bytes).unwrap_or_default();
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    name == b"devstack" || me.exe.as_deref().is_some_and(|mine| mine == exe.as_path())
}

/// At or below `folder`.
pub fn lies_in(path: Option<&Path>, folder: &Path) -> bool {
    path.is_some_and(|path| path.starts_with(folder))
}
