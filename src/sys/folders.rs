//! Where devstack keeps what it must remember, and where it listens: private folders, one pair a project.

use super::failpoint::{self, Failpoint};
use crate::model::ProjectId;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The folders of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// `$XDG_STATE_HOME/devstack/ID`, else `~/.local/state/devstack/ID`: the ledger, the locks, the supervisor's own log.
    pub state: PathBuf,
    /// `$XDG_RUNTIME_DIR/devstack/ID`, else `run` in the state folder: the control socket.
    pub runtime: PathBuf,
}

impl Folders {
    /// Names them without touching the disk. Variables count only when they hold an absolute path, as the XDG Base Directory
    /// specification says; without HOME, the user database knows the home folder.
    ///
    /// # Errors
    /// When there is no home folder to be found.
    pub fn of(project: &ProjectId, variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> io::Result<Self> {
        let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || absolute("HOME").or_else(home_from_user_database);
        let state_home = absolute("XDG_STATE_HOME").or_else(|| home().map(|home| home.join(".local/state")));
        let state_home = state_home.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no home folder; set HOME or XDG_STATE_HOME"))?;
        let state = state_home.join("devstack").join(&project.0);
        let runtime = absolute("XDG_RUNTIME_DIR").filter(|dir| is_ours(dir)).map(|dir| dir.join("devstack").join(&project.0));
        Ok(Self { runtime: runtime.unwrap_or_else(|| state.join("run")), state })
    }

    /// Creates what is missing, and refuses folders that others could have put there or could write to.
    ///
    /// # Errors
    /// When a folder cannot be made, is a link, belongs to somebody else or is open to others.
    pub fn create(&self) -> io::Result<()> {
        for folder in [&self.state, &self.runtime] {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| named(folder, error))?;
            let meta = folder.symlink_metadata().map_err(|error| named(folder, error))?;
            if !meta.is_dir() || meta.uid() != nix::unistd::geteuid().as_raw() || meta.permissions().mode() & 0o077 != 0 {
                let message = format!("{} must be a folder of yours with mode 0700, and no link", folder.display());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
            }
        }
        Ok(())
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

    pub fn own_log(&self) -> PathBuf {
        self.state.join("supervisor.log")
    }
}

/// The control socket's name in the runtime folder.
pub const CONTROL_SOCKET: &str = "control.sock";

fn is_ours(folder: &Path) -> bool {
    folder.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == nix::unistd::geteuid().as_raw())
}

fn home_from_user_database() -> Option<PathBuf> {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.dir).filter(|dir| dir.is_dir())
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Replaces a file in one step: readers see the old content or the new, never a part.
///
/// # Errors
/// When it cannot be written; the old content then still stands.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut name = path.file_name().unwrap_or(OsStr::new("state")).to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let written = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(&new)
        .and_then(|mut file| io::Write::write_all(&mut file, content))
        .inspect(|()| failpoint::reach(Failpoint::LedgerWritten))
        .and_then(|()| std::fs::rename(&new, path))
        .inspect(|()| failpoint::reach(Failpoint::LedgerReplaced));
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written
}
