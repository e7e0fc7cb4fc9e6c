use super::health::Activity;
use super::{Cause, Finding, Said};
use crate::model::{BootTime, Exit, Pid, ProcId, RunId, ServiceName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// The time of a step: one clock for deadlines, one for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub boot: BootTime,
    /// How much of that the machine has slept: nothing was late for as long as nobody could run.
    pub asleep: Duration,
    pub wall: Timestamp,
}

/// Everything that can happen to a stack.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Command(Command),
    /// What became of a run. A report of a run that the service no longer holds changes nothing.
    Report(ServiceName, RunId, Report),
    /// Files that a service watches, relative to the project, and when the last of them changed. None named: more than could be
    /// counted.
    FilesChanged(ServiceName, BTreeSet<PathBuf>, BootTime),
    /// What else there is of the project's runs: an earlier devstack, or one in the foreground, was killed and left it.
    Found(Survey),
    /// Time passed; the deadlines in the states say what follows.
    Tick,
}

/// What somebody asked for. Dependencies are added here, groups were resolved before.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Start {
        services: Vec<ServiceName>,
        mode: StartMode,
        replace: bool,
    },
    Stop {
        services: Vec<ServiceName>,
        kill: bool,
        timeout: Option<Duration>,
    },
    /// Stop everything; devstack leaves once that is done, also if it is killed meanwhile.
    Shutdown {
        kill: bool,
        timeout: Option<Duration>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartMode {
    /// What runs and is healthy stays untouched.
    Ensure,
    /// What runs is stopped first.
    Restart,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    SetUp(Result<(), Cause>),
    /// The hook of the present state has ended.
    Hooked(Result<(), Cause>),
    Cleared(Result<(), Cause>),
    /// It has named another process of its run as its main one (`MAINPID=`), which is there.
    MainNamed {
        main: ProcId,
        inode: Option<u64>,
    },
    /// It exists and waits at its gate.
    Spawned(Spawned),
    NotSpawned {
        cause: Cause,
        permanent: bool,
    },
    Ready,
    Probed(Probed),
    /// What a process of the run said of it, by sd_notify(3).
    Notified(Vec<Said>),
    /// The run goes on under another supervisor, to which what its processes say still comes.
    StillHeard,
    /// A hung worker was asked for its stack and had its time to write it down.
    StackAsked,
    /// What it uses was measured against a limit.
    Limit(Finding),
    /// The main process ended. It is not reaped yet, so its numbers cannot be recycled.
    Ended(Exit),
    /// No process of the run is left but the unreaped main one.
    SetEmpty,
    /// SIGKILL had no effect on these within the time given: pid, and what it waits in.
    Survivors(Vec<(Pid, String)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spawned {
    pub main: ProcId,
    /// See [`super::Process::inode`].
    pub inode: Option<u64>,
    /// Where this run's output begins in its log file, in bytes.
    pub log_offset: u64,
}

/// The main process of a run, found running by what it carries: the ledger may not know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    pub service: ServiceName,
    pub run: RunId,
    pub main: ProcId,
    pub started_at: BootTime,
}

/// What is left of a run whose main process is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remains {
    pub service: ServiceName,
    pub run: RunId,
}

/// What there is of a project's runs, by what processes carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    pub running: Vec<Running>,
    pub remains: Vec<Remains>,
}

impl Survey {
    pub fn retain(&mut self, of: impl Fn(&ServiceName) -> bool) {
        self.running.retain(|one| of(&one.service));
        self.remains.retain(|one| of(&one.service));
    }
}

/// One answer of a health probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    pub passed: bool,
    /// No answer came within the time it was given.
    pub timed_out: bool,
    /// The seed's word: `healthy`, or what the endpoint said or did instead.
    pub reason: String,
    pub latency: Duration,
    pub at: Timestamp,
    /// What the run did while it did not answer well, if somebody looked.
    pub activity: Option<Activity>,
}
