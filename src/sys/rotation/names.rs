//! The files of one log: the live one, its old ones `NAME.1` (the newest) to `NAME.KEEP`, from `NAME.2` on maybe `NAME.2.gz`, and what
//! an unfinished rotation is known by.

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const PARTIAL: &str = "copying";
const COMPRESSED: &str = "gz";

/// What follows the name of the live log and a dot.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Suffix {
    /// A copy that is being made.
    Partial,
    /// A copy that is whole, and the place before which its log is to be cut.
    Whole {
        inode: u64,
        end: u64,
    },
    Old {
        number: u32,
        is_compressed: bool,
    },
    /// An old log that is being compressed.
    Compressing,
}

impl Suffix {
    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok();
        if let Some(rest) = text.strip_prefix("0-") {
            let (inode, end) = rest.split_once('-')?;
            return Some(Self::Whole { inode: number(inode)?, end: number(end)? });
        }
        let old = |text: &str, is_compressed| {
            let number = u32::try_from(number(text)?).ok().filter(|number| *number > 0)?;
            Some(Self::Old { number, is_compressed })
        };
        match text.rsplit_once('.') {
            None if text == PARTIAL => Some(Self::Partial),
            None => old(text, false),
            Some((text, COMPRESSED)) => old(text, true),
            Some((text, PARTIAL)) => {
                Self::parse(text).filter(|packed| matches!(packed, Self::Old { is_compressed: true, .. })).map(|_| Self::Compressing)
            }
            Some(_) => None,
        }
    }
}

pub struct Names {
    folder: OwnedFd,
    live: OsString,
}

impl Names {
    pub fn new(folder: OwnedFd, live: &OsStr) -> Self {
        Self { folder, live: live.to_owned() }
    }

    pub fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    pub fn live(&self) -> &OsStr {
        &self.live
    }

    fn name(&self, suffix: &str) -> OsString {
        let mut name = self.live.clone();
        name.push(".");
        name.push(suffix);
        name
    }

    fn old(&self, number: u32, is_compressed: bool) -> OsString {
        self.name(&if is_compressed { format!("{number}.{COMPRESSED}") } else { number.to_string() })
    }

    fn list(&self) -> io::Result<Vec<(OsString, Suffix)>> {
        let folder = openat(&self.folder, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut found = Vec::new();
        for entry in Dir::new(folder)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            found.extend(suffix_of(name, &self.live).map(|suffix| (name.to_owned(), suffix)));
        }
        Ok(found)
    }

    pub fn create_partial(&self, mode: Mode) -> io::Result<File> {
        self.create(&self.name(PARTIAL), mode)
    }

    fn create(&self, name: &OsStr, mode: Mode) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.folder, name, flags, mode)?))
    }

    /// What nobody finishes any more.
    pub fn remove_partial(&self) -> io::Result<()> {
        for (name, suffix) in self.list()? {
            if matches!(suffix, Suffix::Partial | Suffix::Compressing) {
                self.remove(&name)?;
            }
        }
        Ok(())
    }

    /// Answers its new name.
    pub fn declare_whole(&self, inode: u64, end: u64) -> io::Result<OsString> {
        let whole = self.name(&format!("0-{inode}-{end}"));
        renameat(&self.folder, self.name(PARTIAL), &self.folder, &whole)?;
        Ok(whole)
    }

    pub fn whole_copies(&self) -> io::Result<Vec<(OsString, u64, u64)>> {
        let whole = |(name, suffix)| match suffix {
            Suffix::Whole { inode, end } => Some((name, inode, end)),
            _ => None,
        };
        let mut copies: Vec<_> = self.list()?.into_iter().filter_map(whole).collect();
        copies.sort_by_key(|(.., end)| *end);
        Ok(copies)
    }

    /// Makes a whole copy the newest old log. The others make room, up to the first number that is free; what is beyond `keep` goes.
    pub fn place(&self, copy: &OsStr, keep: u32) -> io::Result<()> {
        let mut old: Vec<(u32, bool)> = Vec::new();
        for (name, suffix) in self.list()? {
            match suffix {
                Suffix::Old { number, .. } if number > keep => self.remove(&name)?,
                Suffix::Old { number, is_compressed } => old.push((number, is_compressed)),
                _ => {}
            }
        }
        let free = (1..=keep).find(|number| old.iter().all(|(taken, _)| taken != number));
        old.retain(|(number, _)| free.is_none_or(|free| *number < free));
        old.sort_unstable_by(|one, other| other.cmp(one));
        for (number, is_compressed) in old {
            let name = self.old(number, is_compressed);
            match number < keep {
                true => renameat(&self.folder, &name, &self.folder, self.old(number + 1, is_compressed))?,
                false => self.remove(&name)?,
            }
        }
        match keep {
            0 => self.remove(copy),
            _ => Ok(renameat(&self.folder, copy, &self.folder, self.old(1, false))?),
        }
    }

    /// Whether there was one whose turn it is anyway.
    pub fn remove_oldest(&self, keep: u32) -> io::Result<bool> {
        let mut removed = false;
        for (name, suffix) in self.list()? {
            if matches!(suffix, Suffix::Old { number, .. } if number >= keep) {
                self.remove(&name)?;
                removed = true;
            }
        }
        Ok(removed)
    }

    /// The second and older ones; the newest stays as it is for those who follow it.
    pub fn compress(&self, keep: u32) -> io::Result<()> {
        for number in 2..=keep {
            let plain = self.old(number, false);
            let file = match openat(&self.folder, &plain, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
                Ok(file) => File::from(file),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            let partial = self.name(&format!("{number}.{COMPRESSED}.{PARTIAL}"));
            match pack(&file, self.create(&partial, Mode::RUSR | Mode::WUSR)?) {
                Ok(()) => renameat(&self.folder, &partial, &self.folder, self.old(number, true))?,
                Err(error) => {
                    let _ = self.remove(&partial);
                    return Err(error);
                }
            }
            self.remove(&plain)?;
        }
        Ok(())
    }

    fn remove(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(&self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn pack(mut from: &File, to: File) -> io::Result<()> {
    let mut encoder = GzEncoder::new(to, Compression::default());
    io::copy(&mut from, &mut encoder)?;
    encoder.finish()?.sync_data()
}

fn suffix_of(name: &OsStr, live: &OsStr) -> Option<Suffix> {
    let rest = name.as_bytes().strip_prefix(live.as_bytes())?.strip_prefix(b".")?;
    Suffix::parse(std::str::from_utf8(rest).ok()?)
}

/// A log that a rotation has set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldLog {
    pub path: PathBuf,
    pub is_compressed: bool,
    /// Of a copy that is whole and not yet in its place: the live log's inode, and the place before which it is to be cut.
    pub unplaced: Option<(u64, u64)>,
}

/// What belongs to this log in its folder.
fn beside(live: &Path) -> io::Result<Vec<(PathBuf, Suffix)>> {
    let (Some(folder), Some(name)) = (live.parent(), live.file_name()) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?.file_name();
        found.extend(suffix_of(&entry, name).map(|suffix| (folder.join(&entry), suffix)));
    }
    Ok(found)
}

/// Of the log at this path, the oldest first.
///
/// # Errors
/// When its folder cannot be read.
pub fn old_logs(live: &Path) -> io::Result<Vec<OldLog>> {
    let old = |(path, suffix)| match suffix {
        Suffix::Old { number, is_compressed } => Some((number, OldLog { path, is_compressed, unplaced: None })),
        Suffix::Whole { inode, end } => Some((0, OldLog { path, is_compressed: false, unplaced: Some((inode, end)) })),
        Suffix::Partial | Suffix::Compressing => None,
    };
    let mut found: Vec<(u32, OldLog)> = beside(live)?.into_iter().filter_map(old).collect();
    // Compressed, and the plain one not yet removed: the same twice.
    found.sort_by_key(|(number, log)| (std::cmp::Reverse(*number), log.is_compressed));
    found.dedup_by(|(later, _), (number, _)| *number > 0 && later == number);
    Ok(found.into_iter().map(|(_, log)| log).collect())
}

/// Whether a rotation of the log at this path was cut short.
pub fn is_unfinished(live: &Path) -> bool {
    let is_step = |suffix: &Suffix| !matches!(suffix, Suffix::Old { .. });
    beside(live).is_ok_and(|found| found.iter().any(|(_, suffix)| is_step(suffix)))
}

/// Those of these logs of which a rotation was cut short. Each folder is read once, unless there is something in it.
pub fn unfinished<'a>(logs: &[&'a Path]) -> Vec<&'a Path> {
    let folders: BTreeSet<&Path> = logs.iter().filter_map(|log| log.parent()).collect();
    let holds_a_step = |folder: &&Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.ends_with(&format!(".{PARTIAL}")) || name.contains(".0-")
        })
    };
    let suspected: BTreeSet<&Path> = folders.into_iter().filter(holds_a_step).collect();
    let is_suspected = |log: &Path| log.parent().is_some_and(|folder| suspected.contains(folder));
    logs.iter().copied().filter(|log| is_suspected(log) && is_unfinished(log)).collect()
}
