use super::*;
use crate::model::Probe;
use Doing::{Blocked, Nothing, Stopped, Waking, Working};
use Wellbeing::{Asleep, Healthy, Hung, Slow, Unhealthy};
use std::sync::LazyLock;

const SECOND: Duration = Duration::from_secs(1);
const DOINGS: [Doing; 5] = [Working, Waking, Nothing, Blocked, Stopped];

fn activity(doing: Doing, over: Duration) -> Activity {
    let idle = Activity { over, cpu: Duration::ZERO, switches: Some(0), is_blocked: false, is_stopped: false };
    match doing {
        Working => Activity { cpu: over / 2, switches: Some(9), ..idle },
        Waking => Activity { switches: Some(9), ..idle },
        Nothing => idle,
        Blocked => Activity { is_blocked: true, ..idle },
        Stopped => Activity { is_stopped: true, ..idle },
    }
}

static CHECK: LazyLock<HealthCheck> = LazyLock::new(|| HealthCheck {
    probe: Probe::Tcp("127.0.0.1:1".to_owned()),
    interval: 5 * SECOND,
    timeout: 2 * SECOND,
    failures: 3,
    start_period: Duration::ZERO,
});

/// What a probe was answered, and what it did meanwhile.
fn answer(answer: &str, doing: Option<Doing>) -> Probed {
    let latency = match answer {
        "late" => Duration::from_millis(1500),
        "timeout" => 2 * SECOND,
        _ => Duration::from_millis(1),
    };
    Probed {
        passed: matches!(answer, "ok" | "late"),
        timed_out: answer == "timeout",
        reason: answer.to_owned(),
        latency,
        at: jiff::Timestamp::UNIX_EPOCH,
        activity: doing.map(|doing| activity(doing, SECOND)),
    }
}

fn signs(probed: Option<&Probed>, failures_in_a_row: u32) -> Signs<'_> {
    Signs { check: Some(&CHECK), probed, failures_in_a_row, heartbeat_timeout: None, beats: false, is_silent: false, activity: None }
}

#[test]
fn the_same_answer_means_what_the_kernel_says_that_the_worker_does() {
    // The answer; then, for a worker that works, wakes now and then, does nothing, is blocked, is stopped, is not looked at:
    // after the first such answer, and after the third.
    type Row = (&'static str, [Wellbeing; 6], [Wellbeing; 6]);
    let table: [Row; 6] = [
        ("ok", [Healthy; 6], [Healthy; 6]),
        ("late", [Slow; 6], [Slow; 6]),
        ("timeout", [Slow, Slow, Hung, Hung, Hung, Slow], [Unhealthy, Unhealthy, Hung, Hung, Hung, Unhealthy]),
        ("heartbeat_timeout_447s", [Slow, Asleep, Asleep, Slow, Slow, Slow], [Unhealthy, Asleep, Asleep, Hung, Hung, Unhealthy]),
        ("http_503", [Slow; 6], [Unhealthy; 6]),
        ("connection_refused", [Slow; 6], [Unhealthy; 6]),
    ];
    for (said, once, often) in table {
        for (index, doing) in DOINGS.map(Some).into_iter().chain([None]).enumerate() {
            let probed = answer(said, doing);
            assert_eq!(signs(Some(&probed), 1).judge(), once[index], "once {said:?} while {doing:?}");
            assert_eq!(signs(Some(&probed), 3).judge(), often[index], "often {said:?} while {doing:?}");
        }
    }
}

#[test]
fn who_has_nothing_to_be_asked_is_judged_by_what_it_does() {
    for (doing, shortly, for_long) in [
        (Working, Healthy, Healthy),
        (Waking, Healthy, Healthy),
        (Nothing, Healthy, Asleep),
        (Blocked, Healthy, Hung),
        (Stopped, Hung, Hung),
    ] {
        for (over, expected) in [(SECOND, shortly), (30 * SECOND, for_long)] {
            let seen = activity(doing, over);
            let all = Signs { check: None, activity: Some(&seen), ..signs(None, 0) };
            assert_eq!(all.judge(), expected, "{doing:?} for {over:?}");
        }
    }
    assert_eq!(signs(None, 0).judge(), Healthy);
}

#[test]
fn heartbeats_that_do_not_come_outweigh_every_other_sign_and_those_that_do_are_enough() {
    for doing in DOINGS.map(Some).into_iter().chain([None]) {
        let seen = doing.map(|doing| activity(doing, 30 * SECOND));
        for said in ["ok", "late", "timeout", "heartbeat_timeout_447s", "http_503"] {
            let probed = answer(said, doing);
            let all = Signs { beats: true, is_silent: true, activity: seen.as_ref(), ..signs(Some(&probed), 1) };
            assert_eq!(all.judge(), Hung, "{said} while {doing:?}");
        }
        let beating = Signs { beats: true, activity: seen.as_ref(), ..signs(None, 0) };
        assert_eq!(beating.judge(), if doing == Some(Stopped) { Hung } else { Healthy }, "{doing:?}");
    }
}

#[test]
fn a_cycle_may_take_as_long_as_the_configuration_says_and_no_longer() {
    for doing in DOINGS.map(Some).into_iter().chain([None]) {
        let probed = answer("heartbeat_timeout_447s", doing);
        assert!(!counts(&probed, Some(600 * SECOND)), "{doing:?}");
        assert!(counts(&probed, Some(300 * SECOND)), "{doing:?}");
        let late = Signs { heartbeat_timeout: Some(300 * SECOND), ..signs(Some(&probed), 3) };
        assert_eq!(late.judge(), Hung, "{doing:?}");
        let in_time = Signs { heartbeat_timeout: Some(600 * SECOND), ..signs(Some(&probed), 0) };
        assert!(matches!(in_time.judge(), Asleep | Slow), "{doing:?}: {:?}", in_time.judge());
    }
}

#[test]
fn only_a_quiet_worker_whose_endpoint_misses_its_heartbeat_is_not_held_to_a_failed_probe() {
    for doing in DOINGS.map(Some).into_iter().chain([None]) {
        for said in ["timeout", "http_503", "connection_refused", "heartbeat_timeout_", "heartbeat_timeout_xs", "heartbeat_timeout_-1s"] {
            assert!(counts(&answer(said, doing), None), "{said} while {doing:?}");
        }
        let quiet = matches!(doing, Some(Nothing | Waking) | None);
        assert_eq!(counts(&answer("heartbeat_timeout_447s", doing), None), !quiet, "{doing:?}");
        assert_eq!(counts(&answer("heartbeat_timeout_447.5s", doing), None), !quiet, "{doing:?}");
    }
}
