//! Going down into a folder step by step, following no link, so that nobody can lead the way elsewhere between a look and a deed.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, openat, statat};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

/// A folder that a path may be opened below; links on the way to itself were somebody's choice.
///
/// # Errors
/// When it is not there, or no folder.
pub fn base(folder: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// One step down. With `create`, a folder that is missing is made with that mode.
///
/// # Errors
/// When it is a link or no folder, or cannot be made.
pub fn step(folder: impl AsFd, name: &OsStr, create: Option<Mode>) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let enter = || openat(&folder, name, flags, Mode::empty());
    let entered = match (enter(), create) {
        (Err(rustix::io::Errno::NOENT), Some(mode)) => match mkdirat(&folder, name, mode) {
            // Somebody else may have made it at the same moment.
            Ok(()) | Err(rustix::io::Errno::EXIST) => enter(),
            Err(error) => Err(error),
        },
        (entered, _) => entered,
    };
    entered.map_err(|error| what_stands_there(folder, name).unwrap_or(error.into()))
}

/// Down a relative path.
///
/// # Errors
/// As [`step`], and when the path would climb.
pub fn enter(base: OwnedFd, path: &Path, create: Option<Mode>) -> io::Result<OwnedFd> {
    path.components().try_fold(base, |folder, component| match component {
        Component::Normal(name) => step(&folder, name, create),
        Component::CurDir => Ok(folder),
        _ => Err(refused("it leaves the folder that it should be in")),
    })
}

fn what_stands_there(folder: impl AsFd, name: &OsStr) -> Option<io::Error> {
    let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Symlink => Some(refused("a folder on the way is a symbolic link")),
        FileType::Directory => None,
        _ => Some(refused("something on the way is no folder")),
    }
}

pub fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned())
}
