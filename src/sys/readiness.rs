#![expect(unsafe_code, reason = "the only registration that tokio does not deprecate")]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that a task can wait for: a pidfd whose process has ended, a timer that is due, a socket with a message.
#[derive(Debug)]
pub struct Readiness(AsyncFd<OwnedFd>);

impl Readiness {
    /// # Errors
    /// When the reactor takes no more descriptors.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: the descriptor is owned by the registration and closed only after it is taken out of the reactor.
        let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        registered.map(Self).map_err(|error| error.into_parts().1)
    }

    /// Of a copy of somebody's descriptor.
    ///
    /// # Errors
    /// As [`Readiness::new`], and when there is no descriptor left.
    pub fn of(owner: &impl AsFd) -> io::Result<Self> {
        owner.as_fd().try_clone_to_owned().and_then(Self::new)
    }

    /// Returns when it is readable, and stays so for the next caller.
    pub async fn readable(&self) {
        // The reactor fails only while the runtime shuts down.
        if self.0.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when something became readable since the last call: for descriptors that are read empty each time.
    pub async fn next(&self) {
        match self.0.readable().await {
            Ok(mut guard) => guard.clear_ready(),
            Err(_) => std::future::pending::<()>().await,
        }
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
