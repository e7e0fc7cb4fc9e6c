//! `devstack start`: what it waits for, in which order, and what it says when a service does not come up.

use crate::running::Done;
use crate::support::{TestStack, free_port, proc_id, send};
use crate::terminal::watch_that;
use crate::world::{is_alive, wait_until};
use devstack::model::Signal;
use std::time::{Duration, Instant};

#[test]
fn a_service_is_ready_when_its_http_endpoint_answers_well() {
    let port = free_port();
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = 'python3 worker.py web http {port} started'\nready = {{ http = 'http://127.0.0.1:{port}/ready', timeout = '20s' }}"
    ));
    stack.write("answer-web", "503");
    let mut start = stack.begin("start web");
    wait_until("it has been asked", || stack.log("web").contains("started"));
    watch_that("the start waits", Duration::from_millis(200), || stack.service("web")["state"] == "starting");
    assert!(!start.is_over());
    stack.write("answer-web", "200");
    start.end().ends_with(0).says("web: ready in ");
    assert_eq!(stack.service("web")["ready"], true);
}

#[test]
fn a_service_is_ready_when_its_port_accepts_a_connection() {
    let port = free_port();
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = 'python3 worker.py web await go port {port}'\nready = {{ tcp = '127.0.0.1:{port}', timeout = '20s' }}"
    ));
    ready_only_after_go(&stack);
}

#[test]
fn a_service_is_ready_when_a_command_succeeds() {
    let stack =
        TestStack::new("[services.web]\ncommand = 'python3 worker.py web'\nready = { exec = ['test', '-e', 'go'], timeout = '20s' }");
    ready_only_after_go(&stack);
}

#[test]
fn a_service_is_ready_when_its_log_says_so_in_this_run() {
    let stack = TestStack::new(
        "[services.web]\ncommand = 'python3 worker.py web await go say \"listening on 80\"'\nready = { log = 'listening on \\d+', timeout = '20s' }",
    );
    std::fs::create_dir(stack.root.join("logs")).expect("a folder");
    stack.write("logs/dev_web.log", "listening on 80\n");
    ready_only_after_go(&stack);
}

fn ready_only_after_go(stack: &TestStack) {
    let mut start = stack.begin("start");
    stack.wait_for_state("web", "starting");
    watch_that("the start waits", Duration::from_millis(200), || stack.service("web")["state"] == "starting");
    assert!(!start.is_over());
    stack.write("go", "");
    start.end().ends_with(0).says("web: ready in ");
    assert_eq!(stack.service("web")["state"], "running");
}

#[test]
fn a_service_is_ready_after_a_delay_or_at_once() {
    let stack = TestStack::new(
        "[services.late]\ncommand = 'python3 worker.py late'\nready = { delay = '400ms' }
[services.now]\ncommand = 'python3 worker.py now'\nready = { delay = '0s' }",
    );
    let seconds = |done: Done| {
        let took = done.stderr.lines().find_map(|line| line.split_once("ready in ")).expect("a time").1.to_owned();
        let (number, unit) = took.split_once(' ').expect("a unit");
        number.parse::<f64>().expect("a number") / if unit.starts_with("ms") { 1000.0 } else { 1.0 }
    };
    assert!(seconds(stack.run("start late").ends_with(0)) >= 0.4);
    assert!(seconds(stack.run("start now").ends_with(0)) < 0.3);
}

#[test]
fn dependencies_are_ready_before_their_dependants_begin() {
    let stack = TestStack::new(
        "[services.db]\ncommand = 'python3 worker.py db say begins sleep 0.3'
[services.app]\ncommand = 'python3 worker.py app'\ndepends_on = ['db']
[services.top]\ncommand = 'python3 worker.py top'\ndepends_on = ['app']
[services.other]\ncommand = 'python3 worker.py other'",
    );
    stack.run("start top").ends_with(0).says("top: waiting for app");
    let at = |name: &str| stack.times(name, "started")[0];
    assert!(at("db") < at("app") && at("app") < at("top"));
    assert_eq!(stack.service("other")["state"], "stopped", "nobody asked for it");
}

#[test]
fn services_that_do_not_need_each_other_start_at_the_same_time() {
    let services = ["a", "b", "c", "d"].map(|name| format!("[services.{name}]\ncommand = 'python3 worker.py {name} await all-here'\n"));
    let stack = TestStack::new(&services.concat());
    let start = stack.begin("start");
    for name in ["a", "b", "c", "d"] {
        stack.wait_for_state(name, "starting");
    }
    stack.write("all-here", "");
    start.end().ends_with(0);
}

#[test]
fn what_runs_already_stays_untouched() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    let (supervisor, pid) = (stack.supervisor(), stack.pid("web"));
    stack.run("start").ends_with(0).says(&format!("web: already running (pid {}), untouched", pid.pid));
    assert_eq!((stack.supervisor(), stack.pid("web")), (supervisor, pid));
}

#[test]
fn twenty_starts_at_the_same_moment_make_one_supervisor_and_one_instance() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web sleep 0.2'");
    for round in [2, 20] {
        let starts: Vec<_> = (0..round).map(|_| stack.begin("start web")).collect();
        for start in starts {
            start.end().ends_with(0);
        }
        assert_eq!(stack.times("web", "started").len(), 1);
        assert_eq!(stack.processes().len(), 3, "keeper, supervisor, worker: {:?}", stack.processes());
        stack.run("stop --supervisor").ends_with(0);
        std::fs::remove_file(stack.log_file("web")).expect("a log");
    }
}

#[test]
fn a_service_that_dies_while_starting_shows_its_last_words_and_leaves_the_others_up() {
    let stack = TestStack::new(
        "[services.good]\ncommand = 'python3 worker.py good'
[services.bad]\ncommand = 'python3 worker.py bad say \"no such table: channels\" exit 3'",
    );
    stack
        .run("start")
        .ends_with(1)
        .says("error: bad ended while starting: exit status 3\n  | no such table: channels\n")
        .says("hint: devstack logs bad")
        .says("good: ready in ");
    assert_eq!(stack.service("good")["state"], "running");
    let bad = stack.service("bad");
    assert_eq!((&bad["state"], &bad["last_exit"]["code"]), (&"exited".into(), &3.into()));
}

#[test]
fn a_service_that_is_never_ready_says_what_was_waited_for_and_goes_on() {
    let stack =
        TestStack::new("[services.web]\ncommand = 'python3 worker.py web say booting'\nready = { log = 'never said', timeout = '600ms' }");
    stack
        .run("start")
        .ends_with(1)
        .says("is not ready after 0.6 s; waited for its log has a line that matches \"never said\"")
        .says("  | booting\n");
    let web = stack.service("web");
    assert_eq!((&web["state"], &web["ready"]), (&"starting".into(), &false.into()));
    assert!(is_alive(stack.pid("web")));
}

#[test]
fn dependants_of_what_is_not_ready_are_not_started() {
    let stack = TestStack::new(
        "[services.db]\ncommand = 'python3 worker.py db exit 1'
[services.app]\ncommand = 'python3 worker.py app'\ndepends_on = ['db']",
    );
    stack.run("start app").ends_with(1).says("app was not started: it waits for db").says("db ended while starting: exit status 1");
    assert_eq!(stack.log("app"), "");
}

#[test]
fn a_timeout_ends_the_waiting_and_not_the_start() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web await go'");
    let began = Instant::now();
    stack.run("start --timeout 300ms").ends_with(1).says("not ready after 0.3 s: web").says("the start goes on in the background");
    assert!(began.elapsed() < Duration::from_secs(5));
    stack.write("go", "");
    stack.wait_for_state("web", "running");
}

#[test]
fn without_waiting_the_start_returns_while_the_service_comes_up() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web await go'");
    stack.run("start --no-wait").ends_with(0);
    stack.wait_for_state("web", "starting");
    stack.write("go", "");
    stack.wait_for_state("web", "running");
}

#[test]
fn restart_is_asked_for_and_the_instance_is_another_one() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    let before = stack.pid("web");
    stack.run("start --restart").ends_with(0).says("web: stopping").says("web: ready in ");
    assert!(stack.pid("web") != before && !is_alive(before));
}

#[test]
fn what_runs_and_is_unhealthy_is_restarted_with_the_reason() {
    let port = free_port();
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = 'python3 worker.py web http {port}'
health = {{ url = 'http://127.0.0.1:{port}/health', interval = '50ms', timeout = '1s', failures = 2 }}\nrestart = 'never'"
    ));
    stack.run("start").ends_with(0);
    let before = stack.pid("web");
    stack.write("answer-web", "503");
    wait_until("it is found unhealthy", || stack.service("web")["health"]["status"] == "unhealthy");
    let start = stack.begin("start");
    wait_until("it is stopped", || !is_alive(before));
    stack.write("answer-web", "200");
    start.end().ends_with(0).says("web: running but unhealthy: restarting");
    assert_ne!(stack.pid("web"), before);
}

#[test]
fn one_bad_answer_is_enough_for_whoever_starts_it() {
    let port = free_port();
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = 'python3 worker.py web http {port}'
health = {{ url = 'http://127.0.0.1:{port}/health', interval = '50ms', timeout = '1s', failures = 5000 }}"
    ));
    stack.run("start").ends_with(0);
    let before = stack.pid("web");
    stack.write("answer-web", "503");
    wait_until("a probe fails", || stack.service("web")["health"]["status"] == "slow");
    assert!(is_alive(before), "by itself that is no reason for a restart");
    let start = stack.begin("start");
    wait_until("it is stopped", || !is_alive(before));
    stack.write("answer-web", "200");
    start.end().ends_with(0).says("web: running but unhealthy: restarting");
}

#[test]
fn in_the_foreground_logs_are_shown_until_an_interrupt_stops_the_services() {
    let stack =
        TestStack::new("[services.web]\ncommand = 'python3 worker.py web say hello'\n[services.bot]\ncommand = 'python3 worker.py bot'");
    let start = stack.begin("start --foreground");
    wait_until("both have started", || start.stdout().contains("web | web started") && start.stdout().contains("bot | bot started"));
    stack.wait_for_state("bot", "running");
    let workers = [stack.pid("web"), stack.pid("bot")];
    send(proc_id(start.id().pid), Signal::INT);
    let done = start.end().ends_with(130);
    assert!(done.stdout.contains("web | hello\n"), "{done:?}");
    assert!(!workers.into_iter().any(is_alive));
}

#[test]
fn a_command_that_does_not_exist_fails_once_and_clearly() {
    let stack = TestStack::new("[services.web]\ncommand = ['no-such-program', '--port', '1']\nrestart = 'always'\nrestart_delay = '10ms'");
    stack.run("start").ends_with(1).says("error: web was not started: ").says("no-such-program");
    let web = stack.service("web");
    assert_eq!((&web["state"], &web["restarts"], &web["pid"]), (&"failed".into(), &0.into(), &serde_json::Value::Null));
    watch_that("it stays failed", Duration::from_millis(100), || stack.service("web")["state"] == "failed");
}

#[test]
fn an_unknown_target_is_answered_with_what_there_is() {
    let stack = TestStack::new(
        "[services.bot]\ncommand = 'python3 worker.py bot'\n[services.mtproto]\ncommand = 'python3 worker.py mtproto'
[groups]\nworkers = ['mtproto', 'bot']",
    );
    let expected = "error: no service or group named `mtporto`
  --> devstack.toml defines: bot, mtproto (services), workers (groups)
hint: did you mean `mtproto`?
";
    for verb in ["start", "stop", "restart", "status", "logs", "cleanup-workers"] {
        let done = stack.run(&format!("{verb} mtporto")).ends_with(4);
        assert_eq!((done.stderr.as_str(), done.stdout.as_str()), (expected, ""), "{verb}");
    }
    assert_eq!(stack.processes(), [], "nothing was started for that");
}

#[test]
fn a_bad_configuration_touches_nothing() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    let before = (stack.supervisor(), stack.pid("web"));
    stack.configure("[services.web]\ncommand = 'python3 worker.py web other'\nreddy = 1\n");
    for line in ["start", "start --restart", "restart", "stop", "status", "cleanup-workers", "check"] {
        stack.run(line).ends_with(2).says("reddy");
    }
    stack.configure("[services.web]\ncommand = 'python3 worker.py web'");
    assert_eq!((stack.supervisor(), stack.pid("web")), before);
}
