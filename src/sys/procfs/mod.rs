//! Reading `/proc`, as bytes: what runs, whose it is, and what it holds.
//!
//! Decides nothing about ownership. A name in `/proc` is chosen by the process itself and may hold `)`, newlines and escape
//! sequences; nothing here assumes text. Every function answers about one instant: compare `start_ticks` again before acting.

mod machine;
pub(crate) mod net;
mod stat;
pub(crate) mod status;
pub(crate) mod text;

pub use machine::machine_memory;
pub use net::{Holder, holder_of_address, holder_of_port};
pub use stat::Stat;

use crate::engine::Origin;
use crate::model::{BootTime, FileId, Mark, Pid, ProcId};
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whether an error only says that the process has ended, or was never visible to us.
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// Reads one file of `/proc` after another into the same buffer: a scan of thousands allocates only what it keeps.
#[derive(Debug)]
pub struct Reader {
    buffer: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { buffer: vec![0; 8192] }
    }
}

impl Reader {
    /// # Errors
    /// When the process is gone (`is_gone`), or its line is not one this kernel should write.
    pub fn stat(&mut self, pid: Pid) -> io::Result<Stat> {
        Stat::parse(self.read(pid, "stat")?).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/stat"))
    }

    /// Empty for a kernel thread, a zombie, and a process that wiped it.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn argv(&mut self, pid: Pid) -> io::Result<Vec<Vec<u8>>> {
        Ok(text::words(self.read(pid, "cmdline")?))
    }

    /// The mark of a run, where one was set.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn mark(&mut self, pid: Pid) -> io::Result<Option<Mark>> {
        Ok(text::mark(self.read(pid, "limits")?))
    }

    /// The children of a process; cheap for one that has a single thread.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn children(&mut self, of: &Stat) -> io::Result<Vec<Pid>> {
        let pid = of.pid;
        let tasks = if of.threads == 1 { vec![pid] } else { numbered_entries(&format!("/proc/{pid}/task"))? };
        let mut children = Vec::new();
        for task in tasks {
            match self.read_path(format!("/proc/{pid}/task/{task}/children").as_bytes()) {
                Ok(list) => children
                    .extend(list.split(u8::is_ascii_whitespace).filter_map(|word| std::str::from_utf8(word).ok()?.parse::<Pid>().ok())),
                // The thread ended meanwhile, or this kernel was built without that file.
                Err(error) if is_gone(&error) => {
                    if self.read_path(format!("/proc/{pid}/task/{task}/stat").as_bytes()).is_ok() {
                        return children_by_scan(self, pid);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(children)
    }

    /// The values of several variables of the environment the process was started with; the first of a name counts, as
    /// getenv(3) has it.
    ///
    /// # Errors
    /// When the process is gone, or its environment is not for us to read.
    pub fn environ<const N: usize>(&mut self, pid: Pid, names: [&[u8]; N]) -> io::Result<[Option<Vec<u8>>; N]> {
        Ok(text::values(self.read(pid, "environ")?, names))
    }

    fn read(&mut self, pid: Pid, name: &str) -> io::Result<&[u8]> {
        let mut path = [0u8; 64];
        let mut rest = &mut path[..];
        write!(rest, "/proc/{pid}/{name}")?;
        let unused = rest.len();
        let length = path.len() - unused;
        // These fill the whole buffer or end: asking again for nothing costs a third of the time.
        self.read_file(&path[..length], true)
    }

    /// To its end: a list of `/proc` may come in several pieces.
    fn read_path(&mut self, path: &[u8]) -> io::Result<&[u8]> {
        self.read_file(path, false)
    }

    fn read_file(&mut self, path: &[u8], in_one_piece: bool) -> io::Result<&[u8]> {
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            match rustix::io::read(&file, &mut self.buffer[filled..]) {
                Ok(0) => return Ok(&self.buffer[..filled]),
                Ok(count) => {
                    filled += count;
                    if in_one_piece && filled < self.buffer.len() {
                        return Ok(&self.buffer[..filled]);
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Where the pids and start ticks that this process reads hold.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn origin() -> io::Result<Origin> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned();
    let namespace = |name: &str| fs::metadata(format!("/proc/self/ns/{name}")).ok().map(|namespace| namespace.ino());
    Ok(Origin { boot_id, pid_namespace: namespace("pid"), time_namespace: namespace("time") })
}

/// What a process that would not die is doing.
pub fn what_it_does(pid: Pid) -> String {
    let state = stat(pid).map_or('?', |stat| char::from(stat.state));
    let waits_in = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    match waits_in.trim() {
        "" | "0" => format!("state {state}"),
        place => format!("state {state}, waiting in {place}"),
    }
}

/// Every process visible to us, in the kernel's order.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn pids() -> io::Result<Vec<Pid>> {
    numbered_entries("/proc")
}

/// The number that was given last to a new process or thread of our pid namespace.
///
/// # Errors
/// When `/proc` is not mounted, or says no such thing.
pub fn youngest() -> io::Result<Pid> {
    let load = fs::read_to_string("/proc/loadavg")?;
    let last = load.split_whitespace().last().and_then(|word| word.parse().ok());
    last.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/loadavg"))
}

fn numbered_entries(folder: &str) -> io::Result<Vec<Pid>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if let Some(number) = std::str::from_utf8(name.as_bytes()).ok().and_then(|name| name.parse().ok()) {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

/// # Errors
/// When the process is gone.
pub fn stat(pid: Pid) -> io::Result<Stat> {
    Reader::default().stat(pid)
}

/// As [`Stat::is_busy`]; who is gone is not.
pub fn is_busy(pid: Pid) -> bool {
    stat(pid).is_ok_and(|stat| stat.is_busy())
}

/// # Errors
/// When the process is gone.
pub fn start_ticks(pid: Pid) -> io::Result<u64> {
    stat(pid).map(|stat| stat.start_ticks)
}

/// # Errors
/// When the process is gone.
pub fn argv(pid: Pid) -> io::Result<Vec<Vec<u8>>> {
    Reader::default().argv(pid)
}

/// Its arguments in one text, whatever their bytes are; nothing of who is gone.
pub fn command(pid: Pid) -> String {
    let argv = argv(pid).unwrap_or_default();
    argv.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
}

/// The mark of a run, where one was set.
pub fn mark(pid: Pid) -> Option<Mark> {
    Reader::default().mark(pid).ok().flatten()
}

/// Who has this number now.
///
/// # Errors
/// When nobody has.
pub fn id(pid: Pid) -> io::Result<ProcId> {
    Ok(ProcId { pid, start_ticks: start_ticks(pid)? })
}

pub fn is_us_or_our_parent(pid: Pid) -> bool {
    pid == nix::unistd::getpid().as_raw() || pid == nix::unistd::getppid().as_raw()
}

/// The children of all its threads: a child forked by a thread is missing from the main thread's list.
///
/// # Errors
/// When the process is gone.
pub fn children(pid: Pid) -> io::Result<Vec<Pid>> {
    let mut reader = Reader::default();
    let stat = reader.stat(pid)?;
    reader.children(&stat)
}

fn children_by_scan(reader: &mut Reader, parent: Pid) -> io::Result<Vec<Pid>> {
    Ok(pids()?.into_iter().filter(|&pid| reader.stat(pid).is_ok_and(|stat| stat.ppid == parent)).collect())
}

/// The regular file its descriptor is open on; `None` when closed, not for us to see, or something that unrelated processes
/// share as a matter of course, such as /dev/null or a terminal.
pub fn fd_target(pid: Pid, fd: u32) -> Option<FileId> {
    file_id(Path::new(&format!("/proc/{pid}/fd/{fd}")))
}

/// The regular file a path leads to.
pub fn file_id(path: &Path) -> Option<FileId> {
    let file = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(FileId { dev: file.dev(), ino: file.ino() })
}

/// One variable of the environment the process was started with; `None` also when it may not be read.
pub fn environ_value(pid: Pid, name: &[u8]) -> Option<Vec<u8>> {
    let [value] = Reader::default().environ(pid, [name]).ok()?;
    value
}

/// # Errors
/// When the process is gone, a kernel thread, or not for us to see.
pub fn exe(pid: Pid) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe"))
}

/// The file it was started from, even when that has no name any more.
pub fn exe_id(pid: Pid) -> Option<FileId> {
    file_id(Path::new(&format!("/proc/{pid}/exe")))
}

/// Whether that file was replaced or deleted meanwhile.
pub fn is_exe_gone(pid: Pid) -> bool {
    exe(pid).is_ok_and(|path| path.as_os_str().as_bytes().ends_with(b" (deleted)") && !path.exists())
}

/// # Errors
/// When the process is gone, or not for us to see.
pub fn cwd(pid: Pid) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd"))
}

/// The real user id.
///
/// # Errors
/// When the process is gone.
pub fn uid(pid: Pid) -> io::Result<u32> {
    Reader::default().status(pid).map(|(uid, _)| uid)
}

/// The inode that names its pid namespace.
///
/// # Errors
/// When the process is gone, or not for us to see.
pub fn pid_namespace(pid: Pid) -> io::Result<u64> {
    fs::metadata(format!("/proc/{pid}/ns/pid")).map(|namespace| namespace.ino())
}

/// The moment that `start_ticks` stands for.
pub fn started_at(start_ticks: u64) -> BootTime {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    BootTime::from_nanos(start_ticks.saturating_mul(1_000_000_000 / per_second))
}

pub fn age(start_ticks: u64) -> Duration {
    super::clock::now().since(started_at(start_ticks))
}

/// Resident memory; shared pages count in every process that maps them.
///
/// # Errors
/// When the process is gone.
pub fn rss_bytes(pid: Pid) -> io::Result<u64> {
    stat(pid).map(|stat| stat.rss_bytes())
}

/// Memory with every shared page divided among those that map it (`smaps_rollup`); dear to read.
///
/// # Errors
/// When the process is gone, or not for us to see.
pub fn proportional_bytes(pid: Pid) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")).and_then(|number| number.trim().parse::<u64>().ok());
    Ok(kilobytes.unwrap_or(0) * 1024)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any child will do")]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_reads_as_it_is() {
        let me = i32::try_from(std::process::id()).expect("a pid");
        let stat = stat(me).expect("alive");
        assert_eq!((stat.pid, stat.ppid), (me, nix::unistd::getppid().as_raw()));
        assert_eq!(stat.pgid, nix::unistd::getpgrp().as_raw());
        assert!(stat.rss_bytes() > 1 << 16 && stat.threads >= 1);
        assert!(age(stat.start_ticks) < Duration::from_secs(3600));
        assert_eq!(uid(me).expect("alive"), nix::unistd::getuid().as_raw());
        assert_eq!(cwd(me).expect("ours"), std::env::current_dir().expect("cwd"));
        assert_eq!(exe(me).expect("ours"), std::env::current_exe().expect("exe"));
        assert_eq!(pid_namespace(me).expect("ours"), pid_namespace(me).expect("ours"));
        let argv = argv(me).expect("alive");
        assert_eq!(argv.len(), std::env::args_os().count());
        assert_eq!(environ_value(me, b"PATH"), std::env::var_os("PATH").map(|path| path.as_bytes().to_vec()));
        assert!(environ_value(me, b"DEVSTACK_NO_SUCH").is_none());
        assert!(pids().expect("proc").contains(&me));
        let origin = origin().expect("proc");
        assert_eq!((origin.boot_id.len(), origin.pid_namespace), (36, pid_namespace(me).ok()));
    }

    #[test]
    fn what_everybody_writes_to_is_no_ones_file() {
        assert_eq!(file_id(Path::new("/dev/null")), None);
        assert_eq!(file_id(Path::new("/proc/self/exe")), file_id(&std::env::current_exe().expect("exe")));
        let mut child = std::process::Command::new("sleep").arg("60").stdout(std::process::Stdio::null()).spawn().expect("sleep");
        assert_eq!(fd_target(i32::try_from(child.id()).expect("a pid"), 1), None);
        child.kill().expect("ours");
        child.wait().expect("reaped");
    }

    #[test]
    fn a_child_forked_by_a_thread_is_listed_and_one_that_vanished_is_no_error() {
        let mut child =
            std::thread::spawn(|| std::process::Command::new("sleep").arg("60").spawn().expect("sleep")).join().expect("thread");
        let me = i32::try_from(std::process::id()).expect("a pid");
        let pid = i32::try_from(child.id()).expect("a pid");
        assert!(children(me).expect("ours").contains(&pid));
        assert!(children_by_scan(&mut Reader::default(), me).expect("ours").contains(&pid));
        child.kill().expect("ours");
        child.wait().expect("reaped");
        assert!(is_gone(&stat(pid).expect_err("gone")));
        assert!(is_gone(&argv(pid).expect_err("gone")));
        assert!(is_gone(&children(pid).expect_err("gone")));
    }
}
