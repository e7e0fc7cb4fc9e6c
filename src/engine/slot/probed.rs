//! What probes say of a run, and when that is enough to restart it.

use super::super::health::{Activity, Complaint, Signs, Wellbeing, counts};
use super::super::{Notice, Now, Probed};
use super::{Slot, Turn};
use crate::model::{Reason, RunId};

impl Slot {
    pub(super) fn on_probed(&mut self, run: RunId, probed: Probed, turn: &mut Turn) {
        let health = &mut self.health;
        health.has_passed |= probed.passed;
        // Until it was well for the first time, its start period lasts.
        let age = self.process.as_ref().map(|process| turn.now.boot.since(process.spawned_at));
        let is_young = !health.has_passed && age < self.spec.health.as_ref().map(|check| check.start_period);
        let fails = !probed.passed && !is_young && counts(&probed, self.spec.heartbeat_timeout);
        health.failures_in_a_row = if fails { health.failures_in_a_row.saturating_add(1) } else { 0 };
        health.last = Some(probed);
        if self.spec.health.as_ref().is_some_and(|check| self.health.failures_in_a_row == check.failures) {
            let (failures, reason) = (self.health.failures_in_a_row, self.wellbeing(None, turn.now).1);
            self.announce(turn, Notice::Unhealthy { run, failures, reason });
        }
        // Who leaves by itself need not answer any more.
        if self.is_unhealthy() && self.may_be_restarted() && !self.heard.stopping {
            match self.signs(None).judge() {
                Wellbeing::Hung => self.begin_hung_stop(run, Reason::Unhealthy, turn),
                _ => self.begin_stop(run, Reason::Unhealthy, self.spec.stop_timeout, turn),
            }
        }
    }

    pub fn is_unhealthy(&self) -> bool {
        self.spec.health.as_ref().is_some_and(|check| self.health.failures_in_a_row >= check.failures)
    }

    /// Why whoever starts it should get another one. They want it well: one bad answer is enough, where a restart unasked for
    /// takes several.
    pub(super) fn is_ailing(&self) -> Option<Reason> {
        if self.heard.is_silent {
            return Some(Reason::HeartbeatTimeout);
        }
        (self.health.failures_in_a_row > 0).then_some(Reason::Unhealthy)
    }

    fn signs<'a>(&'a self, activity: Option<&'a Activity>) -> Signs<'a> {
        Signs {
            check: self.spec.health.as_ref(),
            probed: self.health.last.as_ref(),
            failures_in_a_row: self.health.failures_in_a_row,
            heartbeat_timeout: self.spec.heartbeat_timeout,
            beats: self.heard.beats,
            is_silent: self.heard.is_silent,
            activity,
        }
    }

    /// How a run that is up is, and why that is thought. `activity`: what it did up to now, if somebody has looked.
    pub fn wellbeing(&self, activity: Option<&Activity>, now: Now) -> (Wellbeing, String) {
        let word = self.signs(activity).judge();
        let probed = self.health.last.as_ref();
        let reason = match (word, probed) {
            (Wellbeing::Hung, _) if self.heard.is_silent => match self.heard.beat_age(now) {
                Some(age) => format!("heartbeat_timeout_{}s", age.as_secs()),
                None => "heartbeat_timeout".to_owned(),
            },
            (Wellbeing::Hung, _) if activity.is_some_and(|activity| activity.is_stopped) => "stopped_by_a_signal".to_owned(),
            (Wellbeing::Hung, None) => "blocked_in_the_kernel".to_owned(),
            (Wellbeing::Hung, Some(probed)) if probed.complaint() == Complaint::Silence => format!("{}_doing_nothing", probed.reason),
            (_, Some(probed)) => probed.reason.clone(),
            (_, None) => word.word().to_owned(),
        };
        (word, reason)
    }
}
