//! Files change that a service watches.

use super::{app, crashes_after, ends_well_after, reasons, sound};
use crate::engine::Notice;
use crate::model::{Actor, Reason, RestartPolicy};
use crate::supervisor::rig::{Rig, name, seconds, service};
use crate::sys::sim::{Behaviour, Errand, Fork};
use std::time::Duration;

#[test]
fn a_change_restarts_what_runs_under_every_policy_and_is_no_crash() {
    for policy in [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never] {
        let mut rig = app(|it| (it.restart, it.start_limit.burst) = (policy, 0), []);
        rig.start(&["app"]);
        rig.pass(seconds(5));
        let before = rig.slot("app").state.run();
        rig.change_files("app", &["app.py"]);
        assert_eq!(rig.word("app"), "stopping");
        rig.pass(seconds(5));
        assert_eq!((rig.word("app"), reasons(&rig)), ("running", vec![Reason::FilesChanged]));
        assert_ne!(rig.slot("app").state.run(), before);
        let last = rig.slot("app").last_exit.clone().expect("an end");
        assert_eq!((last.by, rig.slot("app").history.restarts), (Actor::User, 0));
        sound(&rig);
    }
}

#[test]
fn a_change_starts_again_what_has_failed_is_backing_off_or_has_ended() {
    let no_program = || Behaviour { fork: Fork::NoSuchProgram, ..Behaviour::default() };
    for (runs, word) in [(no_program(), "failed"), (crashes_after(seconds(2)), "backoff"), (ends_well_after(seconds(2)), "exited")] {
        let mut rig = app(|it| it.restart_delay = seconds(50), [runs]);
        rig.start(&["app"]);
        rig.pass(seconds(3));
        assert_eq!(rig.word("app"), word);
        rig.change_files("app", &["app.py"]);
        rig.pass(seconds(3));
        assert_eq!((rig.word("app"), rig.slot("app").history.restarts), ("running", 0), "{word}");
        sound(&rig);
    }
}

#[test]
fn what_is_stopped_stays_so_and_what_is_not_yet_there_is_left_to_begin() {
    let mut rig = app(|_| {}, []);
    rig.change_files("app", &["app.py"]);
    assert_eq!(rig.word("app"), "stopped");
    rig.os().clears.insert(name("app"), [Errand { takes: seconds(2), works: true }].into());
    rig.start(&["app"]);
    rig.pass(seconds(1));
    rig.change_files("app", &["app.py"]);
    rig.pass(seconds(5));
    assert_eq!((rig.word("app"), reasons(&rig).len()), ("running", 0));
    rig.stop(&["app"]);
    rig.change_files("app", &["app.py"]);
    rig.pass(seconds(5));
    assert_eq!(rig.word("app"), "stopped");
    sound(&rig);
}

#[test]
fn what_changed_before_a_process_was_there_has_been_read_by_it() {
    let mut rig = app(|_| {}, []);
    rig.pass(seconds(1));
    let before = rig.now();
    rig.pass(seconds(1));
    rig.start(&["app"]);
    rig.pass(seconds(1));
    let paths = std::collections::BTreeSet::from(["app.py".into()]);
    rig.driver.handle([crate::engine::Event::FilesChanged(name("app"), paths, before)]);
    rig.pass(seconds(5));
    assert_eq!((rig.word("app"), reasons(&rig).len()), ("running", 0));
}

#[test]
fn a_change_while_it_ends_under_a_policy_that_would_let_it_rest_starts_it_again() {
    let slow = Behaviour { ends_on_signal: Some(seconds(4)), ..Behaviour::default() };
    let mut rig = app(|it| (it.restart, it.max_runtime) = (RestartPolicy::Never, Some(seconds(10))), [slow]);
    rig.start(&["app"]);
    rig.pass(seconds(12));
    rig.change_files("app", &["app.py"]);
    rig.pass(seconds(5));
    assert_eq!(rig.word("app"), "running");
    sound(&rig);
}

#[test]
fn dependants_run_on_while_a_change_restarts_what_they_need() {
    let (mut it, db) = (service("app"), service("db"));
    it.depends_on = vec![name("db")];
    let mut rig = Rig::new([it, db]);
    rig.start(&["app"]);
    rig.pass(seconds(5));
    let pid = rig.pid("app");
    rig.change_files("db", &["db.py"]);
    rig.pass(seconds(5));
    assert_eq!((rig.word("db"), rig.word("app"), rig.pid("app")), ("running", "running", pid));
}

#[test]
fn a_service_that_writes_what_it_watches_is_not_restarted_for_ever_and_this_is_told_once() {
    let mut rig = app(|it| it.watch = vec!["**".to_owned()], []);
    rig.start(&["app"]);
    for _ in 0..20 {
        rig.pass(seconds(3));
        rig.change_files("app", &["state.json"]);
    }
    rig.pass(seconds(5));
    let told = rig.notices("app").iter().filter(|it| matches!(it, Notice::Watching { trouble } if trouble.contains("state.json"))).count();
    assert_eq!((rig.word("app"), reasons(&rig).len(), told), ("running", 4, 1));
    rig.change_files("app", &["app.py"]);
    rig.pass(Duration::from_millis(10));
    assert_eq!(rig.word("app"), "stopping", "other files still count");
}

#[test]
fn devstack_killed_during_a_restart_for_a_change_goes_on_with_it() {
    let slow = Behaviour { ends_on_signal: Some(seconds(4)), ..Behaviour::default() };
    let mut rig = app(|it| it.restart = RestartPolicy::Never, [slow]);
    rig.start(&["app"]);
    rig.pass(seconds(5));
    rig.change_files("app", &["app.py"]);
    rig.crash(seconds(1));
    rig.pass(seconds(10));
    assert_eq!(rig.word("app"), "running");
    sound(&rig);
}
