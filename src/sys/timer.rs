use super::readiness::Readiness;
use crate::model::BootTime;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The one timer of a supervisor, in the clock of the deadlines: it is due on time also after the laptop slept.
pub struct Timer {
    timer: TimerFd,
    readiness: Readiness,
}

impl Timer {
    /// # Errors
    /// When there is no descriptor left.
    pub fn new() -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        let same: OwnedFd = timer.as_fd().try_clone_to_owned()?;
        Ok(Self { timer, readiness: Readiness::new(same)? })
    }

    /// Waits until `deadline`; for ever without one.
    pub async fn until(&self, deadline: Option<BootTime>) {
        let Some(deadline) = deadline else { return std::future::pending().await };
        let at = Duration::from_nanos(deadline.as_nanos().max(1));
        let due = Expiration::OneShot(TimeSpec::from_duration(at));
        if self.timer.set(due, TimerSetTimeFlags::TFD_TIMER_ABSTIME).is_ok() {
            self.readiness.next().await;
        }
    }
}
