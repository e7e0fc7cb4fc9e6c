//! A process held by a descriptor: a signal through it reaches that process or nobody.
//!
//! Invariant: a `PidFd` exists only for a process whose start time was compared *after* the descriptor was opened, so the
//! number cannot have been recycled in between. Alive means "the descriptor is not readable": `kill(pid, 0)` succeeds on a
//! zombie, and state `Z` is shown by a process whose other threads still run.

#![expect(unsafe_code, reason = "real-time signals by number, groups by descriptor")]

use super::{cgroup, clock, procfs};
use crate::model::{Pid, ProcId, Signal};
use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

#[derive(Debug)]
pub struct PidFd {
    id: ProcId,
    fd: OwnedFd,
}

impl PidFd {
    /// `None` when that process is gone, reaped or not, or when its number belongs to another one by now.
    ///
    /// # Errors
    /// When descriptors have run out, or the kernel has no pidfds.
    pub fn open(id: ProcId) -> io::Result<Option<Self>> {
        let Some(pid) = number(id.pid) else { return Ok(None) };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            // EINVAL: the number is that of a thread now.
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match procfs::start_ticks(id.pid) {
            Ok(ticks) if ticks == id.start_ticks => {
                let held = Self { id, fd };
                Ok(held.is_alive()?.then_some(held))
            }
            Ok(_) => Ok(None),
            Err(error) if procfs::is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn id(&self) -> ProcId {
        self.id
    }

    /// The number that the kernel gives a process once and never again in this boot.
    pub fn inode(&self) -> Option<u64> {
        inode_of(&self.fd)
    }

    /// Success when the process has ended meanwhile: there is nobody left to tell. SIGCONT also thaws the group of its run, which a
    /// devstack that was killed in the middle of a sweep has left frozen.
    ///
    /// # Errors
    /// When it is not ours to signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        if signal == Signal::CONT {
            cgroup::thaw(self.id.pid);
        }
        match pidfd_send_signal(&self.fd, raw_signal(signal)) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// To its whole process group, also once it has ended, until somebody collects it: for that long the group's number is not
    /// given to others. Success when nobody is there.
    ///
    /// # Errors
    /// When none of them is ours to signal.
    pub fn signal_group(&self, signal: Signal) -> io::Result<()> {
        const PROCESS_GROUP: libc::c_uint = 4;
        let nothing = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: plain numbers, and no siginfo.
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.fd.as_raw_fd(), signal.number(), nothing, PROCESS_GROUP) };
        let mut error = (sent != 0).then(io::Error::last_os_error);
        // Before Linux 6.9.
        if error.as_ref().is_some_and(|error| error.raw_os_error() == Some(libc::EINVAL))
            && procfs::start_ticks(self.id.pid).is_ok_and(|ticks| ticks == self.id.start_ticks)
        {
            // SAFETY: as above; the number was just seen to be taken.
            error = (unsafe { libc::killpg(self.id.pid, signal.number()) } != 0).then(io::Error::last_os_error);
        }
        error.filter(|error| error.raw_os_error() != Some(libc::ESRCH)).map_or(Ok(()), Err)
    }

    /// The scheduler prefers everybody else from now on, and to its children, too. Only of one that is about to be killed: the
    /// kernel takes a number here, which this process can have lost in the last microseconds.
    pub fn put_last(&self) {
        if let (Ok(true), Some(pid)) = (self.is_alive(), number(self.id.pid)) {
            let _ = rustix::process::setpriority_process(Some(pid), 19);
        }
    }

    /// # Errors
    /// When the kernel cannot poll.
    pub fn is_alive(&self) -> io::Result<bool> {
        Ok(wait_any(std::slice::from_ref(self), Some(Duration::ZERO))?.is_empty())
    }
}

impl From<PidFd> for OwnedFd {
    fn from(held: PidFd) -> Self {
        held.fd
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Waits until at least one of them has ended, and tells which (by index); empty when `timeout` passed first.
///
/// # Errors
/// When the kernel cannot poll that many descriptors.
pub fn wait_any(held: &[PidFd], timeout: Option<Duration>) -> io::Result<Vec<usize>> {
    let until = timeout.map(|timeout| clock::now().after(timeout));
    let mut polled: Vec<PollFd<'_>> = held.iter().map(|one| PollFd::new(one, PollFlags::IN)).collect();
    loop {
        let left = until.map(|until| until.since(clock::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut polled, left.as_ref()) {
            Ok(_) => return Ok((0..held.len()).filter(|&index| !polled[index].revents().is_empty()).collect()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// As [`PidFd::inode`], of whoever has this number now, dead or alive, until it is collected.
pub fn inode(pid: Pid) -> Option<u64> {
    inode_of(&pidfd_open(number(pid)?, PidfdFlags::empty()).ok()?)
}

/// What a file says need not be a number that any process can have, and rustix panics at a negative one.
fn number(pid: Pid) -> Option<rustix::process::Pid> {
    if pid > 0 { rustix::process::Pid::from_raw(pid) } else { None }
}

/// Since 6.9 pidfds lie in a file system of their own; before, all of them share the inode of anonymous files.
fn inode_of(pidfd: &OwnedFd) -> Option<u64> {
    // PID_FS_MAGIC of linux/magic.h.
    let on_pidfs = rustix::fs::fstatfs(pidfd).is_ok_and(|file_system| file_system.f_type == 0x5049_4446);
    on_pidfs.then(|| rustix::fs::fstat(pidfd).ok().map(|meta| meta.st_ino)).flatten()
}

/// Raises the soft limit of open files to the hard one: one descriptor is held for every process of a set.
pub fn allow_many() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Refused: then the first set that is too large says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn raw_signal(signal: Signal) -> rustix::process::Signal {
    let number = signal.number();
    // SAFETY: the number is within 1..=64 (an invariant of `Signal`), and it is only sent, never given a handler here, so
    // libc's own use of two real-time signals is not disturbed.
    rustix::process::Signal::from_named_raw(number).unwrap_or_else(|| unsafe { rustix::process::Signal::from_raw_unchecked(number) })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any child will do")]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn sleeper() -> std::process::Child {
        Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep")
    }

    fn id_of(child: &std::process::Child) -> ProcId {
        let pid = i32::try_from(child.id()).expect("a pid");
        ProcId { pid, start_ticks: procfs::start_ticks(pid).expect("alive") }
    }

    #[test]
    fn a_process_is_held_signalled_and_seen_to_end_before_it_is_reaped() {
        let mut child = sleeper();
        let id = id_of(&child);
        let held = PidFd::open(id).expect("opens").expect("alive");
        assert!(held.is_alive().expect("poll"));
        held.signal(Signal::KILL).expect("ours");
        assert_eq!(wait_any(std::slice::from_ref(&held), Some(Duration::from_secs(5))).expect("poll"), [0]);
        assert!(PidFd::open(id).expect("no error").is_none(), "a zombie is not alive");
        child.wait().expect("reaped");
        held.signal(Signal::KILL).expect("telling nobody is no error");
        assert!(PidFd::open(id).expect("no error").is_none());
    }

    #[test]
    fn where_the_kernel_numbers_processes_once_two_never_share_a_number() {
        let mut children = [sleeper(), sleeper()];
        let held = children.each_ref().map(|child| PidFd::open(id_of(child)).expect("opens").expect("alive"));
        let [one, two] = held.each_ref().map(PidFd::inode);
        assert_eq!((one, two), (inode(held[0].id().pid), inode(held[1].id().pid)));
        assert!(one != two || one.is_none(), "{one:?}");
        for child in &mut children {
            child.kill().expect("ours");
            child.wait().expect("reaped");
        }
        assert_eq!((inode(held[0].id().pid), held[0].inode()), (None, one));
        assert_eq!([-1, 0, i32::MIN].map(inode), [None; 3]);
        for pid in [-1, 0, i32::MIN] {
            assert!(PidFd::open(ProcId { pid, start_ticks: 0 }).expect("nobody").is_none());
        }
    }

    #[test]
    fn another_process_of_the_same_number_is_not_ours() {
        let mut child = sleeper();
        let id = id_of(&child);
        let impostor = ProcId { start_ticks: id.start_ticks + 1, ..id };
        assert!(PidFd::open(impostor).expect("no error").is_none());
        child.kill().expect("ours");
        child.wait().expect("reaped");
    }
}
