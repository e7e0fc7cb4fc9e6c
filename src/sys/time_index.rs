//! When how much had been written to a log: a sparse index, for logs whose lines tell no time.
//!
//! Pairs of a wall clock time and a place, sixteen bytes each, added whenever a log is looked at anyway. Bounded: of a full one the
//! older half keeps every second entry. Losing it loses precision and nothing else.

use jiff::Timestamp;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const ENTRY: usize = 16;

/// Entries of a full one: a week of a log that never rests.
const FULL: usize = 1 << 16;

/// For adding to it.
pub struct TimeIndex {
    path: PathBuf,
    full: usize,
}

impl TimeIndex {
    pub fn new(path: PathBuf) -> Self {
        Self { path, full: FULL }
    }

    /// By then the log had this end, in bytes since its file was created.
    pub fn note(&self, at: Timestamp, end: u64) {
        // An index that cannot be written is one that knows less.
        let _ = self.try_note(at, end);
    }

    fn try_note(&self, at: Timestamp, end: u64) -> io::Result<()> {
        let mut file = match self.open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let folder = self.path.parent().unwrap_or(Path::new("/"));
                std::fs::DirBuilder::new().mode(0o700).create(folder)?;
                self.open()?
            }
            opened => opened?,
        };
        let entries = file.metadata()?.len() / ENTRY as u64;
        if entries >= self.full as u64 {
            self.thin_out()?;
            file = self.open()?;
        }
        file.write_all(&entry((at.as_millisecond(), end)))
    }

    fn open(&self) -> io::Result<File> {
        File::options().append(true).create(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW).open(&self.path)
    }

    fn thin_out(&self) -> io::Result<()> {
        let entries = read(&self.path);
        let middle = entries.len() / 2;
        let kept = entries.iter().enumerate().filter(|(place, _)| *place >= middle || place % 2 == 0);
        let bytes: Vec<u8> = kept.flat_map(|(_, pair)| entry(*pair)).collect();
        super::folders::replace(&self.path, &bytes)
    }
}

fn entry((at, end): (i64, u64)) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    bytes[..8].copy_from_slice(&at.to_le_bytes());
    bytes[8..].copy_from_slice(&end.to_le_bytes());
    bytes
}

/// Milliseconds since the epoch and places of the file that is there now, in order of both.
fn read(path: &Path) -> Vec<(i64, u64)> {
    let mut bytes = Vec::new();
    if super::logfile::open(path).and_then(|(mut file, _)| file.read_to_end(&mut bytes)).is_err() {
        return Vec::new();
    }
    let number = |bytes: &[u8]| <[u8; 8]>::try_from(bytes).unwrap_or_default();
    bytes.chunks_exact(ENTRY).map(|pair| (i64::from_le_bytes(number(&pair[..8])), u64::from_le_bytes(number(&pair[8..])))).collect()
}

/// The places between which a moment lies in a log, each in bytes since its file was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Around {
    /// All before it was written before that moment.
    pub from: Option<u64>,
    /// All after it was written after that moment.
    pub to: Option<u64>,
}

/// Of the last file of this name: an earlier one was longer than this one at its beginning.
fn of_last_file(path: &Path) -> Vec<(i64, u64)> {
    let mut entries = read(path);
    let begun = entries.windows(2).rposition(|pair| pair[1].1 < pair[0].1).map_or(0, |place| place + 1);
    entries.split_off(begun)
}

/// By which moment the log had which end, in order of both; nothing without an index.
pub fn entries(path: &Path) -> Vec<(Timestamp, u64)> {
    of_last_file(path).into_iter().filter_map(|(at, end)| Some((Timestamp::from_millisecond(at).ok()?, end))).collect()
}

/// What is known of a moment; nothing without an index.
pub fn around(path: &Path, at: Timestamp) -> Around {
    let entries = of_last_file(path);
    let later = entries.partition_point(|(noted, _)| *noted <= at.as_millisecond());
    Around { from: later.checked_sub(1).map(|place| entries[place].1), to: entries.get(later).map(|(_, end)| *end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn a_moment_lies_after_all_that_had_been_written_by_then() {
        let folder = tempfile::tempdir().expect("a folder");
        let index = TimeIndex::new(folder.path().join("times/bot"));
        for second in 1..=10 {
            index.note(at(second * 10), second as u64 * 100);
        }
        let place = |second| around(&index.path, at(second)).from;
        assert_eq!((place(5), place(10), place(59), place(1000)), (None, Some(100), Some(500), Some(1000)));
        assert_eq!(around(&index.path, at(59)), Around { from: Some(500), to: Some(600) });
        index.note(at(200), 7);
        assert_eq!((place(150), place(200)), (None, Some(7)), "another file by that name");
    }

    #[test]
    fn a_full_one_is_thinned_out_and_still_reaches_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let index = TimeIndex { path: folder.path().join("bot"), full: 64 };
        for second in 1..=1000 {
            index.note(at(second), second as u64);
        }
        let entries = read(&index.path);
        assert!((32..=64).contains(&entries.len()) && entries[0] == (1000, 1), "{entries:?}");
        assert!(entries.is_sorted());
        assert_eq!(around(&index.path, at(990)).from, Some(990));
    }
}
