use super::restart::Next;
use super::{Act, Action, Cause, CauseKind, History, Notice, Now, Probed, Report, Spawned, StartMode, State, Wanted};
use crate::model::{BootTime, Exit, KillMode, LastExit, ProcId, ReadyWhen, Reason, RunId, Service, Signal};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
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
    pub(super) pending_stop: Option<PendingStop>,
    /// Start again as soon as the present run is gone, whatever the restart policy says.
    again: bool,
    /// `start --replace`: a copy on a terminal may be ended too.
    replace: bool,
    /// Gone from the configuration; forgotten once it is at rest.
    pub(super) removed: bool,
    /// Devstack was restarted, and the way has not been cleared since.
    #[serde(skip)]
    unsure: bool,
    #[serde(skip)]
    pub health: Health,
}

/// The main process of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    pub main: ProcId,
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
    pub failures_in_a_row: u32,
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
            pending_stop: None,
            again: false,
            replace: false,
            removed: false,
            unsure: false,
            health: Health::default(),
        }
    }

    /// The configuration as last read.
    pub fn latest(&self) -> &Arc<Service> {
        self.newer_spec.as_ref().unwrap_or(&self.spec)
    }

    pub fn is_unhealthy(&self) -> bool {
        self.spec.health.as_ref().is_some_and(|check| self.health.failures_in_a_row >= check.failures)
    }

    /// A stop is on its way, or the remains of a run are. What is stuck no longer counts: its dependencies would wait for ever.
    pub fn is_going_down(&self) -> bool {
        match self.state {
            State::Stopping { .. } | State::Killing { .. } | State::Draining { .. } => true,
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
                self.history = History::default();
                self.begin_start(turn);
            }
            State::SettingUp { .. } | State::Waiting | State::Clearing { .. } | State::Spawning { .. } => {}
            State::Starting { .. } | State::Running { .. } => match mode {
                StartMode::Restart => self.stop_and_start_again(Reason::Requested),
                StartMode::Ensure if self.is_unhealthy() => self.stop_and_start_again(Reason::Unhealthy),
                // A stop that has not begun is taken back; a restart that somebody waits for is not.
                StartMode::Ensure if !self.again => self.pending_stop = None,
                StartMode::Ensure => {}
            },
            State::Stopping { .. } | State::Killing { .. } | State::Draining { .. } => self.again = true,
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

    pub(super) fn ask_stop(&mut self, kill: bool, timeout: Option<Duration>, turn: &mut Turn) {
        self.wanted = Wanted::Down;
        self.again = false;
        match self.state.clone() {
            State::Stopped => {}
            State::Waiting | State::Backoff { .. } | State::Exited { .. } | State::Failed { .. } | State::Present => {
                self.come_to_rest(turn)
            }
            // Its commands may have children of their own; nothing has been promised to anybody yet.
            State::SettingUp { run } | State::Clearing { run } => self.sweep(run, Reason::Requested, turn),
            State::Spawning { .. } | State::Draining { .. } => {}
            State::Starting { run, .. } | State::Running { run, .. } if kill => self.begin_kill(run, Reason::Requested, turn),
            State::Starting { .. } | State::Running { .. } => self.pending_stop = Some(PendingStop { why: Reason::Requested, timeout }),
            State::Stopping { run, why, .. } if kill => self.begin_kill(run, why, turn),
            State::Stopping { run, why, kill_at } => {
                let sooner = timeout.map_or(kill_at, |timeout| kill_at.min(turn.now.boot.after(timeout)));
                self.state = State::Stopping { run, why, kill_at: sooner };
            }
            State::Killing { .. } => {}
            State::Stuck { run, .. } => self.kill_again(run, turn),
        }
    }

    // The way up.

    fn take_newer_spec(&mut self) {
        if let Some(newer) = self.newer_spec.take() {
            self.spec = newer;
        }
    }

    pub(super) fn begin_start(&mut self, turn: &mut Turn) {
        self.take_newer_spec();
        self.again = false;
        self.pending_stop = None;
        if self.spec.external || self.spec.setup.is_some() {
            let run = turn.new_run();
            self.state = State::SettingUp { run };
            self.act(turn, Act::SetUp { run });
        } else {
            self.state = State::Waiting;
        }
    }

    pub(super) fn begin_clearing(&mut self, turn: &mut Turn) {
        let run = turn.new_run();
        self.unsure = false;
        self.state = State::Clearing { run };
        self.act(turn, Act::Clear { run, replace: self.replace });
    }

    /// Nothing is in the way of a run that takes the place of one that we saw end. After a restart of devstack that is not
    /// sure: the ledger may be older than what happened.
    fn start_by_itself(&mut self, turn: &mut Turn) {
        if self.spec.external {
            self.begin_start(turn);
        } else if self.unsure {
            self.begin_clearing(turn);
        } else {
            let run = turn.new_run();
            self.begin_spawn(run, turn);
        }
    }

    fn begin_spawn(&mut self, run: RunId, turn: &mut Turn) {
        self.health = Health::default();
        self.state = State::Spawning { run };
        self.act(turn, Act::Spawn { run });
    }

    fn on_spawned(&mut self, run: RunId, spawned: Spawned, turn: &mut Turn) {
        let now = turn.now;
        self.process = Some(Process {
            main: spawned.main,
            spawned_at: now.boot,
            started_at: now.wall,
            log_offset: spawned.log_offset,
            ready_at: None,
        });
        if self.wanted == Wanted::Down {
            return self.begin_kill(run, Reason::Requested, turn);
        }
        self.state = State::Starting { run, late_at: Some(now.boot.after(self.spec.ready.timeout)) };
        self.act(turn, Act::Release { run });
        self.announce(turn, Notice::Starting { run, main: spawned.main });
        if self.spec.ready.when == ReadyWhen::Delay(Duration::ZERO) {
            self.on_ready(run, turn);
        }
    }

    fn on_ready(&mut self, run: RunId, turn: &mut Turn) {
        let Some(process) = &mut self.process else { return };
        process.ready_at = Some(turn.now.boot);
        let (main, spawned_at) = (process.main, process.spawned_at);
        let was_late = matches!(self.state, State::Starting { late_at: None, .. });
        self.state = State::Running { run, recycle_at: self.recycle_at(run, spawned_at) };
        if !was_late {
            self.act(turn, Act::Watch { run });
        }
        let seconds = turn.now.boot.since(spawned_at).as_secs_f64();
        self.announce(turn, Notice::Ready { run, main, seconds });
    }

    /// Max runtime counts from the spawn. The jitter is drawn from the run's number: nothing random in the core, and
    /// consecutive runs are spread by the golden ratio.
    fn recycle_at(&self, run: RunId, spawned_at: BootTime) -> Option<BootTime> {
        let longest = self.spec.max_runtime?;
        let draw = (run.seq as f64 * 0.618_033_988_749_895).fract();
        Some(spawned_at.after(longest.mul_f64((1.0 - self.spec.max_runtime_jitter * draw).clamp(0.0, 1.0))))
    }

    fn refused(&mut self, cause: Cause, turn: &mut Turn) {
        if self.wanted == Wanted::Down || self.removed {
            return self.come_to_rest(turn);
        }
        self.announce(turn, Notice::Refused(cause.clone()));
        self.fail(cause, turn);
    }

    fn fail(&mut self, cause: Cause, turn: &mut Turn) {
        self.announce(turn, Notice::Failed(cause.clone()));
        self.state = State::Failed { cause };
    }

    // The way down.

    /// Called once no dependant is left that has to go first.
    pub(super) fn begin_pending_stop(&mut self, turn: &mut Turn) {
        let Some(PendingStop { why, timeout }) = self.pending_stop.take() else { return };
        match self.state {
            State::Starting { run, .. } | State::Running { run, .. } => {
                self.begin_stop(run, why, timeout.unwrap_or(self.spec.stop_timeout), turn);
            }
            _ => {}
        }
    }

    fn begin_stop(&mut self, run: RunId, why: Reason, grace: Duration, turn: &mut Turn) {
        self.pending_stop = None;
        self.state = State::Stopping { run, why, kill_at: turn.now.boot.after(grace) };
        self.announce(turn, Notice::Stopping { run, why });
        self.act(turn, Act::Signal { run, signal: self.spec.stop_signal });
    }

    fn begin_kill(&mut self, run: RunId, why: Reason, turn: &mut Turn) {
        self.announce(turn, Notice::Killing { run, why });
        self.sweep(run, why, turn);
    }

    /// Kills whatever there is of a run.
    fn sweep(&mut self, run: RunId, why: Reason, turn: &mut Turn) {
        self.pending_stop = None;
        self.state = State::Killing { run, why, give_up_at: turn.now.boot.after(KILL_PATIENCE) };
        self.kill_again(run, turn);
    }

    fn kill_again(&self, run: RunId, turn: &mut Turn) {
        let leader_only = self.spec.kill_mode == KillMode::Process && self.process.is_some();
        let give_up_at = turn.now.boot.after(KILL_PATIENCE);
        self.act(turn, if leader_only { Act::Signal { run, signal: Signal::KILL } } else { Act::Sweep { run, give_up_at } });
    }

    fn on_ended(&mut self, run: RunId, exit: Exit, turn: &mut Turn) {
        let why = match &self.state {
            State::Stopping { why, .. } | State::Killing { why, .. } => Some(*why),
            State::Stuck { exit: None, why, .. } => *why,
            State::Starting { .. } | State::Running { .. } => None,
            _ => return,
        };
        self.pending_stop = None;
        let was_ready = self.process.as_ref().is_some_and(|process| process.ready_at.is_some());
        let log_offset = self.process.as_ref().map_or(0, |process| process.log_offset);
        let reason = why.unwrap_or_else(|| Reason::of_own_end(&exit));
        self.announce(turn, Notice::Ended { run, exit: exit.clone(), reason, was_ready, log_offset });
        let give_up_at = turn.now.boot.after(KILL_PATIENCE);
        self.state = State::Draining { run, exit, why, was_ready, give_up_at };
        if self.spec.kill_mode == KillMode::Process {
            return self.on_set_empty(run, turn);
        }
        self.act(turn, Act::Sweep { run, give_up_at });
    }

    fn on_set_empty(&mut self, run: RunId, turn: &mut Turn) {
        let (exit, why) = match &self.state {
            State::Killing { .. } | State::Stuck { exit: None, .. } if self.process.is_none() => {
                self.act(turn, Act::Reap { run });
                let down = self.wanted == Wanted::Down || self.removed;
                return if down { self.come_to_rest(turn) } else { self.begin_start(turn) };
            }
            State::Draining { exit, why, .. } | State::Stuck { exit: Some(exit), why, .. } => (exit.clone(), *why),
            // The main process has ended too, then, and how is yet to be told.
            _ => return,
        };
        self.act(turn, Act::Reap { run });
        self.finish(run, exit, why, turn);
    }

    /// The run is gone: what now?
    fn finish(&mut self, run: RunId, exit: Exit, why: Option<Reason>, turn: &mut Turn) {
        let last = LastExit::new(run, exit.clone(), why, turn.now.wall);
        let reason = last.reason;
        let ready_at = self.process.take().and_then(|process| process.ready_at);
        self.last_exit = Some(last);
        // What the ledger brought back knows no environment: only the configuration does.
        self.take_newer_spec();
        if self.wanted == Wanted::Down || self.removed {
            return self.come_to_rest(turn);
        }
        if self.again {
            return self.begin_start(turn);
        }
        let stable_for = ready_at.map(|at| turn.now.boot.since(at));
        match self.history.after_end(&self.spec, reason, &exit, stable_for, turn.now.boot) {
            Next::StartAt(at) if at <= turn.now.boot => self.start_by_itself(turn),
            Next::StartAt(start_at) => {
                self.state = State::Backoff { start_at };
                let seconds = start_at.since(turn.now.boot).as_secs_f64();
                self.announce(turn, Notice::RestartsIn { seconds });
            }
            Next::Rest => {
                self.announce(turn, Notice::Exited { exit: exit.clone() });
                self.state = State::Exited { exit };
            }
            Next::GiveUp => self.fail(self.start_limit_cause(&exit), turn),
        }
    }

    fn start_limit_cause(&self, exit: &Exit) -> Cause {
        let limit = self.spec.start_limit;
        let seconds = limit.interval.as_secs();
        let message = format!("restarted {} times within {seconds} s, and it ended again: {exit}", limit.burst);
        let hint = format!("see `devstack logs {0}`, then `devstack start {0}`", self.spec.name);
        Cause::new(CauseKind::StartLimit, message, Some(hint))
    }

    fn come_to_rest(&mut self, turn: &mut Turn) {
        self.pending_stop = None;
        self.again = false;
        self.state = State::Stopped;
        self.announce(turn, Notice::Stopped { exit: self.last_exit.as_ref().map(|last| last.exit.clone()) });
    }

    // What the world reports.

    pub(super) fn on_report(&mut self, run: RunId, report: Report, turn: &mut Turn) {
        match (report, &self.state) {
            (Report::SetUp(Ok(())), State::SettingUp { .. }) if self.wanted == Wanted::Down => self.come_to_rest(turn),
            (Report::SetUp(Ok(())), State::SettingUp { .. }) if self.newer_spec.is_some() => self.begin_start(turn),
            (Report::SetUp(Ok(())), State::SettingUp { .. }) if self.spec.external => {
                self.state = State::Present;
                self.announce(turn, Notice::Present);
            }
            (Report::SetUp(Ok(())), State::SettingUp { .. }) => self.state = State::Waiting,
            (Report::SetUp(Err(cause)), State::SettingUp { .. }) => self.refused(cause, turn),
            (Report::Cleared(Ok(())), State::Clearing { .. }) if self.wanted == Wanted::Down => self.come_to_rest(turn),
            (Report::Cleared(Ok(())), State::Clearing { .. }) => self.begin_spawn(run, turn),
            (Report::Cleared(Err(cause)), State::Clearing { .. }) => self.refused(cause, turn),
            (Report::Spawned(spawned), State::Spawning { .. }) => self.on_spawned(run, spawned, turn),
            (Report::NotSpawned { cause, permanent }, State::Spawning { .. }) => self.on_not_spawned(run, cause, permanent, turn),
            (Report::Ready, State::Starting { .. }) => self.on_ready(run, turn),
            (Report::Probed(probed), State::Starting { .. } | State::Running { .. }) => self.on_probed(run, probed, turn),
            (Report::Exceeded(reason), State::Starting { .. } | State::Running { .. }) => {
                self.begin_stop(run, reason, self.spec.stop_timeout, turn);
            }
            (Report::Ended(exit), _) => self.on_ended(run, exit, turn),
            (Report::SetEmpty, _) => self.on_set_empty(run, turn),
            (Report::Survivors(survivors), _) => self.on_survivors(run, survivors, turn),
            // Late words of a step that the run has left behind.
            _ => {}
        }
    }

    fn on_not_spawned(&mut self, run: RunId, cause: Cause, permanent: bool, turn: &mut Turn) {
        if permanent || self.wanted == Wanted::Down {
            return self.refused(cause, turn);
        }
        self.announce(turn, Notice::Refused(cause.clone()));
        self.finish(run, Exit::NotSpawned(cause.message), None, turn);
    }

    fn on_probed(&mut self, run: RunId, probed: Probed, turn: &mut Turn) {
        self.health.failures_in_a_row = if probed.passed { 0 } else { self.health.failures_in_a_row.saturating_add(1) };
        self.health.last = Some(probed);
        let may_restart = self.spec.restart != crate::model::RestartPolicy::Never && self.pending_stop.is_none();
        if may_restart && self.is_unhealthy() {
            self.begin_stop(run, Reason::Unhealthy, self.spec.stop_timeout, turn);
        }
    }

    fn on_survivors(&mut self, run: RunId, survivors: Vec<(i32, String)>, turn: &mut Turn) {
        let (exit, why) = match &self.state {
            State::Killing { why, .. } => (None, Some(*why)),
            State::Draining { exit, why, .. } => (Some(exit.clone()), *why),
            State::Stuck { exit, why, .. } => (exit.clone(), *why),
            _ => return,
        };
        self.announce(turn, Notice::Stuck { survivors: survivors.clone() });
        self.state = State::Stuck { run, exit, why, survivors };
    }

    /// When the state ends by itself. A stop that waits for dependants is not overtaken by a planned one.
    pub(super) fn deadline(&self) -> Option<BootTime> {
        match self.state {
            State::Running { .. } if self.pending_stop.is_some() => None,
            _ => self.state.deadline(),
        }
    }

    pub(super) fn is_due(&self, now: BootTime) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    pub(super) fn on_deadline(&mut self, turn: &mut Turn) {
        let now = turn.now.boot;
        match self.state.clone() {
            State::Starting { run, .. } => {
                self.state = State::Starting { run, late_at: None };
                let Some(process) = &self.process else { return };
                let seconds = now.since(process.spawned_at).as_secs_f64();
                self.announce(turn, Notice::Late { run, main: process.main, seconds, log_offset: process.log_offset });
                self.act(turn, Act::Watch { run });
            }
            State::Running { run, .. } => self.begin_stop(run, Reason::MaxRuntime, self.spec.stop_timeout, turn),
            State::Stopping { run, why, .. } => self.begin_kill(run, why, turn),
            State::Killing { run, .. } | State::Draining { run, .. } => self.on_survivors(run, Vec::new(), turn),
            State::Backoff { .. } => self.start_by_itself(turn),
            State::Stopped
            | State::SettingUp { .. }
            | State::Waiting
            | State::Clearing { .. }
            | State::Spawning { .. }
            | State::Stuck { .. }
            | State::Exited { .. }
            | State::Failed { .. }
            | State::Present => {}
        }
    }

    /// Devstack died and is back. What ran is adopted; what was half done is undone and done again.
    pub(super) fn on_recovered(&mut self, turn: &mut Turn) {
        self.unsure = true;
        let Some(run) = self.state.run() else { return };
        if let Some(process) = &self.process {
            let ready = process.ready_at.is_some();
            self.act(turn, Act::Adopt { run, main: process.main, ready });
        }
        let give_up_at = turn.now.boot.after(KILL_PATIENCE);
        match &self.state {
            // Set-up commands may still run; a child that was held at its gate has ended by itself.
            State::SettingUp { .. } | State::Clearing { .. } | State::Spawning { .. } => self.sweep(run, Reason::Requested, turn),
            State::Stopping { .. } => self.act(turn, Act::Signal { run, signal: self.spec.stop_signal }),
            State::Killing { .. } | State::Stuck { exit: None, .. } => self.kill_again(run, turn),
            State::Draining { .. } | State::Stuck { exit: Some(_), .. } => self.act(turn, Act::Sweep { run, give_up_at }),
            State::Running { .. } | State::Starting { late_at: None, .. } => self.act(turn, Act::Watch { run }),
            State::Starting { .. }
            | State::Stopped
            | State::Waiting
            | State::Backoff { .. }
            | State::Exited { .. }
            | State::Failed { .. }
            | State::Present => {}
        }
    }
}
