//! Signals as something to wait for, instead of something that interrupts.

#![expect(unsafe_code, reason = "reading a signal action")]

use crate::model::Signal;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal as Number, raise, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Signals that are held back from this thread and read from a descriptor, until this is dropped.
///
/// Make it before any other thread: a thread that does not block them too would still be ended by them.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    before: SigSet,
}

/// A signal that was read, with what is known of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caught {
    pub signal: Signal,
    /// From the kernel or from the leader of this session: for SIGHUP, the terminal is gone.
    pub by_session: bool,
}

pub const INTERRUPT: i32 = libc::SIGINT;
pub const TERMINATE: i32 = libc::SIGTERM;
pub const HANG_UP: i32 = libc::SIGHUP;
pub const TERMINAL_STOP: i32 = libc::SIGTSTP;
pub const RESIZED: i32 = libc::SIGWINCH;
pub const CHILD_ENDED: i32 = libc::SIGCHLD;

/// What a process in the foreground has to pass on: everything that a person or a program sends on purpose. Not those by which
/// the kernel tells this process of its own faults.
pub const PASSED_ON: [i32; 11] = [
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGCONT,
    libc::SIGURG,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGWINCH,
    libc::SIGIO,
    libc::SIGPWR,
];

impl Signals {
    /// A signal that this process was started to ignore (`nohup`) stays ignored.
    pub fn hold(numbers: &[i32]) -> io::Result<Self> {
        let mut held = SigSet::empty();
        for number in numbers.iter().filter_map(|&number| Number::try_from(number).ok()) {
            if !is_ignored(number) {
                held.add(number);
            }
        }
        let before = held.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        match SignalFd::with_flags(&held, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK) {
            Ok(fd) => Ok(Self { fd, before }),
            Err(error) => {
                let _ = before.thread_set_mask();
                Err(error.into())
            }
        }
    }

    /// The next one that has come in; `None` when there is none now.
    pub fn next(&self) -> io::Result<Option<Signal>> {
        Ok(self.next_caught()?.map(|caught| caught.signal))
    }

    /// As [`Signals::next`], with its sender.
    pub fn next_caught(&self) -> io::Result<Option<Caught>> {
        let Some(info) = self.fd.read_signal()? else { return Ok(None) };
        let session = nix::unistd::getsid(None).map(nix::unistd::Pid::as_raw).unwrap_or_default();
        let by_session = info.ssi_code == libc::SI_KERNEL || info.ssi_pid.cast_signed() == session;
        Ok(info.ssi_signo.try_into().ok().and_then(Signal::from_number).map(|signal| Caught { signal, by_session }))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Ends every blocking, and has what waited delivered; for a process that was born, or became this program, with signals blocked.
pub fn let_through() {
    let _ = SigSet::empty().thread_set_mask();
}

/// Undoes a SIGCHLD that this process was started to ignore: the kernel would then throw exit statuses away (wait(2)).
pub fn expect_children() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is installed.
    unsafe { sigaction(Number::SIGCHLD, &default) }?;
    Ok(())
}

/// Ctrl-C is for another program of this terminal from now on.
pub fn leave_interrupts_to_others() {
    let ignored = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is installed.
    let _ = unsafe { sigaction(Number::SIGINT, &ignored) };
}

/// Stops this process as Ctrl-Z would have, and returns when it is continued.
pub fn stop_here() -> io::Result<()> {
    Ok(raise(Number::SIGSTOP)?)
}

fn is_ignored(number: Number) -> bool {
    let mut current = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action nothing is changed; `current` is written before it is read, or not read at all.
    unsafe {
        libc::sigaction(number as libc::c_int, std::ptr::null(), current.as_mut_ptr()) == 0
            && current.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::poll::{Interest, wait};
    use std::time::Duration;

    #[test]
    fn a_held_signal_is_read_instead_of_delivered() {
        let signals = Signals::hold(&[libc::SIGUSR2]).expect("signalfd");
        assert_eq!(signals.next().expect("read"), None);
        raise(Number::SIGUSR2).expect("raise");
        let ready = wait(&[Interest::Input(signals.as_fd())], Some(Duration::from_secs(5))).expect("poll");
        assert_eq!(ready, [true]);
        assert_eq!(signals.next().expect("read").map(Signal::number), Some(libc::SIGUSR2));
    }
}
