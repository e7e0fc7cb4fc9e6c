//! cleanup-workers against real CPython pools: what is provably ours goes, everything else stays.

use crate::world::{World, is_alive, wait_until};
use devstack::cleanup::{Action, Choice, Decision, Evidence, Kind, LedgerFacts, Role};
use devstack::cli::cleanup_workers::{Done, Report, end, look};
use std::fs::File;
use std::path::Path;
use std::process::Stdio;

fn everything() -> Choice {
    Choice { include_manual: true, managed: true, ..Choice::default() }
}

/// Without what is only shown: other tests' processes are mentions, and one that ends while it is looked at stands nowhere.
fn touched(done: Vec<Done>) -> Vec<Done> {
    done.into_iter().filter(|one| one.action != Action::LeftAlone).collect()
}

#[test]
fn the_pool_of_a_killed_worker_goes_without_leaking_semaphores() {
    let mut world = World::new();
    let pool = world.start_pool("worker", &[], |_| {});
    world.kill(pool.main);
    assert!(pool.everyone_but_main().into_iter().all(is_alive), "CPython leaves all of them behind");
    assert!(pool.semaphore.exists());

    let seen = world.ours(&Choice::default());
    assert_eq!(seen.len(), 3, "{seen:#?}");
    for one in &seen {
        assert_eq!((one.kind, one.evidence.as_slice()), (Kind::Orphan, &[Evidence::PoolOfDeadWorker][..]));
        assert_eq!(one.reason, format!("its worker (pid {}) is gone", pool.main.pid));
    }

    let done = world.clean(&Choice::default());
    assert!(!pool.everyone_but_main().into_iter().any(is_alive));
    for one in &done {
        let expected = if one.decision.role == Role::ResourceTracker { Action::Exited } else { Action::Terminated };
        assert_eq!((one.decision.role, one.action), (one.decision.role, expected));
    }
    assert!(!pool.semaphore.exists(), "its tracker was left the time to clean up");
    let report = Report { dry_run: false, done, leftovers: None };
    assert!(report.survivors().next().is_none());
    assert!(world.ours(&Choice::default()).is_empty());
}

#[test]
fn a_pool_that_ignores_sigterm_is_killed_and_its_tracker_still_cleans_up() {
    let mut world = World::new();
    let pool = world.start_pool("worker", &["stubborn"], |_| {});
    world.kill(pool.main);
    let done = world.clean(&Choice::default());
    let action = |role| done.iter().filter(|one| one.decision.role == role).map(|one| one.action).collect::<Vec<_>>();
    assert_eq!(action(Role::PoolWorker), [Action::Killed, Action::Killed]);
    assert_eq!(action(Role::ResourceTracker), [Action::Exited]);
    assert!(!pool.semaphore.exists());
}

#[test]
fn what_the_old_script_started_with_nohup_goes_when_its_wrapper_is_gone() {
    let mut world = World::new();
    let ready = world.ready_file();
    let wrapped = format!("true; python3 -m apps.mtproto.worker {}; true", ready.display());
    let log = File::create(world.log()).expect("a log");
    let mut command = world.command(&["nohup", "bash", "-c", &wrapped]);
    command.stdout(log.try_clone().expect("a log")).stderr(log);
    let wrapper = world.start(&mut command);
    let pool = world.pool(&ready);
    world.kill(wrapper);

    let seen = world.ours(&Choice::default());
    let main = seen.iter().find(|one| one.process.id == pool.main).expect("seen");
    assert_eq!((main.kind, main.role), (Kind::Stale, Role::Main));
    assert_eq!(main.evidence, [Evidence::LogFile, Evidence::Match]);
    assert_eq!(seen.len(), 4, "{seen:#?}");

    world.clean(&Choice::default());
    assert!(!is_alive(pool.main) && !pool.everyone_but_main().into_iter().any(is_alive));
    assert!(!pool.semaphore.exists());
}

#[test]
fn decoys_survive() {
    let mut world = World::new();
    let mut decoys = Vec::new();
    for line in [
        &["tail", "-f", "apps/mtproto/worker.py"][..],
        &["tail", "-f", "/dev/null", "--retry", "apps.mtproto.worker"],
        &["python3", "-c", "import time; time.sleep(600) # apps.mtproto.worker"],
    ] {
        let mut command = world.command(line);
        decoys.push(world.start(&mut command));
    }
    for line in [&["grep", "apps.mtproto.worker"][..], &["bash", "-c", "read; : python -m apps.mtproto.worker"]] {
        let mut command = world.command(line);
        decoys.push(world.start(command.stdin(Stdio::piped())));
    }
    let other_module = world.start_pool("worker2", &[], |_| {});
    decoys.extend([vec![other_module.main], other_module.everyone_but_main()].concat());

    let done = world.clean(&everything());
    assert!(done.iter().all(|one| one.action == Action::LeftAlone), "{done:#?}");
    assert_eq!(decoys.into_iter().filter(|id| !is_alive(*id)).collect::<Vec<_>>(), []);
}

#[test]
fn another_projects_pools_survive_alive_and_orphaned() {
    let ours = World::new();
    let mut theirs = World::new();
    let alive = theirs.start_pool("worker", &[], |_| {});
    let orphaned = theirs.start_pool("worker", &[], |_| {});
    theirs.kill(orphaned.main);
    assert!(touched(ours.clean(&everything())).is_empty());
    assert!(is_alive(alive.main));
    assert!([alive.everyone_but_main(), orphaned.everyone_but_main()].concat().into_iter().all(is_alive));
}

#[test]
fn a_checkout_inside_ours_and_one_of_the_same_name_survive() {
    let mut world = World::new();
    let nested = world.root().join("trees/two");
    std::fs::create_dir_all(&nested).expect("a folder");
    std::fs::write(nested.join("devstack.toml"), "").expect("a configuration");
    let root = world.root().to_path_buf();
    let inner = world.start_pool("worker", &[], |command| {
        command.current_dir(&nested).env("PYTHONPATH", &root);
    });
    world.kill(inner.main);
    let same_name = world.start_pool("worker", &[], |command| {
        command.env("DEVSTACK_RUN", "analyticbot/mtproto/1-1").env("DEVSTACK_ROOT", "/another/checkout");
    });
    assert!(touched(world.clean(&everything())).is_empty());
    assert!(inner.everyone_but_main().into_iter().all(is_alive) && is_alive(same_name.main));
}

#[test]
fn another_users_copy_survives() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let mut world = World::new();
    // Not Python: what is installed below /root is not for that user to run.
    let mut command = world.command(&["setpriv", "--reuid", "65534", "--clear-groups", "sleep", "600"]);
    command.env("DEVSTACK_RUN", "analyticbot/mtproto/1-1").stdout(File::create(world.log()).expect("a log"));
    let stranger = world.start(&mut command);
    wait_until("it has changed users", || devstack::sys::procfs::uid(stranger.pid).is_ok_and(|uid| uid == 65534));
    assert!(touched(world.clean(&everything())).is_empty());
    assert!(is_alive(stranger));
}

#[test]
fn a_cookie_is_proof_even_far_from_the_project() {
    let mut world = World::new();
    let root = world.root().to_path_buf();
    let mut command = world.command(&["sleep", "600"]);
    command.current_dir("/").env("DEVSTACK_RUN", "analyticbot/mtproto/1-1").env("DEVSTACK_ROOT", root);
    let stray = world.start(&mut command);
    wait_until("it has its own environment", || devstack::sys::procfs::environ_value(stray.pid, b"DEVSTACK_RUN").is_some());
    let done = world.clean(&Choice::default());
    assert_eq!(done.len(), 1, "{done:#?}");
    assert_eq!((done[0].decision.process.id, done[0].action), (stray, Action::Terminated));
}

#[test]
fn a_copy_on_a_living_terminal_stays_until_it_is_asked_for() {
    let mut world = World::new();
    let ready = world.ready_file();
    // Typed in a shell that goes on: the end of what leads the session would hang up the resource tracker before it has unlinked.
    let line = format!("python3 -m apps.mtproto.worker {}; read line", ready.display());
    let mut command = world.command(&["script", "-qefc", &line, "/dev/null"]);
    world.start(command.stdin(Stdio::piped()));
    let pool = world.pool(&ready);

    let done = world.clean(&Choice::default());
    let main = done.iter().find(|one| one.decision.process.id == pool.main).expect("seen");
    assert_eq!((main.decision.kind, main.action), (Kind::Manual, Action::LeftAlone));
    assert!(is_alive(pool.main) && pool.everyone_but_main().into_iter().all(is_alive));

    world.clean(&Choice { include_manual: true, ..Choice::default() });
    assert!(!is_alive(pool.main) && !pool.everyone_but_main().into_iter().any(is_alive));
    assert!(!pool.semaphore.exists(), "its tracker was left the time to clean up");
}

#[test]
fn a_stray_that_hid_everything_but_its_output_goes() {
    let mut world = World::new();
    let log = File::create(world.log()).expect("a log");
    let mut command = world.command(&["setsid", "env", "-i", "/bin/sleep", "600"]);
    // setsid leads a group here, so it forks, and only the child remains.
    let parent = world.start(command.current_dir("/").stdout(log));
    let settled = |one: &Decision| one.process.ppid == 1 && one.process.argv.len() == 2;
    wait_until("it runs alone", || !is_alive(parent) && world.ours(&everything()).iter().all(settled));
    let seen = world.ours(&everything());
    world.watch(seen[0].process.id.pid);
    let found: Vec<_> = seen.iter().map(|one| (one.process.argv[1].clone(), one.evidence.clone())).collect();
    assert_eq!(found, [(b"600".to_vec(), vec![Evidence::LogFile])]);
    assert!(touched(world.clean(&everything())).iter().all(|one| one.action == Action::Terminated));
    assert!(!is_alive(seen[0].process.id));
}

#[test]
fn a_log_that_leads_to_dev_null_proves_nothing() {
    let mut world = World::new();
    std::os::unix::fs::symlink("/dev/null", world.log()).expect("a link");
    let mut command = world.command(&["sleep", "600"]);
    let stranger = world.start(&mut command);
    assert!(touched(world.clean(&everything())).is_empty());
    assert!(is_alive(stranger));
}

#[test]
fn a_log_that_leads_to_anothers_file_does_not_prove_who_writes_to_that() {
    for put in [|from: &Path, to: &Path| std::os::unix::fs::symlink(from, to), |from: &Path, to: &Path| std::fs::hard_link(from, to)] {
        let mut world = World::new();
        let mut command = world.command(&["sleep", "600"]);
        let output = world.log().with_file_name("of a stranger");
        let file = std::fs::File::create(&output).expect("a file");
        let stranger = world.start(command.stdout(file.try_clone().expect("a copy")).stderr(file));
        put(&output, &world.log()).expect("a link");
        assert!(touched(world.clean(&everything())).is_empty());
        assert!(is_alive(stranger));
    }
}

/// Run by the next test, inside a shell of a worker: what a person does who types the command there.
#[test]
#[ignore = "a part of another test"]
fn as_typed() {
    let Some(root) = std::env::var_os("CLEANUP_TEST_ROOT") else { return };
    let project = crate::world::project(Path::new(&root));
    let seen = look(&project, &LedgerFacts::default(), &everything()).expect("a scan");
    end(&project, &LedgerFacts::default(), &everything(), seen).expect("a clean-up");
}

#[test]
fn the_shell_it_is_typed_in_survives_even_inside_a_worker() {
    let mut world = World::new();
    let pool = world.start_pool("worker", &[], |_| {});
    world.kill(pool.main);
    let root = world.root().to_path_buf();
    let program = std::env::current_exe().expect("this test");
    let line = format!("'{}' --exact cleanup::as_typed --ignored; echo python -m apps.mtproto.worker >survived", program.display());
    let mut command = world.command(&["bash", "-c", &line]);
    command.env("CLEANUP_TEST_ROOT", &root).env("DEVSTACK_RUN", "analyticbot/mtproto/1-1").env("DEVSTACK_ROOT", &root);
    world.start(&mut command);
    wait_until("the shell goes on", || root.join("survived").exists());
    assert!(!pool.everyone_but_main().into_iter().any(is_alive), "the command itself was carried out");
}
