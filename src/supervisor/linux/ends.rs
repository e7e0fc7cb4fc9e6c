//! How main processes ended.

use super::LinuxOs;
use crate::model::{Exit, RunId};
use crate::sys::keeper;
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
