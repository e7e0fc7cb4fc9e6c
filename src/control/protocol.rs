use super::{Snapshot, StartMode};
use crate::engine::Swept;
use crate::model::{Exit, Pid, RunId, ServiceName};
use serde::{Deserialize, Serialize};

/// Raised when a message changes its meaning; both sides refuse to talk to another number.
pub const PROTOCOL: u32 = 1;

/// The longest line that is accepted, in bytes.
pub const LONGEST_LINE: usize = 1 << 20;

/// The first line of either side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u32,
    pub version: String,
    pub pid: Pid,
}

impl Hello {
    pub fn ours(pid: Pid) -> Self {
        Self { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned(), pid }
    }
}

/// What the command line asks. Services are named one by one; groups are the client's business. An empty list means all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Status {
        services: Vec<ServiceName>,
        tree: bool,
    },
    Start {
        services: Vec<ServiceName>,
        mode: StartMode,
        replace: bool,
    },
    Stop {
        services: Vec<ServiceName>,
        kill: bool,
        timeout_seconds: Option<f64>,
    },
    /// Stop every service, then leave; nothing of devstack remains.
    Shutdown {
        kill: bool,
        timeout_seconds: Option<f64>,
    },
}

/// What the supervisor answers: any number of updates and warnings, then exactly one of the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    Update(Update),
    /// Something about the project that holds nobody up.
    Warning {
        message: String,
    },
    Snapshot(Box<Snapshot>),
    Done {
        outcomes: Vec<Outcome>,
    },
    Refused(Refusal),
}

/// Progress of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Update {
    pub service: ServiceName,
    pub step: Step,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    SettingUp {
        command: Vec<String>,
    },
    /// A command of `hooks` runs.
    Hooking {
        hook: String,
        command: Vec<String>,
    },
    /// Something about the files that it watches is not as asked for.
    Watching {
        trouble: String,
    },
    /// It did not end well; that holds nobody up.
    HookFailed {
        message: String,
        hint: Option<String>,
    },
    WaitingFor {
        services: Vec<ServiceName>,
    },
    /// A stale copy or an orphan of an earlier run was ended before the start.
    Cleaned {
        pid: Pid,
        command: String,
        why: String,
    },
    /// What outlived the worker, or had left its tree, was ended with it.
    Swept {
        processes: Vec<Swept>,
    },
    Starting {
        pid: Option<Pid>,
    },
    /// Running but found unhealthy, hence restarted.
    Replacing {
        reason: String,
    },
    Stopping,
    /// It is no longer in the configuration.
    Removing,
    Killing,
    Ended(Outcome),
}

/// How a request ended for one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub service: ServiceName,
    pub result: Ending,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Ending {
    Started {
        pid: Pid,
        seconds: f64,
    },
    AlreadyRunning {
        pid: Pid,
    },
    /// An external service that answers.
    Present,
    Stopped {
        exit: Option<Exit>,
    },
    AlreadyStopped,
    /// It ended before it was ready. `log_offset`: where this run's output begins in its log file, in bytes.
    Died {
        exit: Exit,
        run: RunId,
        log_offset: u64,
    },
    /// It could not be prepared or spawned; a sentence, and what to do.
    Refused {
        message: String,
        hint: Option<String>,
    },
    /// Alive, but not ready in time; `wanted` says what it was waited for.
    NotReady {
        pid: Pid,
        seconds: f64,
        wanted: String,
        log_offset: u64,
    },
    /// It never got to start, because these are not ready.
    Blocked {
        by: Vec<ServiceName>,
    },
    /// Another command changed the goal meanwhile.
    Superseded,
    /// SIGKILL did not end these: `(pid, state and what it waits in)`.
    Survived {
        survivors: Vec<(Pid, String)>,
    },
}

impl Ending {
    /// Whether what was asked for came true.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Started { .. } | Self::AlreadyRunning { .. } | Self::Present | Self::Stopped { .. } | Self::AlreadyStopped)
    }
}

/// Why a request was not taken up at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    /// The two sides speak different protocols.
    Protocol {
        supervisor: Hello,
    },
    Malformed {
        detail: String,
    },
    NoSuchService {
        service: ServiceName,
    },
    /// The configuration on disk no longer resolves; the rendered errors.
    Config {
        rendered: String,
    },
    ShuttingDown,
}
