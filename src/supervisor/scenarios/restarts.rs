//! What follows an end that nobody asked for, and what being ready means.

use super::{app, crashes_after, ends_well_after, reasons, sound};
use crate::engine::{CauseKind, Notice, State};
use crate::model::{ReadyWhen, Reason, RestartPolicy, Service};
use crate::supervisor::rig::{Rig, health, seconds, service};
use crate::sys::sim::{Behaviour, Fork};
use std::time::Duration;

#[test]
fn a_crashing_service_is_restarted_ever_later_until_the_start_limit() {
    let mut rig = app(|it| it.start_limit.burst = 3, vec![crashes_after(Duration::ZERO); 4]);
    rig.start(&["app"]);
    rig.pass(seconds(20));
    let delays: Vec<f64> =
        rig.notices("app").iter().filter_map(|it| if let Notice::RestartsIn { seconds } = it { Some(*seconds) } else { None }).collect();
    assert!(delays.len() == 3 && delays.iter().zip([1.0, 2.0, 4.0]).all(|(is, says)| (says..=says * 1.1).contains(is)), "{delays:?}");
    let State::Failed { cause } = &rig.slot("app").state else { panic!("{:?}", rig.slot("app").state) };
    assert_eq!(cause.kind, CauseKind::StartLimit);
    assert!(cause.hint.as_ref().is_some_and(|hint| hint.contains("devstack logs app")));
    rig.start(&["app"]);
    rig.pass(seconds(1));
    assert_eq!(rig.word("app"), "running", "a person may always start it again");
    sound(&rig);
}

#[test]
fn a_stable_minute_ends_a_series_of_failures() {
    let mut rig = app(|_| {}, [crashes_after(Duration::ZERO), crashes_after(Duration::ZERO), crashes_after(seconds(90))]);
    rig.start(&["app"]);
    rig.pass(seconds(1 + 2 + 90 + 1));
    assert!(matches!(rig.notices("app").last(), Some(Notice::RestartsIn { seconds: 1.0..=1.1 })), "{:?}", rig.notices("app").last());
}

#[test]
fn a_good_end_is_final_under_on_failure_and_never_and_not_under_always() {
    for (policy, word) in [(RestartPolicy::OnFailure, "exited"), (RestartPolicy::Never, "exited"), (RestartPolicy::Always, "running")] {
        let mut rig = app(|it| it.restart = policy, [ends_well_after(seconds(1))]);
        rig.start(&["app"]);
        rig.pass(seconds(10));
        assert_eq!(rig.word("app"), word, "{policy:?}");
    }
}

#[test]
fn max_runtime_restarts_without_counting_as_a_failure() {
    let mut rig = app(
        |it| {
            it.max_runtime = Some(seconds(60));
            it.start_limit.burst = 0;
        },
        [],
    );
    rig.start(&["app"]);
    rig.pass(seconds(200));
    assert_eq!(reasons(&rig), [Reason::MaxRuntime; 3]);
    assert_eq!((rig.word("app"), rig.slot("app").history.restarts), ("running", 3));
}

#[test]
fn what_is_late_says_so_once_and_may_still_become_ready() {
    let mut rig = app(|_| {}, [Behaviour { ready_after: Some(seconds(100)), ..Behaviour::default() }]);
    rig.start(&["app"]);
    rig.pass(seconds(60));
    let late = |rig: &Rig| rig.notices("app").iter().filter(|it| matches!(it, Notice::Late { .. })).count();
    assert_eq!((rig.word("app"), late(&rig)), ("starting", 1));
    rig.pass(seconds(60));
    assert_eq!((rig.word("app"), late(&rig)), ("running", 1));
    sound(&rig);
}

#[test]
fn an_unhealthy_service_is_restarted_unless_its_policy_says_never() {
    for (policy, expected) in [(RestartPolicy::OnFailure, vec![Reason::Unhealthy]), (RestartPolicy::Never, vec![])] {
        let change = |it: &mut Service| (it.restart, it.health) = (policy, Some(health()));
        let mut rig = app(change, [Behaviour { unwell_after: Some(seconds(30)), ..Behaviour::default() }]);
        rig.start(&["app"]);
        rig.pass(seconds(39));
        assert_eq!(reasons(&rig), [], "two failures are not three");
        rig.pass(seconds(21));
        assert_eq!((reasons(&rig), rig.word("app")), (expected, "running"));
    }
}

#[test]
fn without_a_delay_the_next_run_is_spawned_before_anything_else_happens() {
    let mut rig = app(|it| it.restart_delay = Duration::ZERO, [crashes_after(seconds(1))]);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    assert_eq!((rig.word("app"), rig.slot("app").history.restarts), ("starting", 1));
}

#[test]
fn a_refused_fork_is_tried_again_but_never_at_once() {
    let refused = Behaviour { fork: Fork::TryAgain, ..Behaviour::default() };
    let without_limit = |it: &mut Service| {
        it.restart_delay = Duration::ZERO;
        it.start_limit.interval = Duration::ZERO;
    };
    let mut rig = app(without_limit, vec![refused; 3]);
    rig.start(&["app"]);
    assert_eq!(rig.word("app"), "backoff");
    rig.pass(seconds(2));
    assert_eq!(rig.word("app"), "running");
}

#[test]
fn a_program_that_does_not_exist_is_not_tried_again() {
    let mut rig = app(|_| {}, [Behaviour { fork: Fork::NoSuchProgram, ..Behaviour::default() }]);
    rig.start(&["app"]);
    rig.pass(seconds(60));
    assert_eq!((rig.word("app"), rig.driver.os().deeds.iter().filter(|it| *it == "spawn app").count()), ("failed", 1));
}

#[test]
fn ready_at_once_means_at_once() {
    let mut rig = app(|it| it.ready.when = ReadyWhen::Delay(Duration::ZERO), []);
    rig.start(&["app"]);
    assert_eq!(rig.word("app"), "running");
}

#[test]
fn an_automatic_start_uses_the_configuration_as_last_read() {
    for delay in [Duration::ZERO, seconds(1)] {
        let mut rig = app(|it| it.restart_delay = delay, [crashes_after(seconds(5))]);
        rig.start(&["app"]);
        rig.pass(seconds(1));
        let mut newer = service("app");
        newer.env.insert("TELEGRAM_MODE".to_owned(), "live".to_owned());
        rig.configure([newer]);
        assert_eq!(rig.slot("app").spec.env["TELEGRAM_MODE"], "dev", "what runs keeps its own");
        rig.pass(seconds(10));
        assert_eq!((rig.word("app"), rig.slot("app").spec.env["TELEGRAM_MODE"].as_str()), ("running", "live"));
    }
}
