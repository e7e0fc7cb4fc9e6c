//! The conversation between the command line and a supervisor: one JSON object a line, over a unix socket.
//!
//! Refusals and outcomes are data here; only `cli` puts them into words. No request can carry a command to run: what runs
//! comes from the configuration on disk alone.

pub mod protocol;
mod snapshot;
pub mod upgrade;

pub use snapshot::{HealthView, LastExitView, Limits, MemoryTrend, ProcessView, ProjectView, ServiceView, Snapshot, SupervisorView};

pub use crate::engine::{StartMode, StateWord};
