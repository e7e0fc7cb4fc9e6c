//! What should happen next: pure decisions over states, without I/O, without a clock, without handles.
//!
//! [`Stack::step`] takes an event and the time and leaves a list of actions; whoever performs them reports back with events.
//! Must not know how a process is started, watched or killed. Guards the invariants that a service never holds two runs,
//! that a report of another run changes nothing, and that a state owns a run exactly while the kernel may hold its processes.

mod action;
mod event;
mod exit_status;
mod graph;
pub mod growth;
pub mod health;
mod heard;
mod ledger;
mod limits;
mod notify;
mod restart;
mod rewrites;
mod slot;
mod stack;
mod state;
mod trend;

#[cfg(test)]
mod properties;

pub use action::{Act, Action, Hook, Notice, Swept};
pub use event::{Command, Event, Now, Probed, Remains, Report, Running, Spawned, StartMode, Survey};
pub use exit_status::{AskedToStop, exit_status};
pub use heard::Heard;
pub use ledger::{LEDGER_VERSION, Ledger, LedgerError, Origin};
pub use limits::{Finding, Monitor, Sample, Verdict, hard_memory_limit};
pub use notify::{Said, parse as parse_notification};
pub use restart::History;
pub use slot::{Health, Process, Slot};
pub use stack::Stack;
pub use state::{Cause, CauseKind, State, StateWord, Wanted};
pub use trend::Trend;
