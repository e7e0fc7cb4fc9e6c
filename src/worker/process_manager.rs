use super::life::Life;
use super::metrics::{Limits, Metrics};
use super::sampler;
use crate::sys::clock;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

/// When a worker has to stop, whether it is well, and who is told.
///
/// Clones are the same manager; all of it may be used from any thread.
#[derive(Clone)]
pub struct ProcessManager {
    pub(super) life: Arc<Life>,
}

impl ProcessManager {
    /// # Errors
    /// When there is no descriptor left.
    pub fn new(name: impl Into<String>, limits: Limits) -> io::Result<Self> {
        Ok(Self { life: Arc::new(Life::new(name.into(), limits)?) })
    }

    pub fn name(&self) -> &str {
        &self.life.name
    }

    pub fn limits(&self) -> &Limits {
        &self.life.limits
    }

    /// From here on time counts, limits hold, and a service manager above (`NOTIFY_SOCKET`) has heard `READY=1`. A second call does
    /// nothing; after [`Self::shutdown`] it is a new life.
    ///
    /// # Errors
    /// When the kernel has no room for a thread.
    pub fn start(&self) -> io::Result<()> {
        let Some(generation) = self.life.begin() else { return Ok(()) };
        sampler::begin(&self.life, generation).inspect_err(|_| self.life.take_back())?;
        self.life.announce();
        Ok(())
    }

    /// After an end: a stop that is requested from here on holds for the next start, as it does before the first.
    pub fn renew(&self) {
        self.life.renew();
    }

    /// Between start and the request to stop. An atomic load.
    #[inline]
    pub fn should_continue(&self) -> bool {
        self.life.should_continue()
    }

    /// Says that work goes on. The time is read and stored, nothing is waited for.
    #[inline]
    pub fn heartbeat(&self) {
        self.life.heartbeat();
    }

    /// From here on [`Self::should_continue`] is `false`; the first reason counts. Before the first start it holds from the start on.
    pub fn request_shutdown(&self, reason: &str) {
        self.life.request_shutdown(reason);
    }

    /// The end. `false`: it did not run.
    pub fn shutdown(&self) -> bool {
        self.life.finish()
    }

    /// Sleeps on purpose: that is no missed heartbeat. `true`, at once, when it is time to stop.
    pub fn wait(&self, longest: Duration) -> bool {
        if !self.should_continue() {
            return true;
        }
        let until = clock::now().after(longest);
        let number = self.life.sleep(until);
        let stopped = self.life.stop.wait(until);
        self.life.wake(number);
        stopped
    }

    /// For whoever waits by other means, [`Self::stop_requested`] beside something else: from here on it sleeps on purpose, for so
    /// long at most, until [`Self::wake`] with the number that this answers. Several may sleep at once.
    pub fn sleep(&self, longest: Duration) -> u64 {
        self.life.sleep(clock::now().after(longest))
    }

    /// Work begins again, which is as good as a heartbeat.
    pub fn wake(&self, number: u64) {
        self.life.wake(number);
    }

    /// For so long nobody has to expect a heartbeat.
    pub fn idle_for(&self, longest: Duration) {
        self.life.idle_until(clock::now().after(longest));
    }

    /// Readable once a shutdown was requested, for whatever polls.
    pub fn stop_requested(&self) -> BorrowedFd<'_> {
        self.life.stop.as_fd()
    }

    /// And why: `healthy`, `not_running`, `shutdown_requested_…`, `heartbeat_timeout_…s`.
    pub fn is_healthy(&self) -> (bool, String) {
        self.life.is_healthy()
    }

    pub fn metrics(&self) -> Metrics {
        self.life.metrics()
    }

    pub fn uptime(&self) -> Duration {
        self.life.uptime()
    }

    /// `None` without a maximum.
    pub fn remaining_runtime(&self) -> Option<Duration> {
        self.life.remaining()
    }

    pub fn is_running(&self) -> bool {
        self.life.is_running()
    }

    pub fn is_shutdown_requested(&self) -> bool {
        self.life.shutdown_reason().is_some()
    }

    pub fn shutdown_reason(&self) -> Option<String> {
        self.life.shutdown_reason()
    }

    /// Seconds since the epoch.
    pub fn start_time(&self) -> Option<f64> {
        self.life.start_time()
    }

    /// When it was over; `None` before. Seconds since the epoch.
    pub fn end_time(&self) -> Option<f64> {
        self.life.end_time()
    }

    /// In a child of the process that the service manager above knows (`NOTIFY_SOCKET`): that process speaks, this one does not.
    pub fn fall_silent(&self) {
        self.life.fall_silent();
    }

    /// In a child after fork(2), where no thread but the forking one exists: limits hold there as well, what is asked of the one is
    /// not asked of the other, and the service manager above hears of the parent only.
    ///
    /// # Errors
    /// When the kernel has no room for a thread.
    pub fn continue_after_fork(&self) -> io::Result<()> {
        self.fall_silent();
        self.life.stop.renew();
        self.life.end.renew();
        self.life.forget_sleepers();
        if self.life.is_stopping() {
            self.life.stop.set();
        }
        let generation = self.life.generation.load(std::sync::atomic::Ordering::SeqCst);
        if self.life.is_running() { sampler::begin(&self.life, generation) } else { Ok(()) }
    }
}
