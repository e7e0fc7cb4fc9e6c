//! The way up: set-up, dependencies, clearing, the process, readiness.

use super::super::restart::draw;
use super::super::{Act, Cause, Heard, Notice, Spawned, State, Wanted};
use super::{Health, Process, Slot, Turn};
use crate::model::{BootTime, ReadyWhen, Reason, RunId};
use std::time::Duration;

impl Slot {
    pub(super) fn take_newer_spec(&mut self) {
        if let Some(newer) = self.newer_spec.take() {
            self.spec = newer;
        }
    }

    pub(in crate::engine) fn begin_start(&mut self, turn: &mut Turn) {
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

    pub(in crate::engine) fn begin_clearing(&mut self, turn: &mut Turn) {
        let run = turn.new_run();
        self.unsure = false;
        self.state = State::Clearing { run };
        self.act(turn, Act::Clear { run, replace: self.replace });
    }

    /// Nothing is in the way of a run that takes the place of one that we saw end. After a restart of devstack that is not
    /// sure: the ledger may be older than what happened.
    pub(super) fn start_by_itself(&mut self, turn: &mut Turn) {
        if self.spec.external {
            self.begin_start(turn);
        } else if self.unsure {
            self.begin_clearing(turn);
        } else {
            let run = turn.new_run();
            self.begin_run(run, turn);
        }
    }

    pub(super) fn begin_spawn(&mut self, run: RunId, turn: &mut Turn) {
        self.health = Health::default();
        self.heard = Heard::default();
        self.state = State::Spawning { run };
        self.act(turn, Act::Spawn { run });
    }

    pub(super) fn on_spawned(&mut self, run: RunId, spawned: Spawned, turn: &mut Turn) {
        let now = turn.now;
        self.rewrites.spawned_at = Some(now.boot);
        self.process = Some(Process {
            main: spawned.main,
            inode: spawned.inode,
            pin: None,
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
        self.announce(turn, Notice::Starting { run, main: spawned.main, log_offset: spawned.log_offset });
        if self.spec.ready.when == ReadyWhen::Delay(Duration::ZERO) {
            self.on_ready(run, turn);
        }
    }

    pub(super) fn on_ready(&mut self, run: RunId, turn: &mut Turn) {
        let Some(process) = &mut self.process else { return };
        process.ready_at = Some(turn.now.boot);
        let (main, spawned_at) = (process.main, process.spawned_at);
        let was_late = matches!(self.state, State::Starting { late_at: None, .. });
        self.state = State::Running { run, recycle_at: self.recycle_at(run, spawned_at) };
        self.heard.expect(turn.now, self.spec.heartbeat_timeout);
        if !was_late {
            self.act(turn, Act::Watch { run });
        }
        let seconds = turn.now.boot.since(spawned_at).as_secs_f64();
        self.announce(turn, Notice::Ready { run, main, seconds });
    }

    /// Max runtime counts from the spawn.
    pub(super) fn recycle_at(&self, run: RunId, spawned_at: BootTime) -> Option<BootTime> {
        let longest = self.spec.max_runtime?;
        Some(spawned_at.after(longest.mul_f64((1.0 - self.spec.max_runtime_jitter * draw(run)).clamp(0.0, 1.0))))
    }

    pub(super) fn refused(&mut self, cause: Cause, turn: &mut Turn) {
        if self.wanted == Wanted::Down || self.removed {
            return self.come_to_rest(None, turn);
        }
        self.announce(turn, Notice::Refused(cause.clone()));
        self.fail(cause, turn);
    }

    pub(super) fn fail(&mut self, cause: Cause, turn: &mut Turn) {
        self.announce(turn, Notice::Failed(cause.clone()));
        self.state = State::Failed { cause };
    }
}
