//! What follows an end: each policy with each kind of end, and how long the wait for it is.

use super::*;
use crate::engine::properties::service;
use crate::model::Signal;

const MINUTE: Duration = Duration::from_secs(60);

fn run(seq: u64) -> RunId {
    RunId { epoch: 1, seq }
}

fn at(seconds: u64) -> BootTime {
    BootTime::from_nanos(0).after(Duration::from_secs(seconds))
}

fn code(code: u8) -> Exit {
    Exit::Code(code)
}

/// By itself, or for a reason of devstack's.
fn ends() -> Vec<(&'static str, Option<Reason>, Exit)> {
    vec![
        ("well", None, code(0)),
        ("with an error", None, code(1)),
        ("with an error of its own", None, code(255)),
        ("told by somebody else", None, Exit::Signal(Signal::TERM)),
        ("killed by somebody else", None, Exit::Signal(Signal::KILL)),
        ("unseen", None, Exit::Unobserved),
        ("before it began", None, Exit::NotSpawned("EAGAIN".to_owned())),
        ("by plan", Some(Reason::MaxRuntime), code(0)),
        ("by plan, and badly", Some(Reason::MaxRuntime), code(1)),
        ("for its memory", Some(Reason::MemoryLimit), code(0)),
        ("for its processor time", Some(Reason::CpuLimit), Exit::Signal(Signal::KILL)),
        ("without a heartbeat", Some(Reason::HeartbeatTimeout), Exit::Signal(Signal::KILL)),
        ("unhealthy", Some(Reason::Unhealthy), code(0)),
    ]
}

/// The matrix of OTP's supervisor (permanent, transient, temporary), with more kinds of ends.
#[test]
fn each_policy_says_what_follows_each_kind_of_end() {
    for (policy, rests_after) in [
        (RestartPolicy::Always, vec![]),
        (RestartPolicy::OnFailure, vec!["well"]),
        (RestartPolicy::Never, ends().iter().map(|(how, ..)| *how).collect()),
    ] {
        for (how, why, exit) in ends() {
            let it = Service { restart: policy, ..service() };
            let reason = why.unwrap_or_else(|| Reason::of_own_end(&exit));
            let next = History::default().after_end(&it, run(1), reason, &exit, at(100));
            let rests = rests_after.contains(&how);
            match next {
                Next::Rest => assert!(rests, "{policy:?}, ended {how}"),
                Next::StartAt(start) => {
                    assert!(!rests, "{policy:?}, ended {how}");
                    assert_eq!(start == at(100), reason.is_planned(), "{policy:?}, ended {how}: only what is planned waits for nothing");
                }
                Next::GiveUp => panic!("{policy:?}, ended {how}: it was the first"),
            }
        }
    }
}

#[test]
fn every_end_that_was_not_planned_counts_against_the_start_limit_and_no_other() {
    for (how, why, exit) in ends() {
        let reason = why.unwrap_or_else(|| Reason::of_own_end(&exit));
        let mut it = Service { restart: RestartPolicy::Always, restart_delay: Duration::ZERO, ..service() };
        (it.start_limit.burst, it.start_limit.interval) = (3, MINUTE);
        let mut history = History::default();
        let mut ended = |second, seq| history.after_end(&it, run(seq), reason, &exit, at(second));
        // Spread over the interval, and once more within it.
        let starts: Vec<Next> = [0, 20, 40, 50].into_iter().zip(1..).map(|(second, seq)| ended(second, seq)).collect();
        assert_eq!(starts.last() == Some(&Next::GiveUp), !reason.is_planned(), "ended {how}: {starts:?}");
        assert!(!starts[..3].contains(&Next::GiveUp), "ended {how}: {starts:?}");
        assert!(matches!(ended(61, 9), Next::StartAt(_)), "ended {how}: the first one is out of the interval");
    }
}

fn delays(it: &Service, history: &mut History, ends: std::ops::Range<u64>) -> Vec<Duration> {
    let delay = |seq| match history.after_end(it, run(seq), Reason::Crashed, &code(1), at(0)) {
        Next::StartAt(start) => start.since(at(0)),
        other => panic!("{other:?}"),
    };
    ends.map(delay).collect()
}

fn patient() -> Service {
    let mut it = Service { restart: RestartPolicy::Always, ..service() };
    it.start_limit.burst = 1000;
    it
}

#[test]
fn the_delay_doubles_up_to_its_cap_and_is_never_shorter_nor_a_tenth_longer() {
    let it = patient();
    for (number, delay) in delays(&it, &mut History::default(), 1..40).into_iter().enumerate() {
        let says = it.restart_delay_max.min(it.restart_delay * 2_u32.saturating_pow(number as u32));
        assert!(delay >= says && delay <= says.mul_f64(1.1).min(it.restart_delay_max), "{delay:?} instead of {says:?}");
    }
}

#[test]
fn what_fails_together_does_not_come_back_together() {
    let it = patient();
    let mut firsts: Vec<Duration> = (1..=20).map(|seq| delays(&it, &mut History::default(), seq..seq + 1)[0]).collect();
    firsts.sort();
    let gaps = firsts.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.min() > Some(Duration::from_millis(1)), "twenty runs share a tenth of a second fairly: {firsts:?}");
    assert_eq!(delays(&it, &mut History::default(), 7..8), delays(&it, &mut History::default(), 7..8), "the same each time it is asked");
}

#[test]
fn a_stable_minute_brings_the_delay_back_to_its_start_and_less_does_not() {
    let it = patient();
    for (stable, expected) in [(MINUTE, it.restart_delay), (MINUTE - Duration::from_millis(1), 8 * it.restart_delay)] {
        let mut history = History::default();
        delays(&it, &mut history, 1..4);
        history.lasted(Some(stable));
        let Next::StartAt(start) = history.after_end(&it, run(4), Reason::Crashed, &code(1), at(0)) else { panic!() };
        assert!(start.since(at(0)) >= expected && start.since(at(0)) <= expected.mul_f64(1.1), "{stable:?}");
    }
}

#[test]
fn no_delay_is_none_for_every_run() {
    let it = Service { restart_delay: Duration::ZERO, ..patient() };
    assert!(delays(&it, &mut History::default(), 1..100).into_iter().all(|delay| delay.is_zero()));
}
