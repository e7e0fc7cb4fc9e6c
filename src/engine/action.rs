use super::{Cause, Process};
use crate::model::{Actor, BootTime, Exit, Measured, Pid, ProcId, Reason, RunId, Service, ServiceName, Signal};
use serde::{Deserialize, Serialize};

/// What the shell is to do for one service. What concerns a run names it, and its outcome comes back as a report of that run.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    pub service: ServiceName,
    pub act: Act,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Run the set-up command if what it creates is missing.
    SetUp {
        run: RunId,
    },
    /// End stale copies and orphans of this service, then see that its ports are free.
    Clear {
        run: RunId,
        replace: bool,
    },
    /// Another process of the run is its main one from now on.
    Follow {
        run: RunId,
        process: Process,
    },
    /// Run a command of the configuration around the process.
    Hook {
        run: RunId,
        hook: Hook,
    },
    /// Create the process and hold it at its gate.
    Spawn {
        run: RunId,
    },
    /// The ledger knows it: let it exec, and watch for its end and its readiness.
    Release {
        run: RunId,
    },
    /// Watch a process that an earlier supervisor started.
    Adopt {
        run: RunId,
        process: Process,
        ready: bool,
    },
    /// The stop signal, to the main process or, where the kill mode says so, to the set.
    Signal {
        run: RunId,
        signal: Signal,
    },
    /// Have a hung worker write down where it is, if it knows how to; [`super::Report::StackAsked`] follows.
    AskStack {
        run: RunId,
    },
    /// Kill what there is of the run, set-up commands included, and report when nothing is left.
    Sweep {
        run: RunId,
        give_up_at: BootTime,
    },
    /// The set is empty: collect the main process.
    Reap {
        run: RunId,
    },
    /// From now on its health is probed and its limits are watched.
    Watch {
        run: RunId,
    },
    Announce(Notice),
}

/// A command of the configuration that belongs before or after a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    PreStart,
    /// How the run ended that it comes after; no exit where there was no process.
    PostStop {
        exit: Option<Exit>,
        reason: Reason,
    },
}

impl Hook {
    pub fn word(&self) -> &'static str {
        match self {
            Self::PreStart => "pre_start",
            Self::PostStop { .. } => "post_stop",
        }
    }

    pub fn command<'a>(&self, service: &'a Service) -> Option<&'a Vec<String>> {
        match self {
            Self::PreStart => service.hooks.pre_start.as_ref(),
            Self::PostStop { .. } => service.hooks.post_stop.as_ref(),
        }
    }
}

/// A process that was ended with its run although the main process no longer held it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    pub pid: Pid,
    pub command: String,
    /// What proved that it was of the run.
    pub evidence: String,
}

/// What a person, the journal or a waiting command is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// What it creates is missing, or the external service did not answer.
    SettingUp {
        command: Vec<String>,
    },
    /// A hook runs: its name and its command.
    Hooking {
        hook: String,
        command: Vec<String>,
    },
    /// Something about the files that it watches is not as asked for.
    Watching {
        trouble: String,
    },
    /// The hook after a run did not end well; that holds nobody up.
    HookFailed(Cause),
    WaitingFor(Vec<ServiceName>),
    /// A stale copy or an orphan is ended before the start.
    Clearing {
        pid: Pid,
        command: String,
        why: String,
    },
    /// What outlived the main process, or had left its tree, was ended with the run.
    Swept {
        run: RunId,
        processes: Vec<Swept>,
    },
    Starting {
        run: RunId,
        main: ProcId,
        log_offset: u64,
    },
    Ready {
        run: RunId,
        main: ProcId,
        seconds: f64,
    },
    /// An external service answers.
    Present,
    /// Devstack was restarted, and goes on with a run that was there before.
    Adopted {
        run: RunId,
        main: ProcId,
    },
    /// Alive, but not ready within its time; it stays in `starting`.
    Late {
        run: RunId,
        main: ProcId,
        seconds: f64,
        log_offset: u64,
    },
    /// It has named another process of its run as its main one.
    MainIs {
        run: RunId,
        main: ProcId,
    },
    /// What it has named as its main process (`MAINPID=`) is none of its run.
    MainPidRefused {
        run: RunId,
        said: Option<Pid>,
    },
    /// Close to a limit: what is told before anything is done about it.
    NearLimit {
        run: RunId,
        measured: Measured,
    },
    /// Over a limit; what follows is announced as well.
    OverLimit {
        run: RunId,
        measured: Measured,
    },
    Stopping {
        run: RunId,
        why: Reason,
    },
    Killing {
        run: RunId,
        why: Reason,
    },
    /// It is believed to be ill, which restarts it unless its policy says never. `reason`: what the last probe said.
    Unhealthy {
        run: RunId,
        failures: u32,
        reason: String,
    },
    /// The main process ended, `seconds` after it was started; `was_ready`: the run had got so far.
    Ended {
        run: RunId,
        main: Option<ProcId>,
        exit: Exit,
        reason: Reason,
        by: Actor,
        seconds: f64,
        was_ready: bool,
        log_offset: u64,
    },
    RestartsIn {
        seconds: f64,
    },
    /// Files that it watches, relative to the project: some of them, or none where they could not be counted.
    FilesChanged {
        paths: Vec<String>,
    },
    /// A start was given up before there was a process.
    Refused(Cause),
    /// A start was taken back before there was a process; `during`: what was under way, `its set-up`.
    CutShort {
        during: String,
        why: Reason,
    },
    /// At rest, because somebody wanted it so; how its run ended, if it was this that ended one.
    Stopped {
        exit: Option<Exit>,
    },
    /// At rest, because the restart policy says so.
    Exited {
        exit: Exit,
    },
    Failed(Cause),
    Stuck {
        survivors: Vec<(Pid, String)>,
    },
}
