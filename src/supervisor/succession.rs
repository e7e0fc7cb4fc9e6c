//! Which process is the keeper and which the supervisor, and what one program of a process hands to the next.
//!
//! Knows nothing of services. Guards that the socket and the lock live as long as either process, whatever they execute.

use super::launch;
use super::supervise::{complain, supervise};
use crate::config::Location;
use crate::sys::failpoint::{self, Failpoint};
use crate::sys::keeper::{self, KeeperLink, Succession};
use crate::sys::reexec::{self, Program, Reexec};
use crate::sys::{cgroup, limits, notify, socket, spawn};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the keeper hands to every supervisor, and every program of a process to the next one.
pub struct Inherited {
    pub location: Location,
    pub listener: OwnedFd,
    /// Lives as long as this process or the keeper.
    lock: OwnedFd,
    /// Where workers say how they are. The keeper holds it too: what is sent while no supervisor lives waits for the next one, and
    /// whoever has connected stays connected.
    pub notify: OwnedFd,
}

impl Inherited {
    /// How another program goes on in this process: as keeper, or with a line to a keeper as its supervisor.
    ///
    /// # Errors
    /// When a path holds a NUL.
    pub fn pass_on<'fd>(&'fd self, third: BorrowedFd<'fd>) -> io::Result<Succession<'fd>> {
        Ok(Succession {
            argv: Reexec::new(&launch::argv(&self.location))?,
            inherit: [self.listener.as_fd(), self.lock.as_fd(), third, self.notify.as_fd()],
        })
    }
}

/// Becomes the keeper of a project and, in a child process, its supervisor; or goes on as the supervisor that this process was
/// before an upgrade. Called first thing in a process that was started by [`super::connect_or_launch`]; answers the exit status.
///
/// The descriptors that it finds are a format between versions: 3 the control socket, 4 the lock, 5 a line to the keeper if it
/// is a socket, else what somebody waits for the end of, 6 the notify socket, if there is one yet.
pub fn keep_supervised(location: Location) -> u8 {
    reexec::name_this_process();
    let inherited = spawn::inherited().and_then(|([listener, lock, third], notify)| {
        let notify = notify.filter(notify::is_one).map_or_else(|| notify::open(&launch::notify_name(&location)), Ok)?;
        Ok((Inherited { location, listener, lock, notify }, third))
    });
    let (inherited, third) = match inherited {
        Ok(inherited) => inherited,
        Err(error) => {
            complain(&error);
            return 1;
        }
    };
    spawn::forget_mark();
    limits::set_own();
    cgroup::leave_run();
    let done = if socket::is_socket(&third) { go_on(&inherited, third) } else { keep(&inherited, third) };
    done.unwrap_or_else(|error| {
        complain(&error);
        1
    })
}

fn keep(inherited: &Inherited, ready: OwnedFd) -> io::Result<u8> {
    let keeper_pid = std::process::id().cast_signed();
    let nobody = File::open("/dev/null")?;
    let succession = inherited.pass_on(nobody.as_fd())?;
    // Whoever launched the pair waits for the end of `ready`.
    keeper::keep(Some(ready), &succession, |link, ready| {
        // Only whoever launches the pair waits at the other end of a pipe; a keeper that starts another supervisor gives none.
        let launched = ready.as_ref().is_some_and(spawn::is_pipe);
        match supervise(inherited, keeper_pid, link, launched, |_| drop(ready)) {
            Ok(()) => 0,
            Err(error) => {
                complain(&error);
                1
            }
        }
    })
}

/// After an upgrade. Whatever goes wrong before the keeper knows of it, the keeper starts what was here before.
fn go_on(inherited: &Inherited, link: OwnedFd) -> io::Result<u8> {
    failpoint::reach(Failpoint::GoingOn);
    // Its keeper made the line.
    let (keeper_pid, _) = socket::peer(&link)?;
    let link = KeeperLink::inherited(link);
    let tell_keeper = |link: &KeeperLink| {
        failpoint::reach(Failpoint::Succeeding);
        if let Err(error) = Program::own().and_then(|program| link.succeed(&program)) {
            complain(&error);
        }
        failpoint::reach(Failpoint::Succeeded);
    };
    Ok(match supervise(inherited, keeper_pid, link, false, tell_keeper) {
        Ok(()) => 0,
        Err(error) => {
            complain(&error);
            keeper::START_AGAIN
        }
    })
}

/// The keeper was killed. This process is the parent of every worker, so it becomes the keeper and has a new supervisor adopt
/// them: the ledger on disk is complete.
pub fn become_keeper(inherited: &Inherited) -> io::Error {
    failpoint::reach(Failpoint::BecomingKeeper);
    let attempt = || {
        let (program, nobody) = (Program::own()?, File::open("/dev/null")?);
        let succession = inherited.pass_on(nobody.as_fd())?;
        Ok(succession.argv.perform(&program, succession.inherit))
    };
    attempt().unwrap_or_else(|error| error)
}
