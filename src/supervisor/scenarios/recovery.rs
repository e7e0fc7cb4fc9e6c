//! Devstack itself dies, or cannot write down what it does.

use super::{app, ends_well_after, sound};
use crate::model::RestartPolicy;
use crate::supervisor::rig::seconds;
use crate::sys::sim::Behaviour;
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
fn a_worker_that_the_full_disk_hid_from_the_ledger_is_not_doubled() {
    let mut rig = app(|it| it.restart = RestartPolicy::Always, [ends_well_after(seconds(10))]);
    rig.start(&["app"]);
    rig.pass(seconds(5));
    rig.os().full_disk = 1000;
    rig.pass(seconds(20));
    rig.crash(seconds(1));
    rig.os().full_disk = 0;
    rig.pass(seconds(20));
    assert_eq!(rig.word("app"), "running");
    assert_eq!(rig.driver.os().world.processes.len(), 1);
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
