//! A project of its own for each test that drives the built binary, and the certain end of everything that was started in it.

use crate::running::{Done, Running};
use crate::world::{is_alive, wait_until};
use devstack::model::{Pid, ProcId, Signal};
use devstack::sys::cgroup::Groups;
use devstack::sys::pidfd::PidFd;
use devstack::sys::procfs;
use serde_json::Value;
use std::cell::RefCell;
use std::fs::{self, File};
use std::marker::PhantomData;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub const DEVSTACK: &str = env!("CARGO_BIN_EXE_devstack");
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Said before every configuration: a worker is ready once the stub says that it has started.
const DEFAULTS: &str = "
[project]
name = 'shop'
[defaults]
ready = { log = 'started', timeout = '20s' }
stop_timeout = '15s'
restart = 'never'
";

pub struct TestStack {
    base: PathBuf,
    pub root: PathBuf,
    started: RefCell<Vec<Child>>,
    settings: RefCell<Vec<(&'static str, String)>>,
    _folder: tempfile::TempDir,
}

impl TestStack {
    /// Services as they stand in a devstack.toml; the stub is `python3 worker.py NAME ACTION…`.
    pub fn new(services: &str) -> Self {
        Self::empty().with(services)
    }

    pub fn with(self, services: &str) -> Self {
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/stub/worker.py"), self.root.join("worker.py")).expect("the stub");
        self.configure(services);
        self
    }

    pub fn empty() -> Self {
        Self::below("e2e")
    }

    /// With all of its folders below one of this name.
    pub fn below(name: impl AsRef<Path>) -> Self {
        Self::at(&std::env::temp_dir(), name)
    }

    /// On the file system of this folder.
    pub fn at(place: &Path, name: impl AsRef<Path>) -> Self {
        let folder = tempfile::Builder::new().prefix("devstack-").tempdir_in(place).expect("a folder");
        let base = folder.path().canonicalize().expect("a path").join(name);
        fs::create_dir_all(&base).expect("a folder");
        for name in ["project", "home", "state", "runtime", "output"] {
            fs::DirBuilder::new().mode(0o700).create(base.join(name)).expect("a folder");
        }
        Self { root: base.join("project"), base, started: RefCell::default(), settings: RefCell::default(), _folder: folder }
    }

    pub fn configure(&self, services: &str) {
        self.write("devstack.toml", &format!("{DEFAULTS}{services}"));
    }

    pub fn write(&self, file: &str, content: &str) {
        fs::write(self.root.join(file), content).expect("a file");
    }

    /// A variable in the environment of every command from now on.
    pub fn set(&self, name: &'static str, value: impl Into<String>) {
        self.settings.borrow_mut().push((name, value.into()));
    }

    /// As an `env` table: where a devstack that a service starts finds this project's state.
    pub fn places(&self) -> String {
        let place = |name: &str, folder: &str| format!("{name} = '{}'", self.base.join(folder).display());
        format!("{{ {}, {} }}", place("XDG_STATE_HOME", "state"), place("XDG_RUNTIME_DIR", "runtime"))
    }

    /// Of the services of this project, and of everything else that a test starts in it.
    pub fn in_its_environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env_clear().current_dir(&self.root).stdin(Stdio::null());
        command.env("PATH", path()).env("HOME", self.base.join("home"));
        command.env("XDG_STATE_HOME", self.base.join("state")).env("XDG_RUNTIME_DIR", self.base.join("runtime"))
    }

    /// `devstack` with the words of `line`.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(DEVSTACK);
        self.in_its_environment(&mut command).args(line.split_whitespace()).envs(self.settings.borrow().iter().cloned());
        command
    }

    /// Runs `devstack` to its end.
    pub fn run(&self, line: &str) -> Done {
        self.begin(line).end()
    }

    pub fn begin(&self, line: &str) -> Running<'_> {
        self.begin_command(self.command(line))
    }

    pub fn begin_command(&self, command: Command) -> Running<'_> {
        self.try_begin(command).expect("it starts")
    }

    fn try_begin(&self, mut command: Command) -> std::io::Result<Running<'_>> {
        let (stdout, stderr) = (self.new_output("stdout"), self.new_output("stderr"));
        let new = |path: &Path| File::options().append(true).create_new(true).open(path).expect("a file");
        let child = command.stdout(new(&stdout)).stderr(new(&stderr)).spawn()?;
        Ok(Running { child, stdout, stderr, said: format!("{command:?}"), stack: PhantomData })
    }

    /// Where a command's output goes; outside of the project.
    pub fn new_output(&self, what: &str) -> PathBuf {
        let folder = self.base.join("output");
        folder.join(format!("{}-{what}", fs::read_dir(&folder).expect("a folder").count()))
    }

    /// Something else than devstack: a copy of a service, a stranger. It ends with the test.
    pub fn start_beside(&self, program: &str, arguments: &[&str]) -> ProcId {
        let mut command = Command::new(program);
        self.in_its_environment(command.args(arguments)).stdout(Stdio::null()).stderr(Stdio::null());
        self.adopt(command.spawn().expect("it starts"))
    }

    pub fn adopt(&self, child: Child) -> ProcId {
        let id = proc_id(child.id().cast_signed());
        self.started.borrow_mut().push(child);
        id
    }

    pub fn status(&self) -> Value {
        let done = self.run("status --json");
        serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
    }

    pub fn service(&self, name: &str) -> Value {
        let status = self.status();
        let found = status["services"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
        found.unwrap_or_else(|| panic!("no {name} in {status:#}")).clone()
    }

    /// The main process of a running service.
    pub fn pid(&self, name: &str) -> ProcId {
        let service = self.service(name);
        proc_id(pid_in(&service["pid"]).unwrap_or_else(|| panic!("{name} has no process: {service:#}")))
    }

    pub fn wait_for_state(&self, name: &str, state: &str) -> Value {
        let mut seen = Value::Null;
        wait_until(&format!("{name} is {state}"), || {
            seen = self.service(name);
            seen["state"] == state
        });
        seen
    }

    /// One of devstack's own files of this project.
    pub fn state_file(&self, name: &str) -> PathBuf {
        let mut projects = fs::read_dir(self.base.join("state/devstack")).expect("it was used");
        projects.next().expect("one project").expect("an entry").path().join(name)
    }

    pub fn log_file(&self, name: &str) -> PathBuf {
        self.root.join(format!("logs/dev_{name}.log"))
    }

    pub fn log(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file(name)).unwrap_or_default()).into_owned()
    }

    /// When the stub said `word`, by the clock that all processes share, each time that it did.
    pub fn times(&self, name: &str, word: &str) -> Vec<u64> {
        let prefix = format!("{name} {word} ");
        self.log(name).lines().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok()).collect()
    }

    /// The lines of what the stub noted, as soon as it did.
    pub fn noted(&self, what: &str) -> Vec<String> {
        let file = self.root.join("noted").join(what);
        wait_until(&format!("{what} is noted"), || file.exists());
        let lines = fs::read_to_string(&file).expect("readable").lines().map(str::to_owned).collect();
        fs::remove_file(file).expect("it is read once");
        lines
    }

    pub fn noted_process(&self, what: &str) -> ProcId {
        proc_id(self.noted(what)[0].parse().expect("a pid"))
    }

    /// The pool that the stub noted: its processes, the resource tracker last, and its semaphore.
    pub fn noted_pool(&self, name: &str) -> (Vec<ProcId>, PathBuf) {
        let mut lines = self.noted(&format!("{name}-pool"));
        let semaphore = PathBuf::from(lines.pop().expect("a semaphore"));
        (lines.iter().map(|pid| proc_id(pid.parse().expect("a pid"))).collect(), semaphore)
    }

    pub fn supervisor(&self) -> ProcId {
        proc_id(pid_in(&self.status()["supervisor"]["pid"]).expect("a supervisor"))
    }

    pub fn keeper(&self) -> ProcId {
        proc_id(procfs::stat(self.supervisor().pid).expect("it lives").ppid)
    }

    /// Every process that is anybody's business here: devstack's own, workers, strays.
    pub fn processes(&self) -> Vec<ProcId> {
        let mut own: Vec<Pid> = self.started.borrow().iter().map(|child| child.id().cast_signed()).collect();
        own.push(std::process::id().cast_signed());
        let pids = procfs::pids().expect("a process table").into_iter();
        let ours = pids.filter(|pid| !own.contains(pid) && (self.is_devstack(*pid) || self.was_started_here(*pid)));
        ours.filter_map(|pid| Some(ProcId { pid, start_ticks: procfs::start_ticks(pid).ok()? })).filter(|id| is_alive(*id)).collect()
    }

    fn is_devstack(&self, pid: Pid) -> bool {
        let argv = procfs::argv(pid).unwrap_or_default();
        argv.get(1).is_some_and(|verb| verb == b"supervise")
            && argv.get(3).map(Vec::as_slice) == Some(self.root.as_os_str().as_encoded_bytes())
    }

    fn was_started_here(&self, pid: Pid) -> bool {
        let marked = || procfs::environ_value(pid, b"DEVSTACK_ROOT").is_some_and(|root| root == self.root.as_os_str().as_encoded_bytes());
        let in_base = |link: &str| fs::read_link(format!("/proc/{pid}/{link}")).is_ok_and(|to| to.starts_with(&self.base));
        ["cwd", "fd/1", "fd/2"].into_iter().any(in_base) || marked()
    }
}

impl Drop for TestStack {
    /// Also after a failed assertion: everything ends, devstack first, so that it starts nothing again.
    fn drop(&mut self) {
        let devstack = |stack: &Self| stack.processes().into_iter().filter(|id| stack.is_devstack(id.pid)).collect::<Vec<_>>();
        devstack(self).into_iter().for_each(|id| send(id, Signal::CONT));
        if self.root.join("devstack.toml").exists() {
            // What a test started may have taken every number: then nothing can be asked, and a panic here would end nothing.
            let stop = self.try_begin(self.command("stop --supervisor --kill"));
            let _ = stop.map(|mut stop| stop.end_within(Duration::from_secs(10)));
        }
        let trackers_until = Instant::now() + Duration::from_secs(2);
        let until = Instant::now() + PATIENCE;
        loop {
            devstack(self).into_iter().for_each(|id| send(id, Signal::KILL));
            let mut left = self.processes();
            if left.is_empty() || Instant::now() > until {
                break;
            }
            // A resource tracker unlinks its pool's semaphores once the pool is gone, and leaves.
            left.retain(|id| Instant::now() > trackers_until || !is_resource_tracker(*id));
            left.into_iter().for_each(|id| send(id, Signal::KILL));
            pause();
        }
        // A devstack that was killed could not give its groups back.
        if let Some(groups) = Groups::of(&devstack::config::project_id(&self.root)) {
            groups.remove();
        }
        for child in self.started.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn is_resource_tracker(id: ProcId) -> bool {
    procfs::argv(id.pid).is_ok_and(|argv| devstack::cleanup::role_of(&argv) == devstack::cleanup::Role::ResourceTracker)
}

/// Between two looks at something that is waited for; no test relies on its length.
pub fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

pub fn proc_id(pid: Pid) -> ProcId {
    ProcId { pid, start_ticks: procfs::start_ticks(pid).unwrap_or_else(|error| panic!("pid {pid}: {error}")) }
}

pub fn pid_in(value: &Value) -> Option<Pid> {
    value.as_i64().and_then(|pid| Pid::try_from(pid).ok())
}

pub fn send(id: ProcId, signal: Signal) {
    if let Ok(Some(process)) = PidFd::open(id) {
        process.signal(signal).expect("ours to signal");
    }
}

/// SIGKILL, and gone.
pub fn kill(id: ProcId) {
    send(id, Signal::KILL);
    wait_until("it is gone", || !is_alive(id));
}

/// A port that nobody listens on, not asked for twice.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// With the real interpreter in front of a shim that starts it slowly and needs a home folder.
pub fn path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let found = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().expect("python3");
        let python = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
        format!("{}:{}", python.parent().expect("a folder").display(), std::env::var("PATH").expect("PATH"))
    })
}
