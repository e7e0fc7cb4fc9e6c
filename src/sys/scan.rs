//! One look at everything that runs, as `cleanup` judges it.
//!
//! Decides nothing. Reads no more of another user's process than its place in the tree: it is out of reach anyway. A process
//! that ends meanwhile is left out.

use super::procfs::{self, Reader, Stat};
use super::{cgroup, clock, logfile};
use crate::cleanup::Me;
use crate::engine::{Remains, Running, Survey};
use crate::model::{BootTime, COOKIE, FileId, MAIN_PID, Mark, Observed, Pid, ProcId, Project, ProjectId, ROOT, RunId, ServiceName};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
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

/// Everything that runs. What is cheap is read of all; the rest only of those that `deserves`, of what they descend from and of
/// what descends from them: the others stay without a user, and so out of reach.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn processes(me: &Me, project: &ProjectId, deserves: &dyn Fn(&Observed) -> bool) -> io::Result<Vec<Observed>> {
    let mut scan = Scan { me, project, reader: Reader::default(), namespace: procfs::pid_namespace(me.pid).ok(), homes: HashMap::new() };
    let now = clock::now();
    let mut all: Vec<Observed> = procfs::pids()?.into_iter().filter_map(|pid| scan.glance(pid, now)).collect();
    scan.read_marks(&mut all);
    let deserving = with_relatives(&all, deserves);
    let mut index = 0;
    // What vanished or changed hands under a closer look is left out.
    all.retain_mut(|it| {
        index += 1;
        !deserving[index - 1] || scan.look_closer(it)
    });
    Ok(all)
}

fn with_relatives(all: &[Observed], deserves: &dyn Fn(&Observed) -> bool) -> Vec<bool> {
    let index_of: HashMap<Pid, usize> = all.iter().enumerate().map(|(index, it)| (it.id.pid, index)).collect();
    let parent = |index: usize| index_of.get(&all[index].ppid).copied();
    // A chain longer than the table would be a circle, which processes that came and went may show.
    let line = |index: usize| std::iter::successors(Some(index), |&index| parent(index)).take(all.len());
    let chosen: Vec<bool> = all.iter().map(deserves).collect();
    let mut wanted: Vec<bool> = (0..all.len()).map(|index| line(index).any(|up| chosen[up])).collect();
    for index in (0..all.len()).filter(|&index| chosen[index]) {
        line(index).for_each(|up| wanted[up] = true);
    }
    wanted
}

/// What there is of a project's runs, by what main processes and their descendants carry: a process that overwrote its environment
/// is named by any child that did not.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn survey(project: &Project) -> io::Result<Survey> {
    let mut reader = Reader::default();
    let me = nix::unistd::getuid().as_raw();
    let root = project.root.as_os_str().as_encoded_bytes();
    let mut found: BTreeMap<(ServiceName, RunId), (Pid, bool)> = BTreeMap::new();
    for pid in procfs::pids()? {
        let Ok([Some(cookie), Some(said), Some(main)]) = reader.environ(pid, [COOKIE.as_bytes(), ROOT.as_bytes(), MAIN_PID.as_bytes()])
        else {
            continue;
        };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
        let run = text(cookie).and_then(|cookie| run_named_by(&cookie, project)).filter(|_| said == root);
        if let (Some(run), Some(main)) = (run, text(main).and_then(|main| main.parse().ok())) {
            let of_run = found.entry(run).or_insert((main, false));
            of_run.1 |= main == pid;
        }
    }
    let mut alive = |run: RunId, pid: Pid, says_so: bool| {
        let stat = reader.stat(pid).ok().filter(|stat| !stat.is_dead() && stat.sid == pid)?;
        let is_its_own = says_so || reader.mark(pid).ok()? == Some(Mark::of(root, run));
        // Anybody may write our variables into an environment of theirs.
        (is_its_own && reader.status(pid).is_ok_and(|(uid, _)| uid == me)).then_some(stat)
    };
    let mut survey = Survey::default();
    for ((service, run), (pid, says_so)) in found {
        match alive(run, pid, says_so) {
            Some(stat) => {
                let started_at = procfs::started_at(stat.start_ticks);
                survey.running.push(Running { service, run, main: stat.id(), started_at });
            }
            None => survey.remains.push(Remains { service, run }),
        }
    }
    Ok(survey)
}

/// The projects in `folder` that processes of this user say they are of, each once.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn roots_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut reader = Reader::default();
    let said =
        |pid| reader.environ(pid, [ROOT.as_bytes()]).ok().and_then(|[root]| root).map(|root| PathBuf::from(OsString::from_vec(root)));
    let mut roots: Vec<PathBuf> = procfs::pids()?.into_iter().filter_map(said).filter(|root| root.parent() == Some(folder)).collect();
    roots.sort();
    roots.dedup();
    Ok(roots)
}

/// `project/service/run`, if it is of this project; whether it still has such a service is another question.
fn run_named_by(cookie: &str, project: &Project) -> Option<(ServiceName, RunId)> {
    let (head, run) = cookie.rsplit_once('/')?;
    let (name, service) = head.rsplit_once('/')?;
    (name == project.name).then_some((ServiceName::new(service).ok()?, run.parse().ok()?))
}

/// What the log of each service that devstack runs leads to now.
pub fn log_files(project: &Project) -> Vec<(ServiceName, FileId)> {
    let ours = project.services.values().filter(|service| !service.external);
    ours.filter_map(|service| Some((service.name.clone(), logfile::id(&service.log_file)?))).collect()
}

struct Scan<'a> {
    me: &'a Me,
    project: &'a ProjectId,
    reader: Reader,
    namespace: Option<u64>,
    /// Many processes stand in few folders.
    homes: HashMap<PathBuf, Option<PathBuf>>,
}

impl Scan<'_> {
    /// `None`: gone, or dead and only not yet waited for.
    fn glance(&mut self, pid: Pid, now: BootTime) -> Option<Observed> {
        let stat = self.reader.stat(pid).ok()?;
        // State `Z` with other threads is a main thread that ended before them: such a process lives.
        if stat.is_dead() {
            return None;
        }
        let mut it = from_stat(&stat, now);
        if stat.is_kernel_thread() {
            return Some(it);
        }
        it.argv = self.reader.argv(pid).unwrap_or_default();
        // Refused, for another user's.
        if let Ok([cookie, root]) = self.reader.environ(pid, [COOKIE.as_bytes(), ROOT.as_bytes()]) {
            it.cookie = cookie.and_then(|cookie| String::from_utf8(cookie).ok());
            it.root = root.filter(|root| !root.is_empty()).map(|root| PathBuf::from(OsString::from_vec(root)));
            it.outputs = [procfs::fd_target(pid, 1), procfs::fd_target(pid, 2)];
        }
        Some(it)
    }

    /// Dear to read, and needed only of those that lost their parent: who adopts an orphan stands in another session than the
    /// orphan, which is in its worker's or in one of its own.
    fn read_marks(&mut self, all: &mut [Observed]) {
        let sessions: HashMap<Pid, Pid> = all.iter().map(|it| (it.id.pid, it.sid)).collect();
        for it in all.iter_mut().filter(|it| it.sid != 0 && sessions.get(&it.ppid) != Some(&it.sid)) {
            it.mark = self.reader.mark(it.id.pid).ok().flatten();
        }
    }

    fn look_closer(&mut self, it: &mut Observed) -> bool {
        let pid = it.id.pid;
        it.exe = procfs::exe(pid).ok();
        it.cwd = procfs::cwd(pid).ok();
        it.home = it.cwd.as_deref().and_then(|cwd| self.home(cwd));
        it.same_pid_namespace = self.namespace.is_some() && procfs::pid_namespace(pid).ok() == self.namespace;
        it.run_group = cgroup::own_group(pid).and_then(|group| cgroup::run_of(&group, self.project));
        if let Ok((uid, ignores_hangup)) = self.reader.status(pid) {
            // A kernel thread, or one that we may not look into, is nobody's.
            it.uid = Some(uid).filter(|uid| *uid != self.me.uid || it.exe.is_some());
            it.ignores_hangup = ignores_hangup;
        }
        // The number changed hands while we read: half of what was seen is another process's.
        self.reader.stat(pid).is_ok_and(|stat| stat.start_ticks == it.id.start_ticks)
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

fn from_stat(stat: &Stat, now: BootTime) -> Observed {
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
        mark: None,
        run_group: None,
        root: None,
        outputs: [None, None],
        age: now.since(procfs::started_at(stat.start_ticks)),
        memory_bytes: stat.rss_bytes(),
    }
}
