//! Places at which a test has devstack killed, as `kill -9` from outside would at that very moment.
//!
//! Only in builds with debug assertions; elsewhere a place costs nothing. `DEVSTACK_FAILPOINT=PLACE:COUNT:FILE` kills the
//! process that reaches PLACE for the COUNT-th time, once: FILE is removed, and without it nothing happens.

/// In the order in which a life reaches them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// The command has created the socket, and nobody serves it yet.
    SocketBound,
    /// The keeper is about to fork a supervisor.
    BeforeSupervisor,
    LedgerLoaded,
    Adopted,
    Recovered,
    /// A command of a set-up or a hook runs.
    HelperBegun,
    /// It has ended, and nobody knows how.
    HookEnded,
    BeforeSpawn,
    /// The child waits at its gate, and no ledger knows it.
    Spawned,
    /// The new ledger lies beside the old one.
    LedgerWritten,
    LedgerReplaced,
    /// The journal tells what the ledger knows.
    JournalWritten,
    Released,
    BeforeSignal,
    Signalled,
    SweepBegun,
    Swept,
    BeforeReap,
    Reaped,
    /// The supervisor is about to become the keeper.
    BecomingKeeper,
    /// The supervisor is about to become another program.
    Upgrading,
    /// It has, and knows nothing yet.
    GoingOn,
    /// It has recovered, and the keeper would still start the old program.
    Succeeding,
    Succeeded,
    /// The head of a log is copied; see [`super::rotation`] for these.
    LogCopied,
    LogCopyWhole,
    LogPunched,
    LogPlaced,
    LogCollapsing,
    LogCollapsed,
    Leaving,
}

impl Failpoint {
    pub const ALL: [Self; 31] = [
        Self::SocketBound,
        Self::BeforeSupervisor,
        Self::LedgerLoaded,
        Self::Adopted,
        Self::Recovered,
        Self::HelperBegun,
        Self::HookEnded,
        Self::BeforeSpawn,
        Self::Spawned,
        Self::LedgerWritten,
        Self::LedgerReplaced,
        Self::JournalWritten,
        Self::Released,
        Self::BeforeSignal,
        Self::Signalled,
        Self::SweepBegun,
        Self::Swept,
        Self::BeforeReap,
        Self::Reaped,
        Self::BecomingKeeper,
        Self::Upgrading,
        Self::GoingOn,
        Self::Succeeding,
        Self::Succeeded,
        Self::LogCopied,
        Self::LogCopyWhole,
        Self::LogPunched,
        Self::LogPlaced,
        Self::LogCollapsing,
        Self::LogCollapsed,
        Self::Leaving,
    ];

    pub fn name(self) -> String {
        format!("{self:?}")
    }
}

/// What names the place, the count and the file.
pub const VARIABLE: &str = "DEVSTACK_FAILPOINT";

#[cfg(not(debug_assertions))]
pub fn reach(_: Failpoint) {}

#[cfg(debug_assertions)]
pub fn reach(place: Failpoint) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static REACHED: AtomicU32 = AtomicU32::new(0);
    let Ok(wish) = std::env::var(VARIABLE) else { return };
    let mut parts = wish.splitn(3, ':');
    let (Some(name), Some(count), Some(file)) = (parts.next(), parts.next(), parts.next()) else { return };
    if name != place.name() || REACHED.fetch_add(1, Ordering::Relaxed) + 1 != count.parse::<u32>().unwrap_or_default() {
        return;
    }
    if std::fs::remove_file(file).is_ok() {
        #[expect(clippy::disallowed_methods, reason = "this very process")]
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
