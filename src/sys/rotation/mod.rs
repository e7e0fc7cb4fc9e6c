//! Rotation of a log that a worker goes on appending to: its head moves into a file of its own, and no byte is lost or doubled,
//! whoever is killed at whatever moment.
//!
//! Decides the order of steps, nothing about when. A worker holds its log open for as long as it lives, so the file itself must
//! become shorter at its head. The steps, each of which may be the last one that is taken:
//!
//! 1. The head is copied by the kernel into `NAME.copying`, which means nothing: whoever comes later removes it.
//! 2. That is renamed `NAME.0-INODE-END`: the copy is whole, and the head of this file up to END is to go.
//! 3. The head is punched out (`FALLOC_FL_PUNCH_HOLE`). Twice is as good as once, as no place in the file has moved.
//! 4. The copy becomes `NAME.1`. From here on a hole at the head is only what is left to cut off.
//! 5. Whole blocks of the hole are cut off (`FALLOC_FL_COLLAPSE_RANGE`; ext4, xfs, f2fs). Elsewhere the hole stays: it takes no
//!    space, and whoever reads it sees zeros.
//!
//! Places in the file move by step 5 alone. By how many bytes in all is kept in an extended attribute of the file, so that a
//! place that was noted earlier can still be found ([`shift`]).

mod names;
mod place;

pub use names::{OldLog, is_unfinished, old_logs, unfinished};

use super::beneath::{self, refused};
use super::failpoint::{self, Failpoint};
use super::logfile;
use names::Names;
use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// When and into how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Bytes from which on a log is cut.
    pub size: u64,
    /// Old logs that stay: `NAME.1` is the newest.
    pub keep: u32,
    /// From the second one on they are compressed.
    pub compress: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Bytes that went into an old log.
    Rotated(u64),
    /// It is short, or no line has ended where it could be cut.
    NotYet,
    /// Somebody else is at it.
    Busy,
}

/// The hidden verb by which devstack has this done by a process of its own.
pub const VERB: &str = "rotate-log";

/// The command line of that process.
pub fn arguments(root: &Path, log: &Path, rule: &Rule) -> Vec<OsString> {
    let compress = if rule.compress { "compress" } else { "plain" };
    let words: [OsString; 7] = [
        "devstack".into(),
        VERB.into(),
        root.into(),
        log.into(),
        rule.size.to_string().into(),
        rule.keep.to_string().into(),
        compress.into(),
    ];
    words.into()
}

/// What that process ends with when a log is not to be rotated yet, and when somebody else is at it.
pub const NOT_YET: u8 = 75;
pub const BUSY: u8 = 76;

/// Rotates the log at `path` if it is long enough, after finishing what an earlier rotation has begun.
///
/// # Errors
/// When the log is not there, no plain file of ours inside `root`, or there is no room for the copy.
pub fn rotate(root: &Path, path: &Path, rule: &Rule) -> io::Result<Outcome> {
    let inside = path.strip_prefix(root).map_err(|_| refused("it leaves the project"))?;
    let (Some(folder), Some(name)) = (inside.parent(), inside.file_name()) else { return Err(refused("it names no file")) };
    let folder = beneath::enter(beneath::base(root)?, folder, None)?;
    let names = Names::new(folder, name);
    let Some(log) = Log::open(&names)? else { return Ok(Outcome::Busy) };
    log.finish(&names, rule)?;
    let outcome = log.cut(&names, rule)?;
    if rule.compress {
        names.compress(rule.keep)?;
    }
    Ok(outcome)
}

/// Bytes that were cut off this file's head since it was created.
pub fn shift(file: &File) -> u64 {
    let noted = Noted::of(file);
    // Whoever cut it off was killed before that was noted, or before it was done.
    let is_cut = noted.begun > 0 && logfile::data_start(file) < noted.begun;
    noted.shift + if is_cut { noted.begun } else { 0 }
}

/// Where the text of a log begins in its file: after a hole, or after blanks.
///
/// # Errors
/// When the file cannot be read.
pub fn start(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let written = logfile::first_written(file, length)?;
    let blanks = Noted::of(file).blanks.min(length);
    if written > 0 || blanks == 0 {
        return Ok(written);
    }
    let mut head = vec![0; usize::try_from(blanks.min(place::BLOCK)).unwrap_or_default()];
    file.read_exact_at(&mut head, 0)?;
    // Somebody may have emptied it since.
    Ok(if head.iter().all(|byte| *byte == BLANK) { blanks } else { 0 })
}

/// The end of a log: at most its last `reach` bytes, none before `from`, and where they begin, counted from the file's creation. What
/// a rotation has just set aside counts as well.
///
/// # Errors
/// As [`logfile::open`], and when it cannot be read.
pub fn read_end(live: &Path, from: u64, reach: u64) -> io::Result<(u64, Vec<u8>)> {
    let (file, _) = logfile::open(live)?;
    let (shift, start) = (shift(&file), start(&file)?);
    let (at, mut end) = logfile::read_end(live, from.saturating_sub(shift).max(start), reach)?;
    let missing = (at + shift).saturating_sub(from).min(reach - reach.min(end.len() as u64));
    let newest = || old_logs(live).ok()?.pop().filter(|old| !old.is_compressed);
    if missing > 0
        && at == start
        && let Some(old) = newest()
        && let Ok((_, mut before)) = logfile::read_end(&old.path, 0, missing)
    {
        let begin = at + shift - before.len() as u64;
        before.append(&mut end);
        return Ok((begin, before));
    }
    Ok((at + shift, end))
}

const ATTRIBUTE: &str = "user.devstack.log";

/// What is known of a file beside its bytes, as numbers with a space between them.
#[derive(Default)]
struct Noted {
    /// Bytes that were cut off its head.
    shift: u64,
    /// Bytes more that are being cut off.
    begun: u64,
    /// Bytes at its head that are no text.
    blanks: u64,
}

impl Noted {
    fn of(file: &File) -> Self {
        let mut buffer = [0; 64];
        let length = rustix::fs::fgetxattr(file, ATTRIBUTE, &mut buffer[..]).unwrap_or(0);
        let mut numbers = std::str::from_utf8(&buffer[..length]).unwrap_or_default().split(' ').map(|number| number.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self { shift: next(), begun: next(), blanks: next() }
    }

    /// Where a file system has no room for it, places are told less well; nothing else depends on it.
    fn note(&self, file: &File) {
        let text = format!("{} {} {}", self.shift, self.begun, self.blanks);
        let _ = rustix::fs::fsetxattr(file, ATTRIBUTE, text.as_bytes(), XattrFlags::empty());
    }
}

/// By one call: a signal is heard in between.
const COPIED_AT_ONCE: usize = 64 << 20;

const BLANK: u8 = b' ';

/// A log that nobody else rotates at the moment.
struct Log {
    file: File,
    inode: u64,
}

impl Log {
    fn open(names: &Names) -> io::Result<Option<Self>> {
        // Not for appending: what is blanked lies at the head.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(names.folder(), names.live(), flags, Mode::empty())?);
        let meta = file.metadata()?;
        if !meta.is_file() || meta.nlink() != 1 || meta.uid() != nix::unistd::geteuid().as_raw() {
            return Err(refused("it is not a plain file of ours with one name"));
        }
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { file, inode: meta.ino() })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the steps that an earlier rotation did not come to.
    fn finish(&self, names: &Names, rule: &Rule) -> io::Result<()> {
        names.remove_partial()?;
        let copies = names.whole_copies()?;
        if copies.is_empty() {
            return self.collapse(None);
        }
        for (copy, inode, end) in copies {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = File::from(rustix::fs::openat(names.folder(), &copy, flags, Mode::empty())?);
            // Of a log that was deleted or emptied since, the copy is all there is.
            if inode == self.inode && self.still_begins_with(&file, end)? {
                self.punch(end)?;
            }
            names.place(&copy, rule.keep)?;
        }
        self.collapse(None)
    }

    /// Whether the bytes before `end` are those of the copy, or punched out already.
    fn still_begins_with(&self, copy: &File, end: u64) -> io::Result<bool> {
        const PROBE: u64 = 4096;
        let length = copy.metadata()?.len();
        let Some(start) = end.checked_sub(length).filter(|_| self.file.metadata().is_ok_and(|meta| meta.len() >= end)) else {
            return Ok(false);
        };
        for at in [0, length.saturating_sub(PROBE)] {
            let count = PROBE.min(length - at) as usize;
            let (mut here, mut there) = (vec![0; count], vec![0; count]);
            self.file.read_exact_at(&mut here, start + at)?;
            copy.read_exact_at(&mut there, at)?;
            if here.iter().zip(&there).any(|(here, there)| *here != 0 && here != there) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn cut(&self, names: &Names, rule: &Rule) -> io::Result<Outcome> {
        let length = self.file.metadata()?.len();
        let start = start(&self.file)?;
        if length.saturating_sub(start) < rule.size.max(1) {
            return Ok(Outcome::NotYet);
        }
        // Where there is no room for all of it, a part makes room for the rest.
        let found = match start + place::room(&self.file).unwrap_or(u64::MAX - start) {
            // But no crumbs: each old log costs the oldest one its place.
            limit if limit < length && limit >= start + rule.size / 4 => place::to_cut(&self.file, start, limit, (limit - start) / 2),
            _ => place::to_cut(&self.file, start, length, rule.size),
        };
        let Some(end) = found? else { return Ok(Outcome::NotYet) };
        if rule.keep > 0 {
            let copy = match self.copy(names, start, end) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull && names.remove_oldest(rule.keep)? => self.copy(names, start, end),
                copied => copied,
            };
            let copy = copy.inspect_err(|_| {
                let _ = names.remove_partial();
            })?;
            failpoint::reach(Failpoint::LogCopied);
            // A power cut must not find the head gone and the copy not there yet.
            copy.sync_data()?;
            let whole = names.declare_whole(self.inode, end)?;
            failpoint::reach(Failpoint::LogCopyWhole);
            self.punch(end)?;
            failpoint::reach(Failpoint::LogPunched);
            names.place(&whole, rule.keep)?;
            failpoint::reach(Failpoint::LogPlaced);
        } else {
            self.punch(end)?;
        }
        self.collapse(Some(end))?;
        Ok(Outcome::Rotated(end - start))
    }

    fn copy(&self, names: &Names, start: u64, end: u64) -> io::Result<File> {
        let mode = Mode::from_raw_mode(self.file.metadata()?.mode() & 0o666);
        let copy = names.create_partial(mode)?;
        let mut from = start;
        while from < end {
            let wanted = usize::try_from(end - from).unwrap_or(usize::MAX).min(COPIED_AT_ONCE);
            match rustix::fs::copy_file_range(&self.file, Some(&mut from), &copy, None, wanted) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                // Not between these two, says the file system.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV) => {
                    let mut rest = &self.file;
                    rest.seek(SeekFrom::Start(from))?;
                    from += io::copy(&mut rest.take(end - from), &mut &copy)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(copy)
    }

    fn punch(&self, end: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, end)?)
    }

    /// Cuts off the whole blocks of a hole at the head, where the file system can. `punched`: up to where this very rotation has made it;
    /// of another one's it is looked at whether there is nothing else in it.
    fn collapse(&self, punched: Option<u64>) -> io::Result<()> {
        let zeros = punched.map_or_else(|| self.zeros_before(logfile::data_start(&self.file)), Ok)?;
        let hole = zeros / place::BLOCK * place::BLOCK;
        let (done, noted) = (shift(&self.file), Noted::of(&self.file));
        if (hole == 0 && noted.begun == 0) || !place::can_collapse(&self.file) {
            return Ok(());
        }
        let mut cut_off = 0;
        if hole > 0 {
            Noted { shift: done, begun: hole, blanks: 0 }.note(&self.file);
            failpoint::reach(Failpoint::LogCollapsing);
            match rustix::fs::fallocate(&self.file, FallocateFlags::COLLAPSE_RANGE, 0, hole) {
                Ok(()) => cut_off = hole,
                // All of it is a hole, or its blocks are too large: the hole stays.
                Err(Errno::INVAL | Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error.into()),
            }
            failpoint::reach(Failpoint::LogCollapsed);
        }
        let blanks = self.blank_the_rest_of_a_block()?;
        Noted { shift: done + cut_off, begun: 0, blanks }.note(&self.file);
        Ok(())
    }

    /// How many zeros the file begins with, as far as it is looked at.
    fn zeros_before(&self, end: u64) -> io::Result<u64> {
        let (mut block, zeros) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        let mut at = 0;
        while at < end {
            let wanted = block.len().min((end - at) as usize);
            let count = self.file.read_at(&mut block[..wanted], at)?;
            if count < wanted || block[..count] != zeros[..count] {
                return Ok(at + block[..count].iter().take_while(|byte| **byte == 0).count() as u64);
            }
            at += count as u64;
        }
        Ok(at)
    }

    /// Where no line ended with a block, the zeros before the first line become blanks: no tool takes the log for a binary file then.
    fn blank_the_rest_of_a_block(&self) -> io::Result<u64> {
        if logfile::data_start(&self.file) > 0 {
            return Ok(0);
        }
        let mut block = vec![0; place::BLOCK as usize];
        let count = self.file.read_at(&mut block, 0)?;
        let zeros = block[..count].iter().take_while(|byte| **byte == 0).count();
        self.file.write_all_at(&vec![BLANK; zeros], 0)?;
        Ok(zeros as u64)
    }
}

#[cfg(test)]
mod tests;
