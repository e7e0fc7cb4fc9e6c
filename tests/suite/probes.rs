//! What answers a probe may do what it likes: it costs the probe its time, and nobody anything else.

use crate::support::{TestStack, free_port};
use crate::terminal::watch_that;
use crate::world::{is_alive, wait_until};
use std::time::{Duration, Instant};

/// `hostile.py PORT HOW`: answers every connection in one way.
const HOSTILE: &str = r#"
import socket, sys, threading, time
port, how = int(sys.argv[1]), sys.argv[2]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

def answer(it):
    it.recv(4096)
    if how == "trickled-head":
        for byte in OK * 100:
            it.send(bytes([byte])); time.sleep(0.02)
    elif how == "trickled-body":
        it.send(OK + b"Content-Length: 100000\r\n\r\n")
        while True:
            it.send(b" "); time.sleep(0.02)
    elif how == "endless-body":
        it.send(OK + b"\r\n")
        while True: it.send(b"x" * 65536)
    elif how == "endless-head":
        it.send(OK)
        while True: it.send(b"X-Header: " + b"y" * 1000 + b"\r\n")
    elif how == "one-endless-line":
        it.send(OK + b"X-Header: ")
        while True: it.send(b"y" * 65536)
    elif how == "continue":
        while True: it.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    elif how == "garbage":
        it.send(b"\x00\xff\x16\x03\x01" * 1000)
    elif how == "redirect":
        it.send(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/elsewhere\r\nContent-Length: 0\r\n\r\n" % port)
    elif how == "no-content":
        it.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    elif how == "silence":
        time.sleep(600)
    elif how == "strange-json":
        body = b'{"reason":["\x1b[2J"]}'
        it.send(OK.replace(b"200 OK", b"503 No") + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    it.close()

def quietly(it):
    try: answer(it)
    except OSError: pass

family = socket.AF_INET6 if how == "version-six" else socket.AF_INET
server = socket.create_server(("::1" if how == "version-six" else "127.0.0.1", port), family=family, backlog=64)
print("started", flush=True)
how = "no-content" if how == "version-six" else how
while True:
    it, _ = server.accept()
    threading.Thread(target=quietly, args=(it,), daemon=True).start()
"#;

#[test]
fn whatever_answers_an_http_probe_costs_its_time_and_nothing_else() {
    let answers = [
        ("trickled-head", "timeout_1s"),
        ("trickled-body", "timeout_1s"),
        ("endless-body", "healthy"),
        ("endless-head", "no_http_answer"),
        ("one-endless-line", "no_http_answer"),
        ("continue", "no_http_answer"),
        ("garbage", "no_http_answer"),
        ("redirect", "http_302"),
        ("no-content", "healthy"),
        ("silence", "timeout_1s"),
        ("strange-json", "http_503"),
        ("closed", "no_http_answer"),
        ("version-six", "healthy"),
    ];
    let service = |how: &str| {
        let (port, host) = (free_port(), if how == "version-six" { "[::1]" } else { "127.0.0.1" });
        format!(
            "[services.{how}]\ncommand = 'python3 hostile.py {port} {how}'
health = {{ url = 'http://{host}:{port}/health', interval = '100ms', timeout = '1s', failures = 1000 }}\n"
        )
    };
    let stack = TestStack::new(&answers.map(|(how, _)| service(how)).concat());
    stack.write("hostile.py", HOSTILE);
    stack.run("start").ends_with(0);
    for (how, expected) in answers {
        wait_until(&format!("{how} is probed"), || stack.service(how)["health"]["latency_ms"].is_number());
        let health = stack.service(how)["health"].clone();
        assert_eq!(health["reason"].as_str().unwrap_or_default().trim_end_matches("_doing_nothing"), expected, "{how}: {health}");
    }
    let memory = || stack.status()["supervisor"]["memory_mb"].as_f64().expect("a number");
    let before = memory();
    let began = Instant::now();
    for _ in 0..10 {
        stack.run("status --json");
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(memory() < before + 8.0, "{before} MB, then {} MB", memory());
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_everything_that_it_started() {
    let stack = TestStack::new(
        "[services.web]\ncommand = 'python3 worker.py web'
health = { exec = ['sh', '-c', 'setsid sleep 600 & sleep 601 & echo $! >>asked; wait'], interval = '100ms', timeout = '300ms', failures = 1000 }",
    );
    stack.run("start").ends_with(0);
    let asked = || std::fs::read_to_string(stack.root.join("asked")).unwrap_or_default().lines().count();
    wait_until("it was asked several times", || asked() >= 4);
    assert_eq!(stack.service("web")["health"]["reason"].as_str().unwrap_or_default().trim_end_matches("_doing_nothing"), "timeout_0.3s");
    // Keeper, supervisor, worker, and one probe at most: the shell, three that sleep or are about to.
    watch_that("nothing is left of a probe", Duration::from_millis(600), || stack.processes().len() <= 3 + 4);
}

#[test]
fn what_a_command_leaves_in_the_background_ends_with_it() {
    let stack = TestStack::new(
        "[services.web]\ncommand = 'python3 worker.py web'
health = { exec = ['sh', '-c', 'sleep 600 & echo $! >>asked'], interval = '50ms', failures = 1000 }",
    );
    stack.run("start").ends_with(0);
    let asked = || std::fs::read_to_string(stack.root.join("asked")).unwrap_or_default().lines().count();
    wait_until("it was asked several times", || asked() >= 6);
    assert_eq!(stack.service("web")["health"]["status"], "healthy");
    watch_that("nothing is left of a probe", Duration::from_millis(300), || stack.processes().len() <= 3 + 2);
}

#[test]
fn failures_do_not_count_in_the_start_period_until_the_first_success() {
    let stack = TestStack::new(
        "[services.web]\ncommand = 'python3 worker.py web'\nrestart = 'always'\nrestart_delay = '10ms'
health = { exec = ['sh', '-c', 'echo asked >>asked; test -e well'], interval = '50ms', failures = 2, start_period = '600s' }",
    );
    stack.run("start").ends_with(0);
    let asked = || std::fs::read_to_string(stack.root.join("asked")).unwrap_or_default().lines().count();
    let first = stack.pid("web");
    wait_until("it was asked often", || asked() >= 6);
    assert!(is_alive(first));
    stack.write("well", "");
    wait_until("it is well", || stack.service("web")["health"]["reason"] == "healthy");
    std::fs::remove_file(stack.root.join("well")).expect("a file");
    wait_until("it is replaced", || !is_alive(first));
}
