//! From the outside: finding the supervisor of a project, or bringing keeper and supervisor up.
//!
//! Guards that there is one pair a project whoever starts one at the same moment: a short lock orders those who start, a long
//! one lives as long as the pair. Nothing polls: the socket listens before the keeper exists, and readiness is a pipe's end.

use super::environment::is_ours;
use crate::config::{self, Location};
use crate::control::protocol::{Hello, PROTOCOL};
use crate::model::Pid;
use crate::sys::failpoint::{self, Failpoint};
use crate::sys::folders::{CONTROL_SOCKET, Folders};
use crate::sys::lock::Lock;
use crate::sys::pidfd::{PidFd, wait_any};
use crate::sys::poll::{Deadline, Interest, wait};
use crate::sys::{procfs, reexec, socket, spawn};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a supervisor may take to say hello; only a stopped one takes any time.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// So many times its patience is given to one that works or waits for its turn: on a busy machine that is long.
const TURNS: u32 = 12;

/// How often a supervisor may die under a conversation before it counts as gone.
const TRIES: usize = 5;

/// In bytes; ours takes 50.
const LONGEST_HELLO: usize = 1 << 14;

/// A supervisor that answered.
#[derive(Debug)]
pub struct Connection {
    pub hello: Hello,
    pub lines: BufReader<UnixStream>,
    /// What a supervisor that was just launched had to complain about.
    pub said: String,
}

#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("supervisor pid {pid} not responding (state {state})")]
    Silent { pid: i32, state: char },
    #[error("the supervisor is not responding: it takes no more connections")]
    Crowded,
    #[error("what answers on the control socket is no supervisor of devstack")]
    Stranger,
    #[error("supervisor pid {} is devstack {} and speaks another protocol ({}) than this devstack {} ({PROTOCOL})", .0.pid, .0.version, .0.protocol, env!("CARGO_PKG_VERSION"))]
    Protocol(Hello),
    #[error("a supervisor of this project is alive{} but cannot be reached: its socket is gone from {place}", .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Unreachable { pid: Option<Pid>, place: String },
    #[error("the supervisor ended while it started:\n{0}")]
    Failed(String),
}

impl LaunchError {
    /// With the state that it is in now.
    pub fn silent(pid: i32) -> Self {
        Self::Silent { pid, state: procfs::stat(pid).map_or('?', |stat| char::from(stat.state)) }
    }
}

/// The running supervisor; `None` when there is none.
///
/// # Errors
/// When it does not answer or speaks another protocol, or the folders cannot be read.
pub fn connect(folders: &Folders) -> Result<Option<Connection>, LaunchError> {
    match reach(folders, PATIENCE)? {
        Some(connection) if connection.hello.protocol != PROTOCOL => Err(LaunchError::Protocol(connection.hello)),
        found => Ok(found),
    }
}

/// As [`connect`], whatever protocol it speaks: enough to ask for an upgrade.
///
/// # Errors
/// When it does not answer, or the folders cannot be read.
pub fn reach(folders: &Folders, patience: Duration) -> Result<Option<Connection>, LaunchError> {
    match reach_in(&folders.runtime, patience)? {
        Some(connection) => Ok(Some(connection)),
        None => folders.noted_runtime().map_or(Ok(None), |runtime| reach_in(&runtime, patience)),
    }
}

fn reach_in(runtime: &Path, patience: Duration) -> Result<Option<Connection>, LaunchError> {
    // One that was killed while we spoke is brought back by its keeper, or nobody listens any more: the next try tells.
    for _ in 0..TRIES {
        match socket::connect(runtime, CONTROL_SOCKET, patience).map_err(LaunchError::from).and_then(|it| greet(it, patience)) {
            Ok(connection) => return Ok(Some(connection)),
            Err(LaunchError::Io(error)) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
            Err(LaunchError::Io(error)) if error.kind() == ErrorKind::WouldBlock => return Err(LaunchError::Crowded),
            Err(LaunchError::Io(error)) if is_cut_off(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn is_cut_off(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof)
}

pub(super) fn greet(mut stream: UnixStream, patience: Duration) -> Result<Connection, LaunchError> {
    let (mut until, mut turns) = (Deadline::after(patience), 1);
    let (pid, uid) = socket::peer(&stream)?;
    if uid != 0 && uid != socket::own_user() {
        return Err(io::Error::new(ErrorKind::PermissionDenied, format!("the supervisor belongs to user {uid}")).into());
    }
    let mut hello = serde_json::to_vec(&Hello::ours(std::process::id().cast_signed())).map_err(io::Error::from)?;
    hello.push(b'\n');
    stream.write_all(&hello)?;
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        wait(&[Interest::Input(lines.get_ref().as_fd())], Some(until.left()))?;
        if until.left().is_zero() {
            if turns == TURNS || !procfs::is_busy(pid) {
                return Err(LaunchError::silent(pid));
            }
            (until, turns) = (Deadline::after(patience), turns + 1);
            continue;
        }
        lines.get_ref().set_nonblocking(true)?;
        let more = match lines.fill_buf() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            more => more?,
        };
        if more.is_empty() {
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        let taken = more.iter().position(|&byte| byte == b'\n').map_or(more.len(), |end| end + 1);
        line.extend_from_slice(&more[..taken]);
        lines.consume(taken);
        if line.len() > LONGEST_HELLO {
            return Err(LaunchError::Stranger);
        }
    }
    lines.get_ref().set_nonblocking(false)?;
    let hello = serde_json::from_slice(&line).map_err(|_| LaunchError::Stranger)?;
    Ok(Connection { hello, lines, said: String::new() })
}

/// Whether a supervisor that is silent in one conversation still begins others.
///
/// # Errors
/// When it does not.
pub fn greet_again(folders: &Folders, patience: Duration) -> Result<(), LaunchError> {
    match reach(folders, patience) {
        Err(error @ (LaunchError::Silent { .. } | LaunchError::Crowded)) => Err(error),
        // Whatever else it is, the conversation itself will tell.
        _ => Ok(()),
    }
}

/// The running supervisor, or a new pair.
///
/// # Errors
/// When neither can be had, with what the new one said.
pub fn connect_or_launch(folders: &Folders, location: &Location) -> Result<Connection, LaunchError> {
    folders.create()?;
    if let Some(connection) = connect(folders)? {
        return Ok(connection);
    }
    let _order = Lock::take(&folders.start_lock())?;
    // Whoever held the lock before may have brought it up.
    if let Some(connection) = connect(folders)? {
        return Ok(connection);
    }
    let life = match Lock::try_take(&folders.life_lock())? {
        Some(life) => life,
        // Nobody listens, so whoever still holds the lock is about to end.
        None if has_socket(folders) => Lock::take(&folders.life_lock())?,
        None => return Err(unreachable(folders, keeper_of(&location.root))),
    };
    // Whoever deleted the folder of a living pair has deleted the lock with it.
    if socket::claim(&claim_of(location))?.is_none()
        && let Some(keeper) = keeper_of(&location.root)
    {
        return Err(unreachable(folders, Some(keeper)));
    }
    folders.note_runtime()?;
    let listener = socket::listen(&folders.runtime, CONTROL_SOCKET)?;
    failpoint::reach(Failpoint::SocketBound);
    let (mut ended, ready) = io::pipe()?;
    let log = File::options().append(true).create(true).mode(0o600).open(folders.own_log())?;
    let before = log.metadata()?.len();
    launch(location, &log, [listener.as_fd(), life.as_fd(), ready.as_fd()])?;
    drop((listener, life, ready));
    let _ = ended.read(&mut [0]);
    let said = said_since(&folders.own_log(), before);
    match connect(folders)? {
        Some(connection) => Ok(Connection { said, ..connection }),
        None => Err(LaunchError::Failed(said)),
    }
}

fn has_socket(folders: &Folders) -> bool {
    [Some(folders.runtime.clone()), folders.noted_runtime()].into_iter().flatten().any(|runtime| runtime.join(CONTROL_SOCKET).exists())
}

fn unreachable(folders: &Folders, pid: Option<Pid>) -> LaunchError {
    let place = folders.noted_runtime().unwrap_or_else(|| folders.runtime.clone());
    LaunchError::Unreachable { pid, place: place.display().to_string() }
}

/// What a living supervisor of this project has claimed, see [`socket::claim`].
pub fn claim_of(location: &Location) -> String {
    format!("devstack/{}/{}", socket::own_user(), config::project_id(&location.root).0)
}

/// The name of the socket that this project's workers speak to.
pub fn notify_name(location: &Location) -> String {
    format!("{}/notify", claim_of(location))
}

/// For a person to end; what its arguments say proves nothing.
fn keeper_of(root: &Path) -> Option<Pid> {
    let mut reader = procfs::Reader::default();
    let mut is_keeper = |pid: Pid| {
        let argv = reader.argv(pid).unwrap_or_default();
        argv.len() == 4
            && argv[1] == b"supervise"
            && argv[3] == root.as_os_str().as_encoded_bytes()
            && procfs::uid(pid).is_ok_and(|uid| uid == socket::own_user())
    };
    procfs::pids().ok()?.into_iter().find(|pid| is_keeper(*pid))
}

/// The supervisor that answered and its keeper, held so that their ends can be waited for.
///
/// # Errors
/// When there is no descriptor left.
pub fn pair(connection: &Connection) -> io::Result<Vec<PidFd>> {
    let supervisor = connection.hello.pid;
    let keeper = procfs::stat(supervisor)
        .map(|stat| stat.ppid)
        .ok()
        .filter(|pid| procfs::argv(*pid).is_ok_and(|argv| argv.get(1).is_some_and(|word| word == b"supervise")));
    let mut held = Vec::new();
    for pid in [Some(supervisor), keeper].into_iter().flatten() {
        if let Ok(id) = procfs::id(pid) {
            held.extend(PidFd::open(id)?);
        }
    }
    Ok(held)
}

/// Returns once all of them have ended.
///
/// # Errors
/// When the kernel cannot poll.
pub fn wait_until_gone(mut pair: Vec<PidFd>) -> io::Result<()> {
    while !pair.is_empty() {
        for index in wait_any(&pair, None)?.into_iter().rev() {
            pair.remove(index);
        }
    }
    Ok(())
}

/// How a process becomes keeper and supervisor of a project.
pub fn argv(location: &Location) -> [OsString; 4] {
    ["devstack".into(), "supervise".into(), location.config_file.clone().into(), location.root.clone().into()]
}

fn launch(location: &Location, log: &File, inherit: [std::os::fd::BorrowedFd<'_>; 3]) -> io::Result<()> {
    let argv = argv(location);
    let env: Vec<_> = std::env::vars_os().filter(|(key, _)| !is_ours(key)).collect();
    let held = spawn::held(&spawn::Launch {
        program: Path::new(reexec::OWN_PROGRAM),
        argv: &argv,
        env: &env,
        cwd: Path::new("/"),
        output: spawn::Output::To(log.as_fd()),
        inherit: &inherit,
        mark: None,
        own_pid: &[],
        group: None,
        detach: true,
    })?;
    let pid = held.pid;
    held.release();
    crate::sys::keeper::wait_child(pid);
    Ok(())
}

fn said_since(log: &Path, offset: u64) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let new = bytes.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
    String::from_utf8_lossy(new).trim_end().to_owned()
}
