//! Waiting for descriptors and a deadline at once, so that nothing has to sleep.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// What is waited for on one descriptor.
#[derive(Debug, Clone, Copy)]
pub enum Interest<'fd> {
    /// Something to read, or the end of it.
    Input(BorrowedFd<'fd>),
    /// Its other end is gone.
    HangUp(BorrowedFd<'fd>),
}

/// Which of `interests` came true, in their order; none of them after `timeout` (`None`: never) or a signal.
pub fn wait(interests: &[Interest<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut fds: Vec<PollFd<'_>> = interests
        .iter()
        .map(|interest| match *interest {
            Interest::Input(fd) => PollFd::new(fd, PollFlags::POLLIN),
            Interest::HangUp(fd) => PollFd::new(fd, PollFlags::empty()),
        })
        .collect();
    match poll(&mut fds, milliseconds(timeout)) {
        Ok(_) | Err(Errno::EINTR) => Ok(fds.iter().map(|fd| fd.any().unwrap_or(true)).collect()),
        Err(error) => Err(error.into()),
    }
}

/// A moment to wait for; a change of the wall clock does not move it.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

#[expect(clippy::disallowed_methods, reason = "the home of waiting: what a command waits for must not expire because the laptop slept")]
impl Deadline {
    pub fn after(wait: Duration) -> Self {
        Self(Instant::now() + wait)
    }

    /// Zero once it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Until `fd`, which some other program made non-blocking, takes bytes again.
pub fn wait_writable(fd: impl AsFd) -> io::Result<()> {
    match poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Rounded up: rounded down, the last fraction of a millisecond would be spent spinning.
fn milliseconds(timeout: Option<Duration>) -> PollTimeout {
    let Some(timeout) = timeout else { return PollTimeout::NONE };
    i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).ok().and_then(|ms| PollTimeout::try_from(ms).ok()).unwrap_or(PollTimeout::MAX)
}
