//! What a run has said of itself, and when its silence means something.
//!
//! Silence is counted while the machine is awake: a laptop that slept has missed no heartbeat.

use super::Now;
use crate::model::BootTime;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What `EXTEND_TIMEOUT_USEC` may add to a start and to a stop of a run in all, and to a heartbeat each time.
pub const MOST_EXTENSION: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// It sends heartbeats: from then on, that none comes means something.
    pub beats: bool,
    /// It has said that it is about to end by itself.
    pub stopping: bool,
    pub status_text: Option<String>,
    /// It has named another main process, and that was told.
    pub(super) main_was_refused: bool,
    /// What its start and its stop have been extended by so far.
    extended: Duration,
    #[serde(skip)]
    beat: Option<Moment>,
    /// When the silence is too long.
    #[serde(skip)]
    due: Option<Moment>,
    /// It was, and nothing was heard since.
    #[serde(skip)]
    pub is_silent: bool,
}

/// A moment, and how long the machine had slept by then.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moment {
    at: BootTime,
    asleep: Duration,
}

impl Moment {
    fn after(now: Now, wait: Duration) -> Self {
        Self { at: now.boot.after(wait), asleep: now.asleep }
    }

    /// Later by what the machine has slept since.
    fn awake(self, now: Now) -> Self {
        Self { at: self.at.after(now.asleep.saturating_sub(self.asleep)), asleep: self.asleep.max(now.asleep) }
    }
}

impl Heard {
    /// What a successor must know; it is not worth a save for every word.
    pub(super) fn kept(&self) -> (bool, bool) {
        (self.beats, self.stopping)
    }

    pub(super) fn beat(&mut self, now: Now, timeout: Option<Duration>) {
        self.beats = true;
        self.is_silent = false;
        self.beat = Some(Moment::after(now, Duration::ZERO));
        self.expect(now, timeout);
    }

    /// Silence counts from now, if the run is one that speaks.
    pub(super) fn expect(&mut self, now: Now, timeout: Option<Duration>) {
        if self.beats && !self.stopping {
            self.due = timeout.map(|timeout| Moment::after(now, timeout));
        }
    }

    /// It leaves by itself, and has this long for it.
    pub(super) fn leaves(&mut self, now: Now, grace: Duration) {
        self.stopping = true;
        self.due = Some(Moment::after(now, grace));
    }

    /// What a successor counts from does not depend on when it came.
    pub(super) fn forget_silence(&mut self) {
        (self.beat, self.due, self.is_silent) = (None, None, false);
    }

    pub(super) fn extend_silence(&mut self, now: Now, by: Duration) {
        if let Some(due) = &mut self.due {
            let later = Moment::after(now, by.min(MOST_EXTENSION));
            *due = if later.at > due.at { later } else { *due };
        }
    }

    /// A deadline that may lie `by` from now, as far as there is something left to be granted.
    pub(super) fn extended(&mut self, deadline: BootTime, now: Now, by: Duration) -> BootTime {
        let more = now.boot.after(by).since(deadline).min(MOST_EXTENSION.saturating_sub(self.extended));
        self.extended += more;
        deadline.after(more)
    }

    pub(super) fn due(&self) -> Option<BootTime> {
        self.due.map(|due| due.at)
    }

    /// Whether it has been silent for too long; the machine may have slept.
    pub(super) fn is_due(&mut self, now: Now) -> bool {
        self.due = self.due.map(|due| due.awake(now));
        let is_due = self.due.is_some_and(|due| due.at <= now.boot);
        if is_due {
            self.due = None;
            self.is_silent = true;
        }
        is_due
    }

    /// Since the last heartbeat, while the machine was awake.
    pub fn beat_age(&self, now: Now) -> Option<Duration> {
        self.beat.map(|beat| now.boot.since(beat.awake(now).at))
    }
}
