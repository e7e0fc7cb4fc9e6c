use super::{Exit, RunId, Signal};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a run was ended or ended by itself; travels with the stop into status, journal and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A person or another program asked devstack for it.
    Requested,
    ConfigChanged,
    /// A file that it watches.
    FilesChanged,
    #[serde(rename = "max_runtime_reached")]
    MaxRuntime,
    #[serde(rename = "memory_limit_exceeded")]
    MemoryLimit,
    #[serde(rename = "cpu_limit_exceeded")]
    CpuLimit,
    HeartbeatTimeout,
    Unhealthy,
    /// It ended by itself with status 0.
    Exited,
    /// It ended by itself with another status, or by a signal that devstack did not send.
    Crashed,
    /// Somebody other than devstack sent it SIGTERM.
    #[serde(rename = "signal_SIGTERM")]
    SignalTerm,
    /// It could not be prepared or spawned.
    StartFailed,
}

impl Reason {
    /// The reason of an end that devstack did not cause.
    pub fn of_own_end(exit: &Exit) -> Self {
        match exit {
            Exit::Code(0) => Self::Exited,
            Exit::Signal(signal) if *signal == Signal::TERM => Self::SignalTerm,
            Exit::Code(_) | Exit::Signal(_) | Exit::Unobserved => Self::Crashed,
            Exit::NotSpawned(_) => Self::StartFailed,
        }
    }

    /// An end that was asked for or planned; it counts neither as a crash nor against the start limit.
    pub fn is_planned(self) -> bool {
        matches!(self, Self::Requested | Self::ConfigChanged | Self::FilesChanged | Self::MaxRuntime)
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::ConfigChanged => "config_changed",
            Self::FilesChanged => "files_changed",
            Self::MaxRuntime => "max_runtime_reached",
            Self::MemoryLimit => "memory_limit_exceeded",
            Self::CpuLimit => "cpu_limit_exceeded",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::Unhealthy => "unhealthy",
            Self::Exited => "exited",
            Self::Crashed => "crashed",
            Self::SignalTerm => "signal_SIGTERM",
            Self::StartFailed => "start_failed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// devstack on its own account: a limit, a failed health check.
    Devstack,
    /// devstack because somebody asked, or changed a file.
    User,
    /// The worker itself.
    Worker,
    /// A signal or an end that devstack neither sent nor saw the sender of.
    Unknown,
}

impl Actor {
    pub fn word(self) -> &'static str {
        match self {
            Self::Devstack => "devstack",
            Self::User => "user",
            Self::Worker => "worker",
            Self::Unknown => "unknown",
        }
    }
}

/// The last end of a service, as status and the ledger tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    pub run: RunId,
    pub exit: Exit,
    pub reason: Reason,
    pub by: Actor,
    pub at: Timestamp,
}

impl LastExit {
    pub fn new(run: RunId, exit: Exit, asked: Option<Reason>, at: Timestamp) -> Self {
        let reason = asked.unwrap_or_else(|| Reason::of_own_end(&exit));
        let by = match (asked, &exit) {
            (Some(Reason::Requested | Reason::ConfigChanged | Reason::FilesChanged), _) => Actor::User,
            (Some(_), _) => Actor::Devstack,
            (None, Exit::Code(_)) => Actor::Worker,
            (None, Exit::NotSpawned(_)) => Actor::Devstack,
            (None, Exit::Signal(_) | Exit::Unobserved) => Actor::Unknown,
        };
        Self { run, exit, reason, by, at }
    }
}
