use super::readiness::Readiness;
use super::rotation;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use regex::bytes::Regex;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A line longer than this is searched in pieces.
const LONGEST_LINE: usize = 64 * 1024;

/// Between two looks at a log that the kernel grants no watch for.
const UNWATCHED: Duration = Duration::from_millis(250);

/// A log as it grows, from a place in it on.
pub struct Follow {
    path: PathBuf,
    offset: u64,
}

impl Follow {
    /// `offset`: counted from the file's creation.
    pub fn from(path: &Path, offset: u64) -> Self {
        Self { path: path.to_owned(), offset }
    }

    /// Returns once a line matches. Woken by the kernel when the file grows (inotify(7)); where the kernel grants no watch, it is
    /// looked at again and again.
    pub async fn line_matching(mut self, pattern: &Regex) {
        if self.search(pattern).await.is_err() {
            // Without the file there is no such line; the service's own timeout tells.
            std::future::pending::<()>().await;
        }
    }

    async fn search(&mut self, pattern: &Regex) -> io::Result<()> {
        let watch = self.watch().ok();
        let mut file = File::open(&self.path)?;
        self.offset = self.offset.saturating_sub(rotation::shift(&file));
        let mut pending = Vec::new();
        loop {
            while self.read_into(&mut file, &mut pending)? {
                while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
                    if pattern.is_match(&pending[..end]) {
                        return Ok(());
                    }
                    pending.drain(..=end);
                }
                if pending.len() > LONGEST_LINE {
                    pending.clear();
                }
            }
            // Some programs say that they are ready without ending the line.
            if pattern.is_match(&pending) {
                return Ok(());
            }
            match &watch {
                Some((inotify, grown)) => {
                    grown.next().await;
                    while inotify.read_events().is_ok() {}
                }
                None => tokio::time::sleep(UNWATCHED).await,
            }
        }
    }

    fn watch(&self) -> io::Result<(Inotify, Readiness)> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(&self.path, AddWatchFlags::IN_MODIFY)?;
        let grown = Readiness::of(&inotify)?;
        Ok((inotify, grown))
    }

    /// `false` at the end of what is there.
    fn read_into(&mut self, file: &mut File, pending: &mut Vec<u8>) -> io::Result<bool> {
        let length = file.metadata()?.len();
        if length < self.offset {
            self.offset = 0;
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut block = [0_u8; 8192];
        let count = file.read(&mut block)?;
        self.offset += count as u64;
        pending.extend_from_slice(&block[..count]);
        Ok(count > 0)
    }
}
