//! The commands of the configuration around a run: `pre_start` before its process exists, `post_stop` after the last process of
//! it is gone. What they leave behind goes with them.
//!
//! Guards that `post_stop` runs at least once after each run that got as far as `pre_start`, also if devstack dies meanwhile, and
//! that it is over, or given up, before a stop is or another run begins.

use super::super::{Act, Cause, CauseKind, Hook, Notice, State};
use super::{Slot, Turn};
use crate::model::{Exit, Reason, RunId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A stop that leaves a worker no time at all still leaves some to what cleans up after it.
const LEAST_FOR_POST_STOP: Duration = Duration::from_secs(5);

/// What follows a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// `last_exit` tells how it ended: what next is for the restart policy to say.
    Ended,
    /// It was given up before there was a process.
    Refused(Cause),
}

impl Slot {
    /// The way is clear: the hook, if there is one, then the process.
    pub(super) fn begin_run(&mut self, run: RunId, turn: &mut Turn) {
        self.verdict = None;
        self.owes_post_stop = self.spec.hooks.post_stop.is_some();
        if self.spec.hooks.pre_start.is_none() {
            return self.begin_spawn(run, turn);
        }
        self.state = State::PreStart { run, give_up_at: turn.now.boot.after(self.spec.ready.timeout) };
        self.begin_hook(run, Hook::PreStart, turn);
    }

    fn begin_hook(&self, run: RunId, hook: Hook, turn: &mut Turn) {
        let command = hook.command(&self.spec).cloned().unwrap_or_default();
        self.announce(turn, Notice::Hooking { hook: hook.word().to_owned(), command });
        self.act(turn, Act::Hook { run, hook });
    }

    /// Somebody who waits for a start is told of a mistake at once; what fails in the middle of the night is tried again.
    pub(super) fn pre_start_failed(&mut self, run: RunId, cause: Cause, turn: &mut Turn) {
        self.not_started(run, cause, self.history.restarts == 0, turn);
        self.sweep(run, Reason::StartFailed, turn);
    }

    pub(super) fn not_started(&mut self, run: RunId, cause: Cause, permanent: bool, turn: &mut Turn) {
        if permanent {
            self.verdict = Some(Verdict::Refused(cause));
        } else {
            self.announce(turn, Notice::Refused(cause.clone()));
            self.has_ended(run, Exit::NotSpawned(cause.message), None, turn);
        }
    }

    /// Nothing is left of a run.
    pub(super) fn is_gone(&mut self, why: Reason, turn: &mut Turn) {
        if !self.owes_post_stop || self.spec.hooks.post_stop.is_none() {
            return self.what_now(turn);
        }
        let run = turn.new_run();
        let patience = self.spec.stop_timeout.max(LEAST_FOR_POST_STOP);
        self.state = State::PostStop { run, why, give_up_at: turn.now.boot.after(patience) };
        let last = self.last_exit.as_ref().filter(|_| self.verdict == Some(Verdict::Ended));
        let (exit, reason) = last.map_or((None, why), |last| (Some(last.exit.clone()), last.reason));
        self.begin_hook(run, Hook::PostStop { exit, reason }, turn);
    }

    /// Also what it has left behind goes, and then it is done.
    pub(super) fn post_stop_ended(&mut self, run: RunId, result: Result<(), Cause>, turn: &mut Turn) {
        let State::PostStop { why, .. } = self.state else { return };
        self.owes_post_stop = false;
        if let Err(cause) = result {
            self.announce(turn, Notice::HookFailed(cause));
        }
        self.sweep(run, why, turn);
    }

    pub(super) fn give_up_post_stop(&mut self, run: RunId, why: &str, turn: &mut Turn) {
        self.post_stop_ended(run, Err(self.hook_failed("post_stop", why)), turn);
    }

    pub(super) fn hook_took_too_long(&mut self, run: RunId, turn: &mut Turn) {
        let State::PreStart { .. } = self.state else {
            return self.give_up_post_stop(run, "it did not end in time (`stop_timeout`)", turn);
        };
        let seconds = self.spec.ready.timeout.as_secs_f64();
        let cause = self.hook_failed("pre_start", &format!("it did not end within {seconds} s (`ready.timeout`)"));
        self.pre_start_failed(run, cause, turn);
    }

    fn hook_failed(&self, hook: &str, why: &str) -> Cause {
        let hint = format!("see `devstack logs {}`, and `hooks.{hook}` in devstack.toml", self.spec.name);
        Cause::new(CauseKind::HookFailed, format!("its {hook} hook failed: {why}"), Some(hint))
    }
}
