//! What holds whatever happens: random stacks, commands, faults and times, and devstack killed between any two of its deeds.

use super::rig::{Rig, health, seconds, service};
use crate::engine::{StartMode, State};
use crate::model::{Exit, Hooks, KillMode, Measured, ReadyWhen, RestartPolicy, Service, ServiceName, Setup, Signal, StartLimit};
use crate::sys::sim::{Behaviour, Child, Errand, Fork, Process};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use std::time::Duration;

#[derive(Debug, Clone)]
enum Step {
    Start(u8),
    Restart(u8),
    Stop(u8, Option<Duration>),
    Kill(u8),
    Pass(Duration),
    /// Devstack is killed, and back after a while.
    Crash(Duration),
    /// Devstack is killed, and its ledger lost.
    LoseLedger(Duration),
    /// Devstack is killed before its n-th deed from now.
    CrashSoon(u32),
    DiskFull(u32),
    /// Files that these watch.
    Change(u8),
    /// A report comes a second time, or too late.
    Echo(prop::sample::Index),
    /// Another configuration is read, in which these services are missing.
    Configure(u8),
}

/// Of what dies of SIGKILL at all.
const SLOWEST_DEATH: Duration = Duration::from_secs(30);

/// What the machine has in store for one service.
type Fate = (Vec<Behaviour>, Vec<Errand>, Vec<Errand>, Vec<Errand>);

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![Just(Exit::Code(0)), Just(Exit::Code(1)), Just(Exit::Signal(Signal::KILL)), Just(Exit::Signal(Signal::TERM))]
}

fn end_on_kill() -> impl Strategy<Value = Option<Duration>> {
    prop_oneof![8 => Just(Some(Duration::ZERO)), 2 => millis(1..SLOWEST_DEATH.as_millis() as u64).prop_map(Some), 1 => Just(None)]
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    let fork = prop_oneof![8 => Just(Fork::Works), 1 => Just(Fork::TryAgain), 1 => Just(Fork::NoSuchProgram)];
    let (memory, cpu) = (Measured::Memory { used: 2, limit: 1 }, Measured::Cpu { used: 90.0, limit: 80.0 });
    let measured = prop_oneof![Just(memory), Just(cpu)];
    (
        fork,
        weighted(0.8, millis(0..40_000)),
        weighted(0.5, (millis(0..100_000), exit())),
        weighted(0.8, millis(0..20_000)),
        end_on_kill(),
        vec(end_on_kill().prop_map(|ends_on_kill| Child { ends_on_kill }), 0..3),
        weighted(0.2, millis(0..50_000)),
        weighted(0.2, (millis(1..50_000), measured)),
    )
        .prop_map(|(fork, ready_after, ends, ends_on_signal, ends_on_kill, children, unwell_after, exceeds)| Behaviour {
            fork,
            ready_after,
            ends,
            ends_on_signal,
            ends_on_kill,
            children,
            unwell_after,
            exceeds,
        })
}

fn errands() -> impl Strategy<Value = Vec<Errand>> {
    vec((prop_oneof![Just(Duration::ZERO), millis(1..10_000)], prop::bool::weighted(0.8)), 0..3)
        .prop_map(|errands| errands.into_iter().map(|(takes, works)| Errand { takes, works }).collect())
}

prop_compose! {
    /// It may depend on earlier ones only, so that there is no cycle.
    fn one_of(index: usize)(
        needs in any::<u8>(),
        grouped in prop::bool::weighted(0.5),
        external in prop::bool::weighted(0.1),
        setup in prop::bool::weighted(0.2),
        (pre_start, post_stop) in (prop::bool::weighted(0.3), prop::bool::weighted(0.3)),
        checked in prop::bool::weighted(0.3),
        at_once in prop::bool::weighted(0.2),
        restart in prop_oneof![Just(RestartPolicy::Always), Just(RestartPolicy::OnFailure), Just(RestartPolicy::Never)],
        kill_mode in prop_oneof![3 => Just(KillMode::Mixed), 1 => Just(KillMode::ControlGroup), 1 => Just(KillMode::Process)],
        max_runtime in weighted(0.2, millis(5_000..200_000)),
        restart_delay in prop_oneof![Just(Duration::ZERO), millis(1..5_000)],
        stop_timeout in prop_oneof![1 => Just(Duration::ZERO), 4 => millis(1..40_000)],
        (burst, interval) in (0_u32..6, millis(1_000..600_000)),
    ) -> Service {
        let mut it = service(NAMES[index]);
        it.depends_on = (0..index).filter(|bit| needs & (1 << bit) != 0).map(|bit| super::rig::name(NAMES[bit])).collect();
        it.groups = if grouped { vec!["workers".to_owned()] } else { Vec::new() };
        it.external = external;
        it.setup = setup.then(|| Setup { command: vec!["make".to_owned()], creates: None });
        let hook = |is_set: bool| is_set.then(|| vec!["make".to_owned()]);
        it.hooks = Hooks { pre_start: hook(pre_start), post_stop: hook(post_stop) };
        it.health = checked.then(health);
        if at_once {
            it.ready.when = ReadyWhen::Delay(Duration::ZERO);
        }
        (it.restart, it.kill_mode, it.max_runtime, it.restart_delay) = (restart, kill_mode, max_runtime, restart_delay);
        (it.stop_timeout, it.start_limit) = (stop_timeout, StartLimit { burst, interval });
        it
    }
}

/// Not in the order of the dependencies, so that no order of names helps.
const NAMES: [&str; 5] = ["c", "e", "a", "d", "b"];

fn stack() -> impl Strategy<Value = Vec<Service>> {
    (1..=NAMES.len()).prop_flat_map(|count| (0..count).map(one_of).collect::<Vec<_>>())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u8>().prop_map(Step::Start),
        2 => any::<u8>().prop_map(Step::Restart),
        3 => (any::<u8>(), weighted(0.3, millis(0..5_000))).prop_map(|(which, timeout)| Step::Stop(which, timeout)),
        1 => any::<u8>().prop_map(Step::Kill),
        4 => millis(0..2_000).prop_map(Step::Pass),
        4 => millis(0..120_000).prop_map(Step::Pass),
        2 => prop_oneof![Just(Duration::ZERO), millis(1..60_000)].prop_map(Step::Crash),
        1 => prop_oneof![Just(Duration::ZERO), millis(1..60_000)].prop_map(Step::LoseLedger),
        3 => (0_u32..12).prop_map(Step::CrashSoon),
        1 => (1_u32..8).prop_map(Step::DiskFull),
        2 => any::<u8>().prop_map(Step::Change),
        2 => any::<prop::sample::Index>().prop_map(Step::Echo),
        1 => any::<u8>().prop_map(Step::Configure),
    ]
}

fn chosen(services: &[Service], which: u8) -> Vec<ServiceName> {
    services.iter().enumerate().filter(|(bit, _)| which & (1 << bit) != 0).map(|(_, it)| it.name.clone()).collect()
}

fn take(rig: &mut Rig, services: &[Service], step: Step) {
    match step {
        Step::Start(which) => rig.ask_start(chosen(services, which), StartMode::Ensure),
        Step::Restart(which) => rig.ask_start(chosen(services, which), StartMode::Restart),
        Step::Stop(which, timeout) => rig.ask_stop(chosen(services, which), false, timeout),
        Step::Kill(which) => rig.ask_stop(chosen(services, which), true, None),
        Step::Pass(wait) => rig.pass(wait),
        Step::Crash(away) => rig.crash(away),
        Step::LoseLedger(away) => rig.crash_without_ledger(away),
        Step::CrashSoon(deeds) => rig.os().dies_in = Some(deeds),
        Step::Change(which) => chosen(services, which).iter().for_each(|service| rig.change_files(service.as_str(), &["app.py"])),
        Step::DiskFull(saves) => rig.os().full_disk = saves,
        Step::Echo(which) => {
            let told = &rig.os().told;
            if !told.is_empty() {
                let event = which.get(told).clone();
                rig.driver.handle([event]);
                rig.pump();
            }
        }
        Step::Configure(missing) => {
            let gone = chosen(services, missing & missing.rotate_left(3));
            let mut kept: Vec<Service> = services.iter().filter(|it| !gone.contains(&it.name)).cloned().collect();
            for (index, it) in kept.iter_mut().enumerate() {
                it.depends_on.retain(|name| !gone.contains(name));
                it.env.insert("GENERATION".to_owned(), missing.to_string());
                it.external ^= missing & (8 << index) != 0 && missing & 1 != 0;
            }
            rig.configure(kept);
        }
    }
}

/// Everything is told to stop, and given the time it may take.
fn all_stops(rig: &mut Rig) -> Result<(), String> {
    (rig.os().full_disk, rig.os().dies_in) = (0, None);
    let all: Vec<ServiceName> = rig.driver.stack().slots().keys().cloned().collect();
    rig.ask_stop(all, false, None);
    let patience = |it: &crate::engine::Slot| 2 * it.spec.stop_timeout + seconds(40);
    let sum: Duration = rig.driver.stack().slots().values().map(patience).sum();
    // What dies so late that it was called stuck already has its children swept after that.
    let enough = sum + SLOWEST_DEATH;
    rig.pass(enough);
    // What was stuck and ended by itself at the very last has its children swept after that.
    for _ in rig.services.clone() {
        let left = rig.driver.stack().next_deadline().map_or(Duration::ZERO, |deadline| deadline.since(rig.now()));
        rig.pass(left);
    }
    rig.check()?;
    for (name, slot) in rig.driver.stack().slots() {
        if !matches!(slot.state, State::Stopped | State::Stuck { .. }) {
            return Err(format!("{name} does not come to rest: {:?}", slot));
        }
        if slot.state == State::Stopped && slot.process.is_some() {
            return Err(format!("{name} is stopped and has a process"));
        }
    }
    let may_stay = |it: &Process| {
        let slot = rig.driver.stack().slot(&it.service).filter(|slot| matches!(slot.state, State::Stuck { .. }));
        let its_leader_does = slot.is_some_and(|slot| slot.spec.kill_mode == KillMode::Process);
        it.lost || it.left_alone || its_leader_does || (slot.is_some() && it.ends_on_kill != Some(Duration::ZERO))
    };
    match rig.driver.os().world.processes.iter().find(|it| !may_stay(it)) {
        Some(left) => Err(format!("{left:?} is left after the stop")),
        None => Ok(()),
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_stack_and_the_machine_agree(
        services in stack(),
        fates in vec((vec(behaviour(), 0..6), errands(), errands(), errands()), NAMES.len()),
        steps in vec(step(), 1..40),
        (has_keeper, ends_are_told_late) in any::<(bool, bool)>(),
    ) {
        let mut rig = Rig::new(services.clone());
        rig.has_keeper = has_keeper;
        rig.os().world.ends_are_told_late = ends_are_told_late;
        let fates: Vec<Fate> = fates;
        for (it, (spawns, set_ups, clears, hooks)) in services.iter().zip(fates) {
            rig.os().spawns.insert(it.name.clone(), spawns.into());
            rig.os().set_ups.insert(it.name.clone(), set_ups.into());
            rig.os().clears.insert(it.name.clone(), clears.into());
            rig.os().hooks.insert(it.name.clone(), hooks.into());
        }
        rig.ask_start(chosen(&services, 0xff), StartMode::Ensure);
        for step in steps {
            let what = format!("{step:?}");
            take(&mut rig, &services, step);
            rig.check().map_err(|wrong| TestCaseError::fail(format!("after {what}: {wrong}")))?;
        }
        all_stops(&mut rig).map_err(TestCaseError::fail)?;
    }
}
