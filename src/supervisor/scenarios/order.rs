//! Services that need each other.

use super::{app_and_db, sound};
use crate::model::Service;
use crate::supervisor::rig::{Rig, name, seconds, service};
use crate::sys::sim::{Behaviour, Child};
use std::time::Duration;

#[test]
fn a_start_of_what_runs_and_is_healthy_changes_nothing() {
    let mut rig = app_and_db();
    rig.start(&["app"]);
    rig.pass(seconds(5));
    let before = rig.driver.stack().slots().clone();
    let deeds = rig.driver.os().deeds.len();
    rig.start(&["app"]);
    rig.pass(seconds(5));
    assert_eq!((rig.driver.stack().slots(), rig.driver.os().deeds.len()), (&before, deeds));
}

#[test]
fn dependencies_come_up_first_and_dependants_go_down_first() {
    let mut rig = app_and_db();
    rig.start(&["app"]);
    assert_eq!((rig.word("app"), rig.word("db")), ("waiting", "starting"));
    rig.pass(seconds(5));
    rig.os().deeds.clear();
    rig.stop(&["db", "app"]);
    rig.pass(seconds(5));
    let signals: Vec<_> = rig.driver.os().deeds.iter().filter(|it| it.starts_with("signal")).collect();
    assert_eq!(signals, ["signal app", "signal db"]);
}

#[test]
fn dependants_wait_while_all_are_restarted() {
    let mut rig = app_and_db();
    rig.start(&["app"]);
    rig.pass(seconds(5));
    rig.os().deeds.clear();
    rig.restart(&["app", "db"]);
    rig.pass(Duration::from_millis(250));
    assert_eq!((rig.word("app"), rig.word("db")), ("waiting", "starting"));
    rig.pass(seconds(5));
    assert_eq!((rig.word("app"), rig.word("db")), ("running", "running"));
    sound(&rig);
}

#[test]
fn a_dependency_waits_for_the_last_child_of_its_dependant() {
    let mut rig = app_and_db();
    let slow = Child { ends_on_kill: Some(seconds(3)) };
    rig.os().spawns.insert(name("app"), [Behaviour { children: vec![slow], ..Behaviour::default() }].into());
    rig.start(&["app"]);
    rig.pass(seconds(5));
    rig.restart(&["app", "db"]);
    rig.pass(seconds(2));
    assert_eq!((rig.word("app"), rig.word("db")), ("killing", "running"));
    rig.pass(seconds(5));
    assert_eq!((rig.word("app"), rig.word("db")), ("running", "running"));
    sound(&rig);
}

#[test]
fn a_restart_of_one_leaves_the_others_alone() {
    let mut rig = app_and_db();
    rig.start(&["app"]);
    rig.pass(seconds(5));
    let (app, run) = (rig.pid("app"), rig.slot("db").state.run());
    rig.restart(&["db"]);
    rig.pass(seconds(5));
    assert_eq!((rig.pid("app"), rig.word("db")), (app, "running"));
    assert_ne!(rig.slot("db").state.run(), run);
}

#[test]
fn a_start_does_not_take_back_a_restart_that_has_not_begun() {
    let mut rig = app_and_db();
    rig.start(&["app"]);
    rig.pass(seconds(5));
    let run = rig.slot("db").state.run();
    rig.restart(&["app", "db"]);
    rig.start(&["db"]);
    rig.pass(seconds(5));
    assert_ne!(rig.slot("db").state.run(), run);
}

#[test]
fn what_left_the_configuration_is_stopped_and_forgotten() {
    let mut rig = app_and_db();
    rig.start(&["app"]);
    rig.pass(seconds(5));
    rig.configure([service("db")]);
    assert_eq!(rig.word("app"), "stopping");
    rig.start(&["app"]);
    rig.pass(seconds(5));
    assert!(rig.driver.stack().slot(&name("app")).is_none());
    assert_eq!(rig.word("db"), "running");
}

/// `db` has to wait for `app`, which takes ten seconds to stop.
fn a_slow_app_and_its_db(change: impl FnOnce(&mut Service)) -> Rig {
    let (mut app, mut db) = (service("app"), service("db"));
    app.depends_on = vec![name("db")];
    change(&mut db);
    let mut rig = Rig::new([app, db]);
    rig.os().spawns.insert(name("app"), [Behaviour { ends_on_signal: Some(seconds(10)), ..Behaviour::default() }].into());
    rig.start(&["app"]);
    rig.pass(seconds(5));
    rig
}

#[test]
fn max_runtime_does_not_overtake_a_stop_that_waits_for_dependants() {
    let mut rig = a_slow_app_and_its_db(|db| db.max_runtime = Some(seconds(8)));
    rig.stop(&["app", "db"]);
    rig.pass(seconds(9));
    assert_eq!((rig.word("app"), rig.word("db")), ("stopping", "running"));
    rig.pass(seconds(5));
    assert_eq!((rig.word("app"), rig.word("db")), ("stopped", "stopped"));
}

#[test]
fn what_has_to_leave_cannot_be_started() {
    let mut rig = a_slow_app_and_its_db(|_| {});
    rig.configure([service("other")]);
    rig.start(&["db"]);
    rig.pass(seconds(60));
    assert_eq!(rig.driver.stack().slots().len(), 1);
}
