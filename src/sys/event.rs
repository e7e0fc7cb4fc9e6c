//! Something that threads wait for: a descriptor that is readable once it has happened, so that whatever polls can wait for it too.

#![expect(unsafe_code, reason = "another descriptor under the number of an inherited one")]

use super::clock;
use crate::model::BootTime;
use nix::libc;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

#[derive(Debug)]
pub struct Event(OwnedFd);

impl Event {
    /// # Errors
    /// When there is no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub fn set(&self) {
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Returns when it has happened (`true`) or `until` has come.
    pub fn wait(&self, until: BootTime) -> bool {
        // A number of its own: poll(2) looks the number up again when it is woken, and there may be another event under it by then.
        let own = self.0.try_clone();
        let event = own.as_ref().unwrap_or(&self.0);
        loop {
            let left = until.since(clock::now());
            let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(event, PollFlags::IN)], Some(&timeout)) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(ready) => return ready > 0,
                Err(_) => return false,
            }
        }
    }

    /// Another one under the same number, which has not happened: for a child after fork(2), whose events are not its parent's, and for
    /// a new beginning. Whoever waits for the old one already, by a descriptor of its own, is still woken by it.
    pub fn renew(&self) {
        if let Ok(own) = Self::new() {
            // SAFETY: both descriptors are owned here, and stay so: the old one is replaced by a duplicate of the new.
            unsafe { libc::dup3(own.0.as_raw_fd(), self.0.as_raw_fd(), libc::O_CLOEXEC) };
        }
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Closes what a child after fork(2) has inherited and nobody owns there any more.
pub fn close_inherited(descriptor: i32) {
    // SAFETY: the thread that owned it does not exist in this process.
    unsafe { libc::close(descriptor) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_is_waited_for_until_it_happens_or_its_time_is_over() {
        let event = Event::new().expect("an event");
        assert!(!event.wait(clock::now().after(Duration::from_millis(5))));
        event.set();
        assert!(event.wait(clock::now().after(Duration::from_secs(60))));
        event.renew();
        assert!(!event.wait(clock::now()));
    }
}
