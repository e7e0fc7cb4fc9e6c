use super::RunId;
use super::hash::fnv1a;

/// The variable that names the run of a process: `project/service/run`.
pub const COOKIE: &str = "DEVSTACK_RUN";
/// The variable with the project's root, so that two checkouts of one project are told apart.
pub const ROOT: &str = "DEVSTACK_ROOT";
/// The variable with the pid of the run's main process: who carries it and has that very pid is the main process.
pub const MAIN_PID: &str = "DEVSTACK_PID";
/// As [`MAIN_PID`], for sd_watchdog_enabled(3): heartbeats are the main process's business.
pub const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// In the environment of whatever a worker starts: the pid of the worker that speaks over `NOTIFY_SOCKET` for all of them.
pub const SPEAKER_PID: &str = "DEVSTACK_SPEAKER_PID";

/// How the run ended that a `post_stop` hook comes after.
pub const EXIT_REASON: &str = "DEVSTACK_EXIT_REASON";
pub const EXIT_CODE: &str = "DEVSTACK_EXIT_CODE";
pub const EXIT_SIGNAL: &str = "DEVSTACK_EXIT_SIGNAL";

/// The number that every descendant of a run inherits, whatever it does to its session, environment and descriptors: a soft
/// limit on realtime processor time (setrlimit(2), `RLIMIT_RTTIME`) of some ten thousand years.
///
/// Only realtime processes are held to that limit, so it limits nobody; but it is inherited over fork, exec, setsid, a wiped
/// environment and closed descriptors, and everybody may read it in `/proc/PID/limits`. From the top: a bit that no sensible
/// limit has, 24 bits of the project's root, 17 of the run's epoch, 20 of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(u64);

const SIGN: u32 = 61;
const PROJECT: u32 = 24;
const EPOCH: u32 = 17;
const SEQ: u32 = 20;

impl Mark {
    /// `root`: the project's folder, byte by byte.
    pub fn of(root: &[u8], run: RunId) -> Self {
        let low = |number: u64, bits: u32| number & ((1 << bits) - 1);
        let run = (low(fnv1a(run.epoch.to_le_bytes()), EPOCH) << SEQ) | low(run.seq, SEQ);
        Self((1 << SIGN) | (project(root) << (EPOCH + SEQ)) | run)
    }

    /// `None` for a limit that is no mark.
    pub fn from_limit(soft: u64) -> Option<Self> {
        (soft >> SIGN == 1).then_some(Self(soft))
    }

    pub fn as_limit(self) -> u64 {
        self.0
    }

    /// Of any run of the project with this root.
    pub fn is_of_project(self, root: &[u8]) -> bool {
        (self.0 >> (EPOCH + SEQ)) & ((1 << PROJECT) - 1) == project(root)
    }
}

fn project(root: &[u8]) -> u64 {
    fnv1a(root.iter().copied()) >> (64 - PROJECT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: RunId = RunId { epoch: 0x6743_0000, seq: 7 };

    #[test]
    fn a_mark_reads_back_and_names_its_project() {
        let mark = Mark::of(b"/home/shop", RUN);
        assert_eq!(Mark::from_limit(mark.as_limit()), Some(mark));
        assert!(mark.is_of_project(b"/home/shop") && !mark.is_of_project(b"/home/shop2"));
    }

    #[test]
    fn the_runs_of_a_project_and_those_of_a_lost_ledger_are_told_apart() {
        let marks: std::collections::BTreeSet<_> = (1..100_000).map(|seq| Mark::of(b"/shop", RunId { seq, ..RUN })).collect();
        assert_eq!(marks.len(), 99_999);
        assert_ne!(Mark::of(b"/shop", RUN), Mark::of(b"/shop", RunId { epoch: RUN.epoch + 1, ..RUN }));
    }

    #[test]
    fn the_limits_that_others_set_are_no_marks() {
        for limit in [0, 200_000, u64::from(u32::MAX), (1 << 61) - 1, 1 << 62, 1 << 63, u64::MAX] {
            assert_eq!(Mark::from_limit(limit), None, "{limit}");
        }
    }
}
