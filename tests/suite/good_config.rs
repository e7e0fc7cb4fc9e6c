//! What a valid configuration comes to: every key, every default, the local file, and what `show` prints of it.

use devstack::config::{Location, Trust, environment, load, show};
use devstack::model::{EnvFile, HealthCheck, Probe, Project, ReadyWhen, RestartPolicy, Service, ServiceName, Signal};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const EVERY_KEY: &str = include_str!("good-config/every-key.toml");

struct Folder {
    _temporary: TempDir,
    root: PathBuf,
}

fn folder() -> Folder {
    let temporary = tempfile::tempdir().expect("temp dir");
    let root = temporary.path().canonicalize().expect("canonical").join("Shop");
    fs::create_dir(&root).expect("folder");
    fs::write(root.join(".env.development"), "A=1\n").expect("file");
    Folder { _temporary: temporary, root }
}

impl Folder {
    fn load(&self, text: &str) -> Project {
        fs::write(self.root.join("devstack.toml"), text).expect("file");
        let location = Location { config_file: self.root.join("devstack.toml"), root: self.root.clone() };
        load(&location, Trust::Everybody).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn service(&self, keys: &str) -> Service {
        self.load(&format!("[services.x]\n{keys}\n")).of("x")
    }
}

trait Of {
    fn of(&self, name: &str) -> Service;
}

impl Of for Project {
    fn of(&self, name: &str) -> Service {
        Service::clone(&self.services[&ServiceName::new(name).expect("a name")])
    }
}

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[test]
fn a_command_alone_gets_every_default_of_the_contract() {
    let folder = folder();
    let project = folder.load("[services.x]\ncommand = ['python', 'x.py']\n");
    let service = project.of("x");
    assert_eq!((project.name.as_str(), &project.log_dir), ("Shop", &folder.root.join("logs")));
    assert!(project.id.0.starts_with("shop-"), "{}", project.id);
    assert_eq!((service.restart, service.restart_delay, service.restart_delay_max), (RestartPolicy::OnFailure, seconds(1), seconds(60)));
    assert_eq!((service.start_limit.burst, service.start_limit.interval), (5, seconds(600)));
    assert_eq!((service.stop_signal, service.stop_timeout), (Signal::TERM, seconds(30)));
    assert_eq!((service.ready.when, service.ready.timeout), (ReadyWhen::Delay(Duration::from_millis(500)), seconds(30)));
    assert_eq!((service.memory_limit, service.cpu_limit, service.max_runtime, service.heartbeat_timeout), (None, None, None, None));
    assert_eq!(
        (service.log_file, service.log_rotate.size, service.log_rotate.keep),
        (folder.root.join("logs/dev_x.log"), Some(50 << 20), 5)
    );
    assert_eq!((service.venv, service.cwd, service.match_argv), (None, folder.root.clone(), service.command));
    assert_eq!(service.health, None);
}

#[test]
fn every_key_of_the_contract_is_read() {
    let folder = folder();
    let project = folder.load(EVERY_KEY);
    let mtproto = project.of("mtproto");
    assert_eq!(project.name, "analyticbot");
    assert_eq!(project.groups["workers"], ["mtproto", "bot"].map(|name| ServiceName::new(name).expect("a name")));
    assert_eq!(mtproto.venv, Some(folder.root.join(".venv")));
    let health = HealthCheck {
        probe: Probe::Http("http://127.0.0.1:9091/health".into()),
        interval: seconds(5),
        timeout: seconds(2),
        failures: 3,
        start_period: seconds(10),
    };
    assert_eq!(mtproto.health, Some(health));
    assert_eq!((mtproto.max_runtime, mtproto.max_runtime_jitter), (Some(seconds(86_400)), 0.05));
    assert_eq!((mtproto.memory_limit, mtproto.cpu_limit, mtproto.health_port), (Some(2 << 30), Some(80.0), Some(9092)));
    let files = [(".env.development", false), (".env.local", true), (".env.mtproto", true)];
    assert_eq!(mtproto.env_files, files.map(|(name, optional)| EnvFile { path: folder.root.join(name), optional }));
    let env: Vec<(&str, &str)> = mtproto.env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(env, [("DEBUG", "false"), ("RATIO", "1.50"), ("SHARED", "CANARY"), ("TELEGRAM_MODE", "CANARY"), ("WORKERS", "4")]);
    assert_eq!(mtproto.hooks.post_stop, Some(vec!["echo".into(), "has ended".into()]));
    assert_eq!(mtproto.restart, RestartPolicy::Always);
}

#[test]
fn bare_numbers_take_the_unit_of_the_seed_and_zero_is_none() {
    let project = folder().load(EVERY_KEY);
    let (bot, api) = (project.of("bot"), project.of("api"));
    assert_eq!((bot.max_runtime, bot.memory_limit, bot.cpu_limit), (Some(seconds(86_400)), Some(2 << 30), Some(80.0)));
    assert_eq!((bot.stop_timeout, bot.venv, bot.restart), (seconds(5), None, RestartPolicy::OnFailure));
    assert_eq!((api.max_runtime, api.memory_limit, api.cpu_limit, api.heartbeat_timeout, api.health_port), (None, None, None, None, None));
    assert_eq!(api.log_rotate.size, None);
}

#[test]
fn readiness_is_the_health_check_unless_it_is_said() {
    let project = folder().load(EVERY_KEY);
    assert_eq!(project.of("bot").ready.when, ReadyWhen::Probe(Probe::Http("http://localhost:8000/health".into())));
    assert_eq!(project.of("api").ready.when, ReadyWhen::Log(r"listening on \d+".into()));
    assert_eq!(project.of("cron").ready.when, ReadyWhen::Notify);
    let folder = folder();
    let patient = folder.service("command = ['x']\nhealth = { tcp = 'localhost:1' }\nready = { timeout = 90 }");
    assert_eq!((patient.ready.when, patient.ready.timeout), (ReadyWhen::Probe(Probe::Tcp("localhost:1".into())), seconds(90)));
    assert_eq!(patient.health.map(|health| health.start_period), Some(seconds(90)));
}

#[test]
fn the_virtual_environment_is_found_or_expected_from_a_set_up() {
    let folder = folder();
    assert_eq!(folder.service("command = ['x']").venv, None);
    let expected = folder.service("command = ['x']\nsetup = { command = ['make'], creates = 'venv/bin/python' }");
    assert_eq!(expected.venv, Some(folder.root.join("venv")));
    fs::create_dir_all(folder.root.join(".venv/bin")).expect("folder");
    assert_eq!(folder.service("command = ['x']").venv, Some(folder.root.join(".venv")));
}

#[test]
fn the_local_file_wins_key_by_key() {
    let folder = folder();
    let local = "[services.mtproto]\nready = { tcp = '127.0.0.1:9091' }\nports = [9999]\n[services.mtproto.env]\nDEBUG = true\n[groups]\nworkers = ['bot']\n";
    fs::write(folder.root.join("devstack.local.toml"), local).expect("file");
    let project = folder.load(EVERY_KEY);
    let mtproto = project.of("mtproto");
    assert_eq!((mtproto.ready.when, mtproto.ready.timeout), (ReadyWhen::Probe(Probe::Tcp("127.0.0.1:9091".into())), seconds(40)));
    assert_eq!((mtproto.ports, mtproto.env["DEBUG"].as_str(), mtproto.env["WORKERS"].as_str()), (vec![9999], "true", "4"));
    assert_eq!(project.groups["workers"].len(), 1);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_accepted() {
    let text = format!("\u{feff}{}", EVERY_KEY.replace('\n', "\r\n"));
    assert_eq!(folder().load(&text).services.len(), 5);
}

#[test]
fn dollars_are_plain_text() {
    let service = folder().service("command = ['echo', '${HOME}', '$$x']\nenv = { A = '${B}' }");
    assert_eq!((service.command[1..].join(" "), service.env["A"].as_str()), ("${HOME} $$x".to_owned(), "${B}"));
}

#[test]
fn a_project_below_a_link_is_one_project() {
    let folder = folder();
    let link = folder.root.with_file_name("link");
    std::os::unix::fs::symlink(&folder.root, &link).expect("link");
    fs::write(folder.root.join("devstack.toml"), "").expect("file");
    let find = |path: &Path| devstack::config::discover(None, None, path, None).expect("found");
    assert_eq!(find(&link), find(&folder.root));
}

#[test]
fn a_folder_whose_name_is_no_text_is_a_project_too() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let root = folder.root.join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&root).expect("folder");
    let odd = Folder { root, ..folder };
    let project = odd.load("[services.x]\ncommand = ['x']\n");
    assert!(project.id.0.starts_with("caf--") || project.id.0.starts_with("caf-"), "{}", project.id);
}

#[test]
fn what_is_shown_is_the_resolved_configuration_without_values_of_variables() {
    let folder = folder();
    let project = folder.load(EVERY_KEY);
    let text = show(&project).replace(&folder.root.display().to_string(), "ROOT").replace(&project.id.0, "ID");
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/good-config/every-key.shown");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&expected, &text).expect("written");
    }
    assert!(!text.contains("CANARY"), "{text}");
    assert_eq!(text, fs::read_to_string(&expected).unwrap_or_default(), "run with UPDATE_GENERATED=1 and read the difference");
}

#[test]
fn an_env_file_is_read_when_a_worker_starts() {
    let folder = folder();
    let service = folder.service("command = ['x']\nenv_file = '.env.development'");
    let variable = |name: &str| {
        let found = environment(&service, Trust::Everybody, std::iter::empty()).expect("an environment");
        found.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    };
    assert_eq!(variable("A"), Some("1".into()));
    fs::write(folder.root.join(".env.development"), "A=2\n").expect("file");
    assert_eq!(variable("A"), Some("2".into()));
}
