//! Ways down, and what refuses to go.

use super::{app, crashes_after, reasons, sound};
use crate::model::{Exit, KillMode, Reason, RestartPolicy, Service, Setup, Signal};
use crate::supervisor::rig::{name, seconds};
use crate::sys::sim::{Behaviour, Child, Errand};
use std::time::Duration;

#[test]
fn a_stop_during_backoff_ends_it() {
    let mut rig = app(|_| {}, [crashes_after(Duration::ZERO)]);
    rig.start(&["app"]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.word("app"), "backoff");
    rig.stop(&["app"]);
    rig.pass(seconds(60));
    assert_eq!((rig.word("app"), rig.driver.os().deeds.iter().filter(|it| *it == "spawn app").count()), ("stopped", 1));
}

#[test]
fn a_stop_during_set_up_cuts_it_short_and_a_start_after_that_begins_anew() {
    let setup = || Some(Setup { command: vec!["make".to_owned()], creates: None });
    for again in [false, true] {
        let mut rig = app(|it| it.setup = setup(), []);
        rig.os().set_ups.insert(name("app"), [Errand { takes: seconds(60), works: true }].into());
        rig.start(&["app"]);
        rig.pass(seconds(1));
        rig.stop(&["app"]);
        if again {
            rig.start(&["app"]);
            rig.pass(seconds(1));
        }
        assert_eq!(rig.word("app"), if again { "running" } else { "stopped" });
        rig.pass(seconds(120));
        assert_eq!(rig.word("app"), if again { "running" } else { "stopped" }, "the first set-up still reports");
        sound(&rig);
    }
}

#[test]
fn kill_does_not_wait_for_a_service_that_ignores_the_stop_signal() {
    let mut rig = app(|_| {}, [Behaviour { ends_on_signal: None, ..Behaviour::default() }]);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    rig.stop(&["app"]);
    rig.pass(seconds(1));
    assert_eq!(rig.word("app"), "stopping");
    rig.kill(&["app"]);
    assert_eq!(rig.word("app"), "stopped");
    sound(&rig);
}

#[test]
fn what_ignores_the_stop_signal_is_killed_after_its_time() {
    let mut rig = app(|_| {}, [Behaviour { ends_on_signal: None, ..Behaviour::default() }]);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    rig.stop(&["app"]);
    rig.pass(seconds(29));
    assert_eq!(rig.word("app"), "stopping");
    rig.pass(seconds(1));
    assert_eq!(rig.word("app"), "stopped");
}

#[test]
fn a_start_while_it_stops_starts_it_again_afterwards() {
    let mut rig = app(|it| it.restart = RestartPolicy::Never, []);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    rig.stop(&["app"]);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    assert_eq!(rig.word("app"), "running");
    assert_eq!(reasons(&rig), [Reason::Requested]);
}

#[test]
fn what_nothing_can_kill_is_stuck_and_keeps_its_place_until_it_is_gone() {
    for kill_mode in [KillMode::Mixed, KillMode::Process] {
        let endless = Behaviour { ends_on_signal: None, ends_on_kill: Some(seconds(100)), ..Behaviour::default() };
        let mut rig = app(|it| it.kill_mode = kill_mode, [endless]);
        rig.start(&["app"]);
        rig.pass(seconds(1));
        rig.kill(&["app"]);
        rig.start(&["app"]);
        rig.pass(seconds(50));
        assert_eq!((rig.word("app"), rig.driver.os().deeds.iter().filter(|it| *it == "spawn app").count()), ("stuck", 1), "{kill_mode:?}");
        rig.pass(seconds(60));
        assert_eq!(rig.word("app"), "running", "{kill_mode:?}");
        sound(&rig);
    }
}

#[test]
fn children_that_outlive_their_worker_are_gone_before_the_next_one_starts() {
    let slow = Child { ends_on_kill: Some(seconds(2)) };
    let mut rig = app(|it| it.restart_delay = Duration::ZERO, [Behaviour { children: vec![slow], ..crashes_after(seconds(1)) }]);
    rig.start(&["app"]);
    rig.pass(seconds(2));
    assert_eq!(rig.word("app"), "killing");
    rig.pass(seconds(2));
    assert_eq!(rig.word("app"), "running");
    sound(&rig);
}

#[test]
fn a_stop_without_patience_leaves_no_deadline_behind() {
    let hurried = |it: &mut Service| (it.max_runtime, it.stop_timeout) = (Some(seconds(10)), Duration::ZERO);
    let mut rig = app(hurried, [Behaviour { ends_on_signal: None, ends_on_kill: Some(seconds(1)), ..Behaviour::default() }]);
    rig.start(&["app"]);
    rig.pass(seconds(12));
    assert_eq!(reasons(&rig), [Reason::MaxRuntime]);
    sound(&rig);
}

#[test]
fn how_it_ended_is_known_even_when_that_is_told_after_the_set_is_empty() {
    for kill_takes in [Duration::ZERO, seconds(20)] {
        let mut rig = app(|_| {}, [Behaviour { ends_on_kill: Some(kill_takes), ..Behaviour::default() }]);
        rig.os().world.ends_are_told_late = true;
        rig.start(&["app"]);
        rig.pass(seconds(1));
        rig.kill(&["app"]);
        rig.pass(seconds(30));
        assert_eq!(rig.slot("app").last_exit.as_ref().map(|last| last.exit.clone()), Some(Exit::Signal(Signal::KILL)));
        sound(&rig);
    }
}
