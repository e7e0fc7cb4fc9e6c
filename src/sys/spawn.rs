//! Creating processes: a child that starts clean, waits at a gate, and becomes its program only once it is let through.
//!
//! The standard library's `Command` cannot do this: it passes on blocked and ignored signals, and anything that waits before
//! `exec` would block the parent. Guards: after `fork` the child calls nothing but async-signal-safe functions on memory
//! prepared before (signal-safety(7)).

#![expect(unsafe_code, reason = "fork, exec and descriptors by number")]

use super::cgroup::Group;
use super::limits;
use crate::model::{Mark, Pid};
use nix::libc;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a child is to become.
pub struct Launch<'a> {
    pub program: &'a Path,
    pub argv: &'a [OsString],
    pub env: &'a [(OsString, OsString)],
    pub cwd: &'a Path,
    pub output: Output<'a>,
    /// Become descriptors 3, 4, … of the child, which has no others.
    pub inherit: &'a [BorrowedFd<'a>],
    /// What every descendant inherits.
    pub mark: Option<Mark>,
    /// The variables in which the child finds its own pid, as systemd.exec(5) has it in `SYSTEMD_EXEC_PID`: a descendant inherits
    /// the variable, but not the pid.
    pub own_pid: &'a [&'a str],
    /// The group that the child is born into.
    pub group: Option<&'a Group>,
    /// Leave this process for good: the child's parent is then whoever adopts orphans.
    pub detach: bool,
}

/// What a child has as its descriptors 0, 1 and 2.
#[derive(Clone, Copy)]
pub enum Output<'a> {
    /// Nothing to read; standard output and standard error go there.
    To(BorrowedFd<'a>),
    /// The three of this process.
    Inherited,
}

/// A child that waits at its gate. Dropping the gate makes it end without running anything.
pub struct Held {
    pub pid: Pid,
    gate: OwnedFd,
}

impl Held {
    /// Lets it become its program.
    pub fn release(self) {
        // A child that is already gone cannot be let through, and its end is reported elsewhere.
        let _ = nix::unistd::write(&self.gate, b"!");
    }
}

/// The exit status of a child whose program could not be executed after all, as in a shell.
const CANNOT_EXECUTE: i32 = 126;

/// Everything the child needs, in memory that it need not allocate.
struct Prepared {
    program: CString,
    cwd: CString,
    /// What the pointers below point into.
    _argv: Vec<CString>,
    _env: Vec<CString>,
    argv_pointers: Vec<*const libc::c_char>,
    env_pointers: Vec<*const libc::c_char>,
    inherit: Vec<i32>,
    mark: Option<Mark>,
    /// `NAME=` and room for digits, each one of the environment's pointers.
    own_pid: Vec<Vec<u8>>,
    complaint: Vec<u8>,
}

/// # Errors
/// When there is no process, memory or descriptor left, or a text holds a NUL.
pub fn held(launch: &Launch) -> io::Result<Held> {
    let mut prepared = Prepared::new(launch)?;
    let (gate_out, gate_in) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let null = std::fs::File::open("/dev/null")?;
    // SAFETY: the child only makes async-signal-safe calls on memory prepared above, and never returns from `become_program`.
    match unsafe { fork_into(launch.group) }? {
        nix::unistd::ForkResult::Child => {
            let output = match launch.output {
                Output::To(output) => Some(output.as_raw_fd()),
                Output::Inherited => None,
            };
            become_program(&mut prepared, launch.detach, gate_out.as_raw_fd(), null.as_raw_fd(), output)
        }
        nix::unistd::ForkResult::Parent { child } => Ok(Held { pid: child.as_raw(), gate: gate_in }),
    }
}

/// Of linux/sched.h; libc's own is still too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A fork whose child is in the group from its first instant: moving it there afterwards would take the kernel a hundred times
/// as long (clone(2), `CLONE_INTO_CGROUP`).
///
/// # Safety
/// As fork(2): the child may only make async-signal-safe calls.
unsafe fn fork_into(group: Option<&Group>) -> io::Result<nix::unistd::ForkResult> {
    if let Some(group) = group {
        // SAFETY: all zeros are a valid `clone_args`.
        let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
        args.flags = CLONE_INTO_CGROUP;
        args.exit_signal = libc::SIGCHLD as u64;
        args.cgroup = group.as_fd().as_raw_fd() as u64;
        // SAFETY: without a stack and without CLONE_VM this is fork(2).
        match unsafe { libc::syscall(libc::SYS_clone3, &raw const args, std::mem::size_of::<libc::clone_args>()) } {
            0 => return Ok(nix::unistd::ForkResult::Child),
            pid if pid > 0 => return Ok(nix::unistd::ForkResult::Parent { child: nix::unistd::Pid::from_raw(pid as Pid) }),
            // An older kernel, or one that forbids it: a group is never worth a worker.
            _ => {}
        }
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { nix::unistd::fork() }?)
}

impl Prepared {
    fn new(launch: &Launch) -> io::Result<Self> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a NUL byte in an argument"));
        let argv = launch.argv.iter().map(|arg| text(arg.as_bytes())).collect::<io::Result<Vec<_>>>()?;
        let env = launch
            .env
            .iter()
            .map(|(key, value)| text(&[key.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect::<io::Result<Vec<_>>>()?;
        let own_pid: Vec<Vec<u8>> = launch.own_pid.iter().map(|name| [name.as_bytes(), b"=", &[0; PID_DIGITS + 1]].concat()).collect();
        let pointers = |list: &[CString], last: &[Vec<u8>]| {
            let last = last.iter().map(|variable| variable.as_ptr().cast());
            list.iter().map(|text| text.as_ptr()).chain(last).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        Ok(Self {
            program: text(launch.program.as_os_str().as_bytes())?,
            cwd: text(launch.cwd.as_os_str().as_bytes())?,
            argv_pointers: pointers(&argv, &[]),
            env_pointers: pointers(&env, &own_pid),
            own_pid,
            _argv: argv,
            _env: env,
            inherit: launch.inherit.iter().map(AsRawFd::as_raw_fd).collect(),
            mark: launch.mark,

            complaint: [b"devstack: cannot execute ", launch.program.as_os_str().as_bytes(), b"\n"].concat(),
        })
    }
}

/// Runs in the child, between `fork` and `exec`.
fn become_program(prepared: &mut Prepared, detach: bool, gate: i32, null: i32, output: Option<i32>) -> ! {
    // SAFETY: every call below is async-signal-safe; pointers stay valid because `prepared` lives in the forked memory.
    unsafe {
        libc::setsid();
        if detach && libc::fork() != 0 {
            libc::_exit(0);
        }
        forget_signals();
        // Descriptors are first lifted above those that the program will see, so that none is overwritten before its turn.
        let floor = 10 + prepared.inherit.len() as i32;
        let lift = |fd: i32| libc::fcntl(fd, libc::F_DUPFD, floor);
        let gate = lift(gate);
        if let Some(output) = output {
            let (null, output) = (lift(null), lift(output));
            libc::dup2(null, 0);
            libc::dup2(output, 1);
            libc::dup2(output, 2);
        }
        let first_free = 3 + prepared.inherit.len() as i32;
        let mut lifted = [-1; 8];
        for (slot, fd) in lifted.iter_mut().zip(&prepared.inherit) {
            *slot = lift(*fd);
        }
        for (index, fd) in lifted.iter().take(prepared.inherit.len()).enumerate() {
            libc::dup2(*fd, 3 + index as i32);
        }
        libc::dup2(gate, first_free);
        libc::fcntl(first_free, libc::F_SETFD, libc::FD_CLOEXEC);
        close_from(first_free + 1);
        let mut byte = 0_u8;
        while libc::read(first_free, (&raw mut byte).cast(), 1) == -1 && *libc::__errno_location() == libc::EINTR {}
        if byte == 0 {
            libc::_exit(0);
        }
        limits::give_back();
        prepared.own_pid.iter_mut().for_each(|variable| write_own_pid(variable));
        if let Some(mark) = prepared.mark {
            set_realtime_limit(mark.as_limit());
        }
        if libc::chdir(prepared.cwd.as_ptr()) == 0 {
            libc::execve(prepared.program.as_ptr(), prepared.argv_pointers.as_ptr(), prepared.env_pointers.as_ptr());
        }
        libc::write(2, prepared.complaint.as_ptr().cast(), prepared.complaint.len());
        libc::_exit(CANNOT_EXECUTE)
    }
}

/// More than any pid has.
const PID_DIGITS: usize = 10;

/// Digits without an allocation, into the room behind `NAME=`.
fn write_own_pid(variable: &mut [u8]) {
    let Some(start) = variable.len().checked_sub(PID_DIGITS + 1) else { return };
    // SAFETY: asks for a number.
    let mut left = unsafe { libc::getpid() }.unsigned_abs();
    let digits = left.checked_ilog10().unwrap_or_default() as usize + 1;
    for place in variable[start..].iter_mut().take(digits).rev() {
        *place = b'0' + (left % 10) as u8;
        left /= 10;
    }
}

/// # Safety
/// None needed beyond a valid process: plain system calls on local memory, async-signal-safe.
unsafe fn set_realtime_limit(soft: u64) {
    // SAFETY: as above.
    unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        if libc::getrlimit(libc::RLIMIT_RTTIME, &raw mut limit) == 0 {
            limit.rlim_cur = soft.min(limit.rlim_max);
            libc::setrlimit(libc::RLIMIT_RTTIME, &raw const limit);
        }
    }
}

/// A devstack that was started inside a worker is not of that worker's run, and neither is what it starts.
pub fn forget_mark() {
    // SAFETY: see there.
    unsafe { set_realtime_limit(u64::MAX) };
}

/// Every signal back to its default and none blocked: a supervisor's own choices are not its workers'.
///
/// # Safety
/// Only in a freshly forked child.
unsafe fn forget_signals() {
    // SAFETY: plain system calls on local memory.
    unsafe {
        // SIG_DFL, no flags, no mask, in the kernel's own layout: the C library refuses to touch 32 and 33.
        let default = [0_u64; 8];
        for signal in 1..=64 {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null_mut::<u64>(), size_of::<u64>());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// # Safety
/// Closes descriptors that others may think they own: only in a freshly forked child, or before anything was opened.
unsafe fn close_from(first: i32) {
    // SAFETY: closing is all it does.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) == 0 {
            return;
        }
        let most = libc::sysconf(libc::_SC_OPEN_MAX).clamp(256, 65_536) as i32;
        for fd in first..most {
            libc::close(fd);
        }
    }
}

/// Where this process itself complains, as a file for a child.
///
/// # Errors
/// When there is no descriptor left.
pub fn own_error_output() -> io::Result<std::fs::File> {
    // SAFETY: borrowed for one call, from whoever has it as long as the process lives.
    let own = unsafe { BorrowedFd::borrow_raw(libc::STDERR_FILENO) };
    Ok(own.try_clone_to_owned()?.into())
}

/// Why a command cannot be executed, found out before anything is started.
#[derive(Debug, thiserror::Error)]
pub enum NotExecutable {
    #[error("there is no `{0}` in PATH")]
    NotInPath(String),
    #[error("there is no file {0}")]
    Missing(String),
    #[error("{0} is not executable")]
    NotPermitted(String),
    #[error("{0} is neither a program for this machine nor a script that names its interpreter")]
    Format(String),
    #[error("{0} names an interpreter that does not exist: {1}")]
    Interpreter(String, String),
}

impl NotExecutable {
    /// There is no such file at all.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NotInPath(_) | Self::Missing(_))
    }
}

/// The file that a command stands for, looked up as execvp(3) does but in the worker's own PATH and folder.
///
/// # Errors
/// When there is none, or the kernel would refuse it.
pub fn find_program(command: &OsStr, path: &OsStr, cwd: &Path) -> Result<PathBuf, NotExecutable> {
    let shown = command.to_string_lossy().into_owned();
    if command.as_bytes().contains(&b'/') {
        let file = cwd.join(command);
        return executable(&file)?.then_some(file).ok_or(NotExecutable::Missing(shown));
    }
    for folder in std::env::split_paths(path) {
        let file = cwd.join(folder).join(command);
        if let Ok(true) = executable(&file) {
            return Ok(file);
        }
    }
    Err(NotExecutable::NotInPath(shown))
}

/// `Ok(false)`: no such file.
fn executable(file: &Path) -> Result<bool, NotExecutable> {
    let shown = || file.display().to_string();
    match file.metadata() {
        Err(_) => return Ok(false),
        Ok(meta) if !meta.is_file() => return Err(NotExecutable::NotPermitted(shown())),
        Ok(_) => {}
    }
    if nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_err() {
        return Err(NotExecutable::NotPermitted(shown()));
    }
    let mut head = [0_u8; 256];
    let length = std::fs::File::open(file).and_then(|mut opened| io::Read::read(&mut opened, &mut head));
    // A program may be executable without being readable; the kernel then judges alone.
    let Ok(length) = length else { return Ok(true) };
    match &head[..length] {
        bytes if bytes.starts_with(b"\x7fELF") => Ok(true),
        [b'#', b'!', line @ ..] => {
            let line = line.split(|&b| b == b'\n').next().unwrap_or_default();
            let interpreter = line.split(|b| b.is_ascii_whitespace()).find(|word| !word.is_empty()).unwrap_or_default();
            let interpreter = Path::new(OsStr::from_bytes(interpreter));
            if interpreter.exists() { Ok(true) } else { Err(NotExecutable::Interpreter(shown(), interpreter.display().to_string())) }
        }
        _ => Err(NotExecutable::Format(shown())),
    }
}

/// Takes over descriptors 3, 4, … that the parent passed by [`Launch::inherit`], and one more if there is one, and closes
/// everything above them. To be called first thing in the process.
///
/// # Errors
/// When the parent did not pass so many, as when a person typed the command.
pub fn inherited<const N: usize>() -> io::Result<([OwnedFd; N], Option<OwnedFd>)> {
    let numbers: [i32; N] = std::array::from_fn(|index| 3 + index as i32);
    let last = 3 + N as i32;
    // SAFETY: reading flags changes nothing.
    let is_passed = |fd: i32| unsafe { libc::fcntl(fd, libc::F_GETFD) } == 0;
    if !numbers.iter().all(|&fd| is_passed(fd)) {
        return Err(io::Error::other("only devstack itself starts its supervisor; use `devstack start`"));
    }
    // SAFETY: whatever this process opens is close-on-exec, so these were passed to it and nobody owns them; after this they
    // are close-on-exec too and cannot be taken twice.
    unsafe {
        close_from(last + 1);
        let take = |fd: i32| {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            OwnedFd::from_raw_fd(fd)
        };
        Ok((numbers.map(take), is_passed(last).then(|| take(last))))
    }
}

pub fn is_pipe(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_fifo())
}
