use crate::model::{BootTime, Reason, Service};
use std::collections::VecDeque;
use std::time::Duration;

/// The seed's rule: a CPU limit is judged on ten samples.
const SAMPLES: u32 = 10;

/// From this share of the memory limit on, samples come quickly: a worker can leak hundreds of megabytes a second.
const NEAR: f64 = 0.7;
const QUICK: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// What the tree of a run used up to a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub at: BootTime,
    /// Processor time of the whole tree since its start, in seconds.
    pub cpu_seconds: f64,
    /// Bytes, with shared pages counted in every process: cheap, and never too low.
    pub resident: u64,
}

/// What follows a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    Fine {
        again_in: Duration,
    },
    /// The cheap figure is over the limit; only the proportional one (shared pages counted once) may say so.
    ConfirmMemory,
    Exceeded(Reason),
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
}

impl Monitor {
    /// `None` when the service has no limit to watch.
    pub fn of(service: &Service) -> Option<Self> {
        let (memory_limit, cpu_limit) = (service.memory_limit, service.cpu_limit);
        (memory_limit.is_some() || cpu_limit.is_some()).then(|| Self {
            memory_limit,
            cpu_limit,
            window: service.cpu_window,
            samples: VecDeque::new(),
        })
    }

    pub fn judge(&mut self, sample: Sample) -> Verdict {
        if self.cpu_is_exceeded(sample) {
            return Verdict::Exceeded(Reason::CpuLimit);
        }
        let Some(limit) = self.memory_limit else { return Verdict::Fine { again_in: self.pause() } };
        if sample.resident > limit {
            return Verdict::ConfirmMemory;
        }
        let near = sample.resident as f64 > limit as f64 * NEAR;
        Verdict::Fine { again_in: if near { QUICK } else { self.pause() } }
    }

    /// After [`Verdict::ConfirmMemory`]: `proportional` in bytes.
    pub fn confirm(&self, proportional: u64) -> Verdict {
        match self.memory_limit {
            Some(limit) if proportional > limit => Verdict::Exceeded(Reason::MemoryLimit),
            _ => Verdict::Fine { again_in: QUICK },
        }
    }

    /// The mean over the whole window, which must have passed: a burst at the start is not a worker that spins.
    fn cpu_is_exceeded(&mut self, sample: Sample) -> bool {
        let Some(limit) = self.cpu_limit else { return false };
        self.samples.push_back((sample.at, sample.cpu_seconds));
        let spans_window = |first: &(BootTime, f64)| sample.at.since(first.0) >= self.window;
        while self.samples.get(1).is_some_and(spans_window) {
            self.samples.pop_front();
        }
        match self.samples.front().filter(|first| spans_window(first)) {
            Some((since, before)) => (sample.cpu_seconds - before) / sample.at.since(*since).as_secs_f64() * 100.0 > limit,
            None => false,
        }
    }

    fn pause(&self) -> Duration {
        if self.cpu_limit.is_some() { (self.window / SAMPLES).clamp(QUICK, LONGEST) } else { Duration::from_secs(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn monitor(memory_limit: Option<u64>, cpu_limit: Option<f64>) -> Monitor {
        Monitor { memory_limit, cpu_limit, window: Duration::from_secs(10), samples: VecDeque::new() }
    }

    fn sample(second: u64, cpu_seconds: f64, resident: u64) -> Sample {
        Sample { at: BootTime::default().after(Duration::from_secs(second)), cpu_seconds, resident }
    }

    #[test]
    fn a_burst_shorter_than_the_window_is_no_offence_and_a_spinning_worker_is() {
        let mut spinning = monitor(None, Some(80.0));
        for second in 0..10 {
            assert_eq!(spinning.judge(sample(second, second as f64, 0)), Verdict::Fine { again_in: Duration::from_secs(1) });
        }
        assert_eq!(spinning.judge(sample(10, 10.0, 0)), Verdict::Exceeded(Reason::CpuLimit));
        let mut bursting = monitor(None, Some(80.0));
        for second in 0..30 {
            let used = (second.min(5)) as f64;
            assert!(matches!(bursting.judge(sample(second, used, 0)), Verdict::Fine { .. }), "second {second}");
        }
    }

    #[test]
    fn memory_is_looked_at_more_often_near_the_limit_and_confirmed_before_anything_happens() {
        let mut monitor = monitor(Some(100 * MIB), None);
        assert_eq!(monitor.judge(sample(0, 0.0, 10 * MIB)), Verdict::Fine { again_in: Duration::from_secs(1) });
        assert_eq!(monitor.judge(sample(1, 0.0, 80 * MIB)), Verdict::Fine { again_in: QUICK });
        assert_eq!(monitor.judge(sample(2, 0.0, 101 * MIB)), Verdict::ConfirmMemory);
        assert_eq!(monitor.confirm(60 * MIB), Verdict::Fine { again_in: QUICK }, "pages shared by fork count once");
        assert_eq!(monitor.confirm(101 * MIB), Verdict::Exceeded(Reason::MemoryLimit));
    }
}
