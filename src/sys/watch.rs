//! Being told that something in a folder changed.

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Folders rather than files are watched: a file that is replaced, or not there yet, has no watch of its own.
#[derive(Debug)]
pub struct FolderWatch {
    inotify: Inotify,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Changes {
    /// Files of these names, in any of the folders.
    Named(BTreeSet<OsString>),
    /// A folder came, went or was moved, or the kernel lost count.
    Anything,
}

impl FolderWatch {
    pub fn new() -> io::Result<Self> {
        Ok(Self { inotify: Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)? })
    }

    /// Watches `folder`, or while it is missing the nearest folder above, whose next change makes it worth to try again.
    /// Watching what is watched already changes nothing.
    pub fn add(&self, folder: &Path) -> io::Result<()> {
        let flags = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let ancestors: Vec<&Path> =
            folder.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path }).collect();
        let mut depth = 0;
        while let Some(ancestor) = ancestors.get(depth) {
            match self.inotify.add_watch(*ancestor, flags) {
                Ok(_) if depth == 0 => return Ok(()),
                // It may have appeared between the two looks.
                Ok(_) if ancestors[depth - 1].is_dir() => depth -= 1,
                Ok(_) => return Ok(()),
                Err(Errno::ENOENT | Errno::ENOTDIR) => depth += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::ENOENT.into())
    }

    /// Everything since the last call. Never blocks.
    pub fn changes(&self) -> io::Result<Changes> {
        let mut names = BTreeSet::new();
        let mut anything = false;
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    for event in events {
                        anything |= event.name.is_none() || event.mask.contains(AddWatchFlags::IN_ISDIR);
                        names.extend(event.name);
                    }
                }
                Err(Errno::EAGAIN) => return Ok(if anything { Changes::Anything } else { Changes::Named(names) }),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for FolderWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_appears_later_is_reported_and_can_then_be_watched() {
        let base = tempfile::tempdir().expect("tempdir");
        let folder = base.path().join("a/b");
        let watch = FolderWatch::new().expect("inotify");
        watch.add(&folder).expect("the nearest ancestor");
        assert_eq!(watch.changes().expect("read"), Changes::Named(BTreeSet::new()));
        std::fs::create_dir_all(&folder).expect("mkdir");
        assert_eq!(watch.changes().expect("read"), Changes::Anything);
        watch.add(&folder).expect("now the folder");
        std::fs::write(folder.join("x.log"), "1").expect("write");
        assert_eq!(watch.changes().expect("read"), Changes::Named(BTreeSet::from(["x.log".into()])));
    }
}
