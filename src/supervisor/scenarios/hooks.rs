//! The commands around a run.

use super::{app, crashes_after, sound};
use crate::engine::{CauseKind, Notice, State};
use crate::model::{Exit, KillMode, Reason, Service};
use crate::supervisor::rig::{Rig, name, seconds, service};
use crate::sys::sim::{Behaviour, Child, Errand, Fork};
use std::time::Duration;

fn hooked(it: &mut Service) {
    it.hooks.pre_start = Some(vec!["make".to_owned(), "migrate".to_owned()]);
    it.hooks.post_stop = Some(vec!["rm".to_owned(), "app.lock".to_owned()]);
}

fn errand(takes: Duration, works: bool) -> Errand {
    Errand { takes, works }
}

fn goes(rig: &mut Rig, errands: impl IntoIterator<Item = Errand>) {
    rig.os().hooks.insert(name("app"), errands.into_iter().collect());
}

/// What was done, in order, and nothing that has no effect.
fn deeds(rig: &Rig) -> Vec<&str> {
    let of_interest = |deed: &&str| ["pre_start", "spawn", "post_stop", "clear"].contains(deed);
    rig.driver.os().deeds.iter().filter_map(|deed| deed.strip_suffix(" app")).filter(of_interest).collect()
}

fn cause(rig: &Rig) -> String {
    match &rig.slot("app").state {
        State::Failed { cause } => cause.message.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn hooks_stand_around_every_run_also_around_those_that_nobody_asked_for() {
    let mut rig = app(hooked, [crashes_after(seconds(5))]);
    rig.start(&["app"]);
    rig.pass(seconds(20));
    rig.stop(&["app"]);
    rig.pass(seconds(5));
    assert_eq!(deeds(&rig), ["clear", "pre_start", "spawn", "post_stop", "pre_start", "spawn", "post_stop"]);
    assert_eq!(rig.word("app"), "stopped");
    sound(&rig);
}

#[test]
fn without_hooks_nothing_is_different() {
    let mut rig = app(|_| {}, []);
    rig.start(&["app"]);
    rig.pass(seconds(5));
    rig.stop(&["app"]);
    rig.pass(seconds(5));
    assert_eq!(deeds(&rig), ["clear", "spawn"]);
}

#[test]
fn a_start_whose_hook_fails_is_over_and_what_belongs_after_a_run_is_done() {
    let mut rig = app(hooked, []);
    goes(&mut rig, [errand(seconds(1), false)]);
    rig.start(&["app"]);
    assert_eq!(rig.word("app"), "starting");
    rig.pass(seconds(5));
    assert_eq!((rig.word("app"), deeds(&rig)), ("failed", vec!["clear", "pre_start", "post_stop"]));
    assert!(rig.notices("app").iter().any(|it| matches!(it, Notice::Refused(cause) if cause.kind == CauseKind::HookFailed)));
    assert_eq!(rig.slot("app").last_exit, None, "nothing of it has run");
    sound(&rig);
}

#[test]
fn a_hook_that_fails_before_an_automatic_start_is_tried_again_ever_later() {
    let mut rig = app(
        |it| {
            hooked(it);
            it.start_limit.burst = 3;
        },
        [crashes_after(seconds(5))],
    );
    goes(&mut rig, [errand(Duration::ZERO, true), Errand::default(), errand(Duration::ZERO, false), Errand::default(), Errand::default()]);
    rig.start(&["app"]);
    rig.pass(seconds(7));
    assert_eq!((rig.word("app"), rig.slot("app").last_exit.as_ref().map(|last| last.reason)), ("backoff", Some(Reason::StartFailed)));
    rig.pass(seconds(5));
    assert_eq!((rig.word("app"), rig.slot("app").history.restarts), ("running", 2));
    sound(&rig);
}

#[test]
fn a_hook_that_does_not_end_is_ended_and_the_start_has_failed() {
    let mut rig = app(
        |it| {
            hooked(it);
            it.ready.timeout = seconds(10);
        },
        [],
    );
    goes(&mut rig, [errand(seconds(3600), true)]);
    rig.start(&["app"]);
    rig.pass(seconds(9));
    assert_eq!(rig.word("app"), "starting");
    rig.pass(seconds(2));
    assert_eq!(cause(&rig), "its pre_start hook failed: it did not end within 10 s (`ready.timeout`)");
    assert!(rig.driver.os().world.processes.is_empty());
    sound(&rig);
}

#[test]
fn a_stop_in_the_middle_of_a_hook_leaves_nothing_of_it() {
    let mut rig = app(hooked, []);
    goes(&mut rig, [errand(seconds(20), true)]);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    assert_eq!(rig.driver.os().world.processes.len(), 1);
    rig.stop(&["app"]);
    assert_eq!((rig.word("app"), deeds(&rig)), ("stopped", vec!["clear", "pre_start", "post_stop"]));
    assert!(rig.driver.os().world.processes.is_empty());
    sound(&rig);
}

#[test]
fn a_stop_is_over_when_the_hook_after_it_is_and_its_failure_is_told_and_holds_nobody() {
    let mut rig = app(hooked, []);
    goes(&mut rig, [Errand::default(), errand(seconds(3), false)]);
    rig.start(&["app"]);
    rig.pass(seconds(5));
    rig.stop(&["app"]);
    rig.pass(seconds(2));
    assert_eq!((rig.word("app"), rig.pid("app")), ("stopping", None));
    rig.pass(seconds(2));
    assert_eq!(rig.word("app"), "stopped");
    assert_eq!(rig.notices("app").iter().filter(|it| matches!(it, Notice::HookFailed(_))).count(), 1);
    sound(&rig);
}

#[test]
fn a_hook_after_a_run_is_given_up_after_the_stop_timeout_or_at_once_by_a_kill() {
    for (timeout, kill, still) in [(12, false, 11), (0, false, 4), (3600, true, 20)] {
        let change = |it: &mut Service| {
            hooked(it);
            it.stop_timeout = seconds(timeout);
        };
        let mut rig = app(change, []);
        goes(&mut rig, [Errand::default(), errand(seconds(36_000), true)]);
        rig.start(&["app"]);
        rig.pass(seconds(5));
        rig.stop(&["app"]);
        rig.pass(seconds(still));
        assert_eq!(rig.word("app"), "stopping", "{timeout}");
        if kill {
            rig.kill(&["app"]);
        } else {
            rig.pass(seconds(2));
        }
        assert_eq!((rig.word("app"), rig.driver.os().world.processes.len()), ("stopped", 0), "{timeout}");
        sound(&rig);
    }
}

#[test]
fn a_start_during_the_hook_after_a_run_waits_for_its_end() {
    let mut rig = app(hooked, []);
    goes(&mut rig, [Errand::default(), errand(seconds(3), true)]);
    rig.start(&["app"]);
    rig.pass(seconds(5));
    rig.stop(&["app"]);
    rig.pass(seconds(1));
    rig.start(&["app"]);
    assert_eq!(rig.word("app"), "stopping");
    rig.pass(seconds(5));
    assert_eq!(rig.word("app"), "running");
    sound(&rig);
}

#[test]
fn a_dependency_stays_up_until_the_hook_after_its_dependant_is_over() {
    let (mut it, db) = (service("app"), service("db"));
    it.depends_on = vec![name("db")];
    hooked(&mut it);
    let mut rig = Rig::new([it, db]);
    goes(&mut rig, [Errand::default(), errand(seconds(3), true)]);
    rig.start(&["app"]);
    rig.pass(seconds(5));
    rig.stop(&["app", "db"]);
    rig.pass(seconds(2));
    assert_eq!((rig.word("app"), rig.word("db")), ("stopping", "running"));
    rig.pass(seconds(5));
    assert_eq!((rig.word("app"), rig.word("db")), ("stopped", "stopped"));
    sound(&rig);
}

#[test]
fn what_a_program_that_cannot_be_started_leaves_undone_is_undone_by_the_hook_after_it() {
    let mut rig = app(hooked, [Behaviour { fork: Fork::NoSuchProgram, ..Behaviour::default() }]);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    assert_eq!((rig.word("app"), deeds(&rig)), ("failed", vec!["clear", "pre_start", "spawn", "post_stop"]));
    sound(&rig);
}

#[test]
fn devstack_killed_during_the_hook_after_a_run_runs_it_again_and_then_goes_on() {
    for wanted_up in [false, true] {
        let mut rig = app(hooked, [crashes_after(seconds(5))]);
        goes(&mut rig, [Errand::default(), errand(seconds(10), true)]);
        rig.start(&["app"]);
        rig.pass(seconds(6));
        if !wanted_up {
            rig.stop(&["app"]);
        }
        assert_eq!(rig.word("app"), "stopping");
        rig.crash(seconds(1));
        rig.pass(seconds(5));
        assert_eq!(deeds(&rig).iter().filter(|it| **it == "post_stop").count(), 2, "at least once");
        assert_eq!(rig.word("app"), if wanted_up { "running" } else { "stopped" });
        assert_eq!(rig.slot("app").last_exit.as_ref().map(|last| last.exit.clone()), Some(Exit::Code(1)));
        sound(&rig);
    }
}

#[test]
fn devstack_killed_during_the_hook_before_a_run_begins_that_start_again() {
    let mut rig = app(hooked, []);
    goes(&mut rig, [errand(seconds(10), true)]);
    rig.start(&["app"]);
    rig.pass(seconds(2));
    rig.crash(seconds(1));
    rig.pass(seconds(5));
    assert_eq!((rig.word("app"), deeds(&rig)), ("running", vec!["clear", "pre_start", "post_stop", "clear", "pre_start", "spawn"]));
    sound(&rig);
}

#[test]
fn children_that_are_left_alone_on_purpose_are_so_by_the_hook_too() {
    let change = |it: &mut Service| {
        hooked(it);
        it.kill_mode = KillMode::Process;
    };
    let child = Child { ends_on_kill: Some(Duration::ZERO) };
    let mut rig = app(change, [Behaviour { children: vec![child], ..Behaviour::default() }]);
    rig.start(&["app"]);
    rig.pass(seconds(5));
    rig.stop(&["app"]);
    rig.pass(seconds(5));
    assert_eq!((rig.word("app"), rig.driver.os().world.processes.len()), ("stopped", 1));
    sound(&rig);
}

#[test]
fn a_delay_counts_from_the_end_of_the_hook_and_a_stable_minute_not_with_it() {
    let mut rig = app(hooked, vec![crashes_after(seconds(30)); 3]);
    goes(&mut rig, (0..6).map(|number| errand(if number % 2 == 0 { Duration::ZERO } else { seconds(29) }, true)));
    rig.start(&["app"]);
    rig.pass(seconds(200));
    let delays = rig
        .notices("app")
        .iter()
        .filter_map(|it| if let Notice::RestartsIn { seconds } = it { Some(*seconds) } else { None })
        .collect::<Vec<_>>();
    assert!(delays.len() == 3 && delays[1] > 1.5 && delays[2] > 3.0, "half a minute of hook makes no run stable: {delays:?}");
    sound(&rig);
}
