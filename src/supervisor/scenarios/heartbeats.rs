//! What a worker says of itself, and what its silence means.

use super::{app, reasons, sound};
use crate::engine::{Event, Notice, Report, Said};
use crate::model::{Reason, RestartPolicy};
use crate::supervisor::rig::{Rig, name, seconds};
use std::time::Duration;

fn says(rig: &mut Rig, said: &[Said]) {
    let run = rig.slot("app").state.run().expect("a run");
    rig.driver.handle([Event::Report(name("app"), run, Report::Notified(said.to_vec()))]);
}

/// Running for a second, with a minute for each heartbeat.
fn beating() -> Rig {
    let mut rig = app(|it| it.heartbeat_timeout = Some(seconds(60)), []);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    says(&mut rig, &[Said::Beat]);
    rig
}

#[test]
fn silence_after_a_heartbeat_is_a_hang_and_silence_from_the_start_is_not() {
    let mut rig = app(|it| it.heartbeat_timeout = Some(seconds(60)), []);
    rig.start(&["app"]);
    rig.pass(seconds(1000));
    assert_eq!(reasons(&rig), []);
    says(&mut rig, &[Said::Beat]);
    rig.pass(seconds(59));
    says(&mut rig, &[Said::Beat]);
    rig.pass(seconds(59));
    assert_eq!(reasons(&rig), []);
    rig.pass(seconds(10));
    assert_eq!((reasons(&rig), rig.word("app")), (vec![Reason::HeartbeatTimeout], "running"));
    let order: Vec<&str> =
        rig.driver.os().deeds.iter().map(String::as_str).filter(|deed| ["ask app", "signal app"].contains(deed)).collect();
    assert_eq!(order, ["ask app", "signal app"], "it is asked where it is before it is stopped");
    sound(&rig);
}

#[test]
fn a_machine_that_slept_has_missed_no_heartbeat() {
    let mut rig = beating();
    rig.pass(seconds(30));
    let world = &mut rig.os().world;
    (world.now, world.asleep) = (world.now.after(seconds(36_000)), seconds(36_000));
    rig.pass(seconds(29));
    assert_eq!(reasons(&rig), [], "59 seconds of its own time");
    let age = rig.slot("app").heard.beat_age(rig.driver.os().world.time());
    assert_eq!(age, Some(seconds(59)));
    sound(&rig);
    rig.pass(seconds(10));
    assert_eq!(reasons(&rig), [Reason::HeartbeatTimeout]);
}

#[test]
fn who_must_not_be_restarted_is_told_silent_until_it_speaks_again() {
    let mut rig = app(
        |it| {
            it.heartbeat_timeout = Some(seconds(60));
            it.restart = RestartPolicy::Never;
        },
        [],
    );
    rig.start(&["app"]);
    rig.pass(seconds(1));
    says(&mut rig, &[Said::Beat]);
    rig.pass(seconds(600));
    assert!(rig.slot("app").heard.is_silent);
    says(&mut rig, &[Said::Beat]);
    assert!(!rig.slot("app").heard.is_silent);
    rig.pass(seconds(600));
    assert_eq!(reasons(&rig), []);
    rig.start(&["app"]);
    rig.pass(seconds(10));
    assert_eq!(reasons(&rig), [Reason::HeartbeatTimeout], "who starts it wants it well");
    sound(&rig);
}

#[test]
fn a_supervisor_that_comes_back_counts_silence_from_then_on_if_it_can_hear() {
    for heard in [true, false] {
        let mut rig = beating();
        rig.crash(seconds(50));
        if heard {
            let events = rig.driver.still_heard();
            rig.driver.handle(events);
        }
        rig.pass(seconds(59));
        assert_eq!(reasons(&rig), []);
        rig.pass(seconds(1000));
        assert_eq!(reasons(&rig), if heard { vec![Reason::HeartbeatTimeout] } else { vec![] });
        sound(&rig);
    }
}

#[test]
fn extensions_move_a_deadline_and_end_somewhere() {
    let mut rig = beating();
    says(&mut rig, &[Said::Extend(seconds(600))]);
    rig.pass(seconds(599));
    assert_eq!(reasons(&rig), []);
    says(&mut rig, &[Said::Extend(seconds(1_000_000))]);
    rig.pass(seconds(3700));
    assert_eq!(reasons(&rig), [Reason::HeartbeatTimeout], "an hour at a time");

    let stubborn = crate::sys::sim::Behaviour { ends_on_signal: None, ..Default::default() };
    let mut rig = app(|_| {}, [stubborn]);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    rig.stop(&["app"]);
    for _ in 0..1000 {
        if rig.word("app") == "stopping" {
            says(&mut rig, &[Said::Extend(seconds(600))]);
            rig.pass(seconds(20));
        }
    }
    assert_eq!(rig.word("app"), "stopped", "nobody stays for ever by asking for more");
    assert!(rig.now().since(crate::model::BootTime::default()) < seconds(3600 + 60));
    sound(&rig);
}

#[test]
fn who_says_that_it_leaves_has_the_time_of_a_stop_for_it() {
    let mut rig = beating();
    says(&mut rig, &[Said::Stopping]);
    rig.pass(seconds(29));
    assert_eq!(reasons(&rig), []);
    rig.pass(seconds(2));
    assert_eq!(reasons(&rig), [Reason::Unhealthy]);
}

#[test]
fn what_is_no_process_of_the_run_is_not_taken_for_its_main_one_and_that_is_told_once() {
    let mut rig = beating();
    let pid = rig.pid("app").expect("it runs");
    says(&mut rig, &[Said::Main(Some(pid))]);
    let refusals = |rig: &Rig| rig.notices("app").iter().filter(|it| matches!(it, Notice::MainPidRefused { .. })).count();
    assert_eq!(refusals(&rig), 0, "it is that one already");
    for said in [None, Some(0), Some(1), Some(1 << 30), Some(pid + 1)] {
        says(&mut rig, &[Said::Main(said)]);
    }
    assert_eq!((refusals(&rig), rig.pid("app")), (1, Some(pid)));
}

#[test]
fn words_of_a_worker_save_no_ledger_but_the_first_heartbeat_does() {
    let mut rig = app(|it| it.heartbeat_timeout = Some(seconds(60)), []);
    rig.start(&["app"]);
    rig.pass(seconds(1));
    rig.os().saved = None;
    says(&mut rig, &[Said::Status("at work".to_owned())]);
    assert!(rig.os().saved.is_none());
    says(&mut rig, &[Said::Beat]);
    assert!(rig.os().saved.take().is_some());
    rig.pass(Duration::from_millis(10));
    says(&mut rig, &[Said::Beat, Said::Status("still".to_owned())]);
    assert!(rig.os().saved.is_none());
}

#[test]
fn silence_is_judged_also_while_a_planned_restart_has_to_wait_for_another_of_its_group() {
    let mut app = crate::supervisor::rig::service("app");
    (app.heartbeat_timeout, app.groups) = (Some(seconds(60)), ["workers".to_owned()].into_iter().collect());
    let mut other = crate::supervisor::rig::service("other");
    (other.max_runtime, other.groups, other.ready.timeout) = (Some(seconds(10)), app.groups.clone(), seconds(1000));
    let mut rig = Rig::new([app, other]);
    let never_ready = crate::sys::sim::Behaviour { ready_after: None, ..Default::default() };
    rig.os().spawns.insert(name("other"), [crate::sys::sim::Behaviour::default(), never_ready].into());
    rig.start(&["app", "other"]);
    rig.pass(seconds(1));
    says(&mut rig, &[Said::Beat]);
    rig.pass(seconds(70));
    assert_eq!((rig.word("other"), reasons(&rig)), ("starting", vec![Reason::HeartbeatTimeout]));
    sound(&rig);
}
