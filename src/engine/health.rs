//! How a run is, from all that can be known of it: what a probe was answered, what it said of itself, what the kernel counts.
//!
//! Whoever answers late, waits between two cycles, or is stuck, may look alike to one question; together the signs differ.

use super::Probed;
use crate::model::HealthCheck;
use std::time::Duration;

/// The words of status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wellbeing {
    Healthy,
    /// It answers late or not yet, and it works.
    Slow,
    /// It does not answer, and nothing goes on in it; or it has promised heartbeats and sends none.
    Hung,
    /// Nothing to do until its next cycle.
    Asleep,
    /// It was found wrong so often that it is believed.
    Unhealthy,
}

impl Wellbeing {
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Slow => "slow",
            Self::Hung => "hung",
            Self::Asleep => "asleep",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What the kernel counted of a run's processes between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    pub over: Duration,
    pub cpu: Duration,
    /// Of all threads; `None` where only the processor time was looked at.
    pub switches: Option<u64>,
    /// The main process waited in the kernel, uninterruptibly, at both looks.
    pub is_blocked: bool,
    /// The main process is stopped, as by SIGSTOP.
    pub is_stopped: bool,
}

/// What that comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doing {
    Working,
    /// Next to no processor time, but something wakes up now and then.
    Waking,
    Nothing,
    Blocked,
    Stopped,
}

/// Less of one core than this is no work: threads that only look whether there is some use as much.
const WORK: f64 = 0.05;

impl Activity {
    pub fn doing(&self) -> Doing {
        let share = self.cpu.as_secs_f64() / self.over.as_secs_f64().max(0.001);
        match self {
            Self { is_stopped: true, .. } => Doing::Stopped,
            _ if share >= WORK => Doing::Working,
            _ if !self.cpu.is_zero() || self.switches.is_some_and(|switches| switches > 0) => Doing::Waking,
            Self { is_blocked: true, .. } => Doing::Blocked,
            _ => Doing::Nothing,
        }
    }
}

/// Who uses no processor time for so long sleeps. Until then it may just have nothing to do.
const DOZING: Duration = Duration::from_secs(10);

/// What is known of a run that is up.
#[derive(Debug, Clone, Copy)]
pub struct Signs<'a> {
    pub check: Option<&'a HealthCheck>,
    pub probed: Option<&'a Probed>,
    pub failures_in_a_row: u32,
    /// Its own limit on the silence between heartbeats.
    pub heartbeat_timeout: Option<Duration>,
    /// It sends heartbeats.
    pub beats: bool,
    /// It does, and the last one is too long ago.
    pub is_silent: bool,
    /// As seen now, by whoever asks.
    pub activity: Option<&'a Activity>,
}

impl Signs<'_> {
    pub fn judge(&self) -> Wellbeing {
        let seen = self.activity.map(Activity::doing);
        match self.probed {
            _ if self.is_silent || seen == Some(Doing::Stopped) => Wellbeing::Hung,
            Some(probed) => self.judge_answer(probed),
            None if self.beats => Wellbeing::Healthy,
            // It offers nothing to ask.
            None => match (seen, self.activity.is_some_and(|activity| activity.over >= DOZING)) {
                (Some(Doing::Blocked), true) => Wellbeing::Hung,
                (Some(Doing::Nothing), true) => Wellbeing::Asleep,
                _ => Wellbeing::Healthy,
            },
        }
    }

    fn judge_answer(&self, probed: &Probed) -> Wellbeing {
        let limit = self.check.map_or(Duration::MAX, |check| check.timeout);
        let is_often = self.check.is_some_and(|check| self.failures_in_a_row >= check.failures);
        let unless_often = |word| if is_often { word } else { Wellbeing::Slow };
        let doing = probed.activity.as_ref().map(Activity::doing);
        if probed.passed {
            return if probed.latency > limit / 2 { Wellbeing::Slow } else { Wellbeing::Healthy };
        }
        match (probed.complaint(), doing) {
            (Complaint::Silence, Some(Doing::Nothing | Doing::Blocked | Doing::Stopped)) => Wellbeing::Hung,
            (Complaint::Silence, Some(Doing::Working | Doing::Waking) | None) => unless_often(Wellbeing::Unhealthy),
            (Complaint::Heartbeat { .. }, Some(Doing::Nothing | Doing::Waking)) if !counts(probed, self.heartbeat_timeout) => {
                Wellbeing::Asleep
            }
            (Complaint::Heartbeat { .. }, Some(Doing::Working) | None) if self.heartbeat_timeout.is_none() => {
                unless_often(Wellbeing::Unhealthy)
            }
            (Complaint::Heartbeat { .. }, _) => unless_often(Wellbeing::Hung),
            (Complaint::Other, _) => unless_often(Wellbeing::Unhealthy),
        }
    }
}

/// What is wrong with a failed probe's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complaint {
    /// There was none within the time.
    Silence,
    /// The worker's own endpoint says that its cycle has not come round for so long: the seed's `heartbeat_timeout_447s`.
    Heartbeat {
        age: Duration,
    },
    Other,
}

impl Probed {
    pub fn complaint(&self) -> Complaint {
        let seconds = self.reason.strip_prefix("heartbeat_timeout_").and_then(|rest| rest.strip_suffix('s'));
        let age = seconds.and_then(|text| text.parse().ok()).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match age {
            _ if self.timed_out => Complaint::Silence,
            Some(age) => Complaint::Heartbeat { age },
            None => Complaint::Other,
        }
    }
}

/// Whether a failed probe speaks for a restart. That a worker which answers has not come round is no fault while it sleeps
/// quietly, as between two cycles; where devstack was told how long a cycle may take, that decides.
pub fn counts(probed: &Probed, heartbeat_timeout: Option<Duration>) -> bool {
    let doing = probed.activity.as_ref().map(Activity::doing);
    match (probed.complaint(), heartbeat_timeout) {
        (Complaint::Silence | Complaint::Other, _) => true,
        (Complaint::Heartbeat { age }, Some(limit)) => age > limit,
        (Complaint::Heartbeat { .. }, None) => !matches!(doing, Some(Doing::Nothing | Doing::Waking) | None),
    }
}

#[cfg(test)]
mod tests;
