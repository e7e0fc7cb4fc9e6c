//! Where devstack keeps what it must remember, and where it listens: private folders, one pair a project.
//!
//! Guards that these are folders of ours that nobody else can write to, and that no link leads to them or away from them: what
//! is in them says whom devstack signals.

use super::beneath::{self, refused};
use super::failpoint::{self, Failpoint};
use crate::model::ProjectId;
use rustix::fs::Mode;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The folders of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// `$XDG_STATE_HOME/devstack/ID`, else `~/.local/state/devstack/ID`: the ledger, the locks, the supervisor's own log.
    pub state: PathBuf,
    /// `$XDG_RUNTIME_DIR/devstack/ID`, else `run` in the state folder: the control socket.
    pub runtime: PathBuf,
    /// What was there before devstack, and may lie anywhere.
    state_home: PathBuf,
    runtime_home: PathBuf,
}

/// Ours, and closed to everybody else.
const PRIVATE: u32 = 0o077;
/// Others may look into it, as long as they can put nothing there.
const NOT_WRITABLE: u32 = 0o022;

impl Folders {
    /// Names them without touching the disk. Variables count only when they hold an absolute path, as the XDG Base Directory
    /// specification says. A runtime folder of somebody else is passed over, and so is a HOME that does not exist or belongs to
    /// another user than us and root, as under sudo: then the user database knows the home folder.
    ///
    /// # Errors
    /// When there is no home folder to be found.
    pub fn of(project: &ProjectId, variable: impl Fn(&str) -> Option<OsString>) -> io::Result<Self> {
        let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || absolute("HOME").filter(|home| is_ours_or_roots(home)).or_else(home_from_user_database);
        let state_home = absolute("XDG_STATE_HOME").or_else(|| home().map(|home| home.join(".local/state")));
        let state_home = state_home.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no home folder; set HOME or XDG_STATE_HOME"))?;
        let state = state_home.join("devstack").join(&project.0);
        let (runtime_home, runtime) = match absolute("XDG_RUNTIME_DIR").filter(|dir| is_ours(dir)) {
            Some(home) => (home.clone(), home.join("devstack").join(&project.0)),
            None => (state_home.clone(), state.join("run")),
        };
        Ok(Self { state, runtime, state_home, runtime_home })
    }

    /// Creates what is missing, and refuses folders that others could have put there or could write to.
    ///
    /// # Errors
    /// When a folder cannot be made, is a link, belongs to somebody else or is open to others.
    pub fn create(&self) -> io::Result<()> {
        for (home, folder) in self.with_homes() {
            make_home(home).map_err(|error| named(home, error))?;
            private(home, folder, Some(Mode::RWXU))?;
        }
        Ok(())
    }

    /// Removes what a save that was cut short has left behind; only for whoever holds the lock on life.
    pub fn remove_unfinished(&self) {
        let _ = std::fs::remove_file(new_name(&self.ledger()));
    }

    /// As [`Folders::create`], of what is there already.
    ///
    /// # Errors
    /// When one of them is a link, belongs to somebody else or is open to others.
    pub fn verify(&self) -> io::Result<()> {
        for (home, folder) in self.with_homes() {
            match private(home, folder, None) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn with_homes(&self) -> [(&Path, &Path); 2] {
        [(&self.state_home, &self.state), (&self.runtime_home, &self.runtime)]
    }

    /// Where the supervisor of this project listens, if somebody with another XDG_RUNTIME_DIR started it: by ssh, cron, su.
    pub fn noted_runtime(&self) -> Option<PathBuf> {
        let noted = PathBuf::from(OsString::from_vec(std::fs::read(self.runtime_note()).ok()?));
        let home = noted.ancestors().nth(2).filter(|_| noted != self.runtime && noted.is_absolute())?;
        private(home, &noted, None).is_ok().then_some(noted)
    }

    /// # Errors
    /// When it cannot be written.
    pub fn note_runtime(&self) -> io::Result<()> {
        replace_in_steps(&self.runtime_note(), self.runtime.as_os_str().as_bytes(), |_| {})
    }

    fn runtime_note(&self) -> PathBuf {
        self.state.join("runtime")
    }

    pub fn ledger(&self) -> PathBuf {
        self.state.join("ledger.json")
    }

    /// Held by keeper and supervisor as long as either lives.
    pub fn life_lock(&self) -> PathBuf {
        self.state.join("supervisor.lock")
    }

    /// Held for a moment by a command that brings the pair up.
    pub fn start_lock(&self) -> PathBuf {
        self.state.join("start.lock")
    }

    /// What happened; see [`super::journal_file`].
    pub fn journal(&self) -> PathBuf {
        self.state.join("events.jsonl")
    }

    /// When how much had been written to the logs, a file a service; see [`super::time_index`].
    pub fn times(&self) -> PathBuf {
        self.state.join("times")
    }

    pub fn own_log(&self) -> PathBuf {
        self.state.join("supervisor.log")
    }
}

/// The control socket's name in the runtime folder.
pub const CONTROL_SOCKET: &str = "control.sock";

fn own_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn is_ours(folder: &Path) -> bool {
    folder.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == own_user())
}

fn is_ours_or_roots(folder: &Path) -> bool {
    folder.metadata().is_ok_and(|meta| meta.is_dir() && (meta.uid() == own_user() || meta.uid() == 0))
}

/// Only below what is ours or root's: nothing of root's is left in somebody's home.
fn make_home(home: &Path) -> io::Result<()> {
    let existing = home.ancestors().find(|folder| folder.exists()).unwrap_or(home);
    if !is_ours_or_roots(existing) {
        let owner = existing.metadata()?.uid();
        return Err(refused(&format!("{} belongs to user {owner}, who could replace what is in it", existing.display())));
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(home)
}

/// Goes down to one of devstack's folders, and looks at each on the way.
fn private(home: &Path, folder: &Path, create: Option<Mode>) -> io::Result<()> {
    let below = folder.strip_prefix(home).unwrap_or(folder);
    let mut at = home.to_path_buf();
    let mut entered: OwnedFd = beneath::base(home).map_err(|error| named(home, error))?;
    for name in below {
        at.push(name);
        entered = beneath::step(&entered, name, create).map_err(|error| named(&at, error))?;
        let found = rustix::fs::fstat(&entered)?;
        let open_to_others = found.st_mode & if at == folder { PRIVATE } else { NOT_WRITABLE } != 0;
        if found.st_uid != own_user() || open_to_others {
            let (uid, mode) = (found.st_uid, found.st_mode & 0o7777);
            let message = format!("{} must be yours alone; it belongs to user {uid} and has mode {mode:04o}", at.display());
            return Err(refused(&message));
        }
    }
    Ok(())
}

fn home_from_user_database() -> Option<PathBuf> {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.dir).filter(|dir| dir.is_dir())
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Replaces a file in one step: readers see the old content or the new, never a part.
///
/// Nothing is forced to the disk: a ledger has to survive the death of any process, which the page cache does, and it means
/// nothing after the power cut that the page cache would not survive (it names its boot).
///
/// # Errors
/// When it cannot be written; the old content then still stands.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_in_steps(path, content, failpoint::reach)
}

fn replace_in_steps(path: &Path, content: &[u8], reach: impl Fn(Failpoint)) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let new = new_name(path);
    let open = || std::fs::File::options().write(true).create_new(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW).open(&new);
    let opened = open().or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => std::fs::remove_file(&new).and_then(|()| open()),
        _ => Err(error),
    });
    let written = opened
        .and_then(|mut file| io::Write::write_all(&mut file, content))
        .inspect(|()| reach(Failpoint::LedgerWritten))
        .and_then(|()| std::fs::rename(&new, path))
        .inspect(|()| reach(Failpoint::LedgerReplaced));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&new);
        named(path, error)
    })
}

fn new_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or(OsStr::new("state")).to_owned();
    name.push(".new");
    path.with_file_name(name)
}
