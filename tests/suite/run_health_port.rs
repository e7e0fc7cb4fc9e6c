//! `health_port`: devstack answers for a worker, under `run` as under the supervisor, whoever asks and however.

use crate::run_command::{noting, run};
use crate::support::{TestStack, free_port, kill, send};
use crate::world::wait_until;
use devstack::model::Signal;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

pub fn raw(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

pub fn get(port: u16, path: &str) -> (u16, Value) {
    let answer = raw(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"));
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"));
    (status, serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap_or_default()).unwrap_or(Value::Null))
}

fn wait_for_port(port: u16) {
    wait_until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
}

#[test]
fn it_answers_for_a_command_in_the_shapes_of_the_worker_library() {
    let (stack, port) = (TestStack::empty(), free_port());
    let options = format!("--health-port {port} --max-runtime 24 --memory-limit 2048 --cpu-limit 80");
    let devstack = run(&stack, &options, &["sh", "-c", &noting("exec sleep 600")]);
    let worker = stack.noted_process("worker");
    wait_until("it is ready", || get(port, "/ready").0 == 200);
    let (status, health) = get(port, "/health");
    assert_eq!((status, &health["status"], &health["reason"]), (200, &"healthy".into(), &"healthy".into()));
    assert!(health["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{health}");
    let (_, ready) = get(port, "/ready");
    assert_eq!((&ready["ready"], &ready["reason"]), (&true.into(), &"ready".into()));
    let (status, all) = get(port, "/metrics");
    assert_eq!(
        (status, all["metrics"]["pid"].as_i64(), all["metrics"]["status"].as_str()),
        (200, Some(worker.pid.into()), Some("running"))
    );
    assert_eq!(all["limits"], serde_json::json!({ "max_runtime_hours": 24.0, "memory_limit_mb": 2048, "cpu_limit_percent": 80.0 }));
    assert!(all["metrics"]["memory_mb"].as_f64() > Some(0.0) && all["metrics"]["num_threads"] == 1, "{all}");
    assert!(all["metrics"]["heartbeat_age_seconds"].is_null(), "it is not known: {all}");
    assert!(all["runtime"]["remaining_hours"].as_f64() > Some(23.9), "{all}");
    assert_eq!((get(port, "/other").0, get(port, "/health/").0), (404, 404));
    send(devstack.id(), Signal::TERM);
    devstack.end().ends_with(0);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn who_asks_by_another_name_or_otherwise_than_it_is_answered_is_told_so() {
    let (stack, port) = (TestStack::empty(), free_port());
    let devstack = run(&stack, &format!("--health-port {port}"), &["sleep", "600"]);
    wait_for_port(port);
    let status = |request: &str| raw(port, request).split(' ').nth(1).map(str::to_owned).unwrap_or_default();
    for (request, expected) in [
        ("GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), "421"),
        ("GET /health HTTP/1.1\r\n\r\n".to_owned(), "421"),
        ("GET /health HTTP/1.0\r\n\r\n".to_owned(), "200"),
        ("HEAD /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned(), "200"),
        ("POST /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".to_owned(), "405"),
        ("garbage\r\n\r\n".to_owned(), "400"),
        ("GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), "200"),
        (format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(20_000)), "431"),
    ] {
        assert_eq!(status(&request), expected, "{}", &request[..request.len().min(60)]);
    }
    let two = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2);
    assert_eq!(raw(port, &two).matches("HTTP/1.1").count(), 1, "one request a connection");
    send(devstack.id(), Signal::TERM);
    devstack.end().ends_with(0);
}

#[test]
fn clients_that_say_nothing_keep_nobody_from_an_answer_and_are_sent_away() {
    let (stack, port) = (TestStack::empty(), free_port());
    let devstack = run(&stack, &format!("--health-port {port}"), &["sleep", "600"]);
    wait_for_port(port);
    let mut silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("it listens")).collect();
    silent.iter_mut().for_each(|stream| stream.write_all(b"GET /health HT").expect("sent"));
    let begun = Instant::now();
    assert_eq!(get(port, "/health").0, 200);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let mut last = silent.pop().expect("one");
    last.set_read_timeout(Some(Duration::from_secs(9))).expect("a socket");
    assert!(last.read_to_end(&mut Vec::new()).is_ok(), "closed within its time");
    let begun = Instant::now();
    send(devstack.id(), Signal::TERM);
    devstack.end().ends_with(0);
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn the_port_of_somebody_else_is_named_and_nothing_is_started() {
    let stack = TestStack::empty();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let refused = run(&stack, &format!("--health-port {port}"), &["sh", "-c", "echo begun"]).end().ends_with(1);
    assert!(
        refused.stderr.contains(&format!("port {port} is taken by pid {}", std::process::id())) && refused.stdout.is_empty(),
        "{refused:?}"
    );
}

/// What `/metrics` answers to this `Accept`, and the type that it says it has.
pub fn metrics(port: u16, query: &str, accept: &str) -> (String, String) {
    let answer = raw(port, &format!("GET /metrics{query} HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: {accept}\r\n\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
    (kind.to_owned(), body.to_owned())
}

#[test]
fn prometheus_is_told_the_same_in_its_own_words_with_every_restart_by_its_reason() {
    let port = free_port();
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = 'python3 worker.py web'\nhealth_port = {port}\nmemory_limit = '500MB'\nrestart = 'always'\nrestart_delay = '0s'"
    ));
    stack.run("start").ends_with(0);
    let scrape = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let (kind, body) = metrics(port, "", scrape);
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0") && body.ends_with("# EOF\n"), "{kind}: {body}");
    let (kind, body) = metrics(port, "?format=prometheus", "*/*");
    let labels = "{project=\"shop\",service=\"web\"}";
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    for line in [format!("devstack_service_up{labels} 1"), format!("devstack_service_limit_memory_bytes{labels} {}", 500 << 20)] {
        assert!(body.lines().any(|seen| seen == line), "{line}: {body}");
    }
    assert!(!body.contains("restarts_total") && !body.contains("last_exit_code"), "{body}");
    let (kind, body) = metrics(port, "", "*/*");
    assert!(kind == "application/json" && body.starts_with('{'), "{kind}: {body}");
    assert_eq!(get(port, "/metrics?format=xml").0, 400);

    for count in 1..=2 {
        kill(stack.pid("web"));
        let line = format!("devstack_service_restarts_total{{project=\"shop\",reason=\"crashed\",service=\"web\"}} {count}");
        wait_until("the restart is counted", || metrics(port, "", "text/plain").1.lines().any(|seen| seen == line));
        stack.wait_for_state("web", "running");
    }
    stack.run("restart").ends_with(0);
    kill(stack.supervisor());
    wait_until("the next supervisor answers", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let body = metrics(port, "", "text/plain").1;
    assert!(
        body.contains("reason=\"crashed\",service=\"web\"} 2\n"),
        "a counter survives a restart by hand and another supervisor: {body}"
    );
    assert_eq!(stack.service("web")["restarts_by_reason"], serde_json::json!({ "crashed": 2 }));
}

#[test]
fn a_service_under_the_supervisor_is_answered_for_through_crash_restart_and_stop() {
    let port = free_port();
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = 'python3 worker.py web'\nhealth_port = {port}\nrestart = 'always'\nrestart_delay = '0s'"
    ));
    stack.run("start").ends_with(0);
    assert_eq!((get(port, "/health").0, get(port, "/ready").0), (200, 200));
    let pid = |port| get(port, "/metrics").1["metrics"]["pid"].as_i64();
    let before = stack.pid("web");
    assert_eq!(pid(port), Some(before.pid.into()));
    kill(before);
    wait_until("the next one is answered for", || pid(port).is_some_and(|pid| pid != i64::from(before.pid)));
    kill(stack.supervisor());
    wait_until("the next supervisor answers", || TcpStream::connect(("127.0.0.1", port)).is_ok() && get(port, "/health").0 == 200);
    stack.run("restart").ends_with(0);
    assert_eq!(get(port, "/ready").0, 200);
    stack.run("stop").ends_with(0);
    wait_until("nobody answers", || TcpStream::connect(("127.0.0.1", port)).is_err());
}
