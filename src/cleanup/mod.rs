//! Whose process is this, and in which order does a set of them end: pure, over tables that somebody else has read.
//!
//! Decides everything that may be signalled; performs nothing and asks no clock. Invariant: text in a command line alone never
//! leads to a signal.

pub(crate) mod argv;
mod decision;
mod evidence;
pub mod killing;
pub mod leftovers;
mod plan;
mod table;
#[cfg(test)]
pub(crate) mod testing;

pub use decision::{Action, Choice, Decision, Kind, Role};
pub use evidence::{Evidence, Interest};
pub use plan::{for_start, is_forgotten, plan};

use crate::model::{FileId, Observed, Pid, ProcId, RunId, ServiceName};
use std::path::PathBuf;

/// One run as the ledger tells it, living or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRun {
    pub service: ServiceName,
    pub run: RunId,
    /// `None` while only its set-up commands run.
    pub leader: Option<ProcId>,
    /// devstack counts it as running, whether or not a supervisor is up at this moment to watch it.
    pub alive_managed: bool,
    /// Processes seen below the leader while it lived.
    pub recorded: Vec<ProcId>,
    pub log_file: Option<FileId>,
}

impl KnownRun {
    pub fn is_led_by(&self, it: ProcId) -> bool {
        self.leader == Some(it)
    }

    /// In the leader's session or process group, and not older than the leader.
    pub fn is_around(&self, it: &Observed) -> bool {
        self.leader.is_some_and(|leader| (it.sid == leader.pid || it.pgid == leader.pid) && it.id.start_ticks >= leader.start_ticks)
    }
}

/// What devstack's own records say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerFacts {
    pub runs: Vec<KnownRun>,
    /// The living supervisor and keeper of this project: subreapers, so their children are ours.
    pub guardians: Vec<ProcId>,
    /// What each service's `log_file` leads to now.
    pub log_files: Vec<(ServiceName, FileId)>,
}

/// Who asks. It, what it descends from, and other users' processes are out of reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Me {
    pub pid: Pid,
    pub uid: u32,
    /// The devstack program: whatever runs it is never touched.
    pub exe: Option<PathBuf>,
}

/// What a process below a worker does, by its arguments alone.
pub fn role_of(argv: &[Vec<u8>]) -> Role {
    match argv::pool_part(argv, None) {
        Some(argv::PoolPart::SpawnChild) => Role::PoolWorker,
        Some(argv::PoolPart::ResourceTracker) => Role::ResourceTracker,
        Some(argv::PoolPart::Forkserver) => Role::Forkserver,
        None => Role::Child,
    }
}
