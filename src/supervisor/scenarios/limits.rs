//! What a run may use and how long it may live, and what is done about it.

use super::{app, reasons, sound};
use crate::engine::{Event, Finding, Notice, Report, State};
use crate::model::{Measured, Reason, Service};
use crate::supervisor::rig::{Rig, name, seconds, service};
use crate::sys::sim::Behaviour;
use std::time::Duration;

const MEMORY: Measured = Measured::Memory { used: 3 << 30, limit: 2 << 30 };

fn report(rig: &mut Rig, finding: Finding) {
    let run = rig.slot("app").state.run().expect("it runs");
    rig.driver.handle([Event::Report(name("app"), run, Report::Limit(finding))]);
    rig.pump();
}

#[test]
fn close_to_a_limit_is_only_told() {
    let mut rig = app(|_| {}, []);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    report(&mut rig, Finding::Near(MEMORY));
    assert!(matches!(rig.notices("app").last(), Some(Notice::NearLimit { measured: MEMORY, .. })));
    assert_eq!(rig.word("app"), "running");
    sound(&rig);
}

#[test]
fn over_a_limit_it_has_its_time_to_end_unless_it_goes_on_growing() {
    let stubborn = Behaviour { ends_on_signal: None, ..Behaviour::default() };
    let mut rig = app(|it| it.stop_timeout = seconds(30), [stubborn.clone(), stubborn]);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    report(&mut rig, Finding::Exceeded(MEMORY));
    rig.pass(seconds(29));
    assert_eq!(rig.word("app"), "stopping", "it may take its time");
    rig.pass(seconds(10));
    report(&mut rig, Finding::Exceeded(MEMORY));
    rig.pass(seconds(1));
    report(&mut rig, Finding::Overrun(MEMORY));
    rig.pass(Duration::ZERO);
    assert_eq!(reasons(&rig), [Reason::MemoryLimit; 2], "the second did not wait for the end of its grace");
    sound(&rig);
}

#[test]
fn growth_during_a_stop_that_somebody_asked_for_cuts_it_short_and_is_still_that_stop() {
    let mut rig = app(|it| it.stop_timeout = seconds(30), [Behaviour { ends_on_signal: None, ..Behaviour::default() }]);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    rig.stop(&["app"]);
    report(&mut rig, Finding::Overrun(MEMORY));
    rig.pass(Duration::ZERO);
    assert_eq!((rig.word("app"), reasons(&rig)), ("stopped", vec![Reason::Requested]));
}

fn member(of: &str, group: &str) -> Service {
    let mut it = service(of);
    (it.max_runtime, it.max_runtime_jitter, it.groups) = (Some(seconds(60)), 0.0, vec![group.to_owned()]);
    it
}

#[test]
fn of_one_group_the_next_is_recycled_once_the_last_is_back() {
    let slow = || Behaviour { ready_after: Some(seconds(5)), ..Behaviour::default() };
    let mut rig = Rig::new([member("app", "workers"), member("bot", "workers"), member("lone", "others")]);
    for service in ["app", "bot"] {
        rig.os().spawns.insert(name(service), (0..9).map(|_| slow()).collect());
    }
    rig.start(&["app", "bot", "lone"]);
    let mut both_were_due = false;
    for _ in 0..1200 {
        rig.pass(Duration::from_millis(100));
        let up = |service: &str| matches!(rig.slot(service).state, State::Running { .. });
        let age = |service: &str| rig.slot(service).process.as_ref().map_or(Duration::ZERO, |process| rig.now().since(process.spawned_at));
        if rig.now().since(crate::model::BootTime::default()) > seconds(6) {
            assert!(up("app") || up("bot"), "both are away");
        }
        both_were_due |= up("bot") && age("bot") > seconds(60);
        sound(&rig);
    }
    assert!(both_were_due, "one had to wait for the other");
    let recycled = |service: &str| rig.slot(service).history.restarts;
    assert_eq!((recycled("app"), recycled("bot"), recycled("lone")), (1, 1, 1));
}

#[test]
fn one_that_does_not_become_ready_holds_up_its_group_only_as_long_as_a_start_may_take() {
    let never = Behaviour { ready_after: None, ..Behaviour::default() };
    let mut rig = Rig::new([member("app", "workers"), member("bot", "workers")]);
    rig.os().spawns.insert(name("app"), [Behaviour::default(), never].into_iter().collect());
    rig.start(&["app", "bot"]);
    rig.pass(seconds(60));
    let late = rig.slot("app").spec.ready.timeout;
    assert_eq!(rig.slot("bot").history.restarts, 0, "it waits");
    rig.pass(late + seconds(1));
    assert_eq!(rig.slot("bot").history.restarts, 1);
    sound(&rig);
}
