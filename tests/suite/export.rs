//! `export`: what is generated, read by the systems that it is for.

use crate::prometheus::has;
use crate::support::{DEVSTACK, TestStack, free_port, kill, send};
use crate::world::{is_alive, wait_until};
use devstack::model::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

const SERVICES: &str = "
[services.web]
command = ['python3', 'worker.py', 'web', 'pool', 'say', 'a \"quoted\" 100% $HOME ü; #']
env = { MODE = 'pro duction', ODD = 'it is \"100%\" $HOME ü' }
env_file = 'secret.env?'
depends_on = ['bot']
restart = 'always'
max_runtime = '24h'
max_runtime_jitter = 0.1
memory_limit = '2048MB'
cpu_limit = '80%'
health = { url = 'http://127.0.0.1:9091/health' }
[services.bot]
command = 'python3 worker.py bot pool'
restart = 'on-failure'
ready = { notify = true }
heartbeat_timeout = '60s'
[services.once]
command = 'python3 worker.py once'
restart = 'never'
";

/// A Python with the systems that come from PyPI, made once.
pub fn tools() -> &'static Path {
    static TOOLS: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools");
        let bin = folder.join("bin");
        if !bin.join("kubernetes-validate").exists() {
            succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
            let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];
            succeed(Command::new(bin.join("python")).args(pip).args(["supervisor>=4,<5", "kubernetes-validate", "pyyaml"]));
        }
        bin
    });
    &TOOLS
}

pub fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}\n{said}");
    said
}

fn exported(services: &str, target: &str) -> (TestStack, PathBuf) {
    let stack = TestStack::new(services);
    stack.run(&format!("export {target} --out exported")).ends_with(0);
    let folder = stack.root.join("exported");
    (stack, folder)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn systemd_finds_nothing_to_correct_in_its_units() {
    if !has("systemd-analyze", "systemd") {
        return;
    }
    for user in ["", " --user"] {
        let (_stack, folder) = exported(SERVICES, &format!("systemd{user}"));
        let units = files(&folder);
        assert_eq!(units.len(), 4, "{units:?}");
        // Of a program that it looks for in its own PATH, verify wants to be shown the file.
        for unit in units.iter().filter(|unit| unit.extension().is_some_and(|it| it == "service")) {
            let text = std::fs::read_to_string(unit).expect("a unit");
            std::fs::write(unit, text.replace("ExecStart=python3", "ExecStart=/bin/true")).expect("a unit");
        }
        let said = succeed(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units));
        assert!(said.is_empty(), "{said}");
        if !user.is_empty() {
            continue;
        }
        let web = folder.join("shop-web.service");
        let said = succeed(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=25"]).arg(web));
        println!("{}", said.lines().last().unwrap_or_default());
    }
}

#[test]
fn a_real_supervisord_runs_what_is_exported_and_no_pool_is_left_by_it() {
    let (stack, _folder) = exported(
        "[services.web]\ncommand = 'python3 worker.py web pool'\n[services.bot]\ncommand = 'python3 worker.py bot pool'\nmemory_limit = '2048MB'",
        "supervisor",
    );
    let port = free_port();
    let config = format!(
        "[supervisord]\nnodaemon=true\nlogfile={0}/supervisord.log\npidfile={0}/supervisord.pid\n[inet_http_server]\nport=127.0.0.1:{port}
[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n[include]\nfiles={0}/exported/shop.conf\n",
        stack.root.display()
    );
    stack.write("supervisord.conf", &config);
    std::fs::create_dir_all(stack.root.join("logs")).expect("a folder");
    let bin = Path::new(DEVSTACK).parent().expect("a folder");
    let mut supervisord = Command::new(tools().join("supervisord"));
    stack.in_its_environment(supervisord.args(["-n", "-c", "supervisord.conf"]));
    supervisord.env("PATH", format!("{}:{}", bin.display(), crate::support::path())).stdout(Stdio::null()).stderr(Stdio::null());
    let daemon = stack.adopt(supervisord.spawn().expect("it starts"));
    let control = |words: &[&str]| {
        let done = Command::new(tools().join("supervisorctl"))
            .args(["-s", &format!("http://127.0.0.1:{port}")])
            .args(words)
            .output()
            .expect("supervisorctl");
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    wait_until("both programs run", || control(&["status"]).matches("RUNNING").count() == 2);
    let mut all = Vec::new();
    for name in ["web", "bot"] {
        wait_until("its pool is there", || stack.root.join(format!("noted/{name}-pool")).exists());
        let (pool, _) = stack.noted_pool(name);
        kill(pool[0]);
        all.extend(pool);
    }
    assert!(control(&["stop", "shop:*"]).contains("shop:web: stopped"));
    wait_until("nothing is left", || !all.iter().any(|id| is_alive(*id)));
    assert_eq!(control(&["status"]).matches("STOPPED").count(), 2);
    send(daemon, Signal::TERM);
    wait_until("supervisord has left", || !is_alive(daemon));
}

#[test]
fn prometheus_takes_its_configuration_and_rules_and_the_rules_pass_their_tests() {
    if !has("promtool", "prometheus") {
        return;
    }
    let (_stack, folder) = exported(&format!("[http]\nlisten = '127.0.0.1:9464'\n{SERVICES}"), "prometheus");
    for line in [["check", "config", "prometheus.yml"], ["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]] {
        let said = succeed(Command::new("promtool").args(line).current_dir(&folder));
        assert!(said.contains("SUCCESS") && !said.contains("FAILED"), "{said}");
    }
}

#[test]
fn kubernetes_takes_what_is_exported_in_two_versions() {
    let (_stack, folder) = exported(SERVICES, "kubernetes");
    for version in ["1.29", "1.34"] {
        let said = succeed(Command::new(tools().join("kubernetes-validate")).args(["--strict", "-k", version]).args(files(&folder)));
        assert!(said.contains("passed for resource deployment/shop-web") && said.contains("job/shop-once"), "{said}");
    }
    let read = "import json, sys, yaml
values = [one['data'] for one in yaml.safe_load_all(open(sys.argv[1])) if one['kind'] == 'ConfigMap']
print(json.dumps(values))";
    let said = succeed(Command::new(tools().join("python")).args(["-c", read]).arg(folder.join("web.yaml")));
    let values: serde_json::Value = serde_json::from_str(&said).expect("json");
    assert_eq!(
        values,
        serde_json::json!([{ "MODE": "pro duction", "ODD": "it is \"100%\" $HOME ü" }]),
        "as another reader of YAML reads it"
    );
}

#[test]
fn check_is_content_with_what_was_written_and_shows_what_differs() {
    for target in ["systemd", "supervisor", "prometheus", "grafana", "kubernetes"] {
        let (stack, folder) = exported(SERVICES, target);
        let check = format!("export {target} --out exported --check");
        let done = stack.run(&check).ends_with(0);
        assert!(done.stdout.is_empty() && done.stderr.is_empty(), "{done:?}");
        let mut changed = folder.clone();
        while changed.is_dir() {
            changed = files(&changed).remove(0);
        }
        let text = std::fs::read_to_string(&changed).expect("a file");
        std::fs::write(&changed, format!("{text}extra\n")).expect("written");
        let done = stack.run(&check).ends_with(1);
        assert!(
            done.stdout.contains("-extra") && done.stdout.contains(&*changed.file_name().expect("a name").to_string_lossy()),
            "{done:?}"
        );
        std::fs::remove_file(&changed).expect("removed");
        stack.run(&check).ends_with(1);
    }
    let stack = TestStack::new(SERVICES);
    stack.run("export systemd --check").ends_with(2);
    stack.run("export cron").ends_with(2);
    stack.write("secret.env", "TOKEN=hidden-value\n");
    for target in ["systemd", "supervisor", "prometheus", "grafana", "kubernetes"] {
        let done = stack.run(&format!("export {target} --env-file secret.env")).ends_with(0);
        assert!(!done.stdout.contains("hidden-value") && !done.stderr.contains("hidden-value"), "{done:?}");
    }
}
