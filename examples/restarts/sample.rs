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
    /// Shared pages in shares.
    pss_kb: u64,
    pub anonymous_kb: u64,
}

impl Sample {
    /// `None` when it is gone.
    pub fn take(id: Id) -> Option<Self> {
        let threads = Process::read(id.pid).filter(|it| it.id == id)?.threads;
        let mut descriptors = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{}/fd", id.pid)).ok()?.flatten() {
            let Ok(to) = fs::read_link(entry.path()) else { continue };
            let to = to.to_string_lossy();
            let kind = to.strip_prefix("anon_inode:").or(to.split_once(":[").map(|(kind, _)| kind)).unwrap_or("file");
            *descriptors.entry(kind.trim_matches(['[', ']']).to_owned()).or_insert(0) += 1;
        }
        let memory = fs::read_to_string(format!("/proc/{}/smaps_rollup", id.pid)).ok()?;
        let kilobytes = |name: &str| memory.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
        let children = fs::read_dir(format!("/proc/{}/task", id.pid))
            .ok()?
            .flatten()
            .map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default().split_whitespace().count());
        // Not told apart before Linux 5.4.
        let (pss_kb, anonymous_kb) = (kilobytes("Pss:")?, kilobytes("Pss_Anon:"));
        Some(Self { descriptors, threads, children: children.sum(), pss_kb, anonymous_kb: anonymous_kb.unwrap_or(pss_kb) })
    }

    pub fn is_flat_to(&self, other: &Self) -> bool {
        self.descriptors == other.descriptors && self.threads == other.threads && self.children == other.children
    }

    pub fn heading() -> String {
        format!(
            "{:>8} {:<10} {:>8} {:>8} {:>7} {:>8} {:>4}  by kind",
            "restarts", "process", "PSS kB", "own kB", "threads", "children", "fds"
        )
    }

    pub fn row(&self, turn: usize, name: &str) -> String {
        let kinds: Vec<String> = self.descriptors.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let count: usize = self.descriptors.values().sum();
        let Self { pss_kb, anonymous_kb, threads, children, .. } = self;
        format!("{turn:>8} {name:<10} {pss_kb:>8} {anonymous_kb:>8} {threads:>7} {children:>8} {count:>4}  {}", kinds.join(", "))
    }
}
