//! How much a log holds.

use super::{clock, logfile, rotation};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Of a log that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSize {
    /// Of text: a hole at its head is not counted, nor are blanks in its place.
    pub bytes: u64,
    /// Of the file, with its hole.
    pub length: u64,
    /// Its end, counted from the file's creation.
    pub end: u64,
}

/// statfs(2): `st_blocks` counts these.
const SECTOR: u64 = 512;

/// # Errors
/// When it is not there, or no plain file.
pub fn of(path: &Path) -> io::Result<LogSize> {
    let (file, _) = logfile::open(path)?;
    let (start, length) = (rotation::start(&file)?, file.metadata()?.len());
    Ok(LogSize { bytes: length.saturating_sub(start), length, end: length + rotation::shift(&file) })
}

/// How long ago the newest old log was made; without one, the log itself.
pub fn since_last_rotation(path: &Path) -> Duration {
    let newest = rotation::old_logs(path).ok().and_then(|old| old.last().map(|old| old.path.clone()));
    let begun = newest.unwrap_or_else(|| path.to_owned()).metadata().and_then(|found| found.created().or_else(|_| found.modified()));
    let begun = begun.ok().and_then(|at| jiff::Timestamp::try_from(at).ok());
    begun.and_then(|at| Duration::try_from(clock::both().wall.duration_since(at)).ok()).unwrap_or_default()
}

/// A file of a log, the live one or an old one.
#[derive(Debug, Clone)]
pub struct LogPart {
    pub path: PathBuf,
    pub is_old: bool,
    pub bytes: u64,
    pub written_at: SystemTime,
}

pub fn of_all(live: &Path) -> Vec<LogPart> {
    let old = rotation::old_logs(live).unwrap_or_default().into_iter().filter(|old| old.unplaced.is_none());
    let paths = old.map(|old| (old.path, true)).chain([(live.to_owned(), false)]);
    let part = |(path, is_old): (PathBuf, bool)| {
        let found = path.symlink_metadata().ok()?;
        let bytes = found.len().min(found.blocks() * SECTOR);
        Some(LogPart { bytes, is_old, written_at: found.modified().unwrap_or(SystemTime::UNIX_EPOCH), path })
    };
    paths.filter_map(part).collect()
}
