//! What is known of a worker by itself, readable from any thread at any time, and the judgement of it.

use super::metrics::{Limits, Metrics};
use super::note::Note;
use crate::http::Facts;
use crate::model::{BootTime, MIB};
use crate::sys::event::Event;
use crate::sys::service_manager::ServiceManager;
use crate::sys::{clock, procfs};
use jiff::Timestamp;
use std::io;
#[expect(
    clippy::disallowed_types,
    reason = "only ever taken by whoever holds the GIL or forks nothing; everything that is read often is atomic"
)]
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

const NEW: u8 = 0;
const RUNNING: u8 = 1;
const STOPPING: u8 = 2;
const STOPPED: u8 = 3;

/// For a measurement that there is none of.
const UNKNOWN: u64 = u64::MAX;

#[expect(clippy::disallowed_types, reason = "see above")]
pub struct Life {
    pub name: String,
    pub limits: Limits,
    phase: AtomicU8,
    started: AtomicU64,
    started_wall: AtomicU64,
    ended: AtomicU64,
    ended_wall: AtomicU64,
    beat: AtomicU64,
    /// The latest of `sleepers`, 0 without any.
    idle_until: AtomicU64,
    sleepers: Mutex<Vec<Sleeper>>,
    next_sleeper: AtomicU64,
    /// What this process says is said for the service: it is not the child of one that speaks.
    speaks: AtomicBool,
    /// There was a heartbeat since somebody last asked.
    has_beaten: AtomicBool,
    cpu: AtomicU64,
    memory: AtomicU64,
    threads: AtomicU32,
    reason: Note,
    /// A shutdown was requested.
    pub stop: Event,
    /// Nothing is to be sampled any more.
    pub end: Event,
    /// Of a start, so that the sampler of an earlier one knows that it is over.
    pub generation: AtomicU64,
    above: Option<ServiceManager>,
}

/// Somebody who sleeps on purpose, under a number of its own.
struct Sleeper(u64, BootTime);

/// The sleep that has no end but its time.
const UNENDED: u64 = 0;

impl Life {
    pub fn new(name: String, limits: Limits) -> io::Result<Self> {
        let unknown = || AtomicU64::new(UNKNOWN);
        Ok(Self {
            name,
            limits,
            phase: AtomicU8::new(NEW),
            started: unknown(),
            started_wall: unknown(),
            ended: unknown(),
            ended_wall: unknown(),
            beat: unknown(),
            idle_until: AtomicU64::new(0),
            sleepers: Default::default(),
            next_sleeper: AtomicU64::new(UNENDED + 1),
            speaks: AtomicBool::new(true),
            has_beaten: AtomicBool::new(false),
            cpu: unknown(),
            memory: unknown(),
            threads: AtomicU32::new(0),
            reason: Note::default(),
            stop: Event::new()?,
            end: Event::new()?,
            generation: AtomicU64::new(0),
            above: ServiceManager::above(|name| std::env::var_os(name)),
        })
    }

    pub fn should_continue(&self) -> bool {
        self.phase.load(Relaxed) == RUNNING
    }

    pub fn heartbeat(&self) {
        self.beat.store(clock::now().as_nanos(), Relaxed);
        self.has_beaten.store(true, Relaxed);
    }

    pub fn is_running(&self) -> bool {
        matches!(self.phase.load(SeqCst), RUNNING | STOPPING)
    }

    pub fn is_stopping(&self) -> bool {
        self.phase.load(SeqCst) == STOPPING
    }

    /// After an end: a new life, of which a stop may be requested before it begins.
    pub fn renew(&self) {
        if self.phase.load(SeqCst) == STOPPED {
            self.reason.clear();
            // Whoever still waits for the old ones is woken by them.
            self.stop.renew();
            self.end.renew();
            self.phase.store(NEW, SeqCst);
        }
    }

    /// `None`: it runs already; else its generation. A request that came before holds.
    pub fn begin(&self) -> Option<u64> {
        if self.is_running() {
            return None;
        }
        self.renew();
        let generation = self.generation.fetch_add(1, SeqCst) + 1;
        self.with_sleepers(Vec::clear);
        self.started.store(clock::now().as_nanos(), SeqCst);
        self.started_wall.store(wall_milliseconds(), SeqCst);
        self.ended.store(UNKNOWN, SeqCst);
        self.ended_wall.store(UNKNOWN, SeqCst);
        self.heartbeat();
        self.phase.store(RUNNING, SeqCst);
        Some(generation)
    }

    /// After [`Self::begin`], once everything is there.
    pub fn announce(&self) {
        self.tell("READY=1");
        if let Some(reason) = self.shutdown_reason() {
            self.request_shutdown(&reason);
        }
    }

    /// What began could not be.
    pub fn take_back(&self) {
        self.phase.store(NEW, SeqCst);
        self.started.store(UNKNOWN, SeqCst);
        self.started_wall.store(UNKNOWN, SeqCst);
    }

    /// In a child after fork(2): whoever slept in the parent does not sleep here.
    pub fn forget_sleepers(&self) {
        self.with_sleepers(Vec::clear);
        self.heartbeat();
    }

    /// The first reason counts. After the end there is nothing to ask of.
    pub fn request_shutdown(&self, reason: &str) {
        if self.phase.load(SeqCst) == NEW {
            self.reason.set_first(reason);
        } else if self.phase.compare_exchange(RUNNING, STOPPING, SeqCst, SeqCst).is_ok() {
            self.reason.set_first(reason);
            self.tell(&format!("STOPPING=1\nSTATUS=shutting down: {}", reason.replace('\n', " ")));
            self.stop.set();
        }
    }

    /// Whether there was something to end.
    pub fn finish(&self) -> bool {
        let ran = self.is_running();
        if ran {
            self.request_shutdown("shutdown");
            self.phase.store(STOPPED, SeqCst);
            self.ended.store(clock::now().as_nanos(), SeqCst);
            self.ended_wall.store(wall_milliseconds(), SeqCst);
            self.end.set();
        }
        ran
    }

    /// No heartbeat is to be expected until then.
    pub fn idle_until(&self, until: BootTime) {
        self.with_sleepers(|sleepers| {
            sleepers.retain(|sleeper| sleeper.0 != UNENDED);
            sleepers.push(Sleeper(UNENDED, until));
        });
    }

    /// Somebody sleeps on purpose until then, or until [`Self::wake`] with the number that this answers.
    pub fn sleep(&self, until: BootTime) -> u64 {
        let number = self.next_sleeper.fetch_add(1, Relaxed);
        self.with_sleepers(|sleepers| sleepers.push(Sleeper(number, until)));
        number
    }

    /// Work begins again, which is as good as a heartbeat. Whoever else sleeps goes on sleeping.
    pub fn wake(&self, number: u64) {
        self.heartbeat();
        self.with_sleepers(|sleepers| sleepers.retain(|sleeper| sleeper.0 != number));
    }

    fn with_sleepers(&self, change: impl FnOnce(&mut Vec<Sleeper>)) {
        if let Ok(mut sleepers) = self.sleepers.lock() {
            change(&mut sleepers);
            let latest = sleepers.iter().map(|sleeper| sleeper.1.as_nanos()).max().unwrap_or(0);
            self.idle_until.store(latest, SeqCst);
        }
    }

    /// A worker sleeps on purpose.
    pub fn is_idle(&self) -> bool {
        self.idle_until.load(SeqCst) > clock::now().as_nanos()
    }

    /// Since the last time this was asked, there was a heartbeat, or nobody could expect one.
    pub fn take_beat(&self) -> bool {
        self.has_beaten.swap(false, SeqCst) || self.is_idle()
    }

    /// Who waits for what this process says.
    pub fn above(&self) -> Option<&ServiceManager> {
        self.above.as_ref().filter(|_| self.speaks.load(Relaxed))
    }

    /// What the service manager above hears of this service is for another process to say.
    pub fn fall_silent(&self) {
        self.speaks.store(false, Relaxed);
    }

    pub fn tell_alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, lines: &str) {
        if let Some(above) = self.above() {
            above.tell(lines);
        }
    }

    pub fn shutdown_reason(&self) -> Option<String> {
        self.reason.get()
    }

    pub fn note_usage(&self, cpu_percent: Option<f64>, memory: Option<u64>, threads: u32) {
        self.cpu.store(cpu_percent.map_or(UNKNOWN, f64::to_bits), Relaxed);
        self.memory.store(memory.unwrap_or(UNKNOWN), Relaxed);
        self.threads.store(threads, Relaxed);
    }

    /// When this start ends by plan.
    pub fn planned_end(&self) -> Option<BootTime> {
        let hours = self.limits.max_runtime_hours?;
        Some(self.started_at()?.after(Duration::try_from_secs_f64(hours * 3600.0).ok()?))
    }

    fn started_at(&self) -> Option<BootTime> {
        known(&self.started).map(BootTime::from_nanos)
    }

    /// From the start to now, or to the end.
    pub fn uptime(&self) -> Duration {
        let end = known(&self.ended).map_or_else(clock::now, BootTime::from_nanos);
        self.started_at().map_or(Duration::ZERO, |at| end.since(at))
    }

    pub fn remaining(&self) -> Option<Duration> {
        let longest = Duration::try_from_secs_f64(self.limits.max_runtime_hours? * 3600.0).ok()?;
        Some(longest.saturating_sub(self.uptime()))
    }

    /// Seconds since the epoch.
    pub fn start_time(&self) -> Option<f64> {
        known(&self.started_wall).map(|at| at as f64 / 1000.0)
    }

    /// Seconds since the epoch.
    pub fn end_time(&self) -> Option<f64> {
        known(&self.ended_wall).map(|at| at as f64 / 1000.0)
    }

    /// Time that is slept on purpose does not count.
    fn heartbeat_age(&self) -> Option<Duration> {
        let last = known(&self.beat)?.max(self.idle_until.load(Relaxed));
        Some(clock::now().since(BootTime::from_nanos(last)))
    }

    /// And why, in the words of the original.
    pub fn is_healthy(&self) -> (bool, String) {
        match self.phase.load(SeqCst) {
            RUNNING => {}
            STOPPING => return (false, format!("shutdown_requested_{}", self.shutdown_reason().unwrap_or_default())),
            _ => return (false, "not_running".to_owned()),
        }
        let age = self.heartbeat_age().unwrap_or_default().as_secs_f64();
        if age > self.limits.heartbeat_timeout_seconds {
            return (false, format!("heartbeat_timeout_{}s", age as u64));
        }
        (true, "healthy".to_owned())
    }

    fn memory_mb(&self) -> Option<f64> {
        known(&self.memory).map(|bytes| tenth(bytes as f64 / MIB))
    }

    pub fn metrics(&self) -> Metrics {
        let memory = known(&self.memory);
        let machine = procfs::machine_memory().ok().filter(|bytes| *bytes > 0);
        let memory_percent = memory.zip(machine).map(|(used, all)| tenth(used as f64 / all as f64 * 100.0));
        Metrics {
            pid: std::process::id().cast_signed(),
            name: self.name.clone(),
            uptime_seconds: tenth(self.uptime().as_secs_f64()),
            cpu_percent: known(&self.cpu).map(f64::from_bits).map(tenth),
            memory_mb: self.memory_mb(),
            memory_percent,
            num_threads: Some(self.threads.load(Relaxed)).filter(|threads| *threads > 0),
            status: match self.phase.load(SeqCst) {
                RUNNING => "running",
                STOPPING => "stopping",
                _ => "stopped",
            },
            heartbeat_age_seconds: self.heartbeat_age().map(|age| tenth(age.as_secs_f64())),
        }
    }

    /// For whoever asks over HTTP.
    pub fn facts(&self) -> Facts {
        let ((healthy, reason), metrics) = (self.is_healthy(), self.metrics());
        let runs = metrics.status != "stopped";
        Facts {
            at: Timestamp::now(),
            project: project(),
            pid: Some(metrics.pid),
            state: metrics.status.to_owned(),
            ready: self.should_continue(),
            health: if healthy { "healthy" } else { "unhealthy" }.to_owned(),
            reason,
            uptime_seconds: runs.then_some(metrics.uptime_seconds),
            remaining_seconds: self.remaining().filter(|_| runs).map(|left| tenth(left.as_secs_f64())),
            cpu_percent: metrics.cpu_percent,
            memory_mb: metrics.memory_mb,
            memory_percent: metrics.memory_percent,
            processes: None,
            strays: None,
            threads: metrics.num_threads,
            heartbeat_age_seconds: metrics.heartbeat_age_seconds,
            max_runtime_hours: self.limits.max_runtime_hours,
            memory_limit_mb: self.limits.memory_limit_mb,
            cpu_limit_percent: self.limits.cpu_limit_percent,
            restarts: Vec::new(),
            last_exit_code: None,
            name: metrics.name,
        }
    }
}

/// Of the run that devstack started this process for.
fn project() -> String {
    let cookie = std::env::var(crate::model::COOKIE).unwrap_or_default();
    cookie.split('/').next().unwrap_or_default().to_owned()
}

fn known(number: &AtomicU64) -> Option<u64> {
    Some(number.load(Relaxed)).filter(|number| *number != UNKNOWN)
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn wall_milliseconds() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default()
}
