use super::Trend;
use crate::model::{BootTime, Measured, Service};
use std::collections::VecDeque;
use std::time::Duration;

/// The seed's rule: a CPU limit is judged on ten samples.
const SAMPLES: u32 = 10;

/// Share of the memory limit at which somebody is told: the seed's alert.
const NEAR: f64 = 0.85;
/// After having been told, it has to fall below this share before it is told again.
const RELIEVED: f64 = 0.75;

/// Share of the memory limit at which there is no grace left. Enforced by the kernel, too, where it can be.
const HARD: f64 = 1.5;

/// Memory is not expected to grow faster than this, in bytes a second; measured: CPython fills 0.6 GB in one.
const FASTEST_GROWTH: f64 = 512.0 * 1024.0 * 1024.0;
const QUICK: Duration = Duration::from_millis(100);
const USUAL: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5);

/// Proportional figures are read again without growth, for what is copied on write, at most this share of the time.
const CONFIRM_SHARE: u32 = 20;

/// A tree that uses less than this share of a core, and has not grown, does nothing that has to be looked at quickly.
const BUSY: f64 = 0.01;

/// What the tree of a run used up to a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub at: BootTime,
    /// Processor time of the whole tree since its start, in seconds.
    pub cpu_seconds: f64,
    /// Bytes, with shared pages counted in every process: cheap, and never too low.
    pub resident: u64,
}

/// What a look at a run showed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Finding {
    /// Told once, so that somebody can act before devstack does.
    Near(Measured),
    Exceeded(Measured),
    /// It goes on growing although it was asked to stop.
    Overrun(Measured),
}

/// What follows a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Look again after this long.
    Look { again_in: Duration, finding: Option<Finding> },
    /// The cheap figure says that something would follow; only the proportional one (shared pages counted once) may say so.
    ConfirmMemory,
}

/// What a proportional figure said, and what the cheap one was then.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Confirmed {
    at: BootTime,
    proportional: u64,
    resident: u64,
    /// How long it took to read.
    cost: Duration,
}

/// Watches the limits of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Monitor {
    /// Bytes.
    memory_limit: Option<u64>,
    /// Percent of one core.
    cpu_limit: Option<f64>,
    window: Duration,
    samples: VecDeque<(BootTime, f64)>,
    last: Option<Sample>,
    confirmed: Option<Confirmed>,
    told: bool,
    /// It was said that memory exceeds its limit; from then on only the hard one matters.
    exceeded: bool,
    trend: Trend,
}

impl Monitor {
    /// `None` when the service has no limit to watch.
    pub fn of(service: &Service) -> Option<Self> {
        let limited = service.memory_limit.is_some() || service.cpu_limit.is_some();
        limited.then(|| Self::new(service.memory_limit, service.cpu_limit, service.cpu_window))
    }

    fn new(memory_limit: Option<u64>, cpu_limit: Option<f64>, window: Duration) -> Self {
        Self {
            memory_limit,
            cpu_limit,
            window,
            samples: VecDeque::new(),
            last: None,
            confirmed: None,
            told: false,
            exceeded: false,
            trend: Trend::default(),
        }
    }

    /// Of the memory, as far as it was sampled.
    pub fn trend(&self) -> &Trend {
        &self.trend
    }

    /// What follows if it has not run at all since the last sample; `None` if it has, or nothing is known yet.
    pub fn judge_idle(&mut self, at: BootTime, cpu_seconds: f64) -> Option<Verdict> {
        let last = self.last.filter(|last| last.cpu_seconds == cpu_seconds)?;
        match self.judge(Sample { at, ..last }) {
            Verdict::ConfirmMemory => None,
            verdict => Some(verdict),
        }
    }

    pub fn judge(&mut self, sample: Sample) -> Verdict {
        let busy = self.is_busy(sample);
        self.last = Some(sample);
        if let Some(used) = self.cpu_excess(sample) {
            let limit = self.cpu_limit.unwrap_or_default();
            return Verdict::Look { again_in: self.usual(), finding: Some(Finding::Exceeded(Measured::Cpu { used, limit })) };
        }
        let Some(next) = self.next_threshold() else { return Verdict::Look { again_in: self.usual(), finding: None } };
        let estimate = self.estimate(sample);
        if estimate >= next || (sample.resident >= next && self.is_confirmation_old(sample.at)) {
            return Verdict::ConfirmMemory;
        }
        self.trend.add(sample.at, estimate);
        self.relieve(estimate);
        Verdict::Look { again_in: self.pause(estimate, busy), finding: None }
    }

    /// After [`Verdict::ConfirmMemory`]: `proportional` in bytes, and how long it took to find out.
    pub fn confirm(&mut self, proportional: u64, cost: Duration) -> Verdict {
        let (Some(limit), Some(Sample { at, resident, .. })) = (self.memory_limit, self.last) else {
            return Verdict::Look { again_in: self.usual(), finding: None };
        };
        self.confirmed = Some(Confirmed { at, proportional, resident, cost });
        self.trend.add(at, proportional);
        self.relieve(proportional);
        let measured = Measured::Memory { used: proportional, limit };
        let finding = match self.exceeded {
            true => (proportional >= hard_memory_limit(limit)).then_some(Finding::Overrun(measured)),
            false if proportional >= limit => {
                self.exceeded = true;
                Some(Finding::Exceeded(measured))
            }
            false if proportional >= share(limit, NEAR) && !self.told => {
                self.told = true;
                Some(Finding::Near(measured))
            }
            false => None,
        };
        Verdict::Look { again_in: self.pause(proportional, true), finding }
    }

    /// Bytes at which something follows.
    fn next_threshold(&self) -> Option<u64> {
        let limit = self.memory_limit?;
        Some(match self.exceeded {
            true => hard_memory_limit(limit),
            false if !self.told => share(limit, NEAR),
            false => limit,
        })
    }

    /// What the proportional figure can be by now, if nothing was copied on write since it was read.
    fn estimate(&self, sample: Sample) -> u64 {
        let Some(then) = self.confirmed else { return sample.resident };
        then.proportional.saturating_add(sample.resident.saturating_sub(then.resident)).min(sample.resident)
    }

    fn is_confirmation_old(&self, now: BootTime) -> bool {
        self.confirmed.is_none_or(|then| now.since(then.at) >= (then.cost * CONFIRM_SHARE).max(USUAL))
    }

    fn is_busy(&self, sample: Sample) -> bool {
        self.last.is_none_or(|last| {
            let elapsed = sample.at.since(last.at).as_secs_f64();
            sample.cpu_seconds - last.cpu_seconds > elapsed * BUSY || sample.resident > last.resident
        })
    }

    fn relieve(&mut self, used: u64) {
        self.told = self.told && self.memory_limit.is_some_and(|limit| used >= share(limit, RELIEVED));
    }

    /// A tree that works may fill what is left before the limit, and must be looked at by then.
    fn pause(&self, used: u64, busy: bool) -> Duration {
        let target = self.memory_limit.map(|limit| if self.exceeded { hard_memory_limit(limit) } else { limit });
        let (Some(target), true) = (target, busy) else { return self.usual() };
        let until_full = target.saturating_sub(used) as f64 / FASTEST_GROWTH;
        Duration::from_secs_f64(until_full.min(LONGEST.as_secs_f64())).clamp(QUICK, self.usual().max(QUICK))
    }

    /// The mean over the whole window, in percent of one core, if it is too much. The window must have passed: a burst at the
    /// start is not a worker that spins.
    fn cpu_excess(&mut self, sample: Sample) -> Option<f64> {
        let limit = self.cpu_limit?;
        self.samples.push_back((sample.at, sample.cpu_seconds));
        let spans_window = |first: &(BootTime, f64)| sample.at.since(first.0) >= self.window;
        while self.samples.get(1).is_some_and(spans_window) {
            self.samples.pop_front();
        }
        let (since, before) = self.samples.front().copied().filter(|first| spans_window(first))?;
        let used = (sample.cpu_seconds - before) / sample.at.since(since).as_secs_f64() * 100.0;
        (used > limit).then_some(used)
    }

    fn usual(&self) -> Duration {
        let of_cpu = self.cpu_limit.map(|_| (self.window / SAMPLES).clamp(QUICK, LONGEST));
        let of_memory = self.memory_limit.map(|_| USUAL);
        of_cpu.into_iter().chain(of_memory).min().unwrap_or(LONGEST)
    }
}

/// Well beyond the limit: a stop at the limit may still be graceful.
pub fn hard_memory_limit(limit: u64) -> u64 {
    share(limit, HARD)
}

fn share(bytes: u64, share: f64) -> u64 {
    (bytes as f64 * share) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn sample(millis: u64, cpu_seconds: f64, resident: u64) -> Sample {
        Sample { at: BootTime::from_nanos(millis * 1_000_000), cpu_seconds, resident }
    }

    fn look(again_in: Duration) -> Verdict {
        Verdict::Look { again_in, finding: None }
    }

    fn memory(used: u64, limit: u64) -> Measured {
        Measured::Memory { used: used * MIB, limit: limit * MIB }
    }

    fn finding(verdict: Verdict) -> Option<Finding> {
        match verdict {
            Verdict::Look { finding, .. } => finding,
            Verdict::ConfirmMemory => panic!("it wanted to read the proportional figure"),
        }
    }

    #[test]
    fn a_burst_shorter_than_the_window_is_no_offence_and_a_spinning_worker_is() {
        let mut spinning = Monitor::new(None, Some(80.0), Duration::from_secs(10));
        for second in 0..10 {
            assert_eq!(spinning.judge(sample(second * 1000, second as f64, 0)), look(USUAL));
        }
        let verdict = spinning.judge(sample(10_000, 10.0, 0));
        assert_eq!(finding(verdict), Some(Finding::Exceeded(Measured::Cpu { used: 100.0, limit: 80.0 })));
        let mut bursting = Monitor::new(None, Some(80.0), Duration::from_secs(10));
        for second in 0..30 {
            let used = (second.min(5)) as f64;
            assert_eq!(bursting.judge(sample(second * 1000, used, 0)), look(USUAL), "second {second}");
        }
    }

    #[test]
    fn a_pool_may_be_allowed_more_than_one_core() {
        let mut pool = Monitor::new(None, Some(350.0), Duration::from_secs(10));
        for second in 0..30 {
            assert_eq!(finding(pool.judge(sample(second * 1000, second as f64 * 3.4, 0))), None);
        }
        let mut hungry = Monitor::new(None, Some(300.0), Duration::from_secs(10));
        let verdicts: Vec<_> = (0..=10).map(|second| finding(hungry.judge(sample(second * 1000, second as f64 * 3.4, 0)))).collect();
        assert!(verdicts[..10].iter().all(Option::is_none));
        assert!(matches!(verdicts[10], Some(Finding::Exceeded(Measured::Cpu { used, .. })) if (339.0..341.0).contains(&used)));
    }

    #[test]
    fn memory_is_told_at_85_percent_once_and_stopped_at_the_limit() {
        let mut monitor = Monitor::new(Some(100 * MIB), None, Duration::from_secs(10));
        assert_eq!(monitor.judge(sample(0, 0.0, 84 * MIB)), look(QUICK));
        assert_eq!(monitor.judge(sample(100, 0.1, 86 * MIB)), Verdict::ConfirmMemory);
        assert_eq!(finding(monitor.confirm(86 * MIB, Duration::ZERO)), Some(Finding::Near(memory(86, 100))));
        assert_eq!(finding(monitor.judge(sample(200, 0.2, 90 * MIB))), None, "it was told");
        assert_eq!(monitor.judge(sample(300, 0.3, 101 * MIB)), Verdict::ConfirmMemory);
        assert_eq!(finding(monitor.confirm(101 * MIB, Duration::ZERO)), Some(Finding::Exceeded(memory(101, 100))));
    }

    #[test]
    fn it_is_told_again_only_after_it_had_fallen_well_below() {
        let mut monitor = Monitor::new(Some(100 * MIB), None, Duration::from_secs(10));
        let mut told = 0;
        for (turn, used) in [86, 84, 90, 80, 86, 70, 86, 99].into_iter().enumerate() {
            let verdict = match monitor.judge(sample(turn as u64 * 2000, turn as f64, used * MIB)) {
                Verdict::ConfirmMemory => monitor.confirm(used * MIB, Duration::ZERO),
                verdict => verdict,
            };
            told += u32::from(matches!(finding(verdict), Some(Finding::Near(_))));
        }
        assert_eq!(told, 2);
    }

    #[test]
    fn pages_shared_by_fork_count_once_and_are_not_counted_again_at_every_look() {
        let mut monitor = Monitor::new(Some(800 * MIB), None, Duration::from_secs(10));
        assert_eq!(monitor.judge(sample(0, 0.0, 1057 * MIB)), Verdict::ConfirmMemory);
        let cost = Duration::from_millis(65);
        assert_eq!(finding(monitor.confirm(216 * MIB, cost)), None);
        let mut confirmations = 0;
        for turn in 1..=100 {
            if monitor.judge(sample(turn * 100, turn as f64, 1060 * MIB)) == Verdict::ConfirmMemory {
                confirmations += 1;
                assert_eq!(finding(monitor.confirm(219 * MIB, cost)), None);
            }
        }
        assert!((1..=8).contains(&confirmations), "{confirmations} times in ten seconds");
        // A leak shows in the cheap figure, too.
        assert_eq!(monitor.judge(sample(10_100, 101.0, 1700 * MIB)), Verdict::ConfirmMemory);
    }

    #[test]
    fn who_was_asked_to_stop_and_goes_on_growing_has_no_grace_left() {
        let mut monitor = Monitor::new(Some(100 * MIB), None, Duration::from_secs(10));
        monitor.judge(sample(0, 0.0, 120 * MIB));
        assert_eq!(finding(monitor.confirm(120 * MIB, Duration::ZERO)), Some(Finding::Exceeded(memory(120, 100))));
        assert_eq!(finding(monitor.judge(sample(100, 0.1, 140 * MIB))), None, "it may clean up");
        assert_eq!(monitor.judge(sample(200, 0.2, 155 * MIB)), Verdict::ConfirmMemory);
        assert_eq!(finding(monitor.confirm(155 * MIB, Duration::ZERO)), Some(Finding::Overrun(memory(155, 100))));
    }

    #[test]
    fn who_has_not_run_is_judged_without_another_look() {
        let mut monitor = Monitor::new(Some(100 * MIB), Some(80.0), Duration::from_secs(10));
        let now = |second: u64| BootTime::from_nanos(second * 1_000_000_000);
        assert_eq!(monitor.judge_idle(now(0), 0.0), None, "nothing is known yet");
        monitor.judge(sample(0, 1.0, 60 * MIB));
        assert_eq!(monitor.judge_idle(now(1), 1.0), Some(look(USUAL)));
        assert_eq!(monitor.judge_idle(now(2), 1.1), None, "it has run");
    }

    #[test]
    fn a_worker_that_rests_is_looked_at_once_a_second_however_small_its_limit() {
        let mut monitor = Monitor::new(Some(100 * MIB), None, Duration::from_secs(10));
        assert_eq!(monitor.judge(sample(0, 5.0, 60 * MIB)), look(QUICK), "what it does is not known yet");
        assert_eq!(monitor.judge(sample(100, 5.0, 60 * MIB)), look(USUAL));
        assert!(matches!(monitor.judge(sample(1100, 5.5, 60 * MIB)), Verdict::Look { again_in, .. } if again_in == QUICK), "it works");
    }

    proptest! {
        /// However large the limit and whenever it begins: not more than what grows in one quick tick beyond the limit.
        #[test]
        fn a_leak_is_caught_within_one_quick_tick(limit in 64_u64..4096, rate in 1_u64..500, base in 1_u64..60) {
            let mut monitor = Monitor::new(Some(limit * MIB), None, Duration::from_secs(10));
            let mut millis = 0_u64;
            loop {
                let used = (base * MIB).min(limit * MIB / 2) + rate * MIB * millis / 1000;
                let verdict = match monitor.judge(sample(millis, millis as f64 / 1000.0, used)) {
                    Verdict::ConfirmMemory => monitor.confirm(used, Duration::ZERO),
                    verdict => verdict,
                };
                let Verdict::Look { again_in, finding } = verdict else { unreachable!("it was confirmed") };
                if matches!(finding, Some(Finding::Exceeded(_))) {
                    prop_assert!(used <= limit * MIB + rate * MIB / 10 + MIB, "{} MiB of {limit}", used / MIB);
                    break;
                }
                prop_assert!(used <= limit * MIB, "{} MiB of {limit} went unnoticed", used / MIB);
                millis += again_in.as_millis() as u64;
            }
        }
    }
}
