//! `devstack restart`: stop, then start, with the configuration and env files as they are now.

use crate::support::TestStack;
use crate::world::is_alive;

#[test]
fn a_changed_configuration_takes_effect_with_a_restart_and_not_before() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web say old'");
    stack.run("start").ends_with(0);
    let before = stack.pid("web");
    stack.configure("[services.web]\ncommand = 'python3 worker.py web say new'");
    stack.run("start").ends_with(0).says("untouched");
    assert_eq!(stack.pid("web"), before);
    stack.run("restart web").ends_with(0);
    assert!(!is_alive(before));
    assert!(stack.log("web").contains("new\n"));
}

#[test]
fn a_restart_of_what_is_stopped_starts_it() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("restart").ends_with(0).says("web: ready in ");
    stack.run("stop").ends_with(0);
    stack.run("restart").ends_with(0).says("web: ready in ");
}

#[test]
fn the_old_instance_is_gone_before_the_new_one_begins() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web slow-term 0.3'");
    stack.run("start").ends_with(0);
    stack.run("restart").ends_with(0);
    assert!(stack.times("web", "stopped")[0] < stack.times("web", "started")[1]);
    let last = stack.service("web")["last_exit"].clone();
    assert_eq!((&last["reason"], &last["by"], &last["code"]), (&"requested".into(), &"user".into(), &0.into()));
}

#[test]
fn a_service_that_is_new_in_the_configuration_is_known_at_once_and_one_that_left_it_is_stopped() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    let web = stack.pid("web");
    stack.configure("[services.bot]\ncommand = 'python3 worker.py bot'");
    stack.run("start bot").ends_with(0);
    crate::world::wait_until("what is no longer named is stopped", || !is_alive(web));
    assert_eq!(stack.status()["services"].as_array().expect("a list").len(), 1);
}

#[test]
fn a_restart_without_waiting_returns_at_once_and_happens_all_the_same() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    let before = stack.pid("web");
    stack.run("restart --no-wait").ends_with(0);
    crate::world::wait_until("it is another one", || {
        let web = stack.service("web");
        web["state"] == "running" && web["pid"] != before.pid
    });
}
