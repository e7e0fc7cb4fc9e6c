use crate::model::{Exit, Measured};
use std::time::Duration;

/// What a simulated worker will do, from its spawn to its end.
#[derive(Debug, Clone)]
pub struct Behaviour {
    pub fork: Fork,
    /// After its release; `None`: never.
    pub ready_after: Option<Duration>,
    /// By itself, after its release.
    pub ends: Option<(Duration, Exit)>,
    /// After the stop signal; `None`: it ignores it.
    pub ends_on_signal: Option<Duration>,
    /// After SIGKILL; `None`: it waits in the kernel for ever.
    pub ends_on_kill: Option<Duration>,
    pub children: Vec<Child>,
    /// Its probes fail from then on.
    pub unwell_after: Option<Duration>,
    pub exceeds: Option<(Duration, Measured)>,
}

/// A process that a worker starts, and that does not end by itself when the worker does.
#[derive(Debug, Clone)]
pub struct Child {
    pub ends_on_kill: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    Works,
    /// EAGAIN.
    TryAgain,
    /// ENOENT.
    NoSuchProgram,
}

/// How a set-up or a clearing goes.
#[derive(Debug, Clone)]
pub struct Errand {
    pub takes: Duration,
    pub works: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            fork: Fork::Works,
            ready_after: Some(Duration::from_millis(500)),
            ends: None,
            ends_on_signal: Some(Duration::from_millis(100)),
            ends_on_kill: Some(Duration::ZERO),
            children: Vec::new(),
            unwell_after: None,
            exceeds: None,
        }
    }
}

impl Default for Errand {
    fn default() -> Self {
        Self { takes: Duration::ZERO, works: true }
    }
}
