use crate::model::{BootTime, Exit, Reason, RestartPolicy, RunId, Service};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// A run that lasted this long after it was ready ends a series of failures.
const STABLE: Duration = Duration::from_secs(60);

/// A fork that was refused is not tried again at once: a delay of zero would make that a loop without end.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// By how much a delay may be longer, so that what failed together does not come back together.
const JITTER: f64 = 0.1;

/// What the past says about the next automatic start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Automatic starts since somebody last started the service.
    pub restarts: u32,
    /// Failures in a row; each doubles the delay.
    failures: u32,
    /// Automatic starts that count against the limit, oldest first.
    starts: VecDeque<BootTime>,
}

/// What follows the end of a run that nobody stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    StartAt(BootTime),
    Rest,
    /// The start limit is used up.
    GiveUp,
}

impl History {
    /// How long the run that has ended was ready.
    pub(super) fn lasted(&mut self, ready_for: Option<Duration>) {
        if ready_for.is_some_and(|lasted| lasted >= STABLE) {
            self.failures = 0;
        }
    }

    /// Decides what follows the end of `run`, and notes the automatic start if there is to be one.
    pub(super) fn after_end(&mut self, service: &Service, run: RunId, reason: Reason, exit: &Exit, now: BootTime) -> Next {
        if !wants_restart(service.restart, reason, exit) {
            return Next::Rest;
        }
        if reason.is_planned() {
            self.restarts += 1;
            return Next::StartAt(now);
        }
        self.starts.retain(|at| now.since(*at) < service.start_limit.interval);
        if self.starts.len() >= service.start_limit.burst as usize {
            return Next::GiveUp;
        }
        let least = if reason == Reason::StartFailed { AFTER_REFUSAL } else { Duration::ZERO };
        let start_at = now.after(self.delay(service, run).max(least));
        self.starts.push_back(start_at);
        self.failures = self.failures.saturating_add(1);
        self.restarts += 1;
        Next::StartAt(start_at)
    }

    /// Never shorter than the configuration says, longer by [`JITTER`] at most, and never longer than its cap.
    fn delay(&self, service: &Service, run: RunId) -> Duration {
        let doubled = service.restart_delay.saturating_mul(2_u32.saturating_pow(self.failures));
        let cap = service.restart_delay_max.max(service.restart_delay);
        doubled.min(cap).mul_f64(1.0 + JITTER * draw(run)).min(cap)
    }
}

/// From 0 to 1, by the number of a run: nothing random in the core, and consecutive runs are spread by the golden ratio.
pub(super) fn draw(run: RunId) -> f64 {
    (run.seq as f64 * 0.618_033_988_749_895).fract()
}

fn wants_restart(policy: RestartPolicy, reason: Reason, exit: &Exit) -> bool {
    let by_itself_and_well = reason == Reason::Exited && exit.is_success();
    match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => !by_itself_and_well,
        RestartPolicy::Never => false,
    }
}

#[cfg(test)]
mod tests;
