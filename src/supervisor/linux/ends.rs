//! How main processes ended, and what they leave to be known by.

use super::LinuxOs;
use crate::engine::Notice;
use crate::journal::LastWords;
use crate::model::{Exit, RunId};
use crate::supervisor::run::Run;
use crate::sys::{keeper, peak_memory, rotation};
use std::collections::BTreeMap;
use std::os::fd::AsFd;

impl LinuxOs {
    /// How a main process ended; the process stays uncollected.
    pub fn exit_of(&self, run: RunId) -> Exit {
        let Some(run) = self.runs.get(&run) else { return Exit::Unobserved };
        let as_child = run.pidfd.as_ref().and_then(|pidfd| keeper::peek_child(pidfd.as_fd()));
        let of_keeper = || run.main().and_then(|main| self.keeper.as_ref()?.1.peek(main.pid));
        as_child.or_else(of_keeper).unwrap_or(Exit::Unobserved)
    }
}

/// Of the run that a notice says has ended, before anything else is written to its log.
pub fn last_words(runs: &BTreeMap<RunId, Run>, notice: &Notice) -> LastWords {
    let Notice::Ended { run, .. } = notice else { return LastWords::default() };
    let Some(run) = runs.get(run) else { return LastWords::default() };
    let sampled = run.monitor.as_ref().and_then(|monitor| monitor.trend().peak());
    let counted = run.pidfd.as_ref().and_then(|pidfd| peak_memory::of_child(pidfd.as_fd()));
    let (log, is_whole) = end_of_log(run).unwrap_or_default();
    LastWords::of(sampled.max(counted), &log, is_whole)
}

/// What this run wrote last, and whether that begins with a line.
fn end_of_log(run: &Run) -> Option<(Vec<u8>, bool)> {
    run.traits.log?;
    let (start, log) = rotation::read_end(&run.service.log_file, run.log_offset, LastWords::REACH as u64).ok()?;
    Some((log, start == run.log_offset))
}
