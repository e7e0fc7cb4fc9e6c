//! What the core promises by itself, without a machine to run on.

use super::*;
use crate::model::{
    BootTime, Exit, HealthCheck, Hooks, KillMode, LogRotate, Measured, Probe, ProcId, Ready, ReadyWhen, Reason, RestartPolicy, RunId,
    Service, ServiceName, Signal, StartLimit,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

fn at(millis: u64) -> Now {
    Now { boot: BootTime::from_nanos(millis * 1_000_000), asleep: Duration::ZERO, wall: jiff::Timestamp::UNIX_EPOCH }
}

fn name() -> ServiceName {
    ServiceName::new("app").expect("a good name")
}

pub(super) fn service() -> Service {
    let second = Duration::from_secs(1);
    let probe = Probe::Tcp("127.0.0.1:9091".to_owned());
    Service {
        name: name(),
        external: false,
        command: vec!["python".to_owned()],
        cwd: "/".into(),
        env: BTreeMap::new(),
        env_files: Vec::new(),
        venv: None,
        depends_on: Vec::new(),
        groups: Vec::new(),
        setup: Some(crate::model::Setup { command: vec!["make".to_owned()], creates: None }),
        match_argv: Vec::new(),
        ports: Vec::new(),
        health: Some(HealthCheck { probe, interval: second, timeout: second, failures: 3, start_period: Duration::ZERO }),
        ready: Ready { when: ReadyWhen::Notify, timeout: 30 * second },
        heartbeat_timeout: Some(90 * second),
        max_runtime: Some(3600 * second),
        max_runtime_jitter: 0.05,
        memory_limit: None,
        cpu_limit: None,
        cpu_window: second,
        restart: RestartPolicy::Always,
        restart_delay: second,
        restart_delay_max: 60 * second,
        start_limit: StartLimit { burst: 5, interval: 600 * second },
        stop_signal: Signal::TERM,
        stop_timeout: 30 * second,
        kill_mode: KillMode::Mixed,
        health_port: None,
        log_file: "/log".into(),
        log_rotate: LogRotate { size: None, keep: 5, age: None, compress: false },
        watch: Vec::new(),
        hooks: Hooks::default(),
    }
}

const RUN: RunId = RunId { epoch: 1, seq: 1 };

fn reports() -> Vec<Report> {
    let cause = || Cause::new(CauseKind::NotSpawned, "no", None);
    let memory = Measured::Memory { used: 3 << 30, limit: 2 << 30 };
    let probed = |passed| Probed {
        passed,
        timed_out: false,
        reason: "so".to_owned(),
        latency: Duration::ZERO,
        at: jiff::Timestamp::UNIX_EPOCH,
        activity: None,
    };
    vec![
        Report::SetUp(Ok(())),
        Report::SetUp(Err(cause())),
        Report::MainNamed { main: ProcId { pid: 101, start_ticks: 8 }, inode: Some(4) },
        Report::Hooked(Ok(())),
        Report::Hooked(Err(cause())),
        Report::Cleared(Ok(())),
        Report::Cleared(Err(cause())),
        Report::Spawned(Spawned { main: ProcId { pid: 100, start_ticks: 7 }, inode: Some(3), log_offset: 0 }),
        Report::NotSpawned { cause: cause(), permanent: false },
        Report::NotSpawned { cause: cause(), permanent: true },
        Report::Ready,
        Report::Probed(probed(true)),
        Report::Probed(probed(false)),
        Report::Notified(vec![Said::Beat]),
        Report::Notified(vec![Said::Failing]),
        Report::Notified(vec![Said::Stopping]),
        Report::Notified(vec![Said::Ready, Said::Status("so".to_owned()), Said::Extend(Duration::MAX), Said::Main(Some(1))]),
        Report::StillHeard,
        Report::StackAsked,
        Report::Limit(Finding::Near(memory)),
        Report::Limit(Finding::Exceeded(memory)),
        Report::Limit(Finding::Overrun(memory)),
        Report::Ended(Exit::Code(0)),
        Report::Ended(Exit::Signal(Signal::KILL)),
        Report::SetEmpty,
        Report::Survivors(vec![(100, "state D".to_owned())]),
    ]
}

/// Everything that can happen to a stack of one service whose present run is `run`.
fn events(run: RunId) -> Vec<Event> {
    let start = |mode| Event::Command(Command::Start { services: vec![name()], mode, replace: false });
    let stop = |kill, timeout| Event::Command(Command::Stop { services: vec![name()], kill, timeout });
    let changed = |at: u64| Event::FilesChanged(name(), BTreeSet::from(["app.py".into()]), BootTime::from_nanos(at));
    let asked = [
        changed(0),
        changed(u64::MAX),
        start(StartMode::Ensure),
        start(StartMode::Restart),
        stop(false, None),
        stop(false, Some(Duration::ZERO)),
        stop(true, None),
        Event::Tick,
    ];
    asked.into_iter().chain(reports().into_iter().map(|report| Event::Report(name(), run, report))).collect()
}

fn kind(state: &State) -> std::mem::Discriminant<State> {
    std::mem::discriminant(state)
}

fn recovered(stack: &Stack) -> Stack {
    let (mut next, mut actions) = (stack.clone(), Vec::new());
    let services = stack.slots().iter().map(|(name, slot)| (name.clone(), slot.latest().clone())).collect();
    next.recover(&Survey::default(), &services, at(0), &mut actions);
    assert!(!actions.iter().any(|action| matches!(action.act, Act::Spawn { .. })), "what is in the way is not known yet: {actions:?}");
    next
}

/// A stack in every state that can be reached by any events at all, found by trying them all.
fn every_state() -> Vec<Stack> {
    let fresh = |service: Service| {
        let mut stack = Stack::new(1);
        stack.configure(&BTreeMap::from([(name(), Arc::new(service))]), at(0), &mut Vec::new());
        (stack, 0)
    };
    let mut seen: BTreeMap<String, Stack> = BTreeMap::new();
    let never = Service { restart: RestartPolicy::Never, ..service() };
    let hook = || Some(vec!["make".to_owned()]);
    let hooked = Service { hooks: Hooks { pre_start: hook(), post_stop: hook() }, ..service() };
    let external = Service { external: true, ..service() };
    let mut open = VecDeque::from([fresh(service()), fresh(never), fresh(external), fresh(hooked)]);
    while let Some((stack, age)) = open.pop_front() {
        let slot = stack.slot(&name()).expect("it is configured");
        let why = match &slot.state {
            State::Draining { why, .. } | State::Stuck { why, .. } => *why,
            _ => None,
        };
        let hooked = slot.spec.hooks != Hooks::default();
        let key = format!("{:?} {:?} {why:?} {} {:?} {hooked}", kind(&slot.state), slot.wanted, slot.process.is_some(), slot.spec.restart);
        if seen.contains_key(&key) {
            continue;
        }
        seen.insert(key, stack.clone());
        for event in events(slot.state.run().unwrap_or(RUN)) {
            let mut next = stack.clone();
            let later = next.next_deadline().unwrap_or_default().max(at(age * 1000).boot);
            next.step(event, Now { boot: later, asleep: Duration::ZERO, wall: jiff::Timestamp::UNIX_EPOCH }, &mut Vec::new());
            open.push_back((next, age + 1));
        }
        open.push_back((recovered(&stack), age + 1));
    }
    seen.into_values().collect()
}

#[test]
fn every_event_is_survived_in_every_state() {
    let stacks = every_state();
    let mut kinds = BTreeSet::new();
    for stack in &stacks {
        let slot = stack.slot(&name()).expect("it is configured");
        kinds.insert(slot.state.word().word().to_owned() + if slot.wanted == Wanted::Up { " up" } else { " down" });
        for event in events(slot.state.run().unwrap_or(RUN)) {
            for now in [at(0), at(1_000_000_000)] {
                let (mut next, mut actions) = (stack.clone(), Vec::new());
                next.step(event.clone(), now, &mut actions);
                let after = next.slot(&name()).expect("nothing removed it");
                let spawns = actions.iter().filter(|action| matches!(action.act, Act::Spawn { .. })).count();
                assert!(spawns <= 1, "{:?} {event:?}: {actions:?}", slot.state);
                assert!(after.state.run().is_some() || after.process.is_none(), "{:?} {event:?}: {:?}", slot.state, after.state);
            }
        }
    }
    let every = [
        "backoff up",
        "exited up",
        "failed up",
        "killing down",
        "killing up",
        "running up",
        "starting down",
        "starting up",
        "stopped down",
        "stopping down",
        "stopping up",
        "stuck down",
        "stuck up",
    ];
    // One service alone waits for nobody, so that no other state outlives its event.
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), every);
}

#[test]
fn words_about_another_run_change_nothing_in_any_state() {
    for stack in every_state() {
        let own = stack.slot(&name()).and_then(|slot| slot.state.run());
        for run in [RunId { epoch: 0, seq: 1 }, RunId { epoch: 1, seq: 999 }, RunId { epoch: 2, seq: 1 }] {
            assert_ne!(Some(run), own);
            for report in reports() {
                let (mut next, mut actions) = (stack.clone(), Vec::new());
                next.step(Event::Report(name(), run, report), at(0), &mut actions);
                assert_eq!((&next, actions.is_empty()), (&stack, true));
            }
        }
    }
}

fn origin() -> Origin {
    Origin { boot_id: "boot".to_owned(), pid_namespace: Some(4_026_531_836), time_namespace: None }
}

#[test]
fn a_ledger_of_another_boot_or_namespace_says_nothing_here() {
    let here = Origin { time_namespace: Some(7), ..origin() };
    assert!(origin().is_seen_from(&here), "what is unknown is no difference");
    for there in [
        Origin { boot_id: "earlier".to_owned(), ..here.clone() },
        Origin { pid_namespace: Some(1), ..here.clone() },
        Origin { time_namespace: Some(1), ..here.clone() },
    ] {
        assert!(!there.is_seen_from(&here) && !here.is_seen_from(&there), "{there:?}");
    }
    let earlier_version = br#"{"version":1,"boot_id":"boot","stack":"#;
    let stack = serde_json::to_vec(&every_state()[0]).expect("JSON");
    let ledger = Ledger::from_json(&[earlier_version, &stack[..], b"}"].concat()).expect("it can still be read");
    assert!(ledger.origin.is_seen_from(&here));
}

#[test]
fn the_ledger_brings_back_every_state() {
    for stack in every_state() {
        let bytes = Ledger::new(origin(), stack.clone()).to_json().expect("JSON");
        let back = Ledger::from_json(&bytes).expect("our own ledger");
        assert_eq!(back.origin, origin());
        for (name, slot) in stack.slots() {
            // What the probes said, and that devstack was restarted, is not for the next one to know.
            let mut known = slot.clone();
            known.health = Health::default();
            known.rewrites = Default::default();
            known.heard.forget_silence();
            assert_eq!(format!("{:?}", back.stack.slot(name)), format!("{:?}", Some(known)).replace("unsure: true", "unsure: false"));
        }
        assert_eq!(Ledger::new(origin(), back.stack).to_json().expect("JSON"), bytes);
    }
}

#[test]
fn no_damage_to_a_ledger_is_a_panic() {
    let bytes = Ledger::new(origin(), every_state().remove(0)).to_json().expect("JSON");
    for length in 0..bytes.len() {
        assert!(Ledger::from_json(&bytes[..length]).is_err());
    }
    let newer = String::from_utf8_lossy(&bytes).replacen("\"version\":1", "\"version\":2", 1);
    assert!(matches!(Ledger::from_json(newer.as_bytes()), Err(LedgerError::Version { found: 2 })));
}

fn reason() -> impl Strategy<Value = Reason> {
    let every = [Reason::Crashed, Reason::Exited, Reason::MaxRuntime, Reason::MemoryLimit, Reason::StartFailed, Reason::Requested];
    prop::sample::select(every.to_vec())
}

proptest! {
    #[test]
    fn automatic_starts_are_few_and_their_delays_grow(
        ends in vec((reason(), 0_u64..200_000, prop::option::of(0_u64..120)), 1..60),
        (burst, interval) in (0_u32..6, 0_u64..900),
        delay in 0_u64..5_000,
    ) {
        let mut it = service();
        it.start_limit = StartLimit { burst, interval: Duration::from_secs(interval) };
        it.restart_delay = Duration::from_millis(delay);
        let (mut history, mut now, mut starts, mut last) = (History::default(), at(0).boot, Vec::<BootTime>::new(), None);
        for (number, (reason, lasted, ready_for)) in ends.into_iter().enumerate() {
            now = now.after(Duration::from_millis(lasted));
            let stable_for = ready_for.map(Duration::from_secs);
            let run = RunId { epoch: 1, seq: number as u64 };
            history.lasted(stable_for);
            let next = history.after_end(&it, run, reason, &Exit::Code(1), now);
            let stable = stable_for.is_some_and(|lasted| lasted >= Duration::from_secs(60));
            let restart::Next::StartAt(start) = next else {
                last = last.filter(|_| !stable);
                continue;
            };
            if reason.is_planned() {
                prop_assert_eq!(start, now);
                last = last.filter(|_| !stable);
                continue;
            }
            let waits = start.since(now);
            prop_assert!(waits <= it.restart_delay_max);
            prop_assert!(reason != Reason::StartFailed || waits > Duration::ZERO);
            if reason != Reason::StartFailed {
                // A tenth is left to chance.
                let least = if stable { it.restart_delay } else { last.unwrap_or(it.restart_delay) };
                let tenth = least.mul_f64(0.1) + Duration::from_micros(1);
                prop_assert!(waits + tenth >= least && (!stable || (least..=least + tenth).contains(&waits)), "{waits:?} after {least:?}");
                last = Some(waits);
            } else if stable {
                last = None;
            }
            starts.push(start);
            now = start;
            if let Some(first) = starts.iter().rev().nth(burst as usize) {
                prop_assert!(start.since(*first) >= it.start_limit.interval);
            }
        }
    }
}
