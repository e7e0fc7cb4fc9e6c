use crate::engine::StateWord;
use crate::model::{Actor, LastExit, Pid, Reason, RunId, ServiceName, Signal};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What `status --json` prints and the supervisor answers: one shape, stable, only ever added to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub project: ProjectView,
    /// `None` when no supervisor runs.
    pub supervisor: Option<SupervisorView>,
    pub services: Vec<ServiceView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectView {
    pub name: String,
    pub root: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SupervisorView {
    pub pid: Pid,
    pub version: String,
    pub uptime_seconds: f64,
    pub memory_mb: f64,
    /// Why the ledger cannot be saved: should devstack be killed now, it would not know what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<String>,
    /// What of the project as a whole does not work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    pub name: ServiceName,
    pub state: StateWord,
    pub ready: bool,
    pub health: HealthView,
    pub pid: Option<Pid>,
    pub run_id: Option<RunId>,
    pub started_at: Option<Timestamp>,
    pub uptime_seconds: Option<f64>,
    /// Until max_runtime ends the run; `None` without that limit.
    pub remaining_seconds: Option<f64>,
    /// Automatic restarts since somebody last started it.
    pub restarts: u32,
    /// All automatic restarts that are remembered, by the reason of the end before them.
    #[serde(default)]
    pub restarts_by_reason: BTreeMap<Reason, u64>,
    pub last_exit: Option<LastExitView>,
    /// Of one core, of the whole tree.
    pub cpu_percent: Option<f64>,
    /// Resident memory of the whole tree.
    pub memory_mb: Option<f64>,
    pub processes: u32,
    /// Of all of them.
    #[serde(default)]
    pub threads: u32,
    /// Only where memory is watched.
    #[serde(default)]
    pub memory_trend: Option<MemoryTrend>,
    pub limits: Limits,
    pub ports: Vec<u16>,
    /// Relative to the project's root where it lies inside.
    pub log_file: String,
    /// Processes that outlived their run.
    pub strays: u32,
    /// Whom it waits for, why it failed, when it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What it says of itself, as it said it: `STATUS=` of sd_notify(3).
    #[serde(default)]
    pub status_text: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// Only when the tree was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tree: Vec<ProcessView>,
}

/// `status` is one of `healthy starting slow hung asleep unhealthy dead stopped`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthView {
    pub status: String,
    pub reason: String,
    pub checked_at: Option<Timestamp>,
    pub latency_ms: Option<f64>,
    /// Since the last heartbeat, while the machine was awake; `None` for who has sent none to this supervisor.
    #[serde(default)]
    pub heartbeat_age_seconds: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExitView {
    pub code: Option<u8>,
    pub signal: Option<Signal>,
    pub reason: Reason,
    pub by: Actor,
    pub at: Timestamp,
}

impl From<&LastExit> for LastExitView {
    fn from(last: &LastExit) -> Self {
        Self { code: last.exit.code(), signal: last.exit.signal(), reason: last.reason, by: last.by, at: last.at }
    }
}

/// How the memory of the present run develops, as it was sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryTrend {
    pub peak_mb: f64,
    /// Over the later half of the run; `None` while it is too young.
    pub slope_mb_per_hour: Option<f64>,
    /// Until the limit is reached if it goes on like this; `None` if it does not grow noticeably.
    pub limit_in_seconds: Option<f64>,
}

/// `null`: no such limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    pub max_runtime_hours: Option<f64>,
    #[serde(serialize_with = "crate::model::quantity::whole_if_possible")]
    pub memory_limit_mb: Option<f64>,
    pub cpu_limit_percent: Option<f64>,
}

/// One process of a service's tree, parents before children.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessView {
    pub pid: Pid,
    pub ppid: Pid,
    /// `main`, `pool_worker`, `resource_tracker`, `forkserver` or `child`.
    pub role: String,
    pub command: String,
    pub memory_mb: f64,
    pub uptime_seconds: f64,
}
