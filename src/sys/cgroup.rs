//! Groups of the kernel (cgroup v2), one a run, where this process is allowed to make them: below its own.
//!
//! Decides nothing about processes. Needs no controller, only `cgroup.kill` (cgroups(7), Linux 5.14). Everything works without;
//! with it the kernel keeps the list of a run's processes, and kills or freezes them in one step. Invariant: a group is found
//! by asking the kernel, about this process or about a run's, never by a path that somebody wrote down.

use crate::model::{Pid, ProjectId, RunId, ServiceName};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Set to anything, it makes devstack do without.
pub const OFF: &str = "DEVSTACK_NO_CGROUP";

/// What the folder of a project's groups begins with.
const OURS: &str = "devstack-";

/// A worker may make groups of its own below its run's; deeper than this is a loop.
const DEEPEST: usize = 16;

/// Where the groups of one project's runs are made.
#[derive(Debug)]
pub struct Groups {
    folder: PathBuf,
}

impl Groups {
    /// Makes the project's folder below the group of this process. `None` where that is not possible.
    pub fn of(project: &ProjectId) -> Option<Self> {
        let folder = below(&mount_point()?, &own_group(own_pid())?).join(format!("{OURS}{}", project.0));
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return None,
            _ => {}
        }
        // Refused where the controller is not ours to pass on; then only our own looks watch the memory.
        let _ = fs::write(folder.join("cgroup.subtree_control"), "+memory");
        let groups = Self { folder };
        groups.prune();
        groups.folder.join("cgroup.kill").exists().then_some(groups)
    }

    /// # Errors
    /// When the kernel refuses another group.
    pub fn create(&self, service: &ServiceName, run: RunId) -> io::Result<Group> {
        // Whoever removes the folder of a project that has no run left does not ask us.
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(format!("{service}.{run}"));
        fs::create_dir(&path)?;
        Group::open(path)
    }

    /// Removes what is empty: the kernel refuses the others.
    fn prune(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path());
        }
    }

    /// The last run is gone.
    pub fn remove(&self) {
        self.prune();
        let _ = fs::remove_dir(&self.folder);
    }
}

/// A devstack that was started inside a worker is not of that worker's run: it leaves the run's group.
pub fn leave_run() {
    let (Some(mount), Some(own)) = (mount_point(), own_group(own_pid())) else { return };
    let outside = outside_of_ours(&own);
    if outside != own {
        // Refused where the worker was: it will be ended with it.
        let _ = fs::write(below(&mount, &outside).join("cgroup.procs"), "0");
    }
}

/// Lets the run go on that a process is of, if it is of one; who made its group may have been killed while it was frozen.
pub fn thaw(pid: Pid) {
    let (Some(mount), Some(own)) = (mount_point(), own_group(pid)) else { return };
    let project_and_run = outside_of_ours(&own).iter().count() + 2;
    let run: PathBuf = own.iter().take(project_and_run).collect();
    if run.iter().count() == project_and_run
        && let Ok(group) = Group::open(below(&mount, &run))
    {
        group.freeze(false);
    }
}

fn own_pid() -> Pid {
    std::process::id().cast_signed()
}

/// The processes of one run.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    folder: OwnedFd,
}

impl Group {
    fn open(path: PathBuf) -> io::Result<Self> {
        let folder = rustix::fs::open(&path, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { path, folder })
    }

    /// The group that a process of a run is in, if it is one that we made for that run.
    pub fn of_run(pid: Pid, project: &ProjectId, service: &ServiceName, run: RunId) -> Option<Self> {
        let name = run_of(&own_group(pid)?, project)?;
        (name == (service.clone(), run)).then(|| Self::open(below(&mount_point()?, &own_group(pid)?)).ok())?
    }

    /// Every process in it and in the groups below it; a dead one that nobody collected is not listed.
    pub fn members(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        add_members(&self.path, DEEPEST, &mut found);
        found
    }

    /// A frozen process does not run until it is thawed; SIGKILL ends it all the same.
    pub fn freeze(&self, frozen: bool) {
        let _ = self.write("cgroup.freeze", if frozen { "1" } else { "0" });
    }

    /// SIGKILL to all of it at once; what is being forked meanwhile dies too.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn kill(&self) -> io::Result<()> {
        self.write("cgroup.kill", "1")
    }

    /// Of all that ever ran in it; `None` where the kernel does not say.
    pub fn cpu_time(&self) -> Option<Duration> {
        Some(Duration::from_micros(self.entry("cpu.stat", "usage_usec")?))
    }

    /// The kernel ends processes of it rather than let it use more than so many bytes. Needs the memory controller.
    pub fn limit_memory(&self, bytes: u64) {
        // One member less is a broken pool: all of it or nothing.
        if self.write("memory.max", &bytes.to_string()).is_ok() {
            let _ = self.write("memory.oom.group", "1");
        }
    }

    /// The kernel has ended processes of it because of [`Group::limit_memory`].
    pub fn ran_out_of_memory(&self) -> bool {
        self.entry("memory.events", "oom_kill").is_some_and(|count| count > 0)
    }

    /// A number of one of the kernel's lists of `name value` lines.
    fn entry(&self, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.path.join(file)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    fn write(&self, name: &str, value: &str) -> io::Result<()> {
        let file = rustix::fs::openat(&self.folder, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(rustix::io::write(&file, value.as_bytes()).map(drop)?)
    }

    /// With the groups that its processes made below it. One that is not empty stays.
    pub fn remove(&self) {
        remove_empty(&self.path, DEEPEST);
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

/// Whose run a process of the project is in, by the group that the kernel has it in.
pub fn run_of(group: &Path, project: &ProjectId) -> Option<(ServiceName, RunId)> {
    let ours = format!("{OURS}{}", project.0);
    let mut parts = group.iter().skip_while(|part| *part != OsStr::new(&ours)).skip(1);
    let (service, run) = parts.next()?.to_str()?.rsplit_once('.')?;
    Some((ServiceName::new(service).ok()?, run.parse().ok()?))
}

/// The group of a process as `/proc/PID/cgroup` names it; absolute, below the mount point.
pub fn own_group(pid: Pid) -> Option<PathBuf> {
    let text = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
    let line = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    let path = Path::new(OsStr::from_bytes(line));
    // Deleted, or outside of what this namespace shows.
    let whole = path.is_absolute() && !line.ends_with(b" (deleted)") && path.iter().all(|part| part != "..");
    whole.then(|| path.to_path_buf())
}

/// The nearest group above that is not of a run of ours.
fn outside_of_ours(group: &Path) -> PathBuf {
    group.iter().take_while(|part| !part.as_bytes().starts_with(OURS.as_bytes())).collect()
}

fn below(mount: &Path, group: &Path) -> PathBuf {
    mount.join(group.strip_prefix("/").unwrap_or(group))
}

/// Where the hierarchy is mounted: its root for this process' namespace.
fn mount_point() -> Option<PathBuf> {
    let usual = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    usual.into_iter().find(|path| {
        let kind = rustix::fs::statfs(path).map(|stat| stat.f_type);
        kind.is_ok_and(|kind| kind == nix::libc::CGROUP2_SUPER_MAGIC)
    })
}

fn add_members(folder: &Path, depth: usize, found: &mut Vec<Pid>) {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<Pid>().ok()).filter(|pid| *pid > 0));
    for below in folders_in(folder).take_while(|_| depth > 0) {
        add_members(&below, depth - 1, found);
    }
}

fn remove_empty(folder: &Path, depth: usize) {
    for below in folders_in(folder).take_while(|_| depth > 0) {
        remove_empty(&below, depth - 1);
    }
    let _ = fs::remove_dir(folder);
}

fn folders_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_in(group: &str) -> Option<String> {
        run_of(Path::new(group), &ProjectId("shop-1f".to_owned())).map(|(service, run)| format!("{service} {run}"))
    }

    #[test]
    fn a_group_names_its_run() {
        assert_eq!(run_in("/devstack-shop-1f/mtproto.7f3a-12").as_deref(), Some("mtproto 7f3a-12"));
        assert_eq!(run_in("/user.slice/devstack-shop-1f/web.1-2/own/deeper").as_deref(), Some("web 1-2"));
        for other in ["/", "/devstack-shop-1f", "/devstack-shop-2/web.1-2", "/devstack-shop-1f/web", "/devstack-shop-1f/.1-2", "/x/web.1-2"]
        {
            assert_eq!(run_in(other), None, "{other}");
        }
    }

    #[test]
    fn a_devstack_started_in_a_worker_leaves_its_group() {
        let outside = |group: &str| outside_of_ours(Path::new(group)).display().to_string();
        assert_eq!(outside("/a/devstack-shop-1f/web.1-2/x"), "/a");
        assert_eq!((outside("/"), outside("/user.slice/a.scope")), ("/".to_owned(), "/user.slice/a.scope".to_owned()));
    }

    /// The names and forms of cgroups(7), in a folder that stands for the kernel's.
    #[test]
    fn a_memory_limit_is_for_the_whole_group_and_only_an_end_because_of_it_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        for file in ["memory.max", "memory.oom.group"] {
            fs::write(folder.path().join(file), "").expect("a file");
        }
        let group = Group::open(folder.path().to_owned()).expect("a group");
        assert!(!group.ran_out_of_memory(), "without the controller");
        group.limit_memory(157_286_400);
        let content = |file: &str| fs::read_to_string(folder.path().join(file)).expect("readable");
        assert_eq!((content("memory.max").as_str(), content("memory.oom.group").as_str()), ("157286400", "1"));
        for (count, ran_out) in [(0, false), (1, true)] {
            let events = format!("low 0\nhigh 0\nmax 31\noom 1\noom_kill {count}\noom_group_kill {count}\n");
            fs::write(folder.path().join("memory.events"), events).expect("a file");
            assert_eq!(group.ran_out_of_memory(), ran_out);
        }
    }
}
