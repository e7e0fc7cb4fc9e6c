//! Being told once that somebody writes to a file: what is written later costs the writer and the watcher nothing.

use super::readiness::Readiness;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::Path;

/// Files under names of the caller's choice.
pub struct WriteWatch<N> {
    inotify: Inotify,
    readiness: Readiness,
    watched: RefCell<HashMap<WatchDescriptor, N>>,
}

impl<N: Clone + Eq> WriteWatch<N> {
    /// # Errors
    /// When there is no descriptor left.
    pub fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { readiness: Readiness::of(&inotify)?, inotify, watched: RefCell::default() })
    }

    /// `false`: the kernel grants none, or there is no such file.
    pub fn add(&self, name: &N, path: &Path) -> bool {
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ONESHOT | AddWatchFlags::IN_DONT_FOLLOW;
        let added = self.inotify.add_watch(path, flags).ok();
        added.map(|descriptor| self.watched.borrow_mut().insert(descriptor, name.clone())).is_some()
    }

    pub fn forget(&self, name: &N) {
        self.watched.borrow_mut().retain(|descriptor, other| {
            if other == name {
                let _ = self.inotify.rm_watch(*descriptor);
            }
            other != name
        });
    }

    /// Returns when there may be something to [`Self::take`].
    pub async fn written(&self) {
        self.readiness.next().await;
    }

    /// Those that were written to, and are no longer watched.
    pub fn take(&self) -> Vec<N> {
        let mut names = Vec::new();
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    let mut watched = self.watched.borrow_mut();
                    let modified = events.iter().filter(|event| event.mask.contains(AddWatchFlags::IN_MODIFY));
                    names.extend(modified.filter_map(|event| watched.remove(&event.wd)));
                }
                Err(Errno::EINTR) => {}
                Err(_) => return names,
            }
        }
    }
}
