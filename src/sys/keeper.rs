//! The first of the two processes: it starts the supervisor, starts it again when it is killed, and is the parent of the
//! workers meanwhile. It decides nothing about services and allocates nothing after its start.
//!
//! A supervisor's workers are re-parented to the keeper when it dies, so their exit statuses are not lost: the next supervisor
//! asks for them ([`KeeperLink::peek`]) and says when they may be collected ([`KeeperLink::reap`]).
//!
//! After an upgrade the two are of different versions until the supervisor next dies, so what they tell each other is only
//! ever added to:
//! - requests are 5 bytes, a kind and a pid in the machine's order; answers 3 bytes, the kind, then `c` and an exit code, `s` and
//!   a signal, or `-` for "no such", which is also the answer to an unknown kind; a nudge is one byte;
//! - `x` comes with a descriptor of the program to become when the supervisor has died, and is answered `c` once that is kept;
//! - a supervisor that was killed, or ended with status 101, is started again; with any other it ended on purpose.

#![expect(unsafe_code, reason = "fork")]

use super::clock;
use super::failpoint::{self, Failpoint};
use super::poll::Deadline;
use super::reexec::{Program, Reexec};
use crate::model::{BootTime, Exit, Pid, Signal};
use nix::libc;
use nix::sys::signal::{SigSet, Signal as Nix};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recv, recvmsg, send, sendmsg, socketpair,
};
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A supervisor that is killed this often within `CRASH_WINDOW` is not started again: something is wrong with the machine.
const MOST_CRASHES: usize = 10;
const CRASH_WINDOW: Duration = Duration::from_secs(30);

/// How a panic ends a Rust program, and how a supervisor ends that wants to be started again; every other status is an end on
/// purpose.
pub const START_AGAIN: u8 = 101;

const PEEK: u8 = b'p';
const REAP: u8 = b'r';
const SUCCEED: u8 = b'x';
/// From the keeper, unasked: one of its other children ended.
const NUDGE: u8 = b'n';

/// Becomes a subreaper: orphans among our descendants become our children (prctl(2)).
///
/// # Errors
/// Never on a Linux since 3.4.
pub fn become_subreaper() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// How another program becomes the keeper in this process: prepared before it is needed.
pub struct Succession<'fd> {
    pub argv: Reexec,
    pub inherit: [BorrowedFd<'fd>; 4],
}

/// Runs `supervise` in a child process, again and again until it ends on purpose; answers its exit status.
///
/// Returns a second time, in each child, with what `supervise` answered there; until that lets them through, signals wait. `gift`
/// goes to the first one, and is closed here.
///
/// # Errors
/// When there is no process or descriptor left at the start.
pub fn keep(
    mut gift: Option<OwnedFd>,
    succession: &Succession<'_>,
    supervise: impl Fn(KeeperLink, Option<OwnedFd>) -> u8,
) -> io::Result<u8> {
    become_subreaper()?;
    let mut watched = SigSet::empty();
    for signal in [Nix::SIGCHLD, Nix::SIGTERM, Nix::SIGINT, Nix::SIGHUP] {
        watched.add(signal);
    }
    watched.thread_set_mask()?;
    let signals = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let mut crashes = [None::<BootTime>; MOST_CRASHES];
    for turn in 0.. {
        failpoint::reach(Failpoint::BeforeSupervisor);
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // SAFETY: this process has one thread, so the child may go on with everything it inherits.
        match unsafe { nix::unistd::fork() }? {
            nix::unistd::ForkResult::Child => {
                drop((ours, signals));
                return Ok(supervise(KeeperLink { socket: theirs }, gift));
            }
            nix::unistd::ForkResult::Parent { child } => {
                drop((theirs, gift.take()));
                match watch(child.as_raw(), &ours, &signals)? {
                    End::OnPurpose(status) => return Ok(status),
                    End::Killed { successor: None } => {}
                    // Refused: then the old program goes on.
                    End::Killed { successor: Some(program) } => drop(succession.argv.perform(&program, succession.inherit)),
                }
            }
        }
        let now = clock::now();
        if crashes[turn % MOST_CRASHES].replace(now).is_some_and(|first| now.since(first) < CRASH_WINDOW) {
            break;
        }
    }
    Ok(1)
}

/// How a supervisor ended.
enum End {
    OnPurpose(u8),
    /// After an upgrade, with the program that it had become.
    Killed {
        successor: Option<Program>,
    },
}

/// Serves one supervisor until it ends.
fn watch(supervisor: Pid, link: &OwnedFd, signals: &SignalFd) -> io::Result<End> {
    let mut link_open = true;
    let mut successor = None;
    loop {
        let mut polled = [PollFd::new(signals, PollFlags::IN), PollFd::new(link, PollFlags::IN)];
        let count = if link_open { 2 } else { 1 };
        match poll(&mut polled[..count], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !polled[1].revents().is_empty() {
            link_open = answer(link, &mut successor) != Heard::End;
        }
        while let Ok(Some(signal)) = signals.read_signal() {
            if signal.ssi_signo == libc::SIGCHLD as u32 {
                match status_of(supervisor, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                    Some(Exit::Code(code)) if code != START_AGAIN => return Ok(End::OnPurpose(code)),
                    Some(_) => {
                        // It may have spoken after we last listened.
                        while answer(link, &mut successor) == Heard::Request {}
                        return Ok(End::Killed { successor });
                    }
                    None => drop(send(link, &[NUDGE], SendFlags::DONTWAIT | SendFlags::NOSIGNAL)),
                }
            } else if let Some(pid) = rustix::process::Pid::from_raw(supervisor) {
                #[expect(clippy::disallowed_methods, reason = "not reaped yet, so the number is still its own")]
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Heard {
    Request,
    Nothing,
    /// The other side is closed.
    End,
}

/// Answers one request.
fn answer(link: &OwnedFd, successor: &mut Option<Program>) -> Heard {
    let mut request = [0_u8; 5];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut passed = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let length = match recvmsg(link, &mut [IoSliceMut::new(&mut request)], &mut passed, flags) {
        Ok(received) => received.bytes,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Heard::Nothing,
        Err(_) => return Heard::End,
    };
    if length != request.len() {
        return if length == 0 { Heard::End } else { Heard::Request };
    }
    let pid = Pid::from_ne_bytes([request[1], request[2], request[3], request[4]]);
    let status = match request[0] {
        PEEK => status_of(pid, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG),
        REAP => status_of(pid, WaitIdOptions::EXITED | WaitIdOptions::NOHANG),
        SUCCEED => descriptor(&mut passed).map(|program| {
            *successor = Some(program.into());
            Exit::Code(0)
        }),
        _ => None,
    };
    match send(link, &encode(request[0], status.as_ref()), SendFlags::NOSIGNAL) {
        Ok(_) => Heard::Request,
        Err(_) => Heard::End,
    }
}

fn descriptor(passed: &mut RecvAncillaryBuffer<'_>) -> Option<OwnedFd> {
    passed.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
}

fn encode(request: u8, status: Option<&Exit>) -> [u8; 3] {
    match status {
        Some(Exit::Code(code)) => [request, b'c', *code],
        Some(Exit::Signal(signal)) => [request, b's', signal.number() as u8],
        Some(Exit::Unobserved | Exit::NotSpawned(_)) | None => [request, b'-', 0],
    }
}

/// How a child of this process ended; `None` when it lives, or is not a child of ours.
pub fn status_of(pid: Pid, how: WaitIdOptions) -> Option<Exit> {
    let pid = rustix::process::Pid::from_raw(pid)?;
    exit_of(&waitid(WaitId::Pid(pid), how).ok()??)
}

/// As [`status_of`], without collecting it.
pub fn peek_child(pidfd: BorrowedFd<'_>) -> Option<Exit> {
    exit_of(&waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG).ok()??)
}

/// Collects a child that has ended.
pub fn reap_child(pid: Pid) -> Option<Exit> {
    status_of(pid, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

/// Waits for a child and collects it.
pub fn wait_child(pid: Pid) {
    let _ = status_of(pid, WaitIdOptions::EXITED);
}

fn exit_of(status: &WaitIdStatus) -> Option<Exit> {
    let code = status.exit_status().and_then(|code| u8::try_from(code).ok()).map(Exit::Code);
    code.or_else(|| status.terminating_signal().and_then(Signal::from_number).map(Exit::Signal))
}

/// The supervisor's end of the line to its keeper.
#[derive(Debug)]
pub struct KeeperLink {
    socket: OwnedFd,
}

impl KeeperLink {
    /// How long the keeper may take; only a stopped one takes any time.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// How a child of the keeper ended, leaving it uncollected.
    pub fn peek(&self, pid: Pid) -> Option<Exit> {
        self.ask(PEEK, pid)
    }

    /// Has the keeper collect a child that has ended.
    pub fn reap(&self, pid: Pid) -> Option<Exit> {
        self.ask(REAP, pid)
    }

    /// Has the keeper become `program` when this supervisor has died, rather than start what was here before the upgrade.
    ///
    /// # Errors
    /// When the keeper does not know how.
    pub fn succeed(&self, program: &Program) -> io::Result<()> {
        let descriptors = [program.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut passed = SendAncillaryBuffer::new(&mut space);
        passed.push(SendAncillaryMessage::ScmRights(&descriptors));
        let message = [SUCCEED, 0, 0, 0, 0];
        sendmsg(&self.socket, &[IoSlice::new(&message)], &mut passed, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
        self.answer_to(SUCCEED).map(drop).ok_or_else(|| io::Error::other("the keeper does not take a new program"))
    }

    fn ask(&self, request: u8, pid: Pid) -> Option<Exit> {
        let number = pid.to_ne_bytes();
        let message = [request, number[0], number[1], number[2], number[3]];
        send(&self.socket, &message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).ok()?;
        self.answer_to(request)
    }

    fn answer_to(&self, request: u8) -> Option<Exit> {
        let until = Deadline::after(Self::PATIENCE);
        loop {
            let left = rustix::event::Timespec::try_from(until.left()).ok()?;
            let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
            if matches!(poll(&mut polled, Some(&left)), Ok(0)) {
                return None;
            }
            let mut reply = [0_u8; 3];
            match recv(&self.socket, &mut reply, RecvFlags::DONTWAIT) {
                Ok((3, _)) if reply[0] == request => {
                    return match reply[1] {
                        b'c' => Some(Exit::Code(reply[2])),
                        b's' => Signal::from_number(i32::from(reply[2])).map(Exit::Signal),
                        _ => None,
                    };
                }
                Ok((0, _)) => return None,
                // A nudge: whoever asks looks at the keeper's children afterwards anyway.
                Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// Reads a pending nudge away; `false` when the keeper is gone.
    pub fn take_nudge(&self) -> bool {
        let mut message = [0_u8; 3];
        loop {
            match recv(&self.socket, &mut message, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return false,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
    }

    /// The line that an earlier program of this process had to its keeper.
    pub fn inherited(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// A second descriptor of the line, to wait on.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }
}

impl AsFd for KeeperLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
