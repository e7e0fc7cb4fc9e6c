//! Recorded process tables, written as sentences.

use super::KnownRun;
use crate::model::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub const ROOT: &str = "/proj";

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).expect("a name")
}

pub fn service(service: &str, root: &Path, match_argv: &[&str]) -> Arc<Service> {
    let argv: Vec<String> = match_argv.iter().map(|word| (*word).to_owned()).collect();
    Arc::new(Service {
        name: name(service),
        external: false,
        command: argv.clone(),
        cwd: root.to_path_buf(),
        env: BTreeMap::new(),
        env_files: Vec::new(),
        venv: Some(root.join(".venv")),
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
        log_file: root.join(format!("logs/dev_{service}.log")),
        log_rotate: LogRotate { size: None, keep: 0, age: None, compress: false },
        watch: Vec::new(),
        hooks: Hooks::default(),
    })
}

pub fn project() -> Project {
    let root = Path::new(ROOT);
    let mtproto = service("mtproto", root, &["python", "-m", "apps.mtproto.worker"]);
    let bot = service("bot", root, &["python", "-m", "apps.bot.run_bot"]);
    let api = service("api", root, &["uvicorn", "apps.api.main:app"]);
    Project {
        name: "analyticbot".to_owned(),
        id: ProjectId("id".to_owned()),
        root: root.to_path_buf(),
        config_file: root.join("devstack.toml"),
        log_dir: root.join("logs"),
        log_limit: None,
        http_listen: None,
        services: [mtproto, bot, api].into_iter().map(|service| (service.name.clone(), service)).collect(),
        groups: BTreeMap::new(),
    }
}

pub fn mtproto_log() -> (ServiceName, FileId) {
    (name("mtproto"), FileId { dev: 1, ino: 77 })
}

/// A run of mtproto whose leader started as `a_python` of that number does.
pub fn known(run: &str, leader: Pid, alive_managed: bool) -> KnownRun {
    let leader = ProcId { pid: leader, start_ticks: u64::try_from(leader).expect("a pid") * 100 };
    let run = run.parse().expect("a run id");
    KnownRun { service: name("mtproto"), run, leader: Some(leader), alive_managed, recorded: Vec::new(), log_file: None }
}

/// Ours by user and namespace, an hour old, adopted by pid 1, its own group, standing in the project; higher pids started later.
pub fn a_python(pid: Pid, line: &str) -> Observed {
    Observed {
        id: ProcId { pid, start_ticks: u64::try_from(pid).expect("a pid") * 100 },
        ppid: 1,
        pgid: pid,
        sid: pid,
        on_terminal: false,
        ignores_hangup: false,
        state: b'S',
        uid: Some(1000),
        same_pid_namespace: true,
        argv: shell_words::split(line).expect("a command line").into_iter().map(String::into_bytes).collect(),
        exe: Some(PathBuf::from("/usr/bin/python3.11")),
        cwd: Some(PathBuf::from(ROOT)),
        home: Some(PathBuf::from(ROOT)),
        cookie: None,
        mark: None,
        run_group: None,
        root: None,
        outputs: [None, None],
        age: Duration::from_secs(3600),
        memory_bytes: 1 << 20,
    }
}

pub fn spawn_child(pid: Pid) -> Observed {
    let code = "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=6, pipe_handle=8)";
    a_python(pid, &format!("/proj/.venv/bin/python -B -c '{code}' --multiprocessing-fork"))
}

pub fn tracker(pid: Pid) -> Observed {
    a_python(pid, "/proj/.venv/bin/python -c 'from multiprocessing.resource_tracker import main;main(5)'")
}

pub fn a_shell(pid: Pid) -> Observed {
    a_python(pid, "bash").exe_is("/usr/bin/bash")
}

/// Typed on a terminal in the project, number `hundred * 100`.
pub fn an_editor(hundred: Pid, line: &str, exe: &str) -> Observed {
    a_python(hundred * 100, line).exe_is(exe).on_a_terminal()
}

impl Observed {
    pub fn child_of(self, ppid: Pid) -> Self {
        Self { ppid, ..self }
    }

    pub fn in_group(self, pgid: Pid) -> Self {
        Self { pgid, sid: pgid, ..self }
    }

    pub fn writing(self, file: FileId) -> Self {
        Self { outputs: [Some(file), Some(file)], ..self }
    }

    pub fn exe_is(self, exe: &str) -> Self {
        Self { exe: Some(PathBuf::from(exe)), ..self }
    }

    /// Outside every project.
    pub fn standing_in(self, cwd: &str) -> Self {
        Self { cwd: Some(PathBuf::from(cwd)), home: None, ..self }
    }

    pub fn home_is(self, home: &str) -> Self {
        Self { home: Some(PathBuf::from(home)), ..self }
    }

    pub fn with_mark(self, run: &str) -> Self {
        Self { mark: Some(Mark::of(ROOT.as_bytes(), run.parse().expect("a run id"))), ..self }
    }

    pub fn in_the_group_of(self, service: &str, run: &str) -> Self {
        Self { run_group: Some((name(service), run.parse().expect("a run id"))), ..self }
    }

    pub fn with_cookie(self, cookie: &str) -> Self {
        Self { cookie: Some(cookie.to_owned()), ..self }
    }

    pub fn started_from(self, root: &str) -> Self {
        Self { root: Some(PathBuf::from(root)), ..self }
    }

    pub fn on_a_terminal(self) -> Self {
        Self { on_terminal: true, ..self }
    }

    pub fn under_nohup(self) -> Self {
        Self { ignores_hangup: true, ..self }
    }

    pub fn of_user(self, uid: u32) -> Self {
        Self { uid: Some(uid), ..self }
    }

    pub fn aged(self, seconds: u64) -> Self {
        Self { age: Duration::from_secs(seconds), ..self }
    }
}
