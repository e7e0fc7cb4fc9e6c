mod changed;
mod down;
mod hooks;
mod notified;
mod probed;
mod reports;
mod up;

use super::rewrites::Rewrites;
use super::{Act, Action, Heard, History, Notice, Now, Probed, StartMode, State, Wanted};
use crate::model::{BootTime, LastExit, ProcId, Reason, RunId, Service};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// SIGKILL acts at once except in uninterruptible sleep; what is there after this long is called stuck.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// One service: its goal, where it stands, and what is remembered of its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// As the present run was started; a newer one takes effect with the next start.
    pub spec: Arc<Service>,
    #[serde(skip)]
    newer_spec: Option<Arc<Service>>,
    pub wanted: Wanted,
    pub state: State,
    pub process: Option<Process>,
    pub history: History,
    pub last_exit: Option<LastExit>,
    /// Automatic restarts by the reason of the end before them, as long as the ledger is kept: these only ever grow.
    #[serde(default)]
    pub restarted: BTreeMap<Reason, u64>,
    pub(super) pending_stop: Option<PendingStop>,
    /// Start again as soon as the present run is gone, whatever the restart policy says.
    again: bool,
    /// `start --replace`: a copy on a terminal may be ended too.
    replace: bool,
    /// Gone from the configuration; forgotten once it is at rest.
    pub(super) removed: bool,
    /// What follows once nothing is left of the run that ended, and its hook has run; `None`: it was cut short before there was a
    /// process.
    #[serde(default)]
    verdict: Option<hooks::Verdict>,
    /// The present run has got so far that the hook after it is due.
    #[serde(default)]
    owes_post_stop: bool,
    /// Devstack was restarted, and the way has not been cleared since.
    #[serde(skip)]
    unsure: bool,
    #[serde(skip)]
    pub health: Health,
    #[serde(skip)]
    pub(super) rewrites: Rewrites,
    /// What the present run said of itself.
    #[serde(default)]
    pub heard: Heard,
}

/// The main process of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    pub main: ProcId,
    /// The number that the kernel gives a process once and never again in this boot; `None` where it has none (before 6.9), and
    /// in a ledger of an earlier version. Start ticks alone are equal for two processes whose number was reused within a tick.
    #[serde(default)]
    pub inode: Option<u64>,
    /// The process that was started, where it has named another as the main one. Uncollected to the end of the run, it keeps the
    /// run's numbers from becoming somebody else's.
    #[serde(default)]
    pub pin: Option<ProcId>,
    pub spawned_at: BootTime,
    pub started_at: Timestamp,
    pub log_offset: u64,
    pub ready_at: Option<BootTime>,
}

/// A stop that was asked for and waits for dependants to go first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PendingStop {
    why: Reason,
    timeout: Option<Duration>,
}

/// What the probes of the present run said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Health {
    /// Those that speak for a restart.
    pub failures_in_a_row: u32,
    has_passed: bool,
    pub last: Option<Probed>,
}

/// The circumstances of one step.
pub(super) struct Turn<'a> {
    pub now: Now,
    pub actions: &'a mut Vec<Action>,
    pub next_run: &'a mut RunId,
}

impl Turn<'_> {
    fn new_run(&mut self) -> RunId {
        let run = *self.next_run;
        self.next_run.seq += 1;
        run
    }
}

impl Slot {
    pub(super) fn new(spec: Arc<Service>) -> Self {
        Self {
            spec,
            newer_spec: None,
            wanted: Wanted::Down,
            state: State::Stopped,
            process: None,
            history: History::default(),
            last_exit: None,
            restarted: BTreeMap::new(),
            pending_stop: None,
            again: false,
            replace: false,
            removed: false,
            verdict: None,
            owes_post_stop: false,
            unsure: false,
            health: Health::default(),
            rewrites: Rewrites::default(),
            heard: Heard::default(),
        }
    }

    /// The configuration as last read.
    pub fn latest(&self) -> &Arc<Service> {
        self.newer_spec.as_ref().unwrap_or(&self.spec)
    }

    /// A stop is on its way, or the remains of a run are. What is stuck no longer counts: its dependencies would wait for ever.
    pub fn is_going_down(&self) -> bool {
        match self.state {
            State::Stopping { .. } | State::Killing { .. } | State::Draining { .. } | State::PostStop { .. } => true,
            State::Stuck { .. } => false,
            _ => self.pending_stop.is_some() || (self.wanted == Wanted::Down && self.state.run().is_some()),
        }
    }

    fn act(&self, turn: &mut Turn, act: Act) {
        turn.actions.push(Action { service: self.spec.name.clone(), act });
    }

    fn announce(&self, turn: &mut Turn, notice: Notice) {
        self.act(turn, Act::Announce(notice));
    }

    // What people ask for.

    pub(super) fn configure(&mut self, spec: &Arc<Service>, turn: &mut Turn) {
        self.removed = false;
        if self.unsure && self.spec.env.is_empty() {
            // The ledger holds no environment; that of an adopted run is taken to be the one configured.
            Arc::make_mut(&mut self.spec).env.clone_from(&spec.env);
        }
        self.newer_spec = (*self.spec != **spec).then(|| spec.clone());
        match self.state {
            // It may want a set-up now, or be somebody else's.
            State::Waiting | State::Present if self.newer_spec.is_some() => self.begin_start(turn),
            _ if self.state.run().is_none() => self.take_newer_spec(),
            _ => {}
        }
    }

    pub(super) fn ask_start(&mut self, mode: StartMode, replace: bool, turn: &mut Turn) {
        self.wanted = Wanted::Up;
        self.replace = replace;
        match &self.state {
            State::Stopped | State::Backoff { .. } | State::Exited { .. } | State::Failed { .. } | State::Present => {
                (self.history, self.rewrites) = (History::default(), Rewrites::default());
                self.begin_start(turn);
            }
            State::SettingUp { .. } | State::Waiting | State::Clearing { .. } | State::PreStart { .. } | State::Spawning { .. } => {}
            State::Starting { .. } | State::Running { .. } => match mode {
                StartMode::Restart => self.stop_and_start_again(Reason::Requested),
                StartMode::Ensure => match self.is_ailing() {
                    Some(why) => self.stop_and_start_again(why),
                    // A stop that has not begun is taken back; a restart that somebody waits for is not.
                    None if !self.again => self.pending_stop = None,
                    None => {}
                },
            },
            State::Stopping { .. } | State::Killing { .. } | State::Draining { .. } | State::PostStop { .. } => self.again = true,
            State::Stuck { survivors, .. } => {
                self.again = true;
                self.announce(turn, Notice::Stuck { survivors: survivors.clone() });
            }
        }
    }

    fn stop_and_start_again(&mut self, why: Reason) {
        self.history = History::default();
        self.again = true;
        self.pending_stop = Some(PendingStop { why, timeout: None });
    }

    pub(super) fn ask_stop(&mut self, why: Reason, kill: bool, timeout: Option<Duration>, turn: &mut Turn) {
        self.wanted = Wanted::Down;
        self.again = false;
        match self.state.clone() {
            State::Stopped => {}
            State::Waiting | State::Backoff { .. } | State::Exited { .. } | State::Failed { .. } | State::Present => {
                self.come_to_rest(None, turn)
            }
            // Its commands may have children of their own; nothing has been promised to anybody yet.
            State::SettingUp { run } | State::Clearing { run } | State::PreStart { run, .. } => self.cut_short(run, why, turn),
            State::PostStop { run, .. } if kill => self.give_up_post_stop(run, "it was killed on request", turn),
            State::Spawning { .. } | State::Draining { .. } | State::PostStop { .. } => {}
            State::Starting { run, .. } | State::Running { run, .. } if kill => self.begin_kill(run, why, turn),
            State::Starting { .. } | State::Running { .. } => self.pending_stop = Some(PendingStop { why, timeout }),
            State::Stopping { run, why, .. } if kill => self.begin_kill(run, why, turn),
            State::Stopping { run, why, kill_at } => {
                let sooner = timeout.map_or(kill_at, |timeout| kill_at.min(turn.now.boot.after(timeout)));
                self.state = State::Stopping { run, why, kill_at: sooner };
            }
            State::Killing { .. } => {}
            State::Stuck { run, .. } => self.kill_again(run, turn),
        }
    }
}
