//! `devstack status`: the document of the contract, the table, the tree, the live screen, and no supervisor needed for any.

use crate::support::{TestStack, free_port, kill, send};
use crate::terminal::{CTRL_C, Terminal, watch_that};
use crate::world::{is_alive, wait_until};
use devstack::model::Signal;
use serde_json::{Value, json};
use std::time::Duration;

const COLUMNS: &str = "SERVICE STATE HEALTH PID UPTIME CPU MEM RESTARTS REMAINING PORTS";

/// What a value is, as the contract shows it: `"number?"` may be null.
fn is_a(value: &Value, kind: &str) -> bool {
    match kind.strip_suffix('?') {
        Some(_) if value.is_null() => true,
        Some(kind) => is_a(value, kind),
        None => match kind {
            "text" => value.is_string(),
            "whole" => value.is_u64(),
            "number" => value.is_number(),
            "flag" => value.is_boolean(),
            "time" => value.as_str().is_some_and(|text| text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()),
            "list" => value.is_array(),
            _ => value == kind,
        },
    }
}

/// Exactly these keys, each of its kind.
#[track_caller]
fn has_shape(value: &Value, shape: &[(&str, &str)]) {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value:#}"));
    let (mut names, mut expected): (Vec<_>, Vec<_>) =
        (object.keys().map(String::as_str).collect(), shape.iter().map(|(key, _)| *key).collect());
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for (key, kind) in shape.iter().filter(|(_, kind)| *kind != "object") {
        assert!(is_a(&value[*key], kind), "{key} is no {kind}: {value:#}");
    }
}

const SERVICE: [(&str, &str); 22] = [
    ("name", "text"),
    ("state", "text"),
    ("ready", "flag"),
    ("health", "object"),
    ("pid", "whole?"),
    ("run_id", "text?"),
    ("started_at", "time?"),
    ("uptime_seconds", "number?"),
    ("remaining_seconds", "number?"),
    ("restarts", "whole"),
    ("restarts_by_reason", "object"),
    ("last_exit", "object"),
    ("cpu_percent", "number?"),
    ("memory_mb", "number?"),
    ("processes", "whole"),
    ("threads", "whole"),
    ("memory_trend", "object"),
    ("limits", "object"),
    ("ports", "list"),
    ("log_file", "text"),
    ("strays", "whole"),
    ("status_text", "text?"),
];
const HEALTH: [(&str, &str); 5] =
    [("status", "text"), ("reason", "text"), ("checked_at", "time?"), ("latency_ms", "number?"), ("heartbeat_age_seconds", "number?")];

#[test]
fn json_has_the_shape_of_the_contract() {
    let port = free_port();
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = 'python3 worker.py web http {port} pool'\nports = [{port}]\nmax_runtime = '24h'\nmemory_limit = '2048MB'\ncpu_limit = '80%'
health = {{ url = 'http://127.0.0.1:{port}/health', interval = '50ms', timeout = '2s', failures = 3 }}\nrestart = 'always'\nrestart_delay = '10ms'"
    ));
    stack.run("start").ends_with(0);
    wait_until("it was probed", || stack.service("web")["health"]["latency_ms"].is_number());
    let done = stack.run("status --json").ends_with(0);
    let status: Value = serde_json::from_str(&done.stdout).expect("one document");
    has_shape(&status, &[("project", "object"), ("supervisor", "object"), ("services", "list")]);
    assert_eq!(status["project"], json!({"name": "shop", "root": stack.root}));
    has_shape(
        &status["supervisor"],
        &[("pid", "whole"), ("version", env!("CARGO_PKG_VERSION")), ("uptime_seconds", "number"), ("memory_mb", "number")],
    );
    let web = &status["services"][0];
    has_shape(web, &SERVICE);
    has_shape(&web["health"], &HEALTH);
    for (key, expected) in
        [("name", json!("web")), ("state", json!("running")), ("ready", json!(true)), ("restarts", json!(0)), ("strays", json!(0))]
    {
        assert_eq!(web[key], expected);
    }
    assert_eq!(web["limits"], json!({"max_runtime_hours": 24.0, "memory_limit_mb": 2048, "cpu_limit_percent": 80.0}));
    assert_eq!((&web["ports"], &web["log_file"], &web["processes"]), (&json!([port]), &json!("logs/dev_web.log"), &json!(4)));
    assert!(web["memory_mb"].as_f64() > Some(5.0) && web["remaining_seconds"].as_f64() > Some(86_000.0), "{web:#}");
    assert_eq!(
        (&web["health"]["status"], &web["health"]["reason"], &web["last_exit"]),
        (&json!("healthy"), &json!("healthy"), &Value::Null)
    );

    let before = stack.pid("web");
    kill(before);
    wait_until("another one runs", || stack.service("web")["state"] == "running" && stack.pid("web") != before);
    let web = stack.service("web");
    has_shape(&web["last_exit"], &[("code", "whole?"), ("signal", "SIGKILL"), ("reason", "crashed"), ("by", "unknown"), ("at", "time")]);
    assert_eq!((&web["last_exit"]["code"], &web["restarts"]), (&Value::Null, &json!(1)));
}

#[test]
fn json_of_what_never_ran_has_the_same_shape_and_null_for_what_is_unknown() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    let done = stack.run("status --json").ends_with(3);
    let status: Value = serde_json::from_str(&done.stdout).expect("one document");
    assert_eq!((&status["supervisor"], &status["services"][0]["state"]), (&Value::Null, &json!("stopped")));
    let web = &status["services"][0];
    has_shape(web, &SERVICE);
    has_shape(&web["health"], &HEALTH);
    for key in ["pid", "run_id", "started_at", "uptime_seconds", "remaining_seconds", "last_exit", "cpu_percent", "memory_mb"] {
        assert_eq!(web[key], Value::Null, "{key}");
    }
    assert_eq!(stack.processes(), [], "looking starts nothing");
    assert!(!stack.root.join("logs").exists(), "and writes nothing");
}

#[test]
fn the_exit_status_tells_whether_the_targets_run_and_are_healthy() {
    let port = free_port();
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = 'python3 worker.py web http {port}'\nhealth = {{ url = 'http://127.0.0.1:{port}/', interval = '50ms', timeout = '1s', failures = 2 }}
[services.bot]\ncommand = 'python3 worker.py bot'\n[groups]\nboth = ['web', 'bot']"
    ));
    stack.run("status").ends_with(3);
    stack.run("start bot").ends_with(0);
    stack.run("status bot").ends_with(0);
    stack.run("status both").ends_with(3);
    stack.run("start").ends_with(0);
    stack.run("status").ends_with(0);
    stack.write("answer-web", "500");
    wait_until("it is found unhealthy", || stack.run("status web").code == Some(3));
    assert_eq!(stack.service("web")["health"]["reason"], "said_500");
    stack.run("status bot").ends_with(0);
    stack.run("status nobody").ends_with(4);
}

#[test]
fn it_works_while_all_of_devstack_is_dead() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web pool'");
    stack.run("start").ends_with(0);
    let (keeper, supervisor, worker) = (stack.keeper(), stack.supervisor(), stack.pid("web"));
    send(keeper, Signal::STOP);
    kill(supervisor);
    kill(keeper);
    let web = stack.service("web");
    assert_eq!((&web["state"], &web["pid"], &web["processes"]), (&json!("running"), &json!(worker.pid), &json!(4)));
    let table = stack.run("status --tree");
    assert!(table.stdout.contains("resource_tracker") && table.stdout.contains(&worker.pid.to_string()), "{table:?}");
}

#[test]
fn the_table_has_the_columns_of_the_contract_and_no_control_sequences_in_a_pipe() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'\n[services.bot]\ncommand = 'python3 worker.py bot'");
    stack.run("start web").ends_with(0);
    let done = stack.run("status").ends_with(3);
    assert!(!done.stdout.contains('\x1b'), "{done:?}");
    let lines: Vec<Vec<&str>> = done.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0].join(" "), COLUMNS);
    assert_eq!((lines[1][..2].to_vec(), lines[2][..2].to_vec()), (vec!["bot", "stopped"], vec!["web", "running"]));
    assert!(lines[2].contains(&stack.pid("web").pid.to_string().as_str()), "{done:?}");
}

#[test]
fn colours_stand_on_a_terminal_unless_they_are_refused() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    let (code, drawn) = Terminal::devstack(&stack, "status").end();
    assert!(code == 0 && drawn.contains("\x1b["), "{drawn}");
    let (_, drawn) = Terminal::open(&stack, &format!("NO_COLOR=1 {} status", crate::support::DEVSTACK)).end();
    assert!(drawn.contains("running") && !drawn.contains('\x1b'), "{drawn:?}");
    let (_, drawn) = Terminal::devstack(&stack, "--color never status").end();
    assert!(!drawn.contains('\x1b'), "{drawn:?}");
    assert!(stack.run("--color always status").stdout.contains("\x1b["));
}

#[test]
fn a_narrow_terminal_drops_columns_from_the_right_and_wraps_nothing() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    let (_, drawn) = Terminal::open(&stack, &format!("stty cols 44; NO_COLOR=1 {} status", crate::support::DEVSTACK)).end();
    let header = drawn.lines().find(|line| line.starts_with("SERVICE")).expect("a header");
    let shown = header.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(COLUMNS.starts_with(&shown) && shown.starts_with("SERVICE STATE HEALTH PID") && !shown.ends_with("PORTS"), "{shown}");
    assert!(drawn.lines().all(|line| line.trim_end().chars().count() <= 44), "{drawn}");
}

#[test]
fn the_tree_shows_every_process_below_its_parent() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web pool'");
    stack.run("start").ends_with(0);
    let (pool, _) = stack.noted_pool("web");
    let done = stack.run("status --tree").ends_with(0);
    for id in &pool {
        assert!(
            done.stdout.lines().any(|line| line.starts_with("   ") && line.contains(&format!("─ {} ", id.pid))),
            "{}: {done:?}",
            id.pid
        );
    }
    assert_eq!(done.stdout.matches("pool_worker").count(), 2);
    let json: Value = serde_json::from_str(&stack.run("status --tree --json").stdout).expect("json");
    let tree = &json["services"][0]["tree"];
    assert_eq!((tree.as_array().map(Vec::len), &tree[0]["role"]), (Some(4), &json!("main")));
}

#[test]
fn the_live_view_refreshes_in_its_own_screen_and_gives_the_terminal_back() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    let before = stack.pid("web").pid.to_string();
    let mut live = Terminal::open(&stack, &format!("stty -a >before; {} status -w; stty -a >after", crate::support::DEVSTACK));
    live.wait_for(&before);
    stack.run("restart").ends_with(0);
    live.wait_for(&stack.pid("web").pid.to_string());
    live.type_keys(CTRL_C);
    let (_, drawn) = live.end();
    assert!(drawn.contains("\x1b[?1049h"), "it has a screen of its own");
    let tail = &drawn[drawn.rfind("\x1b[?1049l").expect("it leaves that screen")..];
    assert!(!tail.contains("\x1b[?25l") && drawn[..drawn.len() - tail.len()].ends_with("\x1b[?25h"), "the cursor is back: {drawn:?}");
    let settings = |file: &str| std::fs::read_to_string(stack.root.join(file)).expect("settings");
    assert_eq!(settings("before"), settings("after"));
}

#[test]
fn the_live_view_ends_with_130_on_an_interrupt_and_with_0_on_q() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    for (key, expected) in [(CTRL_C, 130), ("q", 0)] {
        let mut live = Terminal::devstack(&stack, "status -w");
        live.wait_for("stopped");
        live.type_keys(key);
        assert_eq!(live.end().0, expected);
    }
}

#[test]
fn the_live_view_survives_the_death_of_the_supervisor() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    let (supervisor, worker) = (stack.supervisor(), stack.pid("web"));
    let mut live = Terminal::devstack(&stack, "status -w");
    live.wait_for(&worker.pid.to_string());
    kill(supervisor);
    let frames = live.drawn().matches("\x1b[?2026h").count();
    wait_until("it goes on drawing", || live.drawn().matches("\x1b[?2026h").count() > frames + 1 || live.drawn().contains("status="));
    live.type_keys("q");
    assert_eq!(live.end().0, 0);
    watch_that("the worker lives", Duration::from_millis(50), || is_alive(worker));
}

#[test]
fn the_live_view_follows_the_width_of_the_terminal() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    let mut live = Terminal::open(&stack, &format!("tty >tty; {} status -w", crate::support::DEVSTACK));
    live.wait_for("PORTS");
    let frames = live.drawn().matches("PORTS").count();
    let tty = std::fs::read_to_string(stack.root.join("tty")).expect("a name");
    stack.start_beside("stty", &["-F", tty.trim(), "cols", "30"]);
    wait_until("it is drawn narrow", || {
        let drawn = live.drawn();
        let last = drawn.rsplit("\x1b[?2026h").next().unwrap_or_default().to_owned();
        last.contains("SERVICE") && !last.contains("PORTS") && drawn.matches("PORTS").count() >= frames
    });
    live.type_keys("q");
    live.end();
}
