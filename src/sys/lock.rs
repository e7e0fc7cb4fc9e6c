use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// An exclusive lock on a file that is never removed. It lives as long as any copy of its descriptor, in whatever process.
#[derive(Debug)]
pub struct Lock(OwnedFd);

impl Lock {
    /// `None` when somebody else holds it.
    ///
    /// # Errors
    /// When the file cannot be opened or locked at all.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Self::if_still_there(file, path),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits for it.
    ///
    /// # Errors
    /// As [`Lock::try_take`].
    pub fn take(path: &Path) -> io::Result<Self> {
        loop {
            let file = open(path)?;
            file.lock()?;
            if let Some(lock) = Self::if_still_there(file, path)? {
                return Ok(lock);
            }
        }
    }

    /// A lock on a file that somebody replaced meanwhile locks nobody out.
    fn if_still_there(file: File, path: &Path) -> io::Result<Option<Self>> {
        let (held, named) = (file.metadata()?, path.symlink_metadata()?);
        Ok(((held.dev(), held.ino()) == (named.dev(), named.ino())).then(|| Self(file.into())))
    }

    /// A lock that this process inherited already locked.
    pub fn inherited(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let options =
        File::options().read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW).to_owned();
    options.open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
