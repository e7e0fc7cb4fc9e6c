//! The most memory that a child which has ended ever held, as the kernel counted it.

#![expect(unsafe_code, reason = "waitid(2) with the resources used, for which no library has a call")]

use nix::libc;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes, of the child or the largest of the descendants that it had collected; the child stays uncollected. `None` when it
/// lives, or is not a child of ours.
pub fn of_child(pidfd: BorrowedFd<'_>) -> Option<u64> {
    let mut used = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let how = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG;
    // SAFETY: both point to memory of the right size for the time of the call, and all zeros is a value of either.
    let (result, used, info) = unsafe {
        let result = libc::syscall(libc::SYS_waitid, libc::P_PIDFD, pidfd.as_raw_fd(), info.as_mut_ptr(), how, used.as_mut_ptr());
        (result, used.assume_init(), info.assume_init())
    };
    // SAFETY: it is what waitid fills in, zeros when nobody has ended.
    let has_ended = result == 0 && unsafe { info.si_pid() } != 0;
    has_ended.then(|| u64::try_from(used.ru_maxrss).ok().map(|kilobytes| kilobytes * 1024))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, FromRawFd, OwnedFd};
    use std::process::{Command, Stdio};

    #[expect(clippy::disallowed_methods, reason = "a test starts what it likes")]
    #[test]
    fn a_child_that_has_ended_is_known_by_what_it_held_and_stays_to_be_collected() {
        let mut child =
            Command::new("python3").args(["-c", "x = b'x' * (100 << 20); input()"]).stdin(Stdio::piped()).spawn().expect("python");
        // SAFETY: a pidfd of a child that is not collected yet.
        let pidfd = unsafe { OwnedFd::from_raw_fd(libc::syscall(libc::SYS_pidfd_open, child.id(), 0) as i32) };
        assert_eq!(of_child(pidfd.as_fd()), None, "it lives");
        drop(child.stdin.take());
        let mut watched = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut watched, None).expect("it ends");
        let peak = of_child(pidfd.as_fd()).expect("it is a child") >> 20;
        assert!((100..200).contains(&peak), "{peak}");
        assert!(!child.wait().expect("still there").success(), "its input ended");
    }
}
