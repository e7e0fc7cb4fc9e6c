//! A log and its old ones as one text, in which a place stays what it is while the files under it move.
//!
//! Guards that what a rotation moves between two reads is neither missed nor read twice: a place is counted from the creation of
//! the live file, and where its bytes are is looked up again whenever that file has become shorter at its head.

use crate::model::FileId;
use crate::sys::rotation::{self, OldLog};
use crate::sys::{logfile, unpack};
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// One that goes on for ever while it is looked at would never be shown.
const ATTEMPTS: usize = 10;

pub struct Source {
    path: PathBuf,
    live: File,
    id: FileId,
    /// Added to places in the live file: old logs of a file that was there before it come first.
    bias: u64,
    parts: RefCell<Parts>,
}

#[derive(Default)]
struct Parts {
    /// Oldest first, and without a gap up to the live one.
    old: Vec<Part>,
    /// Where the live file's bytes begin.
    live_from: u64,
    /// Bytes cut off its head.
    shift: u64,
    open: Option<(usize, File)>,
}

struct Part {
    from: u64,
    length: u64,
    log: OldLog,
    inode: u64,
}

impl Source {
    /// # Errors
    /// When the live log is not there, no plain file, or cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let (live, id) = logfile::open(path)?;
        let mut source = Self { path: path.to_owned(), live, id, bias: 0, parts: RefCell::default() };
        source.look_up()?;
        let older: u64 = source.parts.borrow().old.iter().map(|part| part.length).sum();
        source.bias = older.saturating_sub(source.parts.borrow().live_from);
        source.look_up()?;
        Ok(source)
    }

    pub fn id(&self) -> FileId {
        self.id
    }

    pub fn into_live(self) -> (File, FileId) {
        (self.live, self.id)
    }

    /// Where the oldest byte is.
    pub fn start(&self) -> u64 {
        let parts = self.parts.borrow();
        parts.old.first().map_or(parts.live_from, |part| part.from)
    }

    /// Where the live file ends now.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn end(&self) -> io::Result<u64> {
        let (shift, length) = (self.parts.borrow().shift, self.live.metadata()?.len());
        let now = rotation::shift(&self.live);
        // It was cut between the two looks: it was at least as long.
        Ok(self.bias + length + if now == shift { shift } else { now })
    }

    /// The place of what is counted from the creation of the live file.
    pub fn place(&self, offset: u64) -> u64 {
        offset + self.bias
    }

    /// In the live file as it is now: the end of a text is where following it begins.
    pub fn offset_in_file(&self, place: u64) -> u64 {
        place.saturating_sub(self.bias).saturating_sub(self.parts.borrow().shift)
    }

    fn look_up(&self) -> io::Result<()> {
        for _ in 0..ATTEMPTS {
            let shift = rotation::shift(&self.live);
            let start = rotation::start(&self.live)?;
            let is_moved = |old: &OldLog| old.unplaced.is_none_or(|(inode, end)| inode != self.id.ino || start >= end);
            let listed = rotation::old_logs(&self.path).unwrap_or_default();
            let live_from = self.bias + shift + start;
            let mut from = live_from;
            let mut old = Vec::new();
            for log in listed.into_iter().filter(is_moved).rev() {
                let Ok((file, id)) = logfile::open(&log.path) else { continue };
                let length = if log.is_compressed { unpack::length(&file)? } else { file.metadata()?.len() };
                // With a bias every place is above it; without, it is about to be known.
                from = from.saturating_sub(length);
                old.push(Part { from, length, log, inode: id.ino });
            }
            old.reverse();
            if (rotation::shift(&self.live), rotation::start(&self.live)?) == (shift, start) {
                *self.parts.borrow_mut() = Parts { old, live_from, shift, open: None };
                return Ok(());
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "it is rotated faster than it can be read"))
    }

    /// As `FileExt::read_at`, at a place; what was deleted meanwhile is passed over as zeros would be.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read_at(&self, buffer: &mut [u8], place: u64) -> io::Result<usize> {
        for _ in 0..ATTEMPTS {
            let (live_from, shift) = {
                let parts = self.parts.borrow();
                (parts.live_from, parts.shift)
            };
            if place < live_from {
                match self.read_old(buffer, place) {
                    // Compressed meanwhile, or made room for a newer one.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => self.look_up()?,
                    read => return read,
                }
                continue;
            }
            let count = self.live.read_at(buffer, place - self.bias - shift)?;
            let is_where_it_was = rotation::shift(&self.live) == shift
                && (buffer[..count].first() != Some(&0) || rotation::start(&self.live)? <= place - self.bias - shift);
            if is_where_it_was {
                return Ok(count);
            }
            self.look_up()?;
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "it is rotated faster than it can be read"))
    }

    /// # Errors
    /// When the text ends before the buffer is full, or a file cannot be read.
    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut place: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, place)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => {
                    buffer = &mut buffer[count..];
                    place += count as u64;
                }
            }
        }
        Ok(())
    }

    fn read_old(&self, buffer: &mut [u8], place: u64) -> io::Result<usize> {
        let mut parts = self.parts.borrow_mut();
        let index = parts.old.partition_point(|part| part.from + part.length <= place);
        let Some(part) = parts.old.get(index) else { return Ok(0) };
        if parts.open.as_ref().is_none_or(|(open, _)| *open != index) {
            let file = self.open_old(part)?;
            parts.open = Some((index, file));
        }
        let (Some(part), Some((_, file))) = (parts.old.get(index), &parts.open) else { return Ok(0) };
        let inside = place.saturating_sub(part.from);
        let wanted = buffer.len().min(usize::try_from(part.length - inside).unwrap_or(usize::MAX));
        match file.read_at(&mut buffer[..wanted], inside)? {
            // Somebody emptied it.
            0 if wanted > 0 => {
                buffer[..wanted].fill(0);
                Ok(wanted)
            }
            count => Ok(count),
        }
    }

    /// Its name may have moved on since.
    fn open_old(&self, part: &Part) -> io::Result<File> {
        let same = |path: &Path| logfile::open(path).ok().filter(|(_, id)| id.ino == part.inode).map(|(file, _)| file);
        let found = same(&part.log.path).or_else(|| rotation::old_logs(&self.path).ok()?.iter().find_map(|log| same(&log.path)));
        match found {
            Some(file) if part.log.is_compressed => unpack::unpacked(&file),
            Some(file) => Ok(file),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "an old log was removed while it was read")),
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Of a plain file with this content and nothing beside it.
#[cfg(test)]
pub(super) fn of_content(content: &[u8]) -> (tempfile::TempDir, Source) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("worker.log");
    std::fs::write(&path, content).expect("written");
    let source = Source::open(&path).expect("opened");
    (folder, source)
}

#[cfg(test)]
mod tests;
