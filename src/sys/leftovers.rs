//! Files and folders that are named like those of CPython's multiprocessing pools: found, and taken away.
//!
//! Decides nothing about who may need them. Every name is reached through its folder's descriptor and no link is followed;
//! what is removed is looked at again through the very descriptor that is held meanwhile, and only files of the asking user are
//! looked at at all, whoever that is.

mod living;
mod usage;

pub use living::living_pythons;

use crate::cleanup::leftovers::{Finding, Leftover, LeftoverKind, is_arena, is_listener};
use crate::model::FileId;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Where pools leave them.
#[derive(Debug, Clone)]
pub struct Places {
    pub shared_memory: PathBuf,
    pub temp: PathBuf,
}

impl Places {
    /// What Python would choose here: the first folder for temporary files that can be written to.
    pub fn of(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let usable =
            |path: &PathBuf| path.is_dir() && rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok();
        let named = ["TMPDIR", "TEMP", "TMP"].into_iter().filter_map(|name| variable(name).map(PathBuf::from));
        let usual = ["/tmp", "/var/tmp", "/usr/tmp", "."].into_iter().map(PathBuf::from);
        let temp = named.filter(|path| !path.as_os_str().is_empty()).chain(usual).find(usable);
        Self { shared_memory: "/dev/shm".into(), temp: temp.unwrap_or_else(|| "/tmp".into()) }
    }
}

/// Everything of the asking user in these places that is named so, by path.
///
/// # Errors
/// When a place is there and cannot be read.
pub fn find(places: &Places) -> io::Result<Vec<Leftover>> {
    let mut found = Vec::new();
    for (place, kind_of) in
        [(&places.shared_memory, LeftoverKind::of_shared_memory as fn(&[u8]) -> _), (&places.temp, LeftoverKind::of_temp)]
    {
        let folder = match open_place(place) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(named(place, error)),
        };
        for name in names_in(&folder).map_err(|error| named(place, error))? {
            let kind = kind_of(name.to_bytes());
            found.extend(kind.and_then(|kind| look(&folder, place, &name, kind)));
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    living::find_users(&mut found)?;
    Ok(found)
}

/// Takes one away, if it still is what was seen and still nobody uses it: `Unused` says that it is gone.
///
/// # Errors
/// When the system refuses.
pub fn remove(one: &Leftover) -> io::Result<Finding> {
    let (Some(place), Some(name)) = (one.path.parent(), one.path.file_name()) else { return Ok(Finding::Odd("no name".to_owned())) };
    let name = CString::new(name.as_bytes()).map_err(io::Error::other)?;
    let folder = open_place(place)?;
    // Held until the name is gone: who opens it meanwhile waits, and is noticed.
    match seize(&folder, &name, one.kind, Some(one.file)) {
        Err(finding) => Ok(finding),
        Ok(seized) if seized.is_wanted() => Ok(Finding::Used),
        Ok(seized) => seized.unlink(folder.as_fd(), &name).map(|()| Finding::Unused),
    }
}

fn look(folder: &OwnedFd, place: &Path, name: &CStr, kind: LeftoverKind) -> Option<Leftover> {
    // What vanishes meanwhile has an owner that lives.
    let stat = stat(folder, name).ok().filter(is_mine)?;
    let finding = match seize(folder, name, kind, None) {
        Ok(seized) => {
            let size_bytes = seized.size_bytes;
            return Some(leftover(place, name, kind, &stat, size_bytes, Finding::Unused));
        }
        Err(finding) => finding,
    };
    Some(leftover(place, name, kind, &stat, stat.stx_blocks * 512, finding))
}

fn leftover(place: &Path, name: &CStr, kind: LeftoverKind, stat: &Statx, size_bytes: u64, finding: Finding) -> Leftover {
    let path = place.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
    let finding = match (finding, usage::hidden_by_namespaces(kind, stat)) {
        (Finding::Unused, Some(why)) => Finding::Unknown(why.to_owned()),
        (finding, _) => finding,
    };
    Leftover { path, kind, file: file_id(stat), age: age(stat), size_bytes, finding, users: Vec::new() }
}

/// What is held while its name is taken away: nobody has it open, and who opens it now is noticed.
struct Seized {
    leases: Vec<OwnedFd>,
    /// Of a folder: what is in it.
    inside: Option<(OwnedFd, Vec<CString>)>,
    size_bytes: u64,
}

impl Seized {
    fn is_wanted(&self) -> bool {
        self.leases.iter().any(|lease| !usage::is_still_leased(lease))
    }

    fn unlink(&self, place: BorrowedFd, name: &CStr) -> io::Result<()> {
        let Some((folder, content)) = &self.inside else { return Ok(rustix::fs::unlinkat(place, name, AtFlags::empty())?) };
        for entry in content {
            rustix::fs::unlinkat(folder, entry, AtFlags::empty())?;
        }
        Ok(rustix::fs::unlinkat(place, name, AtFlags::REMOVEDIR)?)
    }
}

fn seize(place: &OwnedFd, name: &CStr, kind: LeftoverKind, seen: Option<FileId>) -> Result<Seized, Finding> {
    let expected = if kind == LeftoverKind::TempFolder { FileType::Directory } else { FileType::RegularFile };
    let before = stat(place, name).map_err(unknown)?;
    is_as_made(&before, expected)?;
    let how = if expected == FileType::Directory { OFlags::DIRECTORY } else { OFlags::NONBLOCK | OFlags::NOCTTY };
    let held =
        rustix::fs::openat(place, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | how, Mode::empty()).map_err(unknown)?;
    let stat = stat(&held, c"").map_err(unknown)?;
    is_as_made(&stat, expected)?;
    if seen.is_some_and(|seen| seen != file_id(&stat)) {
        return Err(Finding::Odd("another has taken its name meanwhile".to_owned()));
    }
    let size_bytes = stat.stx_blocks * 512;
    if expected == FileType::Directory {
        return seize_content(held, size_bytes);
    }
    usage::lease(&held)?;
    Ok(Seized { leases: vec![held], inside: None, size_bytes })
}

fn seize_content(folder: OwnedFd, mut size_bytes: u64) -> Result<Seized, Finding> {
    let content = names_in(&folder).map_err(unknown)?;
    let mut leases = Vec::new();
    for name in &content {
        let stat = stat(&folder, name).map_err(unknown)?;
        match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::Socket if is_listener(name.to_bytes()) && is_mine(&stat) => usage::nobody_listens(&folder, name)?,
            FileType::RegularFile if is_arena(name.to_bytes()) => {
                let mut arena = seize(&folder, name, LeftoverKind::Arena, None)?;
                leases.append(&mut arena.leases);
            }
            _ => return Err(Finding::Odd(format!("it holds `{}`", name.to_string_lossy()))),
        }
        size_bytes += stat.stx_blocks * 512;
    }
    Ok(Seized { leases, inside: Some((folder, content)), size_bytes })
}

fn is_as_made(stat: &Statx, expected: FileType) -> Result<(), Finding> {
    match FileType::from_raw_mode(stat.stx_mode.into()) {
        _ if !is_mine(stat) => Err(Finding::Odd("it belongs to another user".to_owned())),
        FileType::Symlink => Err(Finding::Odd("it is a link".to_owned())),
        found if found == expected => Ok(()),
        _ if expected == FileType::Directory => Err(Finding::Odd("it is no folder".to_owned())),
        _ => Err(Finding::Odd("it is no plain file".to_owned())),
    }
}

fn is_mine(stat: &Statx) -> bool {
    stat.stx_uid == super::socket::own_user()
}

fn open_place(place: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(place, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn names_in(folder: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

fn stat(folder: &OwnedFd, name: &CStr) -> rustix::io::Result<Statx> {
    rustix::fs::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::BTIME)
}

fn file_id(stat: &Statx) -> FileId {
    FileId { dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), ino: stat.stx_ino }
}

/// Since it was made, or last changed where the file system does not know: that is later, and so the safer of the two. `None`:
/// before the machine was started, as only a clock that was set can have it.
#[expect(clippy::disallowed_methods, reason = "the times of files are wall time")]
fn age(stat: &Statx) -> Option<Duration> {
    let known = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let made = if known { stat.stx_btime } else { stat.stx_ctime };
    let made = SystemTime::UNIX_EPOCH + Duration::new(u64::try_from(made.tv_sec).ok()?, made.tv_nsec);
    let age = SystemTime::now().duration_since(made).unwrap_or_default();
    (age <= super::clock::now().since(Default::default())).then_some(age)
}

fn unknown(error: Errno) -> Finding {
    Finding::Unknown(io::Error::from(error).to_string())
}

fn named(place: &Path, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{}: {error}", place.display()))
}
