//! What a person at a terminal sees of `start` and `stop`, and what Ctrl-C means there.

use crate::support::TestStack;
use crate::terminal::{CTRL_C, Terminal};
use crate::world::{is_alive, wait_until};

#[test]
fn a_start_turns_a_spinner_and_leaves_one_line_a_service() {
    let stack =
        TestStack::new("[services.web]\ncommand = 'python3 worker.py web sleep 0.3'\n[services.bot]\ncommand = 'python3 worker.py bot'");
    let (code, drawn) = Terminal::devstack(&stack, "start").end();
    assert_eq!(code, 0, "{drawn}");
    for name in ["web", "bot"] {
        assert!(drawn.contains(&format!("{name}: ready in ")) && drawn.contains('✔'), "{drawn}");
    }
    assert!(drawn.contains('\x1b'), "something turned: {drawn:?}");
    let piped = stack.run("restart").ends_with(0);
    assert!(!piped.stderr.contains('\x1b') && !piped.stderr.contains('✔'), "{piped:?}");
}

#[test]
fn quiet_says_nothing_of_success_and_everything_of_failure() {
    let stack = TestStack::new(
        "[services.web]\ncommand = 'python3 worker.py web'\n[services.bad]\ncommand = 'python3 worker.py bad say oh exit 3'",
    );
    assert_eq!(stack.run("-q start web").ends_with(0).stderr, "");
    assert_eq!(stack.run("-q stop web").ends_with(0).stderr, "");
    stack.run("-q start bad").ends_with(1).says("exit status 3\n  | oh\n");
}

#[test]
fn an_interrupted_start_goes_on_in_the_background() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web await go'");
    let mut start = Terminal::devstack(&stack, "start");
    stack.wait_for_state("web", "starting");
    start.wait_for("starting");
    start.type_keys(CTRL_C);
    let (code, drawn) = start.end();
    assert!(code == 130 && drawn.contains("the start goes on in the background"), "{drawn}");
    stack.write("go", "");
    stack.wait_for_state("web", "running");
}

#[test]
fn ctrl_c_twice_during_a_stop_kills_and_says_what_became_of_it() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web slow-term 60'\nstop_timeout = '60s'");
    stack.run("start").ends_with(0);
    let worker = stack.pid("web");
    let mut stop = Terminal::devstack(&stack, "stop");
    wait_until("it is asked to stop", || stack.times("web", "stopping").len() == 1);
    stop.type_keys(CTRL_C);
    stop.wait_for("press Ctrl-C again to kill now");
    stop.type_keys(CTRL_C);
    let (code, drawn) = stop.end();
    assert!(code == 0 && drawn.contains("stopped (killed by SIGKILL)"), "{drawn}");
    assert!(!is_alive(worker));
}

#[test]
fn closing_the_terminal_ends_neither_the_workers_nor_devstack() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    let (code, drawn) = Terminal::devstack(&stack, "start").end();
    assert_eq!(code, 0, "{drawn}");
    assert_eq!((stack.service("web")["state"].as_str(), stack.processes().len()), (Some("running"), 3));
}

#[test]
fn a_foreground_start_on_a_terminal_ends_with_its_services() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web say hello'");
    let mut start = Terminal::devstack(&stack, "start --foreground");
    start.wait_for("hello");
    stack.wait_for_state("web", "running");
    let worker = stack.pid("web");
    start.type_keys(CTRL_C);
    let (code, drawn) = start.end();
    assert!(code == 130 && !is_alive(worker), "{drawn}");
    assert_eq!(stack.times("web", "stopped").len(), 1, "Ctrl-C reached devstack, and devstack asked the worker");
}

#[test]
fn a_foreground_start_that_fails_stops_the_others_again() {
    let stack = TestStack::new(
        "[services.good]\ncommand = 'python3 worker.py good'\n[services.bad]\ncommand = 'python3 worker.py bad say oh await go exit 3'",
    );
    let start = stack.begin("start --foreground");
    stack.wait_for_state("good", "running");
    stack.write("go", "");
    start.end().ends_with(1).says("bad ended while starting: exit status 3");
    assert_eq!(stack.service("good")["state"], "stopped");
}
