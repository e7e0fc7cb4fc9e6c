use crate::model::{BootTime, Exit, Reason, RunId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The goal, kept apart from the state on the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    Up,
    Down,
}

/// How much later than its deadline a set is given up without having been told who is left of it.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Where a service stands. A variant has a `run` exactly while the kernel may hold processes of that run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    Stopped,
    SettingUp {
        run: RunId,
    },
    /// For its dependencies to be ready.
    Waiting,
    Clearing {
        run: RunId,
    },
    /// The way is clear, and the hook runs that belongs before the process.
    PreStart {
        run: RunId,
        give_up_at: BootTime,
    },
    Spawning {
        run: RunId,
    },
    /// `late_at`: when it counts as not ready in time; `None` once that has been said.
    Starting {
        run: RunId,
        late_at: Option<BootTime>,
    },
    Running {
        run: RunId,
        recycle_at: Option<BootTime>,
    },
    Stopping {
        run: RunId,
        why: Reason,
        kill_at: BootTime,
    },
    Killing {
        run: RunId,
        why: Reason,
        give_up_at: BootTime,
    },
    /// The main process is dead, its set not known to be empty.
    Draining {
        run: RunId,
        exit: Exit,
        why: Option<Reason>,
        was_ready: bool,
        give_up_at: BootTime,
    },
    /// Nothing is left of the run before, and the hook runs that belongs after it. A run of its own: of the one before, what
    /// `kill_mode = "process"` leaves alone may still be there.
    PostStop {
        run: RunId,
        why: Reason,
        give_up_at: BootTime,
    },
    /// Something survived SIGKILL: the slot stays taken, so that no second copy can start.
    Stuck {
        run: RunId,
        exit: Option<Exit>,
        why: Option<Reason>,
        survivors: Vec<(i32, String)>,
    },
    Backoff {
        start_at: BootTime,
    },
    Exited {
        exit: Exit,
    },
    Failed {
        cause: Cause,
    },
    /// An external service that answered its check.
    Present,
}

impl State {
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::SettingUp { run }
            | Self::Clearing { run }
            | Self::PreStart { run, .. }
            | Self::Spawning { run }
            | Self::Starting { run, .. }
            | Self::Running { run, .. }
            | Self::Stopping { run, .. }
            | Self::Killing { run, .. }
            | Self::Draining { run, .. }
            | Self::PostStop { run, .. }
            | Self::Stuck { run, .. } => Some(*run),
            Self::Stopped | Self::Waiting | Self::Backoff { .. } | Self::Exited { .. } | Self::Failed { .. } | Self::Present => None,
        }
    }

    /// When this state ends by itself.
    pub fn deadline(&self) -> Option<BootTime> {
        match self {
            Self::Starting { late_at, .. } => *late_at,
            Self::Running { recycle_at, .. } => *recycle_at,
            Self::Stopping { kill_at, .. } => Some(*kill_at),
            Self::PreStart { give_up_at, .. } | Self::PostStop { give_up_at, .. } => Some(*give_up_at),
            // Whoever kills the set says first who survived.
            Self::Killing { give_up_at, .. } | Self::Draining { give_up_at, .. } => Some(give_up_at.after(LAST_WORD)),
            Self::Backoff { start_at } => Some(*start_at),
            Self::Stopped
            | Self::SettingUp { .. }
            | Self::Waiting
            | Self::Clearing { .. }
            | Self::Spawning { .. }
            | Self::Stuck { .. }
            | Self::Exited { .. }
            | Self::Failed { .. }
            | Self::Present => None,
        }
    }

    pub fn word(&self) -> StateWord {
        match self {
            Self::Stopped => StateWord::Stopped,
            Self::Waiting => StateWord::Waiting,
            Self::SettingUp { .. } | Self::Clearing { .. } | Self::PreStart { .. } | Self::Spawning { .. } | Self::Starting { .. } => {
                StateWord::Starting
            }
            Self::Running { .. } | Self::Present => StateWord::Running,
            Self::Stopping { .. } | Self::PostStop { .. } => StateWord::Stopping,
            Self::Killing { .. } | Self::Draining { .. } => StateWord::Killing,
            Self::Stuck { .. } => StateWord::Stuck,
            Self::Backoff { .. } => StateWord::Backoff,
            Self::Exited { .. } => StateWord::Exited,
            Self::Failed { .. } => StateWord::Failed,
        }
    }

    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Present)
    }
}

/// The state as status shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateWord {
    Stopped,
    Waiting,
    Starting,
    Running,
    Stopping,
    Killing,
    Stuck,
    Backoff,
    Exited,
    Failed,
}

impl StateWord {
    /// There is a run, or one is to come.
    pub fn has_run(self) -> bool {
        !matches!(self, Self::Stopped | Self::Exited | Self::Failed)
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Killing => "killing",
            Self::Stuck => "stuck",
            Self::Backoff => "backoff",
            Self::Exited => "exited",
            Self::Failed => "failed",
        }
    }
}

/// Why a service could not be started, for the person who asked: what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    pub kind: CauseKind,
    pub message: String,
    pub hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    SetupFailed,
    HookFailed,
    PortTaken,
    /// A copy that a person runs on a terminal.
    ManualCopy,
    NotSpawned,
    StartLimit,
    ExternalDown,
    Environment,
}

impl Cause {
    pub fn new(kind: CauseKind, message: impl Into<String>, hint: Option<String>) -> Self {
        Self { kind, message: message.into(), hint }
    }
}
