//! The way down: the stop signal, SIGKILL, the emptied set, and what follows an end.

use super::super::restart::Next;
use super::super::{Act, Cause, CauseKind, Notice, State, Wanted};
use super::hooks::Verdict;
use super::{KILL_PATIENCE, PendingStop, Slot, Turn};
use crate::model::{Exit, KillMode, LastExit, Reason, RunId, Signal};
use std::time::Duration;

impl Slot {
    /// Called once no dependant is left that has to go first.
    pub(in crate::engine) fn begin_pending_stop(&mut self, turn: &mut Turn) {
        let Some(PendingStop { why, timeout }) = self.pending_stop.take() else { return };
        match self.state {
            State::Starting { run, .. } | State::Running { run, .. } => {
                self.begin_stop(run, why, timeout.unwrap_or(self.spec.stop_timeout), turn);
            }
            _ => {}
        }
    }

    pub(super) fn begin_stop(&mut self, run: RunId, why: Reason, grace: Duration, turn: &mut Turn) {
        self.pending_stop = None;
        self.state = State::Stopping { run, why, kill_at: turn.now.boot.after(grace) };
        self.announce(turn, Notice::Stopping { run, why });
        self.act(turn, Act::Signal { run, signal: self.spec.stop_signal });
    }

    /// As [`Self::begin_stop`], of a run that no longer knows what goes on in it: it is asked where it is first.
    pub(super) fn begin_hung_stop(&mut self, run: RunId, why: Reason, turn: &mut Turn) {
        self.pending_stop = None;
        self.state = State::Stopping { run, why, kill_at: turn.now.boot.after(self.spec.stop_timeout) };
        self.announce(turn, Notice::Stopping { run, why });
        self.act(turn, Act::AskStack { run });
    }

    pub(super) fn begin_kill(&mut self, run: RunId, why: Reason, turn: &mut Turn) {
        self.announce(turn, Notice::Killing { run, why });
        self.sweep(run, why, turn);
    }

    /// A start that is taken back before there is a process.
    pub(super) fn cut_short(&mut self, run: RunId, why: Reason, turn: &mut Turn) {
        let during = match self.state {
            State::SettingUp { .. } => "its set-up",
            State::Clearing { .. } => "the clean-up before it",
            State::PreStart { .. } => "its pre_start hook",
            _ => "its start",
        };
        self.announce(turn, Notice::CutShort { during: during.to_owned(), why });
        self.sweep(run, why, turn);
    }

    /// Kills whatever there is of a run.
    pub(super) fn sweep(&mut self, run: RunId, why: Reason, turn: &mut Turn) {
        self.pending_stop = None;
        self.state = State::Killing { run, why, give_up_at: turn.now.boot.after(KILL_PATIENCE) };
        self.kill_again(run, turn);
    }

    pub(super) fn kill_again(&self, run: RunId, turn: &mut Turn) {
        let leader_only = self.spec.kill_mode == KillMode::Process && self.process.is_some();
        let give_up_at = turn.now.boot.after(KILL_PATIENCE);
        self.act(turn, if leader_only { Act::Signal { run, signal: Signal::KILL } } else { Act::Sweep { run, give_up_at } });
    }

    pub(super) fn on_ended(&mut self, run: RunId, exit: Exit, turn: &mut Turn) {
        let why = match &self.state {
            State::Stopping { why, .. } | State::Killing { why, .. } => Some(*why),
            State::Stuck { exit: None, why, .. } => *why,
            State::Starting { .. } | State::Running { .. } => None,
            _ => return,
        };
        self.pending_stop = None;
        let process = self.process.as_ref();
        let main = process.map(|process| process.main);
        let was_ready = process.is_some_and(|process| process.ready_at.is_some());
        let log_offset = process.map_or(0, |process| process.log_offset);
        let seconds = process.map_or(0.0, |process| turn.now.boot.since(process.spawned_at).as_secs_f64());
        let LastExit { reason, by, exit, .. } = LastExit::new(run, exit, why, turn.now.wall);
        self.announce(turn, Notice::Ended { run, main, exit: exit.clone(), reason, by, seconds, was_ready, log_offset });
        let give_up_at = turn.now.boot.after(KILL_PATIENCE);
        self.state = State::Draining { run, exit, why, was_ready, give_up_at };
        if self.spec.kill_mode == KillMode::Process {
            return self.on_set_empty(run, turn);
        }
        self.act(turn, Act::Sweep { run, give_up_at });
    }

    pub(super) fn on_set_empty(&mut self, run: RunId, turn: &mut Turn) {
        let (exit, why) = match &self.state {
            State::Killing { why, .. } if self.process.is_none() => {
                let why = *why;
                self.act(turn, Act::Reap { run });
                return self.is_gone(why, turn);
            }
            State::Stuck { exit: None, why, .. } if self.process.is_none() => {
                let why = why.unwrap_or(Reason::Requested);
                self.act(turn, Act::Reap { run });
                return self.is_gone(why, turn);
            }
            State::Draining { exit, why, .. } | State::Stuck { exit: Some(exit), why, .. } => (exit.clone(), *why),
            // The main process has ended too, then, and how is yet to be told.
            _ => return,
        };
        self.act(turn, Act::Reap { run });
        self.owes_post_stop = true;
        self.has_ended(run, exit, why, turn);
        let why = self.last_exit.as_ref().map_or(Reason::Requested, |last| last.reason);
        self.is_gone(why, turn);
    }

    /// Nothing is left of a run whose end is for the restart policy to judge.
    pub(super) fn has_ended(&mut self, run: RunId, exit: Exit, why: Option<Reason>, turn: &mut Turn) {
        let ready_at = self.process.take().and_then(|process| process.ready_at);
        self.history.lasted(ready_at.map(|at| turn.now.boot.since(at)));
        self.last_exit = Some(LastExit::new(run, exit, why, turn.now.wall));
        self.verdict = Some(Verdict::Ended);
    }

    /// The run is gone, and so is what its hook did: what now?
    pub(super) fn what_now(&mut self, turn: &mut Turn) {
        self.owes_post_stop = false;
        let verdict = self.verdict.take();
        // What the ledger brought back knows no environment: only the configuration does.
        self.take_newer_spec();
        if self.wanted == Wanted::Down || self.removed {
            let ended = self.last_exit.as_ref().filter(|_| verdict == Some(Verdict::Ended));
            return self.come_to_rest(ended.map(|last| last.exit.clone()), turn);
        }
        let last = match verdict {
            _ if self.again => None,
            Some(Verdict::Refused(cause)) => return self.refused(cause, turn),
            Some(Verdict::Ended) => self.last_exit.clone(),
            None => None,
        };
        let Some(LastExit { run, exit, reason, .. }) = last else { return self.begin_start(turn) };
        let next = self.history.after_end(&self.spec, run, reason, &exit, turn.now.boot);
        if matches!(next, Next::StartAt(_)) {
            *self.restarted.entry(reason).or_default() += 1;
        }
        match next {
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

    pub(super) fn start_limit_cause(&self, exit: &Exit) -> Cause {
        let limit = self.spec.start_limit;
        let seconds = limit.interval.as_secs();
        let times = if limit.burst == 1 { "once".to_owned() } else { format!("{} times", limit.burst) };
        let message = format!("restarted {times} within {seconds} s, and it ended again: {exit}");
        let hint = format!("see `devstack logs {0}`, then `devstack start {0}`", self.spec.name);
        Cause::new(CauseKind::StartLimit, message, Some(hint))
    }

    /// `exit`: how the run ended that is at rest now, if there was one.
    pub(super) fn come_to_rest(&mut self, exit: Option<Exit>, turn: &mut Turn) {
        self.pending_stop = None;
        self.again = false;
        self.state = State::Stopped;
        self.announce(turn, Notice::Stopped { exit });
    }
}
