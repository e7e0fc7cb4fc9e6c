//! One look at everything that runs, as `cleanup` judges it.
//!
//! Decides nothing. Reads no more of another user's process than its place in the tree: it is out of reach anyway. A process
//! that ends meanwhile is left out.

use super::procfs::{self, Reader, Stat};
use crate::cleanup::Me;
use crate::model::{Observed, Pid, ProcId};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const CONFIG_FILE: &str = "devstack.toml";

/// The asking process.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn me() -> io::Result<Me> {
    let pid = nix::unistd::getpid().as_raw();
    Ok(Me { pid, uid: nix::unistd::getuid().as_raw(), exe: procfs::exe(pid).ok() })
}

/// # Errors
/// When `/proc` is not mounted.
pub fn processes(me: &Me) -> io::Result<Vec<Observed>> {
    let mut scan = Scan { me, reader: Reader::default(), namespace: procfs::pid_namespace(me.pid).ok(), homes: HashMap::new() };
    Ok(procfs::pids()?.into_iter().filter_map(|pid| scan.observe(pid)).collect())
}

struct Scan<'a> {
    me: &'a Me,
    reader: Reader,
    namespace: Option<u64>,
    /// Many processes stand in few folders.
    homes: HashMap<PathBuf, Option<PathBuf>>,
}

impl Scan<'_> {
    /// `None`: gone, or dead and only not yet waited for.
    fn observe(&mut self, pid: Pid) -> Option<Observed> {
        let stat = self.reader.stat(pid).ok()?;
        // State `Z` with other threads is a main thread that ended before them: such a process lives.
        if stat.is_zombie() && stat.threads <= 1 {
            return None;
        }
        let mut it = from_stat(&stat);
        // The owner of the folder is cheap; it is the real user except where root hides a process from tracing.
        let owner = std::fs::metadata(format!("/proc/{pid}")).ok()?.uid();
        if owner != self.me.uid && owner != 0 {
            it.uid = Some(owner);
            return Some(it);
        }
        self.look_closer(pid, &mut it);
        // The number changed hands while we read: half of what was seen is another process's.
        (self.reader.stat(pid).ok()?.start_ticks == stat.start_ticks).then_some(it)
    }

    fn look_closer(&mut self, pid: Pid, it: &mut Observed) {
        it.argv = self.reader.argv(pid).unwrap_or_default();
        it.exe = procfs::exe(pid).ok();
        if let Ok((uid, ignores_hangup)) = self.reader.status(pid) {
            (it.uid, it.ignores_hangup) = (Some(uid), ignores_hangup);
        }
        // A kernel thread, or one that we may not look into.
        if it.exe.is_none() || it.uid != Some(self.me.uid) {
            return;
        }
        it.same_pid_namespace = self.namespace.is_some() && procfs::pid_namespace(pid).ok() == self.namespace;
        it.outputs = [procfs::fd_target(pid, 1), procfs::fd_target(pid, 2)];
        it.cwd = procfs::cwd(pid).ok();
        it.home = it.cwd.as_deref().and_then(|cwd| self.home(cwd));
        if let Ok([cookie, root]) = self.reader.environ(pid, [b"DEVSTACK_RUN", b"DEVSTACK_ROOT"]) {
            it.cookie = cookie.and_then(|cookie| String::from_utf8(cookie).ok());
            it.root = root.filter(|root| !root.is_empty()).map(|root| PathBuf::from(OsString::from_vec(root)));
        }
    }

    fn home(&mut self, cwd: &Path) -> Option<PathBuf> {
        if let Some(known) = self.homes.get(cwd) {
            return known.clone();
        }
        let home = cwd.ancestors().find(|folder| folder.join(CONFIG_FILE).is_file()).map(Path::to_path_buf);
        self.homes.insert(cwd.to_path_buf(), home.clone());
        home
    }
}

fn from_stat(stat: &Stat) -> Observed {
    Observed {
        id: ProcId { pid: stat.pid, start_ticks: stat.start_ticks },
        ppid: stat.ppid,
        pgid: stat.pgid,
        sid: stat.sid,
        on_terminal: stat.tty_nr != 0,
        ignores_hangup: false,
        state: stat.state,
        uid: None,
        same_pid_namespace: false,
        argv: Vec::new(),
        exe: None,
        cwd: None,
        home: None,
        cookie: None,
        root: None,
        outputs: [None, None],
        age: procfs::age(stat.start_ticks),
        memory_bytes: stat.rss_bytes(),
    }
}
