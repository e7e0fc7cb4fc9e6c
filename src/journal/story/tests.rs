//! Ends as they are told from records that stand among those of others.

use super::*;
use crate::journal::{LastWords, Removed, Survivor};
use crate::model::{Exit, Signal};

fn name(name: &str) -> ServiceName {
    ServiceName::new(name).expect("a name")
}

/// A second apart; `None`: of no run.
fn journal(happened: Vec<(&str, Option<u64>, Happened)>) -> Vec<Record> {
    let record = |(second, (service, run, happened)): (usize, (&str, Option<u64>, Happened))| Record {
        at: Timestamp::from_second(second as i64).expect("a time"),
        service: (!service.is_empty()).then(|| name(service)),
        run_id: run.map(|seq| RunId { epoch: 1, seq }),
        happened,
    };
    happened.into_iter().enumerate().map(record).collect()
}

fn ended(code: Option<u8>, signal: Option<Signal>, reason: Reason, by: Actor) -> Happened {
    let last_words = LastWords { peak_memory_mb: Some(7.0), ..LastWords::default() };
    Happened::Ended(Ended { pid: Some(42), code, signal, reason, by, uptime_seconds: Some(1.5), was_ready: true, last_words })
}

fn starting() -> Happened {
    Happened::Starting { pid: 42, log_offset: None }
}

#[test]
fn a_limit_a_kill_what_was_swept_and_what_followed_belong_to_the_end() {
    let limit = Limit { of: "memory".to_owned(), used: 120.0, limit: 100.0 };
    let stray = Swept { pid: 50, command: "python".to_owned(), evidence: "mark".to_owned() };
    let told = ends(
        &journal(vec![
            ("web", Some(1), starting()),
            ("bot", Some(2), starting()),
            ("web", Some(1), Happened::OverLimit { limit: limit.clone() }),
            ("web", Some(1), Happened::Stopping { reason: Reason::MemoryLimit }),
            ("bot", Some(2), ended(Some(0), None, Reason::Exited, Actor::Worker)),
            ("web", Some(1), Happened::Killing { reason: Reason::MemoryLimit }),
            ("web", Some(1), Happened::Swept { processes: vec![stray.clone()] }),
            ("web", Some(1), ended(None, Some(Signal::KILL), Reason::MemoryLimit, Actor::Devstack)),
            ("web", Some(1), Happened::Swept { processes: vec![stray.clone()] }),
            ("web", None, Happened::RestartsIn { seconds: 1.0 }),
            ("web", Some(3), starting()),
        ]),
        &name("web"),
    );
    let [end] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(
        (end.ended.exit(), end.ended.reason, end.ended.by, end.killed),
        (Exit::Signal(Signal::KILL), Reason::MemoryLimit, Actor::Devstack, true)
    );
    assert_eq!((&end.limit, &end.swept, end.ended.last_words.peak_memory_mb), (&Some(limit), &vec![stray.clone(), stray], Some(7.0)));
    assert_eq!((end.started_at, end.stopping_at), (Timestamp::from_second(0).ok(), Timestamp::from_second(3).ok()));
    assert_eq!(end.then, Some(Then::Started { run_id: RunId { epoch: 1, seq: 3 }, after_seconds: 3.0 }));
}

#[test]
fn of_a_run_that_ended_twice_the_first_end_counts_and_nothing_of_one_run_is_told_of_the_next() {
    let unobserved = || ended(None, None, Reason::Crashed, Actor::Unknown);
    let told = ends(
        &journal(vec![
            ("web", Some(1), starting()),
            ("web", Some(1), Happened::Unhealthy { failures: 3, reason: "http_500".to_owned() }),
            ("web", Some(1), ended(Some(1), None, Reason::Unhealthy, Actor::Devstack)),
            ("web", Some(1), unobserved()),
            ("web", Some(2), ended(Some(2), None, Reason::Crashed, Actor::Worker)),
            ("web", Some(1), unobserved()),
        ]),
        &name("web"),
    );
    let seen: Vec<_> = told.iter().map(|end| (end.ended.code, end.detail.as_deref())).collect();
    assert_eq!(seen, [(Some(1), Some("http_500")), (Some(2), None)]);
    assert_eq!(told[1].started_at, "1970-01-01T00:00:02.5Z".parse().ok(), "from how long it lasted, as its start is no longer there");
}

#[test]
fn who_asked_is_told_of_the_end_that_they_asked_for() {
    let by = |pid| Asker { pid, uid: 1000, command: "devstack stop".to_owned(), parent: None };
    let asked = |pid, services: &[&str]| Happened::Asked {
        what: "stop".to_owned(),
        services: services.iter().map(|service| name(service)).collect(),
        by: by(pid),
    };
    let requested = || ended(Some(0), None, Reason::Requested, Actor::User);
    let told = ends(
        &journal(vec![
            ("", None, asked(1, &["web"])),
            ("", None, asked(2, &["bot"])),
            ("web", Some(1), requested()),
            ("", None, asked(3, &[])),
            ("web", Some(2), requested()),
            ("", None, asked(4, &["web"])),
            ("web", Some(3), ended(Some(1), None, Reason::Crashed, Actor::Worker)),
        ]),
        &name("web"),
    );
    let askers: Vec<Option<Pid>> = told.iter().map(|end| end.asked_by.as_ref().map(|by| by.pid)).collect();
    assert_eq!(askers, [Some(1), Some(3), None]);
}

#[test]
fn who_asked_for_a_start_or_for_a_stop_of_nothing_is_not_told_of_a_later_end() {
    let by = Asker { pid: 7, uid: 1000, command: "devstack".to_owned(), parent: None };
    for what in ["start", "stop"] {
        let asked = Happened::Asked { what: what.to_owned(), services: Vec::new(), by: by.clone() };
        let starting = Happened::Starting { pid: 42, log_offset: None };
        let told = ends(
            &journal(vec![
                ("", None, asked),
                ("web", Some(1), starting),
                ("web", Some(1), ended(Some(0), None, Reason::Requested, Actor::User)),
            ]),
            &name("web"),
        );
        assert_eq!(told[0].asked_by, None, "{what}");
    }
    let asked = Happened::Asked { what: "start".to_owned(), services: Vec::new(), by };
    let told =
        ends(&journal(vec![("", None, asked), ("web", Some(1), ended(Some(0), None, Reason::Requested, Actor::User))]), &name("web"));
    assert_eq!(told[0].asked_by, None, "it ran before");
}

#[test]
fn a_start_that_came_to_nothing_is_told_once_and_a_series_of_crashes_ends_with_being_given_up() {
    let cause = || (String::from("the port is taken"), None);
    let (message, hint) = cause();
    let told = ends(
        &journal(vec![
            ("web", None, Happened::Refused { message: message.clone(), hint: hint.clone() }),
            ("web", None, Happened::Failed { message: message.clone(), hint: hint.clone() }),
            ("web", Some(1), ended(Some(1), None, Reason::Crashed, Actor::Worker)),
            ("web", None, Happened::Failed { message: "restarted 5 times".to_owned(), hint: None }),
            ("web", None, Happened::Refused { message: "EAGAIN".to_owned(), hint: None }),
            ("web", Some(2), ended(Some(0), None, Reason::Requested, Actor::User)),
            ("web", None, Happened::Stuck { survivors: vec![Survivor { pid: 9, doing: "D".to_owned() }] }),
            ("web", None, Happened::Stopped),
            ("web", None, Happened::Stopped),
        ]),
        &name("web"),
    );
    let seen: Vec<_> = told.iter().map(|end| (end.is_refusal(), end.detail.as_deref(), end.then.clone())).collect();
    let failed = |message: &str| Some(Then::Failed { message: message.to_owned(), hint: None });
    assert_eq!(
        seen,
        [
            (true, Some("the port is taken"), failed("the port is taken")),
            (false, None, failed("restarted 5 times")),
            (true, Some("EAGAIN"), None),
            (false, None, Some(Then::Stopped)),
        ]
    );
}

#[test]
fn what_cleanup_workers_ends_is_no_end_of_a_run() {
    let removed = Removed { pid: 1, command: String::new(), kind: "orphan".to_owned(), action: "killed".to_owned(), reason: String::new() };
    assert_eq!(ends(&journal(vec![("web", Some(1), Happened::Cleaned(removed))]), &name("web")), []);
}

#[test]
fn a_start_that_was_cut_short_is_told_and_what_the_hook_after_a_run_left_belongs_to_that_run() {
    let by = Asker { pid: 7, uid: 1000, command: "devstack stop".to_owned(), parent: None };
    let asked = Happened::Asked { what: "stop".to_owned(), services: Vec::new(), by: by.clone() };
    let hook = |hook: &str| Happened::Hook { hook: hook.to_owned(), command: Vec::new() };
    let left = |pid| Happened::Swept { processes: vec![Swept { pid, command: "sleep".to_owned(), evidence: "mark".to_owned() }] };
    let cut_short = |reason| Happened::CutShort { during: "its pre_start hook".to_owned(), reason };
    let told = ends(
        &journal(vec![
            ("web", None, hook("pre_start")),
            ("web", Some(1), starting()),
            ("web", Some(1), ended(Some(0), None, Reason::Exited, Actor::Worker)),
            ("web", None, hook("post_stop")),
            ("web", Some(2), left(5)),
            ("web", None, hook("pre_start")),
            ("", None, asked),
            ("web", None, cut_short(Reason::Requested)),
            ("web", None, Happened::Stopped),
            ("web", None, cut_short(Reason::StartFailed)),
            ("web", Some(4), left(6)),
            ("web", Some(4), starting()),
            ("web", Some(4), ended(Some(0), None, Reason::Exited, Actor::Worker)),
        ]),
        &name("web"),
    );
    let [first, cut, lost, last] = told.as_slice() else { panic!("{told:#?}") };
    let pids = |end: &End| end.swept.iter().map(|one| one.pid).collect::<Vec<_>>();
    assert_eq!([pids(first), pids(cut), pids(lost), pids(last)], [vec![5], vec![], vec![], vec![6]]);
    assert_eq!((&cut.asked_by, cut.detail.as_deref()), (&Some(by), Some("cut short during its pre_start hook")));
    assert_eq!((cut.is_refusal(), cut.ended.by, &cut.then), (true, Actor::User, &Some(Then::Stopped)));
    assert_eq!(lost.detail.as_deref(), Some("cut short during its pre_start hook, as devstack was killed"));
}
