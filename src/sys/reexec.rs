//! Another program in the same process: its pid, its children and chosen descriptors stay, all else is the new program's.
//!
//! Guards two things. A program is held by a descriptor, so the file that was meant is executed, whatever stands under its
//! name by now. And an exec that the kernel refuses changes nothing: descriptors, signals and limits are as they were.
//!
//! Signals are blocked across the exec: one that comes in meanwhile waits for the new program, which must let it through
//! (`signals::let_through`) once it can take it.

#![expect(unsafe_code, reason = "exec and descriptors by number")]

use super::{limits, pidfd, procfs};
use crate::model::FileId;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// An executable file, whatever its name leads to by now.
#[derive(Debug)]
pub struct Program(OwnedFd);

impl Program {
    /// What this process runs.
    ///
    /// # Errors
    /// When `/proc` is not mounted, or no descriptor is left.
    pub fn own() -> io::Result<Self> {
        Self::open(OWN_PROGRAM)
    }

    /// What the process at the other end of a connection runs. Its pid is the kernel's word; it is held while it is looked at.
    ///
    /// # Errors
    /// When that process has ended, or is not ours to look into.
    pub fn of_peer(stream: &impl AsFd) -> io::Result<Self> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the process that asked has ended");
        let (pid, _) = super::socket::peer(stream)?;
        let held = match peer_pidfd(stream.as_fd()) {
            Some(held) => held,
            // Before Linux 6.5.
            None => pidfd::PidFd::open(procfs::id(pid)?)?.ok_or_else(gone)?.into(),
        };
        let program = Self::open(&format!("/proc/{pid}/exe"))?;
        let ended = poll(&mut [PollFd::new(&held, PollFlags::IN)], Some(&Timespec::default()))? > 0;
        if ended { Err(gone()) } else { Ok(program) }
    }

    fn open(path: &str) -> io::Result<Self> {
        use rustix::fs::{Mode, OFlags, open};
        Ok(Self(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?))
    }

    pub fn file_id(&self) -> io::Result<FileId> {
        let stat = rustix::fs::fstat(&self.0)?;
        Ok(FileId { dev: stat.st_dev, ino: stat.st_ino })
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Program {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

fn peer_pidfd(stream: BorrowedFd<'_>) -> Option<OwnedFd> {
    let mut number = -1;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `number`.
    let answered = unsafe {
        libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERPIDFD, (&raw mut number).cast(), &raw mut length) == 0
    };
    // SAFETY: the descriptor is new and nobody else's.
    (answered && number >= 0).then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// A command line, ready for an exec that allocates nothing.
pub struct Reexec {
    /// What the pointers point into.
    _argv: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

/// Above every descriptor that a new program is given.
const ABOVE: i32 = 64;

impl Reexec {
    /// # Errors
    /// When a word holds a NUL.
    pub fn new(argv: &[OsString]) -> io::Result<Self> {
        let text = |word: &OsString| CString::new(word.as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        let argv = argv.iter().map(text).collect::<io::Result<Vec<_>>>()?;
        let pointers = argv.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Self { _argv: argv, pointers })
    }

    /// Becomes `program`, which finds `inherit` as descriptors 3, 4, … and the environment of this process. Returns only when
    /// that was refused.
    pub fn perform<const N: usize>(&self, program: &Program, inherit: [BorrowedFd<'_>; N]) -> io::Error {
        let mut before = SigSet::empty();
        if let Err(error) = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before)) {
            return error.into();
        }
        limits::give_back();
        // SAFETY: only numbers are handled. What stood at 3, 4, … is put back before anybody can use it; a copy keeps each
        // of them open meanwhile, so that what waits for it goes on waiting.
        let error = unsafe {
            let lift = |fd: i32| libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, ABOVE);
            let executed = lift(program.as_fd().as_raw_fd());
            let given = inherit.map(|fd| lift(fd.as_raw_fd()));
            let parked: [i32; N] = std::array::from_fn(|index| lift(3 + index as i32));
            let mut error = None;
            for (fd, number) in given.iter().zip(3..) {
                if libc::dup2(*fd, number) < 0 {
                    error.get_or_insert_with(io::Error::last_os_error);
                }
            }
            let error = error.unwrap_or_else(|| {
                libc::fexecve(executed, self.pointers.as_ptr(), environ);
                io::Error::last_os_error()
            });
            for (fd, number) in parked.iter().zip(3..) {
                match *fd {
                    fd if fd < 0 => libc::close(number),
                    fd => libc::dup3(fd, number, libc::O_CLOEXEC),
                };
            }
            for fd in given.iter().chain(&parked).chain([&executed]).filter(|fd| **fd >= 0) {
                libc::close(*fd);
            }
            error
        };
        limits::set_own();
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
        error
    }
}

unsafe extern "C" {
    /// environ(7)
    static environ: *const *const libc::c_char;
}

/// What `ps` shows: executed by descriptor, a process is otherwise named after the descriptor's number.
pub fn name_this_process() {
    // SAFETY: the kernel copies at most 16 bytes of a text that lives for ever.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"devstack".as_ptr()) };
}

/// How a child executes what this process runs, whatever its name leads to by now.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// How a child that was given a program as its first descriptor ([`spawn::Launch::inherit`]) executes it.
pub const INHERITED_PROGRAM: &str = "/proc/self/fd/3";

/// The first words that wait in a pipe; waits for none.
///
/// # Errors
/// When it cannot be read.
pub fn what_is_there(mut pipe: io::PipeReader) -> io::Result<String> {
    let mut bytes = [0; 256];
    let waits = poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&Timespec::default()))? > 0;
    let length = if waits { io::Read::read(&mut pipe, &mut bytes)? } else { 0 };
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which file stands at each descriptor, and what is blocked.
    fn state() -> ([Option<u64>; 256], Option<SigSet>) {
        // SAFETY: only looked at, and only if it is open.
        let inode = |fd: usize| rustix::fs::fstat(unsafe { BorrowedFd::borrow_raw(fd as i32) }).ok().map(|stat| stat.st_ino);
        (std::array::from_fn(inode), SigSet::thread_get_mask().ok())
    }

    /// In a child: descriptors are changed by number, and other tests of this process have some.
    #[test]
    fn a_refused_exec_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("script");
        std::fs::write(&path, "no program\n").expect("a file");
        let program = Program(std::fs::File::open(&path).expect("opens").into());
        let (reader, writer) = io::pipe().expect("a pipe");
        let argv = Reexec::new(&["devstack".into()]).expect("argv");
        // SAFETY: the child only makes system calls, and never returns.
        let child = match unsafe { nix::unistd::fork() }.expect("a child") {
            nix::unistd::ForkResult::Parent { child } => child.as_raw(),
            nix::unistd::ForkResult::Child => {
                let before = state();
                let error = argv.perform(&program, [reader.as_fd(), writer.as_fd(), reader.as_fd()]);
                let held = error.raw_os_error() == Some(libc::EACCES) && state() == before;
                // SAFETY: ends this process, which is ours.
                unsafe { libc::_exit(i32::from(!held)) }
            }
        };
        let ended = crate::sys::keeper::status_of(child, rustix::process::WaitIdOptions::EXITED);
        assert_eq!(ended, Some(crate::model::Exit::Code(0)));
    }

    #[test]
    fn the_program_of_a_peer_is_that_peers() {
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let found = Program::of_peer(&ours).expect("the peer is this process");
        assert_eq!(found.file_id().expect("stat"), Program::own().and_then(|own| own.file_id()).expect("stat"));
    }
}
