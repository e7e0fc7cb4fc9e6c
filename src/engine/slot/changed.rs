//! Files changed that a service watches: somebody wants it as it is now.

use super::super::{History, Notice, State, Wanted};
use super::{Slot, Turn};
use crate::model::{BootTime, Reason};
use std::collections::BTreeSet;
use std::path::PathBuf;

impl Slot {
    /// `last_at`: when the last of `paths` changed; none are named where they could not be counted.
    pub(in crate::engine) fn on_files_changed(&mut self, paths: BTreeSet<PathBuf>, last_at: BootTime, turn: &mut Turn) {
        let spawned_at = self.process.as_ref().map(|process| process.spawned_at).or(self.rewrites.spawned_at);
        // What changed before a process was there is what that process has read.
        if self.wanted == Wanted::Down || self.removed || spawned_at.is_some_and(|spawned_at| last_at <= spawned_at) {
            return;
        }
        self.rewrites.spawned_at = spawned_at;
        let uncounted = paths.is_empty();
        let (left, own) = self.rewrites.sort_out(paths, last_at);
        for path in own {
            let trouble =
                format!("{} changes after every restart, as if the service wrote it itself: it no longer restarts it", path.display());
            self.announce(turn, Notice::Watching { trouble });
        }
        if left.is_empty() && !uncounted {
            return;
        }
        match self.state {
            State::Starting { .. } | State::Running { .. } if self.pending_stop.is_none() => {
                self.announce(turn, some_of(&left));
                self.stop_and_start_again(Reason::FilesChanged);
            }
            State::Backoff { .. } | State::Exited { .. } | State::Failed { .. } => {
                self.announce(turn, some_of(&left));
                self.history = History::default();
                self.begin_start(turn);
            }
            State::Stopping { .. } | State::Killing { .. } | State::Draining { .. } | State::PostStop { .. } => self.again = true,
            // There is no process yet that could have read anything, or there can be no other.
            State::SettingUp { .. } | State::Waiting | State::Clearing { .. } | State::PreStart { .. } | State::Spawning { .. } => {}
            State::Starting { .. } | State::Running { .. } | State::Stopped | State::Stuck { .. } | State::Present => {}
        }
    }
}

/// Enough to recognise what one did.
const NAMED: usize = 5;

fn some_of(paths: &BTreeSet<PathBuf>) -> Notice {
    Notice::FilesChanged { paths: paths.iter().take(NAMED).map(|path| path.display().to_string()).collect() }
}
