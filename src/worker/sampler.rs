//! The thread that looks at the worker once a second: what it uses, whether that is too much, and what the service manager above
//! is to hear.

use super::life::Life;
use crate::model::{BootTime, MIB};
use crate::sys::{clock, procfs, thread};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(1);

/// Samples that the mean of the processor's use is taken of.
const WINDOW: usize = 10;

/// Of the time that a watchdog waits; and how often heartbeats are passed on to who listens and waits for none.
const SHARE_OF_WATCHDOG: u32 = 4;
const UNASKED: Duration = Duration::from_secs(10);

/// For this generation of a life, and no later one.
pub fn begin(life: &Arc<Life>, generation: u64) -> io::Result<()> {
    let life = life.clone();
    thread::spawn("devstack", move || Sampler::new(generation).run(&life)).map(drop)
}

struct Sampler {
    generation: u64,
    used: Duration,
    at: BootTime,
    percents: VecDeque<f64>,
}

impl Sampler {
    fn new(generation: u64) -> Self {
        Self { generation, used: clock::own_processor_time(), at: clock::now(), percents: VecDeque::new() }
    }

    fn run(mut self, life: &Life) {
        let pace = life.above().map(|above| above.watchdog().map_or(UNASKED, |patience| patience / SHARE_OF_WATCHDOG));
        let interval = pace.map_or(INTERVAL, |pace| pace.min(INTERVAL));
        let mut told_at = BootTime::default();
        let is_current = |sampler: &Self| life.is_running() && life.generation.load(SeqCst) == sampler.generation;
        while is_current(&self) {
            let now = clock::now();
            if now.since(self.at) >= INTERVAL || self.percents.is_empty() {
                self.sample(life, now);
            }
            if pace.is_some_and(|pace| now.since(told_at) >= pace) && life.take_beat() {
                life.tell_alive();
                told_at = now;
            }
            let planned = life.planned_end().filter(|_| life.should_continue());
            if planned.is_some_and(|end| end <= now) {
                let hours = life.limits.max_runtime_hours.unwrap_or_default();
                life.request_shutdown(&format!("max_runtime_reached_{}h", (hours * 10_000.0).round() / 10_000.0));
                continue;
            }
            let next = now.after(interval);
            life.end.wait(planned.map_or(next, |end| end.min(next)));
        }
    }

    fn sample(&mut self, life: &Life, now: BootTime) {
        let (used, elapsed) = (clock::own_processor_time(), now.since(self.at).as_secs_f64());
        let percent = (elapsed > 0.001).then(|| used.saturating_sub(self.used).as_secs_f64() / elapsed * 100.0);
        (self.used, self.at) = (used, now);
        if let Some(percent) = percent {
            self.percents.push_back(percent);
            self.percents.drain(..self.percents.len().saturating_sub(WINDOW));
        }
        let pid = std::process::id().cast_signed();
        let memory = procfs::rss_bytes(pid).ok();
        life.note_usage(percent, memory, procfs::stat(pid).map_or(0, |stat| stat.threads));
        if let Some((limit, used)) = life.limits.memory_limit_mb.zip(memory.map(|bytes| bytes as f64 / MIB))
            && used > limit
        {
            life.request_shutdown(&format!("memory_limit_exceeded_{used:.0}MB"));
        }
        let mean = self.percents.iter().sum::<f64>() / WINDOW as f64;
        if let Some(limit) = life.limits.cpu_limit_percent
            && self.percents.len() == WINDOW
            && mean > limit
        {
            life.request_shutdown(&format!("cpu_limit_exceeded_{mean:.0}%"));
        }
    }
}
