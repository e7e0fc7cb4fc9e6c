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

    pub fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    /// Returns when it has happened (`true`) or `until` has come.
    pub fn wait(&self, until: BootTime) -> bool {
        loop {
            let left = until.since(clock::now());
            let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout)) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(ready) => return ready > 0,
                Err(_) => return false,
            }
        }
    }

    /// In a child after fork(2): what happens here is not what happens in the parent. The number of the descriptor stays.
    pub fn part_from_parent(&self) {
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
        event.clear();
        assert!(!event.wait(clock::now()));
    }
}
