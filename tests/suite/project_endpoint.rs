//! `[http] listen`: one endpoint for the whole project, read only, for any user of the machine.

use crate::run_health_port::{get, metrics, raw};
use crate::support::{TestStack, free_port, kill};
use crate::world::wait_until;
use serde_json::Value;
use std::net::{TcpListener, TcpStream};

const SERVICES: &str = "[services.web]\ncommand = 'python3 worker.py web'\n[services.bot]\ncommand = 'python3 worker.py bot'\n";

fn listening(port: u16, services: &str) -> TestStack {
    TestStack::new(&format!("[http]\nlisten = '127.0.0.1:{port}'\n{services}"))
}

#[test]
fn health_readiness_and_metrics_are_those_of_all_services() {
    let port = free_port();
    let stack = listening(port, SERVICES);
    stack.run("start").ends_with(0);
    wait_until("all are ready", || get(port, "/ready").0 == 200);
    let (status, health) = get(port, "/health");
    assert_eq!((status, &health["status"], &health["services"]["web"]["status"]), (200, &"healthy".into(), &"healthy".into()));
    let (kind, text) = metrics(port, "", "text/plain");
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    for service in ["web", "bot"] {
        assert!(text.contains(&format!("devstack_service_up{{project=\"shop\",service=\"{service}\"}} 1\n")), "{text}");
    }
    assert_eq!(get(port, "/metrics").1["services"].as_array().map(Vec::len), Some(2));

    kill(stack.pid("bot"));
    wait_until("one that crashed makes the whole ill", || get(port, "/health").0 == 503);
    let (_, health) = get(port, "/health");
    assert_eq!((&health["reason"], get(port, "/ready").0), (&"bot: not_running".into(), 503));
    stack.run("stop bot").ends_with(0);
    wait_until("one that was stopped does not", || get(port, "/health").0 == 200);
}

#[test]
fn the_interface_answers_as_status_and_events_do_and_keeps_what_workers_wrote() {
    let port = free_port();
    let stack = listening(port, SERVICES);
    stack.write("worker.py", "print('started secret-line', flush=True)\nimport time\ntime.sleep(3600)");
    stack.run("start").ends_with(0);
    let pid = stack.pid("web");
    let (status, all) = get(port, "/api/v1/status");
    let shown = stack.status();
    assert_eq!((status, &all["project"], &all["supervisor"]["pid"]), (200, &shown["project"], &shown["supervisor"]["pid"]));
    assert_eq!(all["services"][1]["name"], "web");
    let (status, web) = get(port, "/api/v1/services/web");
    assert_eq!((status, &web["pid"], &web["state"]), (200, &pid.pid.into(), &"running".into()));
    assert_eq!((get(port, "/api/v1/services/nobody").0, get(port, "/api/v1/").0, get(port, "/").0), (404, 404, 404));

    kill(pid);
    stack.wait_for_state("web", "exited");
    let events = |query: &str| get(port, &format!("/api/v1/events{query}")).1["events"].as_array().cloned().unwrap_or_default();
    let words: Vec<Value> = events("?service=web").iter().map(|event| event["event"].clone()).collect();
    assert_eq!(words, ["starting", "ready", "ended", "exited"]);
    assert_eq!(events("?service=web&n=1")[0]["event"], "exited");
    assert_eq!((get(port, "/api/v1/events?n=x").0, events("?n=0").len()), (400, 0));
    assert!(stack.run("events --json").stdout.contains("secret-line"), "the owner is told");
    assert!(!raw(port, "GET /api/v1/events HTTP/1.0\r\n\r\n").contains("secret-line"), "others are not");
    for method in ["POST", "DELETE", "PUT"] {
        let answer = raw(port, &format!("{method} /api/v1/services/web HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    }
    assert!(raw(port, "GET /api/v1/status HTTP/1.1\r\nHost: evil.example\r\n\r\n").starts_with("HTTP/1.1 421"));
}

#[test]
fn it_comes_and_goes_with_the_configuration_and_outlives_a_supervisor() {
    let (first, second) = (free_port(), free_port());
    let stack = listening(first, SERVICES);
    stack.run("start web").ends_with(0);
    kill(stack.supervisor());
    let listens = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
    wait_until("the next supervisor answers", || listens(first));
    stack.configure(&format!("[http]\nlisten = '127.0.0.1:{second}'\n{SERVICES}"));
    stack.run("start web").ends_with(0);
    assert!(listens(second));
    wait_until("the old one is closed", || !listens(first));
    stack.configure(SERVICES);
    stack.run("start web").ends_with(0);
    wait_until("it is closed", || !listens(second));
}

#[test]
fn a_taken_port_is_a_warning_that_names_its_holder_and_starts_are_done_all_the_same() {
    let holder = TcpListener::bind(("127.0.0.1", 0)).expect("bound");
    let port = holder.local_addr().expect("bound").port();
    let stack = listening(port, SERVICES);
    let warning = format!("warning: `[http] listen` is not served: 127.0.0.1:{port}: taken by pid {}", std::process::id());
    stack.run("start").ends_with(0).says(&warning);
    stack.run("status").ends_with(0).says(&warning);
    assert!(stack.status()["supervisor"]["trouble"].as_str().is_some_and(|trouble| trouble.contains("taken by pid")));
    drop(holder);
    let again = stack.run("start").ends_with(0);
    assert!(!again.stderr.contains("warning"), "{again:?}");
    assert_eq!(get(port, "/health").0, 200);
}

#[test]
fn thousands_of_clients_that_say_nothing_keep_neither_the_next_nor_a_command_waiting() {
    let port = free_port();
    let stack = listening(port, SERVICES);
    stack.run("start").ends_with(0);
    let idle: Vec<TcpStream> = (0..2000).filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok()).collect();
    assert!(idle.len() > 500, "{}", idle.len());
    assert_eq!(get(port, "/health").0, 200);
    stack.run("status").ends_with(0);
    stack.run("restart web").ends_with(0);
    drop(idle);
}
