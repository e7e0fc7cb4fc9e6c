//! A project in a temporary folder, real CPython processes in and beside it, and their certain end.

use devstack::cleanup::{Choice, Decision, Kind, LedgerFacts, Role, role_of};
use devstack::cli::cleanup_workers::{Done, end, look};
use devstack::model::*;
use devstack::sys::pidfd::{PidFd, wait_any};
use devstack::sys::procfs;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a spawn pool with two locks, then tells `READY` who they are: `self`, `child`, `tracker` and `sem` lines.
const WORKER: &str = r#"
import multiprocessing as mp, os, signal, sys, time

def work(queue, stubborn, lock):
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    queue.put(os.getpid())
    time.sleep(600)

def main(ready, stubborn):
    ctx = mp.get_context("spawn")
    queue, lock = ctx.Queue(), ctx.Lock()
    children = [ctx.Process(target=work, args=(queue, stubborn, lock)) for _ in range(2)]
    for child in children:
        child.start()
    lines = [f"self {os.getpid()}"] + [f"child {queue.get()}" for _ in children]
    from multiprocessing.resource_tracker import _resource_tracker
    lines.append(f"tracker {_resource_tracker._pid}")
    lines.append(f"sem {lock._semlock.name}")
    with open(ready + ".tmp", "w") as file:
        file.write("\n".join(lines))
    os.rename(ready + ".tmp", ready)
    time.sleep(600)

if __name__ == "__main__":
    main(sys.argv[1], "stubborn" in sys.argv[2:])
"#;

/// One project; whatever was started in it ends with it.
pub struct World {
    folder: tempfile::TempDir,
    pub project: Project,
    pub ledger: LedgerFacts,
    started: Vec<Child>,
    known: Vec<ProcId>,
}

/// What a worker told about itself.
#[derive(Debug, Clone)]
pub struct Pool {
    pub main: ProcId,
    pub children: Vec<ProcId>,
    pub tracker: ProcId,
    pub semaphore: PathBuf,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("a path");
        // Another user runs something here, too.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).expect("chmod");
        for folder in ["apps/mtproto", "logs", "ready"] {
            fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        for module in ["worker", "worker2"] {
            fs::write(root.join(format!("apps/mtproto/{module}.py")), WORKER).expect("a script");
        }
        fs::write(root.join("devstack.toml"), "").expect("a configuration");
        Self { folder, project: project(&root), ledger: LedgerFacts::default(), started: Vec::new(), known: Vec::new() }
    }

    pub fn root(&self) -> &Path {
        &self.project.root
    }

    pub fn log(&self) -> PathBuf {
        self.root().join("logs/dev_mtproto.log")
    }

    /// A command in the project, in its own process group, silent.
    pub fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).current_dir(self.root()).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        for name in ["DEVSTACK_RUN", "DEVSTACK_ROOT"] {
            command.env_remove(name);
        }
        command
    }

    pub fn start(&mut self, command: &mut Command) -> ProcId {
        let child = command.spawn().expect("it starts");
        let pid = i32::try_from(child.id()).expect("a pid");
        self.started.push(child);
        self.watch(pid)
    }

    /// Whose end is assured.
    pub fn watch(&mut self, pid: i32) -> ProcId {
        let id = ProcId { pid, start_ticks: procfs::start_ticks(pid).expect("it lives") };
        self.known.push(id);
        id
    }

    /// A pool as `python3 -m apps.mtproto.MODULE` makes it.
    pub fn start_pool(&mut self, module: &str, options: &[&str], change: impl FnOnce(&mut Command)) -> Pool {
        let ready = self.ready_file();
        let module = format!("apps.mtproto.{module}");
        let mut command = self.command(&["python3", "-m", &module, ready.to_str().expect("text")]);
        command.args(options);
        change(&mut command);
        self.start(&mut command);
        self.pool(&ready)
    }

    pub fn ready_file(&self) -> PathBuf {
        self.root().join(format!("ready/{}", self.known.len()))
    }

    pub fn pool(&mut self, ready: &Path) -> Pool {
        wait_until("the pool is ready", || ready.exists());
        let text = fs::read_to_string(ready).expect("readable");
        let all = |word: &str| -> Vec<String> {
            text.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ').map(str::to_owned)).collect()
        };
        let mut watched = |word: &str| -> Vec<ProcId> { all(word).iter().map(|pid| self.watch(pid.parse().expect("a pid"))).collect() };
        let (main, children, tracker) = (watched("self")[0], watched("child"), watched("tracker")[0]);
        Pool { main, children, tracker, semaphore: PathBuf::from(format!("/dev/shm/sem.{}", &all("sem")[0][1..])) }
    }

    /// SIGKILL, and gone: its children have been adopted.
    pub fn kill(&mut self, id: ProcId) {
        end_now(id);
        for child in &mut self.started {
            if i32::try_from(child.id()).ok() == Some(id.pid) {
                child.wait().expect("reaped");
            }
        }
        wait_until("it is gone", || procfs::start_ticks(id.pid).ok() != Some(id.start_ticks));
    }

    pub fn look(&self, choice: &Choice) -> Vec<Decision> {
        look(&self.project, &self.ledger, choice).expect("a scan")
    }

    /// What is proven: mentions of other tests' making are none of a test's business.
    pub fn ours(&self, choice: &Choice) -> Vec<Decision> {
        let mut seen = self.look(choice);
        seen.retain(|one| one.kind != Kind::LookAlike);
        seen
    }

    pub fn clean(&self, choice: &Choice) -> Vec<Done> {
        end(&self.project, &self.ledger, choice, self.look(choice)).expect("a clean-up")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Trackers last: they unlink the semaphores of the pools that are gone, and leave by themselves.
        let (trackers, others): (Vec<ProcId>, Vec<ProcId>) = self.known.iter().partition(|id| is_tracker(**id));
        others.into_iter().for_each(end_now);
        let held: Vec<PidFd> = trackers.iter().filter_map(|id| PidFd::open(*id).ok().flatten()).collect();
        for one in held {
            let _ = wait_any(&[one], Some(Duration::from_secs(2)));
        }
        trackers.into_iter().for_each(end_now);
        for child in &mut self.started {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = self.folder.path();
    }
}

impl Pool {
    pub fn everyone_but_main(&self) -> Vec<ProcId> {
        [self.children.clone(), vec![self.tracker]].concat()
    }
}

pub fn is_alive(id: ProcId) -> bool {
    PidFd::open(id).expect("a pidfd").is_some()
}

fn is_tracker(id: ProcId) -> bool {
    procfs::argv(id.pid).is_ok_and(|argv| role_of(&argv) == Role::ResourceTracker)
}

fn end_now(id: ProcId) {
    if let Ok(Some(held)) = PidFd::open(id) {
        let _ = held.signal(Signal::KILL);
        let _ = wait_any(&[held], Some(PATIENCE));
    }
}

pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn project(root: &Path) -> Project {
    let service = Arc::new(service(root));
    Project {
        name: "analyticbot".to_owned(),
        id: ProjectId("test".to_owned()),
        root: root.to_path_buf(),
        config_file: root.join("devstack.toml"),
        log_dir: root.join("logs"),
        log_limit: None,
        http_listen: None,
        services: BTreeMap::from([(service.name.clone(), service)]),
        groups: BTreeMap::new(),
    }
}

fn service(root: &Path) -> Service {
    let argv = ["python", "-m", "apps.mtproto.worker"].map(str::to_owned).to_vec();
    Service {
        name: ServiceName::new("mtproto").expect("a name"),
        external: false,
        command: argv.clone(),
        cwd: root.to_path_buf(),
        env: BTreeMap::new(),
        env_files: Vec::new(),
        venv: None,
        depends_on: Vec::new(),
        groups: Vec::new(),
        setup: None,
        match_argv: argv,
        ports: Vec::new(),
        health: None,
        ready: Ready { when: ReadyWhen::Delay(Duration::ZERO), timeout: Duration::ZERO },
        heartbeat_timeout: None,
        max_runtime: None,
        max_runtime_jitter: 0.0,
        memory_limit: None,
        cpu_limit: None,
        cpu_window: Duration::from_secs(10),
        restart: RestartPolicy::Always,
        restart_delay: Duration::ZERO,
        restart_delay_max: Duration::ZERO,
        start_limit: StartLimit { burst: 5, interval: Duration::from_secs(600) },
        stop_signal: Signal::TERM,
        stop_timeout: Duration::from_secs(30),
        kill_mode: KillMode::Mixed,
        health_port: None,
        log_file: root.join("logs/dev_mtproto.log"),
        log_rotate: LogRotate { size: None, keep: 0, age: None, compress: false },
        watch: Vec::new(),
        hooks: Hooks::default(),
    }
}
