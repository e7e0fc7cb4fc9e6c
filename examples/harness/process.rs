//! Processes as `/proc` shows them, and signals that reach the one that was meant.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A number and when its holder began, in clock ticks since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    pub pid: i32,
    pub start: u64,
}

#[derive(Debug, Clone)]
pub struct Process {
    pub id: Id,
    pub ppid: i32,
    pub state: u8,
    pub threads: u32,
    pub argv: Vec<Vec<u8>>,
}

impl Process {
    pub fn read(pid: i32) -> Option<Self> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let fields: Vec<&str> = std::str::from_utf8(&stat[end + 2..]).ok()?.split_whitespace().collect();
        let argv = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let argv = argv.strip_suffix(b"\0").unwrap_or(&argv).split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        Some(Self {
            id: Id { pid, start: fields.get(19)?.parse().ok()? },
            ppid: fields.get(1)?.parse().ok()?,
            state: *fields.first()?.as_bytes().first()?,
            threads: fields.get(17)?.parse().ok()?,
            argv,
        })
    }

    pub fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }

    pub fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    pub fn has_argument(&self, part: &str) -> bool {
        self.argv.iter().any(|argument| argument.windows(part.len()).any(|window| window == part.as_bytes()))
    }

    pub fn is_tracker(&self) -> bool {
        self.has_argument("multiprocessing.resource_tracker")
    }

    /// As `ps` would show it.
    pub fn line(&self) -> String {
        let argv: Vec<_> = self.argv.iter().map(|argument| String::from_utf8_lossy(argument)).collect();
        let (pid, ppid, state) = (self.id.pid, self.ppid, char::from(self.state));
        format!("pid {pid} ppid {ppid} {state} start {} `{}`", self.id.start, argv.join(" "))
    }
}

pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Process::read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

pub fn environ(pid: i32) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let text = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let pair = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b'=')?;
        Some((line[..at].to_vec(), line[at + 1..].to_vec()))
    };
    text.split(|byte| *byte == 0).filter_map(pair).collect()
}

pub fn text_of<'a>(environ: &'a BTreeMap<Vec<u8>, Vec<u8>>, name: &str) -> Option<&'a str> {
    environ.get(name.as_bytes()).and_then(|value| std::str::from_utf8(value).ok())
}

/// Whether one of its folder and outputs lies below `folder`.
pub fn stands_below(pid: i32, folder: &Path) -> bool {
    let links = ["cwd", "fd/1", "fd/2"].into_iter();
    links.filter_map(|link| fs::read_link(format!("/proc/{pid}/{link}")).ok()).any(|to| to.starts_with(folder))
}

/// The soft limit of realtime processor time, which nobody sets but devstack; `None`: unlimited, or gone.
pub fn realtime_limit(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text.lines().find(|line| line.starts_with("Max realtime timeout"))?;
    line["Max realtime timeout".len()..].split_whitespace().next()?.parse().ok()
}

/// The group of the kernel that it is in (cgroup v2).
pub fn group(pid: i32) -> Option<PathBuf> {
    let text = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::/"))?;
    let mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].into_iter().find(|path| Path::new(path).join("cgroup.procs").exists())?;
    Some(Path::new(mount).join(OsStr::from_bytes(line)))
}

/// `None` when it is gone, or its number another's.
pub fn open(id: Id) -> Option<OwnedFd> {
    let held = pidfd_open(Pid::from_raw(id.pid)?, PidfdFlags::empty()).ok()?;
    let same = Process::read(id.pid).is_some_and(|it| it.id == id && !it.is_zombie());
    same.then_some(held)
}

pub fn is_alive(id: Id) -> bool {
    open(id).is_some()
}

/// Whether it was there to be signalled.
pub fn send(id: Id, signal: Signal) -> bool {
    open(id).is_some_and(|held| pidfd_send_signal(&held, signal).is_ok())
}

/// Waits until one of them has ended, for `patience` at most; a signal to us ends the wait, too.
pub fn wait_for_one(held: &[OwnedFd], patience: Duration) {
    let mut polled: Vec<PollFd> = held.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    if let Ok(timeout) = Timespec::try_from(patience) {
        let _ = poll(&mut polled, Some(&timeout));
    }
}

/// Waits until all of them have ended, for `patience` at most.
pub fn wait_for_all(ids: &[Id], patience: Duration) -> bool {
    let end = std::time::Instant::now() + patience;
    loop {
        let held: Vec<OwnedFd> = ids.iter().filter_map(|id| open(*id)).collect();
        let left = end.saturating_duration_since(std::time::Instant::now());
        if held.is_empty() || left.is_zero() {
            return held.is_empty();
        }
        wait_for_one(&held[..1], left);
    }
}

/// Collects a child of ours that has ended.
pub fn reap(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}
