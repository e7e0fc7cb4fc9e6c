//! The words of a plan, spelled as `cleanup-workers --json` spells them.

use super::Evidence;
use crate::model::{Observed, RunId, ServiceName};
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a process is to the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Its worker is gone.
    Orphan,
    /// A copy of a service that devstack does not run, on no living terminal.
    Stale,
    /// Such a copy that a person runs on a living terminal.
    Manual,
    /// Of a living run.
    Managed,
    /// Its text says so; nothing proves it.
    LookAlike,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Orphan => "orphan",
            Self::Stale => "stale",
            Self::Manual => "manual",
            Self::Managed => "managed",
            Self::LookAlike => "look_alike",
        }
    }
}

/// What a process does in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Main,
    PoolWorker,
    ResourceTracker,
    Forkserver,
    Child,
}

impl Role {
    pub fn word(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::PoolWorker => "pool_worker",
            Self::ResourceTracker => "resource_tracker",
            Self::Forkserver => "forkserver",
            Self::Child => "child",
        }
    }
}

/// What was or would be done. A plan says `WouldTerminate` or `LeftAlone`; the others are for who carries it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It heeded SIGTERM.
    Terminated,
    /// It took SIGKILL.
    Killed,
    /// It left by itself, as a resource tracker does.
    Exited,
    WouldTerminate,
    LeftAlone,
    /// It outlived SIGKILL.
    Survived,
}

impl Action {
    pub fn word(self) -> &'static str {
        match self {
            Self::Terminated => "terminated",
            Self::Killed => "killed",
            Self::Exited => "exited",
            Self::WouldTerminate => "would_terminate",
            Self::LeftAlone => "left_alone",
            Self::Survived => "survived",
        }
    }
}

/// What the person asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// `None`: the whole project, strays of no known service included.
    pub services: Option<BTreeSet<ServiceName>>,
    pub older_than: Option<Duration>,
    pub include_manual: bool,
    pub include_unproven: bool,
    pub managed: bool,
}

/// One process, what it is, and what is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub process: Observed,
    pub kind: Kind,
    pub role: Role,
    pub service: Option<ServiceName>,
    pub run_id: Option<RunId>,
    pub evidence: Vec<Evidence>,
    pub action_planned: Action,
    pub reason: String,
}
