//! What a run says of itself: ready, alive, busy, leaving; and what follows when it no longer says so.

use super::super::{Act, Notice, Said, State};
use super::{Slot, Turn};
use crate::model::{Pid, ProcId, ReadyWhen, Reason, RestartPolicy, RunId};
use std::time::Duration;

impl Slot {
    pub(super) fn on_notified(&mut self, run: RunId, said: Vec<Said>, turn: &mut Turn) {
        for one in said {
            let up = matches!(self.state, State::Starting { .. } | State::Running { .. });
            match one {
                Said::Status(text) => self.heard.status_text = Some(text).filter(|text| !text.is_empty()),
                Said::Ready if matches!(self.state, State::Starting { .. }) && self.spec.ready.when == ReadyWhen::Notify => {
                    self.on_ready(run, turn);
                }
                // Until it is ready, only the time for that counts.
                Said::Beat if matches!(self.state, State::Starting { .. }) => self.heard.beat(turn.now, None),
                Said::Beat if up => self.heard.beat(turn.now, self.spec.heartbeat_timeout),
                Said::Failing if up => self.on_hung(run, turn),
                Said::Stopping if up => self.heard.leaves(turn.now, self.spec.stop_timeout),
                Said::Extend(by) => self.extend(by, turn),
                Said::Main(said) if up => self.refuse_main(run, said, turn),
                Said::Ready | Said::Beat | Said::Failing | Said::Stopping | Said::Main(_) => {}
            }
        }
    }

    /// As a daemon does that forks, or one that is replaced by a newer program of itself.
    pub(super) fn take_main(&mut self, run: RunId, main: ProcId, inode: Option<u64>, turn: &mut Turn) {
        let Some(process) = self.process.as_mut().filter(|process| process.main != main) else { return };
        let started = process.pin.unwrap_or(process.main);
        process.pin = (started != main).then_some(started);
        (process.main, process.inode) = (main, inode);
        let process = process.clone();
        self.announce(turn, Notice::MainIs { run, main });
        self.act(turn, Act::Follow { run, process });
    }

    /// Nobody of another run, and nobody at all. Told once, whatever is said.
    fn refuse_main(&mut self, run: RunId, said: Option<Pid>, turn: &mut Turn) {
        let is_it = said.is_some() && said == self.process.as_ref().map(|process| process.main.pid);
        if !is_it && !std::mem::replace(&mut self.heard.main_was_refused, true) {
            self.announce(turn, Notice::MainPidRefused { run, said });
        }
    }

    fn extend(&mut self, by: Duration, turn: &mut Turn) {
        match &mut self.state {
            State::Starting { late_at: Some(late_at), .. } => *late_at = self.heard.extended(*late_at, turn.now, by),
            State::Stopping { kill_at, .. } => *kill_at = self.heard.extended(*kill_at, turn.now, by),
            State::Running { .. } => self.heard.extend_silence(turn.now, by),
            _ => {}
        }
    }

    /// The silence was too long, if the machine was awake all the time.
    pub(super) fn on_silence(&mut self, run: RunId, turn: &mut Turn) {
        if !self.heard.is_due(turn.now) {
            return;
        }
        if self.heard.stopping {
            return self.begin_stop(run, Reason::Unhealthy, self.spec.stop_timeout, turn);
        }
        self.on_hung(run, turn);
    }

    fn on_hung(&mut self, run: RunId, turn: &mut Turn) {
        self.heard.is_silent = true;
        if self.may_be_restarted() {
            self.begin_hung_stop(run, Reason::HeartbeatTimeout, turn);
        }
    }

    /// Nobody has asked for a stop that is about to begin, and the policy allows it.
    pub(super) fn may_be_restarted(&self) -> bool {
        self.spec.restart != RestartPolicy::Never && self.pending_stop.is_none()
    }
}
