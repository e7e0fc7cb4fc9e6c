use super::*;
use crate::cleanup::KnownRun;
use crate::cleanup::testing::{ROOT, a_python, a_shell, an_editor, known, mtproto_log, project, spawn_child, tracker};
use crate::model::{Mark, ProcId};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ME: i32 = 9000;

fn me() -> Me {
    Me { pid: ME, uid: 1000, exe: Some(PathBuf::from("/usr/local/bin/devstack")) }
}

fn judge_with(processes: &[Observed], ledger: &LedgerFacts, choice: &Choice) -> Vec<Decision> {
    plan(processes, &project(), ledger, &me(), choice)
}

/// `pid kind role action [evidence]` of each decision.
fn judge(processes: &[Observed], ledger: &LedgerFacts, choice: &Choice) -> Vec<String> {
    let say = |one: &Decision| {
        let evidence: Vec<_> = one.evidence.iter().map(|word| word.word()).collect();
        format!("{} {} {} {} [{}]", one.process.id.pid, one.kind.word(), one.role.word(), one.action_planned.word(), evidence.join(","))
    };
    judge_with(processes, ledger, choice).iter().map(say).collect()
}

fn facts() -> LedgerFacts {
    LedgerFacts { log_files: vec![mtproto_log()], ..LedgerFacts::default() }
}

fn plainly(processes: &[Observed]) -> Vec<String> {
    judge(processes, &facts(), &Choice::default())
}

fn nothing() -> Vec<String> {
    Vec::new()
}

const WORKER: &str = "/proj/.venv/bin/python3 -u -m apps.mtproto.worker --interval 10";

#[test]
fn the_pool_of_a_dead_worker_is_proven_by_where_it_stands() {
    let pool = [spawn_child(21).in_group(20), spawn_child(22).in_group(20), tracker(23).in_group(20)];
    assert_eq!(
        plainly(&pool),
        [
            "21 orphan pool_worker would_terminate [pool_of_dead_worker]",
            "22 orphan pool_worker would_terminate [pool_of_dead_worker]",
            "23 orphan resource_tracker would_terminate [pool_of_dead_worker]",
        ]
    );
    assert_eq!(judge_with(&pool, &facts(), &Choice::default())[0].reason, "its worker (pid 20) is gone");
}

#[test]
fn one_member_that_writes_our_log_names_the_service_of_its_group() {
    let pool = [spawn_child(21).in_group(20).writing(mtproto_log().1), tracker(23).in_group(20)];
    let decisions = judge_with(&pool, &facts(), &Choice::default());
    assert!(decisions.iter().all(|one| one.service.as_ref().is_some_and(|name| name.as_str() == "mtproto")));
    assert_eq!(decisions[0].evidence, [Evidence::LogFile, Evidence::PoolOfDeadWorker]);
}

#[test]
fn orphans_adopted_by_a_user_manager_are_orphans() {
    let manager = a_python(7, "/usr/lib/systemd/systemd --user").exe_is("/usr/lib/systemd/systemd").standing_in("/home/me");
    assert_eq!(plainly(&[manager, spawn_child(21).child_of(7)]), ["21 orphan pool_worker would_terminate [pool_of_dead_worker]"]);
}

#[test]
fn a_pool_whose_python_parent_lives_is_nobody_elses_business() {
    let notebook = a_python(50, "python -m jupyter lab");
    assert_eq!(plainly(&[notebook, spawn_child(51).child_of(50), tracker(52).child_of(50)]), nothing());
    assert_eq!(plainly(&[spawn_child(51).child_of(50)]), nothing(), "its parent may have started behind the scan's back");
}

#[test]
fn another_projects_pools_are_never_seen_dead_or_alive() {
    let elsewhere = |it: Observed| it.standing_in("/other");
    assert_eq!(plainly(&[elsewhere(spawn_child(21)), elsewhere(tracker(22))]), nothing());
    assert_eq!(plainly(&[a_python(50, WORKER).standing_in("/other").home_is("/other"), spawn_child(51).child_of(50)]), nothing());
    assert_eq!(plainly(&[spawn_child(51).started_from("/other")]), nothing());
    let nested = a_python(60, WORKER).standing_in("/proj/trees/two").home_is("/proj/trees/two");
    assert_eq!(plainly(&[nested, spawn_child(61).standing_in("/proj/trees/two").home_is("/proj/trees/two")]), nothing());
}

#[test]
fn a_cookie_counts_only_for_our_name_our_service_and_our_root() {
    let with = |cookie: &str| a_python(30, "renamed").standing_in("/").with_cookie(cookie);
    assert_eq!(plainly(&[with("analyticbot/mtproto/7f3a-9")]), ["30 orphan child would_terminate [cookie]"]);
    assert_eq!(plainly(&[with("analyticbot/mtproto/7f3a-9").started_from(ROOT)]), ["30 orphan child would_terminate [cookie]"]);
    for foreign in ["other/mtproto/7f3a-9", "analyticbot/nosuch/7f3a-9", "analyticbot/mtproto/x", "mtproto", ""] {
        assert_eq!(plainly(&[with(foreign)]), nothing(), "{foreign}");
    }
    assert_eq!(plainly(&[with("analyticbot/mtproto/7f3a-9").started_from("/checkout2")]), nothing());
}

#[test]
fn a_copy_that_lost_its_terminal_is_stale_and_its_pool_goes_with_it() {
    assert_eq!(
        plainly(&[a_python(40, WORKER), spawn_child(41).child_of(40), tracker(42).child_of(40)]),
        [
            "40 stale main would_terminate [match]",
            "41 stale pool_worker would_terminate [descendant]",
            "42 stale resource_tracker would_terminate [descendant]",
        ]
    );
    assert_eq!(plainly(&[a_python(40, WORKER).on_a_terminal().under_nohup()]), ["40 stale main would_terminate [match]"]);
}

#[test]
fn a_copy_on_a_living_terminal_is_left_alone_with_its_pool_unless_asked_for() {
    let typed =
        [a_shell(39).on_a_terminal(), a_python(40, WORKER).child_of(39).on_a_terminal(), spawn_child(41).child_of(40).on_a_terminal()];
    assert_eq!(plainly(&typed), ["40 manual main left_alone [match]", "41 manual pool_worker left_alone [descendant]"]);
    let choice = Choice { include_manual: true, ..Choice::default() };
    assert_eq!(
        judge(&typed, &facts(), &choice),
        ["40 manual main would_terminate [match]", "41 manual pool_worker would_terminate [descendant]"]
    );
    let in_the_way = for_start(&typed, &project(), &facts(), &me());
    assert_eq!(in_the_way.len(), 2);
    assert!(in_the_way.iter().all(|decision| decision.service.as_ref().is_some_and(|service| service.as_str() == "mtproto")));
}

#[test]
fn every_decoy_of_a_text_search_survives() {
    let decoys = [
        an_editor(1, "tail -f apps/mtproto/worker.py", "/usr/bin/tail"),
        an_editor(2, "bash -c 'cd x; python -m apps.mtproto.worker'", "/usr/bin/bash"),
        an_editor(3, "devstack run -- python -m apps.mtproto.worker", "/usr/local/bin/devstack"),
        an_editor(4, "grep -r apps.mtproto.worker .", "/usr/bin/grep"),
        an_editor(5, "ssh host python -m apps.mtproto.worker", "/usr/bin/ssh"),
        a_python(600, "python -c 'import time; time.sleep(99) # apps.mtproto.worker'"),
        a_python(700, "python -m apps.mtproto.worker2"),
        an_editor(8, "vim apps.mtproto.worker", "/usr/bin/vim"),
    ];
    assert_eq!(
        plainly(&decoys),
        [
            "200 look_alike child left_alone []",
            "400 look_alike child left_alone []",
            "500 look_alike child left_alone []",
            "600 look_alike child left_alone []",
            "800 look_alike child left_alone []",
        ]
    );
    let all_proven = Choice { include_manual: true, managed: true, ..Choice::default() };
    assert!(judge_with(&decoys, &facts(), &all_proven).iter().all(|one| one.action_planned == Action::LeftAlone));
    let unproven = Choice { include_unproven: true, ..Choice::default() };
    assert!(judge_with(&decoys, &facts(), &unproven).iter().all(|one| one.kind == Kind::LookAlike));
}

#[test]
fn the_asking_process_its_ancestors_other_users_and_other_namespaces_are_out_of_reach() {
    let log = mtproto_log().1;
    let worker = a_python(40, WORKER).writing(log);
    let shell = a_shell(41).child_of(40).with_cookie("analyticbot/mtproto/7f3a-9");
    let asking = a_python(ME, "devstack cleanup-workers apps.mtproto.worker").child_of(41).with_cookie("analyticbot/mtproto/7f3a-9");
    let everything = Choice { include_manual: true, include_unproven: true, managed: true, ..Choice::default() };
    assert_eq!(judge(&[worker.clone(), shell, asking], &facts(), &everything), nothing());
    assert_eq!(judge(&[worker.clone().of_user(1001)], &facts(), &everything), nothing());
    assert_eq!(judge(&[Observed { same_pid_namespace: false, ..worker }], &facts(), &everything), nothing());
}

#[test]
fn a_living_run_is_managed_and_what_a_dead_one_left_beside_it_is_not() {
    let run = KnownRun { recorded: vec![ProcId { pid: 52, start_ticks: 5200 }], ..known("7f3a-12", 50, true) };
    let dead = known("7f3a-9", 20, false);
    let ledger = LedgerFacts { runs: vec![dead, run], ..facts() };
    let world = [
        a_python(50, WORKER).with_cookie("analyticbot/mtproto/7f3a-12"),
        spawn_child(51).child_of(50),
        a_python(52, "renamed"),
        spawn_child(21).with_cookie("analyticbot/mtproto/7f3a-9"),
        a_python(30, "old and renamed").writing(mtproto_log().1),
        a_python(55, "new and renamed").writing(mtproto_log().1),
    ];
    assert_eq!(
        judge(&world, &ledger, &Choice::default()),
        [
            "21 orphan pool_worker would_terminate [cookie,pool_of_dead_worker]",
            "30 orphan child would_terminate [log_file]",
            "50 managed main left_alone [recorded,cookie,match]",
            "51 managed pool_worker left_alone [descendant]",
            "52 managed child left_alone [recorded]",
            "55 managed child left_alone [log_file]",
        ]
    );
    let all = Choice { managed: true, ..Choice::default() };
    assert!(judge_with(&world, &ledger, &all).iter().all(|one| one.action_planned == Action::WouldTerminate));
}

#[test]
fn a_mark_or_a_group_proves_what_has_cut_every_other_tie() {
    let ledger = LedgerFacts { runs: vec![known("7f3a-9", 20, false), known("7f3a-12", 50, true)], ..facts() };
    let bare = |pid| a_python(pid, "renamed").standing_in("/");
    let world = [
        bare(31).with_mark("7f3a-9"),
        bare(32).with_mark("7f3a-12"),
        bare(33).with_mark("1-1"),
        bare(34).in_the_group_of("mtproto", "7f3a-9"),
        bare(35).with_mark("7f3a-9").of_user(1001),
        Observed { mark: Some(Mark::of(b"/other", "7f3a-9".parse().expect("a run id"))), ..bare(36) },
    ];
    assert_eq!(
        judge(&world, &ledger, &Choice::default()),
        [
            "31 orphan child would_terminate [mark]",
            "32 managed child left_alone [mark]",
            "33 orphan child would_terminate [mark]",
            "34 orphan child would_terminate [cgroup]",
        ]
    );
}

#[test]
fn a_set_up_that_runs_is_left_alone() {
    let preparing = KnownRun { leader: None, ..known("7f3a-12", 1, true) };
    let ledger = LedgerFacts { runs: vec![preparing], ..facts() };
    let world = [a_python(31, "pip install").with_cookie("analyticbot/mtproto/7f3a-12").with_mark("7f3a-12")];
    assert_eq!(judge(&world, &ledger, &Choice::default()), ["31 managed child left_alone [cookie,mark]"]);
}

#[test]
fn a_recycled_number_inherits_nothing() {
    let ledger = LedgerFacts { runs: vec![known("7f3a-9", 50, false)], ..facts() };
    let stranger = a_python(50, "python -m http.server").standing_in("/");
    assert_eq!(judge(&[Observed { id: ProcId { pid: 50, start_ticks: 1 }, ..stranger }], &ledger, &Choice::default()), nothing());
}

#[test]
fn a_session_proves_only_while_another_member_pins_its_number() {
    let ledger = LedgerFacts { runs: vec![known("7f3a-9", 20, false)], ..facts() };
    let renamed = a_python(31, "renamed").standing_in("/").in_group(20);
    assert_eq!(judge(std::slice::from_ref(&renamed), &ledger, &Choice::default()), nothing());
    let pin = spawn_child(32).in_group(20).with_cookie("analyticbot/mtproto/7f3a-9");
    assert_eq!(
        judge(&[renamed, pin], &ledger, &Choice::default()),
        ["31 orphan child would_terminate [session]", "32 orphan pool_worker would_terminate [cookie,pool_of_dead_worker]",]
    );
}

#[test]
fn a_child_of_the_living_supervisor_is_its_own_business() {
    let supervisor = a_python(10, "devstack supervise").exe_is("/usr/local/bin/devstack");
    let ledger = LedgerFacts { guardians: vec![supervisor.id], ..facts() };
    let hook = a_python(11, "python hook.py").child_of(10);
    let stray = spawn_child(12).child_of(10).with_cookie("analyticbot/mtproto/7f3a-9");
    assert_eq!(
        judge(&[supervisor, hook, stray], &ledger, &Choice::default()),
        ["11 managed child left_alone [child]", "12 orphan pool_worker would_terminate [child,cookie,pool_of_dead_worker]"]
    );
}

#[test]
fn a_fork_pool_without_its_parent_is_told_from_a_copy() {
    let forked = |pid| a_python(pid, WORKER).in_group(40);
    let lines = plainly(&[forked(41), forked(42)]);
    assert_eq!(lines, ["41 orphan pool_worker would_terminate [match]", "42 orphan pool_worker would_terminate [match]"]);
    assert_eq!(plainly(&[a_python(40, WORKER), forked(41).child_of(40)])[1], "41 stale pool_worker would_terminate [match]");
}

#[test]
fn what_is_younger_than_asked_stays_and_so_does_the_tracker_of_a_spared_pool() {
    let choice = Choice { older_than: Some(Duration::from_secs(86_400)), ..Choice::default() };
    let young = spawn_child(21).in_group(20).aged(3600);
    let old = tracker(23).in_group(20).aged(100_000);
    assert_eq!(
        judge(&[young.clone(), old], &facts(), &choice),
        ["21 orphan pool_worker left_alone [pool_of_dead_worker]", "23 orphan resource_tracker left_alone [pool_of_dead_worker]",]
    );
    let why = &judge_with(&[young], &facts(), &choice)[0].reason;
    assert_eq!(why, "its worker (pid 20) is gone, but it is younger than 1day");
}

#[test]
fn services_asked_for_are_the_only_ones_shown() {
    let choice = |name: &str| Choice { services: Some(BTreeSet::from([ServiceName::new(name).expect("a name")])), ..Choice::default() };
    let world = [a_python(40, WORKER), spawn_child(70)];
    assert_eq!(judge(&world, &facts(), &choice("mtproto")), ["40 stale main would_terminate [match]"]);
    assert_eq!(judge(&world, &facts(), &choice("bot")), nothing());
}

#[test]
fn the_same_command_outside_every_project_is_a_look_alike() {
    let copy = a_python(40, WORKER).standing_in("/");
    let decisions = judge_with(&[copy], &facts(), &Choice::default());
    assert_eq!((decisions[0].kind, decisions[0].action_planned), (Kind::LookAlike, Action::LeftAlone));
    assert!(Path::new(ROOT).is_absolute());
}

#[test]
fn what_only_its_mark_names_is_in_the_way_unless_a_service_leaves_its_children_alone() {
    let world = [
        a_python(31, "renamed").standing_in("/").with_mark("7f3a-9"),
        a_python(32, "renamed").standing_in("/").with_mark("7f3a-12"),
        spawn_child(33),
    ];
    let ledger = LedgerFacts { runs: vec![known("7f3a-12", 50, true)], ..facts() };
    let in_the_way =
        |project: &Project| -> Vec<_> { for_start(&world, project, &ledger, &me()).into_iter().map(|one| one.process.id.pid).collect() };
    assert_eq!(in_the_way(&project()), [31]);
    let mut careful = project();
    for service in careful.services.values_mut() {
        std::sync::Arc::make_mut(service).kill_mode = KillMode::Process;
    }
    assert_eq!(in_the_way(&careful), [] as [i32; 0]);
}
