//! What one process of devstack holds at one moment, by `/proc`.

use crate::harness::process::{Id, Process};
use std::collections::BTreeMap;
use std::fs;

#[derive(Debug, Clone)]
pub struct Sample {
    /// By kind.
    descriptors: BTreeMap<String, usize>,
    threads: u32,
    /// Living or not collected.
    pub children: usize,
    pub pss_kb: u64,
}

impl Sample {
    /// `None` when it is gone.
    pub fn take(id: Id) -> Option<Self> {
        let threads = Process::read(id.pid).filter(|it| it.id == id)?.threads;
        let mut descriptors = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{}/fd", id.pid)).ok()?.flatten() {
            let Ok(to) = fs::read_link(entry.path()) else { continue };
            let to = to.to_string_lossy();
            let kind = to.split_once(":[").map_or(if to.starts_with('/') { "file" } else { &*to }, |(kind, _)| kind);
            *descriptors.entry(kind.trim_start_matches("anon_inode:").to_owned()).or_insert(0) += 1;
        }
        let memory = fs::read_to_string(format!("/proc/{}/smaps_rollup", id.pid)).ok()?;
        let pss = memory.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        let children = fs::read_dir(format!("/proc/{}/task", id.pid))
            .ok()?
            .flatten()
            .map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default().split_whitespace().count());
        Some(Self { descriptors, threads, children: children.sum(), pss_kb: pss.split_whitespace().next()?.parse().ok()? })
    }

    pub fn is_flat_to(&self, other: &Self) -> bool {
        self.descriptors == other.descriptors && self.threads == other.threads && self.children == other.children
    }

    pub fn heading() -> String {
        format!("{:>8} {:<10} {:>8} {:>7} {:>8} {:>4}  by kind", "restarts", "process", "PSS kB", "threads", "children", "fds")
    }

    pub fn row(&self, turn: usize, name: &str) -> String {
        let kinds: Vec<String> = self.descriptors.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let count: usize = self.descriptors.values().sum();
        let Self { pss_kb, threads, children, .. } = self;
        format!("{turn:>8} {name:<10} {pss_kb:>8} {threads:>7} {children:>8} {count:>4}  {}", kinds.join(", "))
    }
}
