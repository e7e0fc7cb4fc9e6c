//! How a log grows: when it is looked at again, and when it is to be rotated.
//!
//! Guards that a log nobody writes to is looked at by nobody, and that one that is written to is looked at no more often than its
//! growth asks for.

use crate::model::BootTime;
use std::time::Duration;

/// Between two looks at a log that grows: long enough to cost nothing, and short enough for whoever looks for a time in it.
const LONGEST: Duration = Duration::from_secs(10);
const SHORTEST: Duration = Duration::from_millis(20);

/// A look is due when this share of what is missing may have been written.
const SHARE: f64 = 0.5;

/// The next pause is at most so many times the last one: what has just begun may go on quicker.
const GROWS_BY: u32 = 2;

/// Bytes a second that no disk follows for long: who writes so fast writes to memory, where moving what it wrote would cost it more than
/// it costs anybody that the log is longer for a moment.
const BURST: f64 = 100e6;

/// And so many times longer it may become until the burst is over.
const LONGEST_BURST: u64 = 25;

/// Of one log.
#[derive(Debug, Clone)]
pub struct Growth {
    /// Bytes from which on it is rotated.
    size: u64,
    last: Option<(BootTime, u64)>,
    /// No line ended where it could be cut, so it has to become longer.
    not_before: u64,
    /// Until then nothing is tried.
    patience: BootTime,
}

/// What follows from a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nobody is known to write to it: whoever does wakes us, once.
    Rest,
    Look(Duration),
    Rotate,
}

impl Growth {
    pub fn new(size: u64) -> Self {
        Self { size, last: None, not_before: 0, patience: BootTime::default() }
    }

    /// It holds so many bytes now. `is_old`: it is time to rotate it whatever its size.
    pub fn look(&mut self, bytes: u64, is_old: bool, now: BootTime) -> Next {
        let before = self.last.replace((now, bytes));
        let rate = before.map(|(at, before)| bytes.saturating_sub(before) as f64 / now.since(at).max(SHORTEST).as_secs_f64());
        let is_burst = rate.is_some_and(|rate| rate > BURST) && bytes < self.size.saturating_mul(LONGEST_BURST);
        if (bytes >= self.size || (is_old && bytes > 0)) && bytes >= self.not_before && now >= self.patience {
            return if is_burst { Next::Look(SHORTEST * GROWS_BY) } else { Next::Rotate };
        }
        let Some((at, before)) = before.filter(|(at, _)| now.since(*at) <= LONGEST) else { return Next::Rest };
        if before == bytes {
            self.rest();
            return Next::Rest;
        }
        let wanted = self.size.max(self.not_before);
        let missing = wanted.saturating_sub(bytes) as f64 * SHARE;
        let elapsed = now.since(at).max(SHORTEST);
        let pause = Duration::try_from_secs_f64(missing / rate.unwrap_or_default().max(1.0)).unwrap_or(LONGEST);
        Next::Look(pause.min(elapsed * GROWS_BY).clamp(SHORTEST, LONGEST).max(self.patience.since(now)))
    }

    /// What was seen was nobody's writing: the next who writes begins.
    pub fn rest(&mut self) {
        self.last = None;
    }

    /// After a rotation, or one that was tried.
    pub fn rotated(&mut self, outcome: Outcome, now: BootTime) {
        let bytes = self.last.take().map_or(0, |(_, bytes)| bytes);
        (self.not_before, self.patience) = match outcome {
            Outcome::Done => (0, BootTime::default()),
            Outcome::NotYet => (bytes + (self.size / 8).max(1), BootTime::default()),
            Outcome::Later(pause) => (0, now.after(pause)),
        };
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// No line ends where it could be cut.
    NotYet,
    /// The disk is full, or somebody else is at it: not before so long.
    Later(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn at(milliseconds: u64) -> BootTime {
        BootTime::default().after(Duration::from_millis(milliseconds))
    }

    #[test]
    fn one_line_now_and_then_wakes_once_and_nothing_follows() {
        let mut growth = Growth::new(50 * MB);
        for second in [0, 60, 120] {
            assert_eq!(growth.look(MB + second, false, at(second * 1000)), Next::Rest);
        }
        assert_eq!(growth.look(MB + 121, false, at(120_500)), Next::Look(Duration::from_secs(1)), "a second one soon after is growth");
        assert_eq!(growth.look(MB + 121, false, at(121_500)), Next::Rest);
        assert_eq!(growth.look(MB + 122, false, at(122_000)), Next::Rest, "it begins anew");
    }

    #[test]
    fn a_slow_log_is_looked_at_more_and_more_seldom_and_a_quick_one_before_it_is_much_too_long() {
        let mut slow = Growth::new(50 * MB);
        let (mut now, mut pauses) = (0, Vec::new());
        assert_eq!(slow.look(0, false, at(0)), Next::Rest);
        while pauses.last() != Some(&LONGEST) {
            let Next::Look(pause) = slow.look(now + 1, false, at(now)) else { panic!("it grows") };
            pauses.push(pause);
            now += u64::try_from(pause.as_millis()).expect("short");
        }
        assert!(pauses.is_sorted() && (8..12).contains(&pauses.len()), "{pauses:?}");
        let mut quick = Growth::new(50 * MB);
        assert_eq!(quick.look(0, false, at(0)), Next::Rest);
        let Next::Look(pause) = quick.look(25 * MB, false, at(100)) else { panic!("it grows") };
        assert!((pause.as_secs_f64() - 0.05).abs() < 0.001, "half of what is missing: {pause:?}");
        assert_eq!(quick.look(50 * MB, false, at(600)), Next::Rotate);
        quick.rotated(Outcome::Done, at(610));
        assert_eq!(quick.look(MB, false, at(620)), Next::Rest);
        assert!(matches!(quick.look(2 * MB, false, at(621)), Next::Look(_)));
    }

    #[test]
    fn a_burst_is_let_pass_and_bounded() {
        let mut growth = Growth::new(50 * MB);
        assert_eq!(growth.look(MB, false, at(0)), Next::Rest);
        assert!(matches!(growth.look(100 * MB, false, at(100)), Next::Look(_)), "a gigabyte a second");
        assert_eq!(growth.look(101 * MB, false, at(200)), Next::Rotate, "it is over");
        growth.rotated(Outcome::Done, at(300));
        assert_eq!(growth.look(MB, false, at(310)), Next::Rest);
        assert_eq!(growth.look(2000 * MB, false, at(400)), Next::Rotate, "there is an end to it");
    }

    #[test]
    fn what_could_not_be_cut_has_to_grow_and_what_failed_waits() {
        let mut growth = Growth::new(8 * MB);
        assert_eq!(growth.look(8 * MB, false, at(0)), Next::Rotate);
        growth.rotated(Outcome::NotYet, at(1));
        assert_eq!(growth.look(8 * MB, false, at(2)), Next::Rest);
        assert_eq!(growth.look(9 * MB, false, at(3)), Next::Rotate);
        growth.rotated(Outcome::Later(Duration::from_secs(10)), at(4));
        assert_eq!(growth.look(9 * MB, false, at(5)), Next::Rest);
        assert!(matches!(growth.look(9 * MB + 1, false, at(6)), Next::Look(pause) if pause > Duration::from_secs(9)));
        assert_eq!(growth.look(9 * MB + 1, false, at(20_000)), Next::Rotate);
    }

    #[test]
    fn an_old_log_is_rotated_whatever_its_size_unless_it_is_empty() {
        let mut growth = Growth::new(50 * MB);
        assert_eq!(growth.look(1, true, at(0)), Next::Rotate);
        assert_ne!(growth.look(0, true, at(1)), Next::Rotate);
    }
}
