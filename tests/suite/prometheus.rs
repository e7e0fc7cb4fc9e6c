//! A real Prometheus scrapes a worker and the project's endpoint, and `promtool` finds nothing to correct in what they say.

use crate::run_health_port::{get, raw};
use crate::support::{TestStack, free_port, kill};
use crate::wheel::unpacked;
use crate::world::wait_until;
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

const WORKER: &str = "
import sys
from devstack import HealthCheckServer, ProcessManager
with ProcessManager('web', max_runtime_hours=24, memory_limit_mb=2048) as manager, HealthCheckServer(int(sys.argv[1]), manager):
    print('started', flush=True)
    while manager.should_continue():
        manager.heartbeat()
        manager.wait(0.5)
";

/// Whether it is there; on a machine of CI it has to be.
pub fn has(program: &str, package: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "{program} is missing");
    if !found {
        println!("SKIPPED: {program} is missing (on Debian: apt install {package})");
    }
    found
}

fn lint(text: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool");
    promtool.stdin.take().expect("piped").write_all(text.as_bytes()).expect("read");
    let done = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&done.stderr).into_owned() + &String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.is_empty(), "{said}\n{text}");
}

fn body(port: u16) -> String {
    let answer = raw(port, "GET /metrics?format=prometheus HTTP/1.1\r\nHost: localhost\r\n\r\n");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_else(|| panic!("{answer:?}"))
}

#[test]
fn a_worker_and_the_project_are_scraped_and_their_series_can_be_asked_for() {
    if !has("prometheus", "prometheus") || !has("promtool", "prometheus") {
        return;
    }
    let [worker, project, server] = [free_port(), free_port(), free_port()];
    let stack = TestStack::new(&format!(
        "[http]\nlisten = '127.0.0.1:{project}'\n[services.web]\ncommand = ['python3', 'program.py', '{worker}']\nenv = {{ PYTHONPATH = '{}' }}
memory_limit = '2048MB'\nmax_runtime = '24h'\nrestart = 'always'\nrestart_delay = '0s'\n[services.bot]\ncommand = 'python3 worker.py bot'",
        unpacked().display()
    ));
    stack.write("program.py", WORKER);
    stack.run("start").ends_with(0);
    wait_until("both have been sampled", || body(worker).contains("cpu_percent") && body(project).contains("heartbeat_age_seconds"));
    lint(&body(worker));
    lint(&body(project));

    let jobs = [("worker", worker), ("project", project)]
        .map(|(job, port)| format!("- job_name: {job}\n  static_configs:\n  - targets: ['127.0.0.1:{port}']\n"));
    stack.write("prometheus.yml", &format!("global:\n  scrape_interval: 1s\nscrape_configs:\n{}", jobs.concat()));
    let place = |name: &str| stack.root.join(name).display().to_string();
    start_prometheus(&stack, &place("prometheus.yml"), server);
    let series = |query: &str| -> Vec<(String, String)> {
        let answer = get(server, &format!("/api/v1/query?query={query}")).1;
        let label = |one: &Value, name: &str| one["metric"][name].as_str().unwrap_or_default().to_owned();
        let all = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let mut all: Vec<_> = all.iter().map(|one| (label(one, "job"), label(one, "service"))).collect();
        all.sort();
        all
    };
    let named = |job: &str, service: &str| (job.to_owned(), service.to_owned());
    let everybody = vec![named("project", "bot"), named("project", "web"), named("worker", "web")];
    wait_until("all series are there", || series("devstack_service_up==1") == everybody);
    let limited = vec![named("project", "web"), named("worker", "web")];
    wait_until("and their limits", || series("devstack_service_memory_bytes/devstack_service_limit_memory_bytes<1") == limited);
    wait_until("and the heartbeat, which devstack hears too", || series("devstack_service_heartbeat_age_seconds<60") == limited);

    // Every panel of the dashboard shows something, once there was a restart to show.
    kill(stack.pid("web"));
    wait_until("the restart is counted", || !series("devstack_service_restarts_total").is_empty());
    stack.run("export grafana --out grafana").ends_with(0);
    let text = std::fs::read_to_string(stack.root.join("grafana/dashboards/shop.json")).expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("json");
    let targets =
        dashboard["panels"].as_array().into_iter().flatten().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let queries: Vec<String> =
        targets.map(|target| target["expr"].as_str().expect("a query").replace("job=\"shop\"", "job=\"project\"")).collect();
    assert!(queries.len() >= 10, "{queries:?}");
    for query in queries {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        wait_until(&query, || !series(&encoded).is_empty());
    }
}

fn start_prometheus(stack: &TestStack, config: &str, port: u16) {
    let series = stack.root.join("series").display().to_string();
    stack.start_beside(
        "prometheus",
        &[
            &format!("--config.file={config}"),
            &format!("--storage.tsdb.path={series}"),
            &format!("--web.listen-address=127.0.0.1:{port}"),
            "--log.level=error",
        ],
    );
    wait_until("it listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
}

/// Begins well, and says nothing any more.
const HANGS: &str = "
import time
from devstack import ProcessManager
manager = ProcessManager('web')
manager.start()
print('started', flush=True)
manager.heartbeat()
time.sleep(3600)
";

#[test]
fn an_exported_alert_fires_from_a_real_worker_and_reaches_the_alertmanager() {
    if !has("prometheus", "prometheus") || !has("prometheus-alertmanager", "prometheus-alertmanager") {
        return;
    }
    let [project, server, alerts] = [free_port(), free_port(), free_port()];
    let stack = TestStack::new(&format!(
        "[http]\nlisten = '127.0.0.1:{project}'\n[services.web]\ncommand = ['python3', 'program.py']\nenv = {{ PYTHONPATH = '{}' }}
heartbeat_timeout = '2s'\nrestart = 'never'\n[services.bot]\ncommand = 'python3 worker.py bot'",
        unpacked().display()
    ));
    stack.write("program.py", HANGS);
    stack.run("start").ends_with(0);
    stack.run("export prometheus --out monitoring").ends_with(0);
    let exported = std::fs::read_to_string(stack.root.join("monitoring/prometheus.yml")).expect("exported");
    // As exported, but for its patience and where the Alertmanager is.
    let quick = exported.replace("\"15s\"", "1s").replace("\"30s\"", "1s").replace("localhost:9093", &format!("127.0.0.1:{alerts}"));
    assert_ne!(quick, exported);
    stack.write("monitoring/prometheus.yml", &quick);
    stack.write("alertmanager.yml", "route:\n  receiver: nobody\nreceivers:\n- name: nobody\n");
    let place = |name: &str| stack.root.join(name).display().to_string();
    stack.start_beside(
        "prometheus-alertmanager",
        &[
            &format!("--config.file={}", place("alertmanager.yml")),
            &format!("--storage.path={}", place("alerts")),
            &format!("--web.listen-address=127.0.0.1:{alerts}"),
            "--cluster.listen-address=",
            "--log.level=error",
        ],
    );
    wait_until("the alertmanager listens", || std::net::TcpStream::connect(("127.0.0.1", alerts)).is_ok());
    start_prometheus(&stack, &place("monitoring/prometheus.yml"), server);
    let fired = || -> Vec<(String, String)> {
        let all = get(alerts, "/api/v2/alerts").1.as_array().cloned().unwrap_or_default();
        let label = |one: &Value, name: &str| one["labels"][name].as_str().unwrap_or_default().to_owned();
        all.iter().map(|one| (label(one, "alertname"), label(one, "service"))).collect()
    };
    wait_until("the heartbeat is missed", || fired().contains(&("DevstackHeartbeatLate".to_owned(), "web".to_owned())));
    assert!(fired().iter().all(|(_, service)| service == "web"), "{:?}", fired());
}
