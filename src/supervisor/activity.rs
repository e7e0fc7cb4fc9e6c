//! What the processes of a run do, by what the kernel counts of them: two looks, and the difference.

use super::set;
use crate::engine::health::Activity;
use crate::model::{BootTime, ProcId};
use crate::sys::clock;
use crate::sys::procfs::{self, Reader, Stat};
use std::time::Duration;

/// One look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    at: BootTime,
    ticks: u64,
    switches: Option<u64>,
    main_state: u8,
}

impl Look {
    /// At processes that were just read, the main one first.
    pub fn of(processes: &[Stat], at: BootTime) -> Option<Self> {
        let ticks = processes.iter().map(|stat| stat.utime + stat.stime + stat.cutime + stat.cstime).sum();
        Some(Self { at, ticks, switches: None, main_state: processes.first()?.state })
    }

    /// As [`Look::of`], down to each thread: for when something depends on it.
    pub fn closely(main: ProcId) -> Option<Self> {
        let tree = set::tree(main.pid);
        let mut reader = Reader::default();
        let switches = tree.iter().filter_map(|stat| reader.switches(stat.pid).ok()).sum();
        let look = Self::of(&tree, clock::now())?;
        (tree.first()?.start_ticks == main.start_ticks).then_some(Self { switches: Some(switches), ..look })
    }

    /// What was done since an earlier look. Who has ended takes its count along: then something went on.
    pub fn since(&self, earlier: &Self) -> Activity {
        let ticks = self.ticks.checked_sub(earlier.ticks).unwrap_or(1);
        let switches = self.switches.zip(earlier.switches).map(|(now, then)| now.checked_sub(then).unwrap_or(1));
        Activity {
            over: self.at.since(earlier.at),
            cpu: Duration::from_nanos(procfs::started_at(ticks).as_nanos()),
            switches,
            is_blocked: self.main_state == b'D' && earlier.main_state == b'D',
            is_stopped: self.main_state == b'T',
        }
    }
}
