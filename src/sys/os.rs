use crate::engine::{Event, Hook, Notice, Now, Process, Report, Stack, Survey};
use crate::model::{BootTime, RunId, Service, ServiceName, Signal};
use std::sync::Arc;

/// Everything that the supervisor asks of the operating system. The real one is `LinuxOs`, its twin in tests `SimOs`.
///
/// Nothing here waits: what takes time is begun, and its outcome comes back as an event of that run. Each call is allowed to
/// find that the world has moved on (the process is gone, the run is unknown); that is not an error but the next event.
pub trait Os {
    fn now(&self) -> Now;

    /// What there is of this project's runs, whether or not any ledger knows them.
    fn survey(&mut self) -> Survey;

    /// Begins the set-up of a service, or the check of an external one; ends in `Report::SetUp`.
    fn set_up(&mut self, run: RunId, service: &Arc<Service>);

    /// Begins to end stale copies and to look at ports; ends in `Report::Cleared`.
    fn clear(&mut self, run: RunId, service: &Arc<Service>, replace: bool);

    /// Begins a command of the configuration; ends in `Report::Hooked`.
    fn hook(&mut self, run: RunId, service: &Arc<Service>, hook: Hook);

    /// Creates the process and holds it at its gate, before its program runs. Unless it is released it ends by itself when
    /// devstack does. Answers `Report::Spawned` or `Report::NotSpawned`.
    fn spawn(&mut self, run: RunId, service: &Arc<Service>) -> Report;

    /// Opens the gate and watches for `Report::Ended` and `Report::Ready`.
    fn release(&mut self, run: RunId, service: &Arc<Service>);

    /// Watches a process that an earlier supervisor released; `Report::Ended` comes at once if it is gone,
    /// or if its number is another's by now.
    fn adopt(&mut self, run: RunId, service: &Arc<Service>, recorded: &Process, ready: bool);

    /// Another process of the run is its main one from now on: its end is the run's.
    fn follow(&mut self, run: RunId, process: &Process);

    /// Signals the main process, or where `kill_mode` says so every process of the set. A stopped process is continued.
    fn signal(&mut self, run: RunId, service: &Arc<Service>, signal: Signal);

    /// Has the main process of a run write its stack into its log, where it knows how to; ends in `Report::StackAsked` within
    /// seconds, whatever it does.
    fn ask_stack(&mut self, run: RunId, service: &Arc<Service>);

    /// Cuts short what `set_up`, `clear` or `hook` is doing, and kills the set of a run; ends in `Report::SetEmpty`, with `Report::Survivors` before that if it takes beyond `give_up_at`.
    fn sweep(&mut self, run: RunId, service: &Arc<Service>, give_up_at: BootTime);

    /// Probes the health of a run and watches its limits until it ends.
    fn watch(&mut self, run: RunId, service: &Arc<Service>);

    /// Collects the main process and forgets the run.
    fn reap(&mut self, run: RunId);

    /// Makes the ledger survive this process.
    ///
    /// # Errors
    /// When it cannot be written; the earlier one then still stands.
    fn save(&mut self, stack: &Stack) -> std::io::Result<()>;

    fn announce(&mut self, service: &ServiceName, notice: Notice);

    /// What became known while the calls above were made.
    fn take_due(&mut self) -> Vec<Event> {
        Vec::new()
    }
}
