//! What devstack does on its own account while a service runs: probes, restarts with a reason, a longest life.

use crate::support::{TestStack, free_port};
use crate::terminal::watch_that;
use crate::world::{is_alive, wait_until};
use std::time::Duration;

fn probed(restart: &str) -> TestStack {
    let port = free_port();
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = 'python3 worker.py web http {port}'\nrestart = '{restart}'\nrestart_delay = '10ms'
health = {{ url = 'http://127.0.0.1:{port}/health', interval = '50ms', timeout = '200ms', failures = 2 }}"
    ));
    stack.run("start").ends_with(0);
    wait_until("it is probed", || stack.service("web")["health"]["latency_ms"].is_number());
    stack
}

#[test]
fn a_worker_that_says_it_is_unhealthy_is_replaced_and_the_reason_is_kept() {
    let stack = probed("on-failure");
    let before = stack.pid("web");
    stack.write("answer-web", "503");
    wait_until("it is ended", || !is_alive(before));
    stack.write("answer-web", "200");
    let web = stack.wait_for_state("web", "running");
    let last = &web["last_exit"];
    assert_eq!((&last["reason"], &last["by"]), (&"unhealthy".into(), &"devstack".into()));
    assert!(web["restarts"].as_u64() >= Some(1) && stack.pid("web") != before);
}

#[test]
fn a_worker_that_no_longer_answers_is_replaced() {
    let stack = probed("always");
    let before = stack.pid("web");
    stack.write("answer-web", "hang");
    wait_until("it is ended", || !is_alive(before));
    stack.write("answer-web", "200");
    wait_until("another one is healthy", || stack.service("web")["health"]["status"] == "healthy");
    assert_eq!(stack.service("web")["last_exit"]["reason"], "unhealthy");
}

#[test]
fn an_unhealthy_worker_that_must_not_be_restarted_is_only_shown() {
    let stack = probed("never");
    let before = stack.pid("web");
    stack.write("answer-web", "503");
    wait_until("it is found unhealthy", || stack.service("web")["health"]["status"] == "unhealthy");
    watch_that("it lives", Duration::from_millis(300), || is_alive(before));
    stack.run("status").ends_with(3);
    stack.write("answer-web", "200");
    wait_until("it is well again", || stack.service("web")["health"]["status"] == "healthy");
    assert_eq!(stack.pid("web"), before);
}

#[test]
fn a_worker_that_has_lived_its_longest_is_replaced_without_counting_as_a_failure() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'\nmax_runtime = '1s'\nrestart = 'on-failure'");
    stack.run("start").ends_with(0);
    let before = stack.pid("web");
    assert!(stack.service("web")["remaining_seconds"].as_f64() <= Some(1.0));
    wait_until("another one runs", || stack.service("web")["restarts"].as_u64() >= Some(1));
    assert!(!is_alive(before));
    let last = stack.service("web")["last_exit"].clone();
    assert_eq!((&last["reason"], &last["by"], &last["code"]), (&"max_runtime_reached".into(), &"devstack".into(), &0.into()));
}

#[test]
fn probes_go_on_after_the_supervisor_was_killed() {
    let stack = probed("always");
    let before = stack.pid("web");
    crate::support::kill(stack.supervisor());
    wait_until("the next supervisor probes it", || stack.service("web")["health"]["latency_ms"].is_number());
    assert_eq!(stack.pid("web"), before);
    stack.write("answer-web", "503");
    wait_until("it is ended", || !is_alive(before));
}
