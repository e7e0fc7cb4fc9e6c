//! The words of the domain: names, times, processes, exits, reasons, quantities and what a service is.
//!
//! Knows nothing of files, clocks or the operating system; every other module may use it.

mod exit;
mod hash;
mod mark;
mod measured;
mod name;
mod path;
mod patterns;
mod process;
pub mod quantity;
mod reason;
mod signal;
mod spec;
mod terminal;
mod time;

pub use exit::Exit;
pub use hash::fnv1a;
pub use mark::{COOKIE, EXIT_CODE, EXIT_REASON, EXIT_SIGNAL, MAIN_PID, Mark, ROOT, SPEAKER_PID, WATCHDOG_PID};
pub use measured::{MIB, Measured};
pub use name::{InvalidName, ServiceName};
pub use patterns::Patterns;
pub use process::{FileId, InvalidRunId, Observed, Pid, ProcId, RunId};
pub use reason::{Actor, LastExit, Reason};
pub use signal::{Signal, UnknownSignal};
pub use spec::{
    EnvFile, HealthCheck, Hooks, KillMode, LogRotate, Probe, Project, ProjectId, Ready, ReadyWhen, RestartPolicy, Service, Setup,
    StartLimit,
};
pub use terminal::is_obeyed_by_terminals;
pub use time::BootTime;
