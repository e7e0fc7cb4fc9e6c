//! Devstack itself dies, or cannot write down what it does.

use super::{app, ends_well_after, sound};
use crate::engine::{Command, Event};
use crate::model::{Reason, RestartPolicy};
use crate::supervisor::rig::seconds;
use crate::sys::sim::{Behaviour, Child};
use std::time::Duration;

#[test]
fn devstack_killed_and_back_adopts_what_runs_and_restarts_it_with_its_environment() {
    let mut rig = app(|it| it.restart = RestartPolicy::Always, [ends_well_after(seconds(100))]);
    rig.start(&["app"]);
    rig.pass(seconds(5));
    let pid = rig.pid("app");
    rig.crash(seconds(10));
    assert_eq!((rig.pid("app"), rig.word("app")), (pid, "running"));
    rig.pass(seconds(100));
    assert_eq!(rig.word("app"), "running");
    assert!(!rig.slot("app").spec.env.is_empty());
    sound(&rig);
}

#[test]
fn a_stop_that_was_accepted_survives_devstack() {
    let mut rig = app(|_| {}, [Behaviour { ends_on_signal: Some(seconds(5)), ..Behaviour::default() }]);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    rig.os().dies_in = Some(1);
    rig.stop(&["app"]);
    rig.pass(seconds(10));
    assert_eq!(rig.word("app"), "stopped");
    sound(&rig);
}

#[test]
fn a_farewell_goes_on_after_devstack_was_killed_on_its_way_out() {
    let mut rig = app(|_| {}, [Behaviour { ends_on_signal: Some(seconds(5)), ..Behaviour::default() }]);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    rig.driver.handle([Event::Command(Command::Shutdown { kill: false, timeout: None })]);
    assert!(!rig.driver.stack().may_leave());
    rig.crash(seconds(1));
    rig.pass(seconds(10));
    assert!(rig.driver.stack().may_leave() && rig.word("app") == "stopped");
    sound(&rig);
}

#[test]
fn a_full_disk_stops_nobody_and_is_tried_again() {
    let mut rig = app(|_| {}, []);
    rig.os().full_disk = 3;
    rig.start(&["app"]);
    assert!(rig.driver.degraded().is_some());
    rig.pass(seconds(2));
    assert_eq!((rig.word("app"), rig.driver.degraded()), ("running", None));
    assert_eq!(rig.driver.os().saved.as_ref(), Some(rig.driver.stack()));
}

#[test]
fn a_worker_that_the_full_disk_hid_from_the_ledger_is_neither_doubled_nor_restarted() {
    let mut rig = app(|it| it.restart = RestartPolicy::Always, [ends_well_after(seconds(10))]);
    rig.start(&["app"]);
    rig.pass(seconds(5));
    rig.os().full_disk = 1000;
    rig.pass(seconds(20));
    let hidden = rig.pid("app");
    rig.crash(seconds(1));
    rig.os().full_disk = 0;
    rig.pass(seconds(20));
    assert_eq!((rig.word("app"), rig.pid("app")), ("running", hidden));
    assert_eq!(rig.driver.os().world.processes.len(), 1);
    sound(&rig);
}

#[test]
fn without_a_ledger_what_runs_is_taken_in_and_ends_and_restarts_as_before() {
    let mut rig = app(|it| (it.restart, it.max_runtime) = (RestartPolicy::Always, Some(seconds(50))), [Behaviour::default()]);
    rig.start(&["app"]);
    rig.pass(seconds(5));
    let pid = rig.pid("app");
    rig.crash_without_ledger(seconds(10));
    assert_eq!((rig.word("app"), rig.pid("app")), ("running", pid));
    rig.pass(seconds(30));
    assert_eq!(rig.pid("app"), pid);
    rig.pass(seconds(60));
    assert_eq!(rig.slot("app").last_exit.as_ref().map(|last| last.reason), Some(Reason::MaxRuntime));
    assert_eq!(rig.word("app"), "running");
    rig.stop(&["app"]);
    rig.pass(seconds(40));
    assert_eq!(rig.word("app"), "stopped");
    sound(&rig);
}

#[test]
fn a_stop_goes_on_although_the_ledger_knows_only_an_earlier_run() {
    let slow = Behaviour { ends_on_signal: Some(seconds(20)), ..Behaviour::default() };
    let mut rig = app(|it| it.restart = RestartPolicy::Always, [ends_well_after(seconds(10)), slow]);
    rig.start(&["app"]);
    rig.pass(seconds(5));
    rig.stop(&["app"]);
    rig.os().full_disk = 1000;
    rig.start(&["app"]);
    rig.pass(seconds(40));
    rig.os().full_disk = 0;
    rig.crash(seconds(1));
    rig.pass(seconds(60));
    sound(&rig);
}

#[test]
fn what_is_adopted_has_its_environment_at_once() {
    let mut rig = app(|_| {}, []);
    rig.start(&["app"]);
    rig.pass(seconds(5));
    rig.crash(Duration::ZERO);
    assert_eq!(rig.slot("app").spec.env["TELEGRAM_MODE"], "dev");
}

#[test]
fn what_is_left_of_a_run_that_no_ledger_knows_is_swept_and_its_number_is_not_given_again() {
    let child = Child { ends_on_kill: Some(Duration::ZERO) };
    let with_child = Behaviour { children: vec![child], ..ends_well_after(seconds(2)) };
    let mut rig = app(|_| {}, [Behaviour::default(), with_child]);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    rig.stop(&["app"]);
    rig.pass(seconds(1));
    rig.os().full_disk = 1000;
    rig.start(&["app"]);
    rig.pass(seconds(1));
    let hidden = rig.slot("app").state.run().expect("it runs");
    rig.crash(seconds(5));
    rig.os().full_disk = 0;
    rig.pass(seconds(1));
    assert_eq!(rig.driver.os().world.processes.len(), 0, "the child of a worker that nobody saw end");
    assert_eq!(rig.slot("app").last_exit.as_ref().map(|last| last.run), Some(hidden));
    assert_eq!(rig.word("app"), "stopped", "as the ledger had it");
    rig.start(&["app"]);
    rig.pass(seconds(1));
    assert!(rig.slot("app").state.run() > Some(hidden));
    sound(&rig);
}
