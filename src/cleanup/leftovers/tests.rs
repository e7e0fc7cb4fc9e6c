use super::*;
use proptest::prelude::*;

const HOUR: Duration = Duration::from_secs(3600);

fn leftover(kind: LeftoverKind) -> Leftover {
    let file = FileId { dev: 1, ino: 2 };
    let path = PathBuf::from("/dev/shm/sem.mp-abcd_123");
    Leftover { path, kind, file, age: Some(HOUR), size_bytes: 4096, finding: Finding::Unused, users: Vec::new() }
}

fn python(pid: Pid, age: Duration) -> LivingPython {
    LivingPython { pid, ppid: 1, age, role: Role::Child, shares_memory: true, makes_folders: true }
}

fn goes(one: &Leftover, living: &[LivingPython]) -> bool {
    judge(one, living, None).action == LeftoverAction::WouldRemove
}

#[test]
fn only_names_that_cpython_gives_are_looked_at() {
    use LeftoverKind::{Arena, Semaphore, SharedMemory};
    for (name, kind) in [
        (&b"sem.mp-gjdbxubk"[..], Some(Semaphore)),
        (b"sem.mp-_w6d75zj", Some(Semaphore)),
        (b"sem.loky-4711-ab_c1234", Some(Semaphore)),
        (b"psm_420cc9a4", Some(SharedMemory)),
        (b"pym-9363-0g_njjj4", Some(Arena)),
        (b"sem.mp-", None),
        (b"sem.mp-gjdbxubkk", None),
        (b"sem.mp-GJDBXUBK", None),
        (b"sem.mp-../../et", None),
        (b"sem.myqueue", None),
        (b"sem.loky-x-ab_c1234", None),
        (b"sem.loky--ab_c1234", None),
        (b"psm_420cc9ag", None),
        (b"psm_model", None),
        (b"pym-9363", None),
        (b"\xff\xfe", None),
        (b"", None),
    ] {
        assert_eq!(LeftoverKind::of_shared_memory(name), kind, "{}", String::from_utf8_lossy(name));
    }
    assert_eq!(LeftoverKind::of_temp(b"pymp-okk5f6jf"), Some(LeftoverKind::TempFolder));
    assert_eq!((LeftoverKind::of_temp(b"pymp-okk5"), LeftoverKind::of_temp(b"sem.mp-gjdbxubk")), (None, None));
    assert!(is_listener(b"listener-x1ffj335") && !is_listener(b"listener-") && !is_listener(b"notes.txt"));
}

#[test]
fn what_nobody_uses_goes_and_what_somebody_uses_stays_with_the_reason() {
    for kind in [LeftoverKind::Semaphore, LeftoverKind::SharedMemory, LeftoverKind::TempFolder, LeftoverKind::Arena] {
        assert!(goes(&leftover(kind), &[]));
        let used = |users| Leftover { finding: Finding::Used, users, ..leftover(kind) };
        for (one, reason) in [
            (used(vec![7]), "in use by pid 7"),
            (used(vec![7, 8, 9]), "in use by pid 7 and 2 more"),
            (used(vec![]), "in use by a process that cannot be seen from here"),
        ] {
            assert_eq!(judge(&one, &[], None), Judgement::in_use(reason));
        }
    }
}

#[test]
fn a_user_that_was_seen_keeps_it_whatever_else_was_found() {
    let one = Leftover { users: vec![7], ..leftover(LeftoverKind::TempFolder) };
    assert!(judge(&one, &[], None).in_use);
}

#[test]
fn what_is_odd_or_cannot_be_told_stays_and_is_no_living_pools() {
    let odd = Leftover { finding: Finding::Odd("a link".to_owned()), ..leftover(LeftoverKind::Semaphore) };
    assert_eq!(judge(&odd, &[], None), Judgement::left_alone("not as Python makes it: a link"));
    let unknown = Leftover { finding: Finding::Unknown("Permission denied".to_owned()), ..odd };
    assert_eq!(judge(&unknown, &[], None), Judgement::left_alone("cannot be told: Permission denied"));
}

#[test]
fn a_python_that_was_there_before_keeps_what_it_may_know_by_name_alone() {
    let before = [python(7, HOUR)];
    for kind in [LeftoverKind::SharedMemory, LeftoverKind::TempFolder] {
        assert_eq!(judge(&leftover(kind), &before, None).reason, "pid 7 may know its name: a Python that is about as old, or older");
        assert!(goes(&leftover(kind), &[python(7, HOUR / 2)]), "it came later");
    }
    for kind in [LeftoverKind::Semaphore, LeftoverKind::Arena] {
        assert!(goes(&leftover(kind), &before), "its owner would have it mapped");
    }
    let no_memory = [LivingPython { shares_memory: false, ..python(7, HOUR) }];
    assert!(goes(&leftover(LeftoverKind::SharedMemory), &no_memory) && !goes(&leftover(LeftoverKind::TempFolder), &no_memory));
    let no_folders = [LivingPython { makes_folders: false, ..python(7, HOUR) }];
    assert!(!goes(&leftover(LeftoverKind::SharedMemory), &no_folders) && goes(&leftover(LeftoverKind::TempFolder), &no_folders));
}

#[test]
fn a_child_knows_what_its_parents_knew() {
    let one = leftover(LeftoverKind::TempFolder);
    let young = LivingPython { ppid: 7, ..python(8, HOUR / 4) };
    let unable = LivingPython { makes_folders: false, ..python(7, HOUR * 2) };
    assert!(!goes(&one, &[young.clone(), unable]));
    let recycled = LivingPython { makes_folders: false, ..python(7, HOUR / 8) };
    assert!(goes(&one, &[young, recycled]), "a parent younger than its child is another process");
}

#[test]
fn the_rest_of_a_dead_pool_knows_what_its_dead_parents_knew() {
    for role in [Role::PoolWorker, Role::ResourceTracker, Role::Forkserver] {
        assert!(!goes(&leftover(LeftoverKind::SharedMemory), &[LivingPython { role, ..python(8, Duration::ZERO) }]));
    }
    let circle = [LivingPython { ppid: 8, ..python(7, HOUR / 2) }, LivingPython { ppid: 7, ..python(8, HOUR / 2) }];
    assert!(goes(&leftover(LeftoverKind::SharedMemory), &circle), "a torn scan ends");
}

#[test]
fn an_impossible_age_is_older_than_nothing_that_lives() {
    let one = Leftover { age: None, ..leftover(LeftoverKind::SharedMemory) };
    assert!(goes(&one, &[]) && !goes(&one, &[python(7, Duration::ZERO)]));
}

#[test]
fn older_than_spares_the_younger() {
    let one = leftover(LeftoverKind::Semaphore);
    assert_eq!(judge(&one, &[], Some(HOUR * 24)), Judgement::left_alone("younger than 1day"));
    assert_eq!(judge(&one, &[], Some(HOUR)).action, LeftoverAction::WouldRemove);
}

fn any_finding() -> impl Strategy<Value = Finding> {
    prop_oneof![
        Just(Finding::Unused),
        Just(Finding::Used),
        Just(Finding::Odd("a link".to_owned())),
        Just(Finding::Unknown("no".to_owned()))
    ]
}

prop_compose! {
    fn any_leftover()(kind in prop_oneof![Just(LeftoverKind::Semaphore), Just(LeftoverKind::SharedMemory),
            Just(LeftoverKind::TempFolder), Just(LeftoverKind::Arena)],
        finding in any_finding(), age in proptest::option::of(0u64..10_000),
        users in proptest::collection::vec(1..9, 0..3)) -> Leftover
    {
        Leftover { finding, age: age.map(Duration::from_secs), users, ..leftover(kind) }
    }
}

prop_compose! {
    fn any_python()(pid in 2..12, ppid in 1..12, age in 0u64..10_000, shares_memory: bool, makes_folders: bool,
        role in prop_oneof![Just(Role::Child), Just(Role::PoolWorker), Just(Role::ResourceTracker)]) -> LivingPython
    {
        LivingPython { pid, ppid, age: Duration::from_secs(age), role, shares_memory, makes_folders }
    }
}

proptest! {
    #[test]
    fn whatever_was_seen_nothing_goes_that_is_used_odd_unknown_too_young_or_another_ones(
        one in any_leftover(), living in proptest::collection::vec(any_python(), 0..6), older_than in proptest::option::of(0u64..10_000))
    {
        let older_than = older_than.map(Duration::from_secs);
        let judgement = judge(&one, &living, older_than);
        prop_assert!(!judgement.reason.is_empty());
        if judgement.action == LeftoverAction::WouldRemove {
            prop_assert_eq!(&one.finding, &Finding::Unused);
            prop_assert!(one.users.is_empty() && !judgement.in_use);
            prop_assert!(older_than.is_none_or(|limit| one.age.is_none_or(|age| age >= limit)));
            let able = |python: &LivingPython| match one.kind {
                LeftoverKind::SharedMemory => python.shares_memory,
                LeftoverKind::TempFolder => python.makes_folders,
                LeftoverKind::Semaphore | LeftoverKind::Arena => false,
            };
            prop_assert!(living.iter().all(|python| !able(python) || one.age.is_some_and(|age| python.age < age)));
        } else {
            prop_assert_eq!(judgement.action, LeftoverAction::LeftAlone);
        }
        // One more process that lives never makes more go.
        if let Some((_, fewer)) = living.split_last() && judgement.action == LeftoverAction::WouldRemove && fewer.is_empty() {
            prop_assert_eq!(judge(&one, fewer, older_than).action, LeftoverAction::WouldRemove);
        }
    }

    #[test]
    fn no_name_of_any_bytes_panics_or_leaves_its_folder(name in proptest::collection::vec(any::<u8>(), 0..24)) {
        if LeftoverKind::of_shared_memory(&name).is_some() || LeftoverKind::of_temp(&name).is_some() || is_listener(&name) {
            prop_assert!(!name.contains(&b'/') && !name.contains(&0) && name.is_ascii());
        }
    }
}
