//! What dead multiprocessing pools left in the file system, and which of it may go.
//!
//! A name says what CPython made there and never who made it. Decides by what was found out about each: nothing of it asks the
//! system. Invariant: only what nobody uses goes, and what a living process may know by name alone stays with that process.

#[cfg(test)]
mod tests;

use super::Role;
use crate::model::{FileId, Pid};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// The clocks of files and of processes are two, and one of them may have been set meanwhile.
const SLACK: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftoverKind {
    /// Mapped from before it has its name until its last user is gone.
    Semaphore,
    /// Made, closed and opened again by name, perhaps by another process.
    SharedMemory,
    /// Holds a pool's sockets; also an empty one may have an owner, who alone knows.
    TempFolder,
    /// Memory of shared arrays, whose name is removed as soon as it is open.
    Arena,
}

impl LeftoverKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Semaphore => "semaphore",
            Self::SharedMemory => "shared memory",
            Self::TempFolder => "temp folder",
            Self::Arena => "arena",
        }
    }

    /// What such a name in the folder of shared memory stands for.
    pub fn of_shared_memory(name: &[u8]) -> Option<Self> {
        let semaphore = || name.strip_prefix(b"sem.mp-").is_some_and(is_random) || name.strip_prefix(b"sem.loky-").is_some_and(is_numbered);
        let block = || name.strip_prefix(b"psm_").is_some_and(|rest| rest.len() == 8 && rest.iter().all(|byte| is_hexadecimal(*byte)));
        if semaphore() {
            return Some(Self::Semaphore);
        }
        if block() {
            return Some(Self::SharedMemory);
        }
        is_arena(name).then_some(Self::Arena)
    }

    /// What such a name in the folder of temporary files stands for.
    pub fn of_temp(name: &[u8]) -> Option<Self> {
        name.strip_prefix(b"pymp-").is_some_and(is_random).then_some(Self::TempFolder)
    }

    fn known_by_name_alone(self) -> bool {
        matches!(self, Self::SharedMemory | Self::TempFolder)
    }
}

/// A socket of a manager, a fork server or a resource sharer.
pub fn is_listener(name: &[u8]) -> bool {
    name.strip_prefix(b"listener-").is_some_and(is_random)
}

pub fn is_arena(name: &[u8]) -> bool {
    name.strip_prefix(b"pym-").is_some_and(is_numbered)
}

/// Eight of the characters that Python's `tempfile` draws from.
fn is_random(text: &[u8]) -> bool {
    text.len() == 8 && text.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_')
}

fn is_hexadecimal(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// A pid, a hyphen, eight characters.
fn is_numbered(text: &[u8]) -> bool {
    let Some(hyphen) = text.iter().position(|byte| *byte == b'-') else { return false };
    (1..=10).contains(&hyphen) && text[..hyphen].iter().all(u8::is_ascii_digit) && is_random(&text[hyphen + 1..])
}

/// What was found out about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The kernel says that nobody has it mapped or open, or listens in it.
    Unused,
    Used,
    /// Not as CPython makes it, in words that say what it is.
    Odd(String),
    /// In words that say what cannot be seen.
    Unknown(String),
}

/// A file or folder of the asking user that is named like one of CPython's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    pub path: PathBuf,
    pub kind: LeftoverKind,
    pub file: FileId,
    /// `None`: older than the machine has been running, by a clock that may have been set.
    pub age: Option<Duration>,
    /// What it takes, its content included.
    pub size_bytes: u64,
    pub finding: Finding,
    /// Those that could be seen to use it.
    pub users: Vec<Pid>,
}

/// A living process of the asking user that runs Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivingPython {
    pub pid: Pid,
    pub ppid: Pid,
    pub age: Duration,
    pub role: Role,
    /// It can make blocks of shared memory.
    pub shares_memory: bool,
    /// It can make a pool's temp folder.
    pub makes_folders: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftoverAction {
    Removed,
    WouldRemove,
    LeftAlone,
}

/// What is to be done, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// `WouldRemove` or `LeftAlone`.
    pub action: LeftoverAction,
    pub reason: String,
    /// It belongs to something that lives: no leftover at all.
    pub in_use: bool,
}

impl Judgement {
    fn left_alone(reason: impl Into<String>) -> Self {
        Self { action: LeftoverAction::LeftAlone, reason: reason.into(), in_use: false }
    }

    fn in_use(reason: impl Into<String>) -> Self {
        Self { in_use: true, ..Self::left_alone(reason) }
    }
}

pub fn judge(one: &Leftover, living: &[LivingPython], older_than: Option<Duration>) -> Judgement {
    if let Finding::Odd(what) = &one.finding {
        return Judgement::left_alone(format!("not as Python makes it: {what}"));
    }
    if let Some(pid) = one.users.first() {
        let more = if one.users.len() > 1 { format!(" and {} more", one.users.len() - 1) } else { String::new() };
        return Judgement::in_use(format!("in use by pid {pid}{more}"));
    }
    match &one.finding {
        Finding::Used => return Judgement::in_use("in use by a process that cannot be seen from here"),
        Finding::Unknown(why) => return Judgement::left_alone(format!("cannot be told: {why}")),
        Finding::Unused | Finding::Odd(_) => {}
    }
    if let Some(limit) = older_than
        && one.age.is_some_and(|age| age < limit)
    {
        return Judgement::left_alone(format!("younger than {}", humantime::format_duration(limit)));
    }
    if let Some(owner) = living.iter().find(|python| may_know(python, one, living)) {
        return Judgement::left_alone(format!("pid {} may know its name: a Python that is about as old, or older", owner.pid));
    }
    let reason = match one.kind {
        LeftoverKind::Semaphore | LeftoverKind::Arena => "no process uses it",
        LeftoverKind::SharedMemory => "no process uses it, and none that lives can have made it",
        LeftoverKind::TempFolder => "nobody listens in it, and no process that lives can have made it",
    };
    Judgement { action: LeftoverAction::WouldRemove, reason: reason.to_owned(), in_use: false }
}

/// Whether a living process may hold nothing of it but its name.
fn may_know(python: &LivingPython, one: &Leftover, living: &[LivingPython]) -> bool {
    let able = match one.kind {
        LeftoverKind::SharedMemory => python.shares_memory,
        _ => python.makes_folders,
    };
    if !one.kind.known_by_name_alone() || !able {
        return false;
    }
    let made_before = |family: Duration| one.age.is_none_or(|age| family + SLACK >= age);
    family_age(python, living).is_none_or(made_before)
}

/// How long it and what made it have known names: a child has those of its parents. `None` for the rest of a pool whose parents
/// are dead.
fn family_age(python: &LivingPython, living: &[LivingPython]) -> Option<Duration> {
    let parent = |child: &&LivingPython| {
        let (ppid, age) = (child.ppid, child.age);
        living.iter().find(move |other| other.pid == ppid && other.age >= age)
    };
    let line = std::iter::successors(Some(python), parent).take(living.len() + 1);
    let eldest = line.last()?;
    (eldest.role == Role::Child || eldest.role == Role::Main).then_some(eldest.age)
}
