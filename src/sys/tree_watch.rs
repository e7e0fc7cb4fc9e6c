//! Being told which files of many folders changed (inotify(7)). Which folders those are is for others to say.

use super::readiness::Readiness;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// One descriptor for all of them.
#[derive(Debug)]
pub struct TreeWatch {
    inotify: Inotify,
    readable: Readiness,
    folders: BTreeMap<WatchDescriptor, PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A file was closed after it had been open for writing, came, or went. What stays open, as a log does, is not told.
    File(PathBuf),
    /// A folder came, under this name.
    Folder(PathBuf),
    /// A folder went from this name, with everything in it.
    Moved(PathBuf),
    /// The kernel lost count: anything may have happened.
    Anything,
}

impl TreeWatch {
    /// # Errors
    /// When the user has no inotify instance or descriptor left.
    pub fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { readable: Readiness::of(&inotify)?, inotify, folders: BTreeMap::new() })
    }

    /// Links are not followed. A folder that is watched already stays so, under its newer name.
    ///
    /// # Errors
    /// When it is no folder, not there, not ours to read, or the user has no watch left ([`io::ErrorKind::StorageFull`]).
    pub fn add(&mut self, folder: &Path) -> io::Result<()> {
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ONLYDIR
            | AddWatchFlags::IN_DONT_FOLLOW;
        let descriptor = self.inotify.add_watch(folder, flags)?;
        self.folders.insert(descriptor, folder.to_owned());
        Ok(())
    }

    /// Returns once there is something to take.
    pub async fn changed(&self) {
        self.readable.next().await;
    }

    /// Everything since the last call, in its order. Never blocks.
    pub fn take(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        loop {
            match self.inotify.read_events() {
                Ok(events) => events.into_iter().for_each(|event| seen.extend(self.understood(event))),
                Err(Errno::EINTR) => {}
                Err(_) => return seen,
            }
        }
    }

    fn understood(&mut self, event: InotifyEvent) -> Option<Seen> {
        let is = |flag| event.mask.contains(flag);
        if is(AddWatchFlags::IN_Q_OVERFLOW) {
            return Some(Seen::Anything);
        }
        if is(AddWatchFlags::IN_IGNORED) {
            self.folders.remove(&event.wd);
            return None;
        }
        let path = self.folders.get(&event.wd)?.join(event.name?);
        if !is(AddWatchFlags::IN_ISDIR) {
            // What is created is written next, and told when it is closed; a link is all there at once.
            let is_whole = || path.symlink_metadata().is_ok_and(|it| it.is_symlink() || std::os::unix::fs::MetadataExt::nlink(&it) > 1);
            return (!is(AddWatchFlags::IN_CREATE) || is_whole()).then_some(Seen::File(path));
        }
        if is(AddWatchFlags::IN_MOVED_FROM) {
            self.forget(&path);
            return Some(Seen::Moved(path));
        }
        // The files of a folder that is deleted have been told before it.
        (!is(AddWatchFlags::IN_DELETE)).then_some(Seen::Folder(path))
    }

    /// It is not below this name any more, and may be anywhere.
    fn forget(&mut self, folder: &Path) {
        let below: Vec<_> = self.folders.iter().filter(|(_, path)| path.starts_with(folder)).map(|(wd, _)| *wd).collect();
        for descriptor in below {
            self.folders.remove(&descriptor);
            let _ = self.inotify.rm_watch(descriptor);
        }
    }
}
