//! What the world reports, what the clock says, and what a restart of devstack brings back.

use super::super::{Act, Cause, Finding, Heard, Notice, Now, Report, Running, State, Wanted};
use super::{KILL_PATIENCE, Process, Slot, Turn};
use crate::model::{BootTime, Exit, KillMode, Reason, RunId};
use std::collections::BTreeSet;

impl Slot {
    pub(in crate::engine) fn on_report(&mut self, run: RunId, report: Report, turn: &mut Turn) {
        match (report, &self.state) {
            (Report::SetUp(Ok(())), State::SettingUp { .. }) if self.wanted == Wanted::Down => self.come_to_rest(None, turn),
            (Report::SetUp(Ok(())), State::SettingUp { .. }) if self.newer_spec.is_some() => self.begin_start(turn),
            (Report::SetUp(Ok(())), State::SettingUp { .. }) if self.spec.external => {
                self.state = State::Present;
                self.announce(turn, Notice::Present);
            }
            (Report::SetUp(Ok(())), State::SettingUp { .. }) => self.state = State::Waiting,
            (Report::SetUp(Err(cause)), State::SettingUp { .. }) => self.refused(cause, turn),
            (Report::Cleared(Ok(())), State::Clearing { .. }) if self.wanted == Wanted::Down => self.come_to_rest(None, turn),
            (Report::Cleared(Ok(())), State::Clearing { .. }) => self.begin_run(run, turn),
            (Report::Cleared(Err(cause)), State::Clearing { .. }) => self.refused(cause, turn),
            (Report::Hooked(Ok(())), State::PreStart { .. }) => self.begin_spawn(run, turn),
            (Report::Hooked(Err(cause)), State::PreStart { .. }) => self.pre_start_failed(run, cause, turn),
            (Report::Hooked(result), State::PostStop { .. }) => self.post_stop_ended(run, result, turn),
            (Report::Spawned(spawned), State::Spawning { .. }) => self.on_spawned(run, spawned, turn),
            (Report::NotSpawned { cause, permanent }, State::Spawning { .. }) => self.on_not_spawned(run, cause, permanent, turn),
            (Report::Ready, State::Starting { .. }) => self.on_ready(run, turn),
            (Report::Probed(probed), State::Starting { .. } | State::Running { .. }) => self.on_probed(run, probed, turn),
            (Report::Notified(said), _) => self.on_notified(run, said, turn),
            (Report::MainNamed { main, inode }, State::Starting { .. } | State::Running { .. }) => self.take_main(run, main, inode, turn),
            (Report::StackAsked, State::Stopping { .. }) => self.act(turn, Act::Signal { run, signal: self.spec.stop_signal }),
            (Report::StillHeard, State::Running { .. }) => self.heard.expect(turn.now, self.spec.heartbeat_timeout),
            (Report::Limit(finding), _) => self.on_limit(run, finding, turn),
            (Report::Ended(exit), _) => self.on_ended(run, exit, turn),
            (Report::SetEmpty, _) => self.on_set_empty(run, turn),
            (Report::Survivors(survivors), _) => self.on_survivors(run, survivors, turn),
            // Late words of a step that the run has left behind.
            _ => {}
        }
    }

    pub(super) fn on_not_spawned(&mut self, run: RunId, cause: Cause, permanent: bool, turn: &mut Turn) {
        self.not_started(run, cause, permanent || self.wanted == Wanted::Down, turn);
        if self.spec.hooks.pre_start.is_some() {
            // It may have left something running.
            return self.sweep(run, Reason::StartFailed, turn);
        }
        self.is_gone(Reason::StartFailed, turn);
    }

    pub(super) fn on_limit(&mut self, run: RunId, finding: Finding, turn: &mut Turn) {
        match (finding, &self.state) {
            (Finding::Near(measured), State::Starting { .. } | State::Running { .. }) => {
                self.announce(turn, Notice::NearLimit { run, measured });
            }
            (Finding::Exceeded(measured), State::Starting { .. } | State::Running { .. }) => {
                self.announce(turn, Notice::OverLimit { run, measured });
                self.begin_stop(run, measured.reason(), self.spec.stop_timeout, turn);
            }
            (Finding::Overrun(measured), &State::Stopping { run, why, .. }) => {
                self.announce(turn, Notice::OverLimit { run, measured });
                self.begin_kill(run, why, turn);
            }
            _ => {}
        }
    }

    pub(super) fn on_survivors(&mut self, run: RunId, survivors: Vec<(i32, String)>, turn: &mut Turn) {
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
    pub(in crate::engine) fn deadline(&self, held_back: bool) -> Option<BootTime> {
        match self.state {
            State::Running { .. } if self.pending_stop.is_some() => None,
            State::Running { recycle_at, .. } => [recycle_at.filter(|_| !held_back), self.heard.due()].into_iter().flatten().min(),
            _ => self.state.deadline(),
        }
    }

    /// Between two runs by plan: not ready again after max runtime ended the last one.
    pub fn is_being_recycled(&self) -> bool {
        match self.state {
            State::Stopping { why, .. } | State::Killing { why, .. } | State::PostStop { why, .. } => why == Reason::MaxRuntime,
            State::Draining { why, .. } => why == Some(Reason::MaxRuntime),
            // Neither a start that takes too long nor one that somebody asked for.
            State::Clearing { .. } | State::PreStart { .. } | State::Spawning { .. } | State::Starting { late_at: Some(_), .. } => {
                self.history.restarts > 0 && self.last_exit.as_ref().is_some_and(|last| last.reason == Reason::MaxRuntime)
            }
            _ => false,
        }
    }

    /// Its run may only end by plan once another service of its group is back.
    pub(in crate::engine) fn is_held_back_by(&self, recycled: &BTreeSet<String>) -> bool {
        matches!(self.state, State::Running { .. }) && self.spec.groups.iter().any(|group| recycled.contains(group))
    }

    pub(in crate::engine) fn is_due(&self, now: BootTime, held_back: bool) -> bool {
        self.deadline(held_back).is_some_and(|deadline| deadline <= now)
    }

    pub(in crate::engine) fn on_deadline(&mut self, held_back: bool, turn: &mut Turn) {
        let now = turn.now.boot;
        match self.state.clone() {
            State::Starting { run, .. } => {
                self.state = State::Starting { run, late_at: None };
                let Some(process) = &self.process else { return };
                let seconds = now.since(process.spawned_at).as_secs_f64();
                self.announce(turn, Notice::Late { run, main: process.main, seconds, log_offset: process.log_offset });
                self.act(turn, Act::Watch { run });
            }
            State::Running { run, recycle_at } => match recycle_at.filter(|at| !held_back && *at <= now) {
                Some(_) => self.begin_stop(run, Reason::MaxRuntime, self.spec.stop_timeout, turn),
                None => self.on_silence(run, turn),
            },
            State::Stopping { run, why, .. } => self.begin_kill(run, why, turn),
            State::Killing { run, .. } | State::Draining { run, .. } => {
                let main = self.process.iter().map(|process| (process.main.pid, "it did not end".to_owned()));
                self.on_survivors(run, main.collect(), turn);
            }
            State::PreStart { run, .. } | State::PostStop { run, .. } => self.hook_took_too_long(run, turn),
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

    /// Another run than the one in the ledger is there, whose end nobody saw. It goes on, or on its way out if that was asked.
    pub(in crate::engine) fn take_in(&mut self, running: &Running, now: Now) {
        let Running { run, main, started_at, .. } = *running;
        let going_down = self.is_going_down() || matches!(self.state, State::Stuck { .. });
        let age = now.boot.since(started_at);
        let spawned_wall = now.wall.checked_sub(jiff::SignedDuration::try_from(age).unwrap_or_default()).unwrap_or(now.wall);
        // Found by what it carries, it is known again by that.
        self.process = Some(Process {
            main,
            inode: None,
            pin: None,
            spawned_at: started_at,
            started_at: spawned_wall,
            log_offset: 0,
            ready_at: Some(started_at),
        });
        self.heard = Heard::default();
        if going_down {
            let kill_at = now.boot.after(self.spec.stop_timeout);
            self.state = State::Stopping { run, why: Reason::Requested, kill_at };
        } else {
            self.wanted = Wanted::Up;
            self.state = State::Running { run, recycle_at: self.recycle_at(run, started_at) };
        }
    }

    /// As [`Slot::take_in`], of a run whose main process ended while nobody looked. What is asked to leave its children alone does so.
    pub(in crate::engine) fn take_in_remains(&mut self, run: RunId, now: Now) {
        if self.state.run().is_none() && self.spec.kill_mode != KillMode::Process {
            let give_up_at = now.boot.after(KILL_PATIENCE);
            self.state = State::Draining { run, exit: Exit::Unobserved, why: None, was_ready: false, give_up_at };
        }
    }

    /// Devstack died and is back. What ran is adopted; what was half done is undone and done again.
    pub(in crate::engine) fn on_recovered(&mut self, turn: &mut Turn) {
        self.unsure = true;
        self.heard.forget_silence();
        let Some(run) = self.state.run() else { return };
        if let Some(process) = &self.process {
            let (process, ready) = (process.clone(), process.ready_at.is_some());
            self.act(turn, Act::Adopt { run, process, ready });
        }
        let give_up_at = turn.now.boot.after(KILL_PATIENCE);
        match &self.state {
            // Set-up commands may still run; a child that was held at its gate has ended by itself.
            State::SettingUp { .. } | State::Clearing { .. } | State::PreStart { .. } | State::Spawning { .. } => {
                let why = if self.wanted == Wanted::Down { Reason::Requested } else { Reason::StartFailed };
                self.cut_short(run, why, turn);
            }
            // Cut short or done, nobody can tell: what is left of it goes, then it runs again.
            State::PostStop { why, .. } => self.sweep(run, *why, turn),
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
