use crate::model::BootTime;
use std::time::Duration;

/// So many points cover a run however long it lasts: when they are full, every second one goes.
const POINTS: usize = 64;

/// A slope over less time than this says nothing.
const SHORTEST: Duration = Duration::from_secs(5);

/// How the memory of a run develops: a bounded number of points, evenly over its whole life.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trend {
    points: Vec<(BootTime, u64)>,
    /// Between two points that are kept.
    spacing: Duration,
    /// Bytes.
    peak: u64,
}

impl Trend {
    /// `bytes` in use at a moment.
    pub fn add(&mut self, at: BootTime, bytes: u64) {
        self.peak = self.peak.max(bytes);
        if self.points.last().is_some_and(|(last, _)| at.since(*last) < self.spacing) {
            return;
        }
        self.points.push((at, bytes));
        if self.points.len() >= POINTS {
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            let (first, last) = (self.points.first(), self.points.last());
            let span = first.zip(last).map_or(Duration::ZERO, |(first, last)| last.0.since(first.0));
            self.spacing = span / u32::try_from(POINTS / 2).unwrap_or(1);
        }
    }

    /// The most that was seen, in bytes; `None` before the first sample.
    pub fn peak(&self) -> Option<u64> {
        (!self.points.is_empty()).then_some(self.peak)
    }

    /// Bytes a second, by least squares over the later half of the run's life: how it grew while it started is another matter.
    /// `None` while that is too short to say.
    pub fn slope(&self) -> Option<f64> {
        let (first, last) = (self.points.first()?.0, self.points.last()?.0);
        let middle = first.after(last.since(first) / 2);
        let later: Vec<(f64, f64)> =
            self.points.iter().filter(|(at, _)| *at >= middle).map(|(at, bytes)| (at.since(middle).as_secs_f64(), *bytes as f64)).collect();
        if last.since(middle) < SHORTEST || later.len() < 3 {
            return None;
        }
        let count = later.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| later.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = later.iter().map(|point| (point.0 - x).powi(2)).sum();
        let common: f64 = later.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
        (spread > 0.0).then(|| common / spread)
    }

    /// When `limit` bytes are reached if it goes on like this; `None` if it does not grow, or not noticeably (less than a
    /// hundredth of the limit an hour).
    pub fn reaches(&self, limit: u64) -> Option<Duration> {
        let (slope, now) = (self.slope()?, self.points.last()?.1);
        let noticeable = slope * 3600.0 >= limit as f64 / 100.0;
        noticeable.then(|| Duration::try_from_secs_f64(limit.saturating_sub(now) as f64 / slope).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn trend(seconds: u64, used: impl Fn(u64) -> u64) -> Trend {
        let mut trend = Trend::default();
        for second in 0..seconds {
            trend.add(BootTime::from_nanos(second * 1_000_000_000), used(second));
        }
        trend
    }

    #[test]
    fn a_leak_has_a_slope_and_a_moment_at_which_it_ends() {
        let leaking = trend(7200, |second| 200 * MIB + second * MIB / 90);
        let an_hour = leaking.slope().expect("long enough") * 3600.0 / MIB as f64;
        assert!((39.0..41.0).contains(&an_hour), "{an_hour}");
        let left = leaking.reaches(480 * MIB).expect("it grows").as_secs_f64() / 3600.0;
        assert!((4.9..5.2).contains(&left), "{left}");
        assert_eq!(leaking.peak(), Some(200 * MIB + 7199 * MIB / 90));
    }

    #[test]
    fn the_growth_while_it_starts_is_no_leak() {
        let steady = trend(600, |second| second.min(20) * 10 * MIB);
        assert!(steady.slope().expect("long enough").abs() < 1.0);
        assert_eq!(steady.reaches(1000 * MIB), None);
    }

    #[test]
    fn too_short_a_time_says_nothing() {
        assert_eq!(trend(0, |_| 0).slope(), None);
        assert_eq!(trend(9, |second| second * MIB).slope(), None);
        assert_eq!(trend(0, |_| 0).peak(), None);
    }

    #[test]
    fn a_long_life_is_remembered_in_few_points() {
        let long = trend(100_000, |second| second);
        assert!(long.points.len() < POINTS);
        let (first, last) = (long.points[0].0, long.points[long.points.len() - 1].0);
        assert!(last.since(first) > Duration::from_secs(90_000));
    }
}
