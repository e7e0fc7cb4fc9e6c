//! What is appended to logs, through every way in which a log is rotated.
//!
//! A file is followed by what was read of it, not by its length alone: the last bytes read must still stand before the place
//! to go on from. That tells a file that grew from one that was emptied and filled again, and finds the place in one whose
//! head was cut off while it was being written.

use super::source::Source;
use super::{Error, is_missing, unreadable};
use crate::model::FileId;
use crate::sys::watch::{Changes, FolderWatch};
use crate::sys::{logfile, rotation};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Read of one log before the others have their turn.
const TURN: u64 = 1 << 20;
const BLOCK: usize = 64 * 1024;
const ANCHOR: usize = 256;
/// Rotation in place cuts off multiples of this: the block size of common file systems, and never less than devstack's own.
const ALIGNMENT: u64 = 4096;
/// Where the kernel grants no watch.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Something new about one log.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    Bytes(&'a [u8]),
    /// What comes next does not continue what came before.
    Restarted,
}

/// Any number of logs, there or not there yet. Never blocks: wait for [`Follower::watched`], at most [`Follower::patience`].
#[derive(Debug)]
pub struct Follower {
    files: Vec<Followed>,
    watch: Option<FolderWatch>,
    /// Everything is looked at once before the first wait.
    fresh: bool,
}

impl Follower {
    /// From the beginning of each, unless [`Follower::resume`] says otherwise.
    pub fn new(paths: &[PathBuf]) -> Self {
        let watch = FolderWatch::new().ok();
        let files = paths.iter().map(|path| Followed::new(path)).collect();
        let mut follower = Self { files, watch, fresh: true };
        follower.watch_folders();
        follower
    }

    /// From what is there now on, and from the beginning of what is not there yet.
    pub fn from_now(paths: &[PathBuf]) -> Self {
        let mut follower = Self::new(paths);
        for (index, path) in paths.iter().enumerate() {
            if let Ok((file, id)) = logfile::open(path) {
                let end = file.metadata().map_or(0, |metadata| metadata.len());
                follower.resume(index, file, id, end);
            }
        }
        follower
    }

    /// Goes on with the log at `index` of the paths from `offset` of this open file.
    pub fn resume(&mut self, index: usize, file: File, id: FileId, offset: u64) {
        self.files[index].current = Some(Reader::new(file, id, offset));
    }

    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// How long to wait at most before the next [`Follower::read`].
    pub fn patience(&self) -> Option<Duration> {
        match &self.watch {
            _ if self.files.iter().any(|file| file.more) => Some(Duration::ZERO),
            Some(_) => None,
            None => Some(LOOK_AGAIN),
        }
    }

    /// Everything new since the last call, or a turn's worth of it, with the place of its log among the paths.
    ///
    /// # Errors
    /// What `each` fails with; when a log can no longer be read, or something other than a plain file took its place.
    pub fn read(&mut self, each: &mut dyn FnMut(usize, News<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let changes = self.watch.as_ref().and_then(|watch| watch.changes().ok()).unwrap_or(Changes::Anything);
        let changes = if std::mem::take(&mut self.fresh) { Changes::Anything } else { changes };
        if changes == Changes::Anything {
            self.watch_folders();
        }
        for (index, file) in self.files.iter_mut().enumerate() {
            let concerned = match &changes {
                Changes::Anything => true,
                Changes::Named(names) => names.contains(&file.name) || file.previous.is_some() || file.more,
            };
            if concerned {
                file.read(&mut |news| each(index, news))?;
            }
        }
        Ok(())
    }

    fn watch_folders(&mut self) {
        let folders: BTreeSet<&Path> = self.files.iter().filter_map(|file| file.path.parent()).collect();
        if let Some(watch) = &self.watch
            && !folders.into_iter().all(|folder| watch.add(folder).is_ok())
        {
            self.watch = None;
        }
    }
}

#[derive(Debug)]
struct Followed {
    path: PathBuf,
    name: OsString,
    current: Option<Reader>,
    /// Renamed away, yet its worker writes to it until it is restarted.
    previous: Option<Reader>,
    more: bool,
}

type Each<'a> = &'a mut dyn FnMut(News<'_>) -> Result<(), Error>;

impl Followed {
    fn new(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_owned();
        Self { path: path.to_owned(), name, current: None, previous: None, more: false }
    }

    fn read(&mut self, each: Each<'_>) -> Result<(), Error> {
        let failed = |error: io::Error| unreadable(&self.path, &error);
        self.more = false;
        if let Some(previous) = &mut self.previous {
            self.more |= previous.read(None, each, failed)?;
        }
        if let Some(current) = &mut self.current {
            // Looked at first: what is written before it was renamed is then read before the file that took its name.
            let now = logfile::id_at(&self.path);
            self.more |= current.read(Some(&self.path), each, failed)?;
            if self.more || now.map_or(true, |now| now == current.id) {
                return Ok(());
            }
        }
        match logfile::open(&self.path) {
            Ok((file, id)) => {
                let mut next = Reader::new(file, id, 0);
                if let Some(before) = self.current.take() {
                    self.previous = Some(before);
                    each(News::Restarted)?;
                }
                self.more |= next.read(Some(&self.path), each, failed)?;
                self.current = Some(next);
                Ok(())
            }
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

/// What keeps a reader from going on.
enum Trouble {
    Unreadable(io::Error),
    Told(Error),
}

impl Trouble {
    fn told(self, failed: impl Fn(io::Error) -> Error) -> Error {
        match self {
            Self::Unreadable(error) => failed(error),
            Self::Told(error) => error,
        }
    }
}

#[derive(Debug)]
struct Reader {
    file: File,
    id: FileId,
    offset: u64,
    /// Bytes that had been cut off its head when `offset` was right.
    shift: u64,
    /// The last bytes before `offset`.
    anchor: Vec<u8>,
}

impl Reader {
    fn new(file: File, id: FileId, offset: u64) -> Self {
        let length = offset.min(ANCHOR as u64);
        let mut anchor = vec![0; length as usize];
        if file.read_exact_at(&mut anchor, offset - length).is_err() {
            anchor.clear();
        }
        let shift = rotation::shift(&file);
        Self { file, id, offset, shift, anchor }
    }

    /// Whether there is more than one turn's worth.
    fn read(&mut self, path: Option<&Path>, each: Each<'_>, failed: impl Fn(io::Error) -> Error) -> Result<bool, Error> {
        self.catch_up(path, each).map_err(|trouble| trouble.told(&failed))?;
        if self.file.metadata().map_err(&failed)?.len() == self.offset {
            return Ok(false);
        }
        if self.offset == 0 {
            self.find_place().map_err(&failed)?;
        }
        let mut block = vec![0; ANCHOR + BLOCK];
        let mut left = TURN;
        while left > 0 {
            let lead = self.anchor.len();
            // In one read with what is new, or a rotation between two reads would go unnoticed.
            let count = self.file.read_at(&mut block[..lead + BLOCK], self.offset - lead as u64).map_err(&failed)?;
            if self.catch_up(path, each).map_err(|trouble| trouble.told(&failed))? {
                continue;
            }
            let (before, new) = block[..count].split_at(lead.min(count));
            if !continues(before, &self.anchor) {
                if self.find_place().map_err(&failed)? {
                    each(News::Restarted)?;
                }
                continue;
            }
            if new.is_empty() {
                return Ok(false);
            }
            self.offset += new.len() as u64;
            left = left.saturating_sub(new.len() as u64);
            remember(&mut self.anchor, new);
            each(News::Bytes(new))?;
        }
        Ok(true)
    }

    /// After a rotation: what was not read yet and went into old logs comes from there. Whether there was one.
    fn catch_up(&mut self, path: Option<&Path>, each: Each<'_>) -> Result<bool, Trouble> {
        let (shift, start) = (rotation::shift(&self.file), rotation::start(&self.file).map_err(Trouble::Unreadable)?);
        if shift == self.shift && (start <= self.offset || self.offset == 0) {
            return Ok(false);
        }
        let (at, to) = (self.shift + self.offset, shift + start);
        (self.shift, self.offset) = (shift, at.max(to) - shift);
        if at < to
            && let Some(source) = path.and_then(|path| Source::open(path).ok()).filter(|source| source.id() == self.id)
        {
            let (mut at, to) = (source.place(at), source.place(to));
            let mut block = vec![0; BLOCK];
            while at < to {
                let wanted = block.len().min((to - at) as usize);
                // What is kept no longer is lost to whoever reads so slowly.
                let Ok(count @ 1..) = source.read_at(&mut block[..wanted], at) else { break };
                remember(&mut self.anchor, &block[..count]);
                each(News::Bytes(&block[..count])).map_err(Trouble::Told)?;
                at += count as u64;
            }
        }
        Ok(true)
    }

    /// After its last bytes are not where they were. Whether it begins anew.
    fn find_place(&mut self) -> io::Result<bool> {
        let size = self.file.metadata()?.len();
        if let Some(offset) = self.moved_to(size) {
            self.offset = offset;
            return Ok(false);
        }
        self.anchor.clear();
        self.offset = rotation::start(&self.file)?.min(size);
        Ok(true)
    }

    /// Where to go on after whole blocks were cut off the head; `None` when this is another text altogether.
    fn moved_to(&self, size: u64) -> Option<u64> {
        let mut found = [0; ANCHOR];
        let mut stands = |offset: u64| {
            let start = offset.checked_sub(ANCHOR as u64);
            start.is_some_and(|start| self.file.read_exact_at(&mut found, start).is_ok()) && found[..] == self.anchor
        };
        let least_cut = self.offset.saturating_sub(size).div_ceil(ALIGNMENT).max(1);
        (least_cut..=self.offset / ALIGNMENT).map(|blocks| self.offset - blocks * ALIGNMENT).find(|&offset| stands(offset))
    }
}

/// Whether the last bytes read still stand there, or a hole where a rotation punched them out.
fn continues(found: &[u8], anchor: &[u8]) -> bool {
    found.len() == anchor.len() && found.iter().zip(anchor).all(|(found, wanted)| found == wanted || *found == 0)
}

fn remember(anchor: &mut Vec<u8>, bytes: &[u8]) {
    anchor.extend_from_slice(&bytes[bytes.len().saturating_sub(ANCHOR)..]);
    anchor.drain(..anchor.len().saturating_sub(ANCHOR));
}

#[cfg(test)]
mod tests;
