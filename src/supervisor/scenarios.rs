//! Small stories of one or two services, told on the simulated machine.

use super::rig::{Rig, health, name, seconds, service};
use crate::engine::{CauseKind, Notice, State};
use crate::model::{Exit, KillMode, ReadyWhen, Reason, RestartPolicy, Service, Setup};
use crate::sys::sim::{Behaviour, Child, Errand, Fork};
use std::time::Duration;

fn crashes_after(wait: Duration) -> Behaviour {
    Behaviour { ends: Some((wait, Exit::Code(1))), ..Behaviour::default() }
}

fn ends_well_after(wait: Duration) -> Behaviour {
    Behaviour { ends: Some((wait, Exit::Code(0))), ..Behaviour::default() }
}

/// One service, `app`, whose runs go as told; later runs are healthy.
fn app(change: impl FnOnce(&mut Service), runs: impl IntoIterator<Item = Behaviour>) -> Rig {
    let mut app = service("app");
    change(&mut app);
    let mut rig = Rig::new([app]);
    rig.os().spawns.insert(name("app"), runs.into_iter().collect());
    rig
}

/// `app` needs `db`.
fn app_and_db() -> Rig {
    let mut app = service("app");
    app.depends_on = vec![name("db")];
    Rig::new([app, service("db")])
}

fn reasons(rig: &Rig) -> Vec<Reason> {
    let reason = |notice: &&Notice| if let Notice::Ended { reason, .. } = notice { Some(*reason) } else { None };
    rig.notices("app").iter().filter_map(reason).collect()
}

fn sound(rig: &Rig) {
    assert_eq!(rig.check(), Ok(()));
}

#[test]
fn a_crashing_service_is_restarted_ever_later_until_the_start_limit() {
    let mut rig = app(|it| it.start_limit.burst = 3, vec![crashes_after(Duration::ZERO); 4]);
    rig.start(&["app"]);
    rig.pass(seconds(20));
    let delays: Vec<f64> =
        rig.notices("app").iter().filter_map(|it| if let Notice::RestartsIn { seconds } = it { Some(*seconds) } else { None }).collect();
    assert_eq!(delays, [1.0, 2.0, 4.0]);
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
    rig.pass(seconds(1 + 2 + 90));
    assert_eq!(rig.notices("app").last(), Some(&&Notice::RestartsIn { seconds: 1.0 }));
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
fn ready_at_once_means_at_once() {
    let mut rig = app(|it| it.ready.when = ReadyWhen::Delay(Duration::ZERO), []);
    rig.start(&["app"]);
    assert_eq!(rig.word("app"), "running");
}
