//! `devstack cleanup-workers`, as it is typed: what it ends, what it refuses, and the document it prints.

use crate::running::Done;
use crate::support::{DEVSTACK, TestStack, kill, send};
use crate::terminal::Terminal;
use crate::world::{is_alive, wait_until};
use devstack::model::{ProcId, Signal};
use devstack::sys::procfs;
use serde_json::{Value, json};
use std::path::PathBuf;

const WEB: &str = "[services.web]\ncommand = 'python3 worker.py web pool'\n[services.bot]\ncommand = 'python3 worker.py bot'\n";

/// Its script has a name that no other test uses: mentions of it are seen from every project, and so may be a process that ends
/// while it is looked at.
fn named_apart(services: &str, script: &str) -> TestStack {
    let stack = TestStack::new(&services.replace("worker.py", script));
    std::fs::copy(stack.root.join("worker.py"), stack.root.join(script)).expect("the stub");
    stack
}

/// A pool that devstack started, after both of devstack's processes and the worker were killed.
fn orphaned(stack: &TestStack) -> (ProcId, Vec<ProcId>, PathBuf) {
    stack.run("start web").ends_with(0);
    let (keeper, supervisor, worker) = (stack.keeper(), stack.supervisor(), stack.pid("web"));
    let (pool, semaphore) = stack.noted_pool("web");
    send(keeper, Signal::STOP);
    kill(supervisor);
    kill(keeper);
    kill(worker);
    assert!(pool.iter().all(|id| is_alive(*id)), "CPython leaves all of them behind");
    (worker, pool, semaphore)
}

fn document(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

fn pids(document: &Value) -> Vec<i64> {
    document["processes"].as_array().expect("a list").iter().filter_map(|one| one["pid"].as_i64()).collect()
}

#[test]
fn with_nothing_to_do_it_says_so_and_starts_nothing() {
    let stack = named_apart(WEB, "idle.py");
    for line in ["cleanup-workers", "cleanup_workers", "cleanup-workers all", "cleanup-workers web bot", "cleanup-workers --dry-run"] {
        let done = stack.run(line).ends_with(0).says("Nothing to clean up.");
        assert_eq!(done.stdout, "");
    }
    let json = document(&stack.run("cleanup-workers --json").ends_with(0));
    assert_eq!(json, json!({"dry_run": false, "processes": [], "freed_mb": 0.0, "survivors": []}));
    assert_eq!(stack.processes(), []);
}

#[test]
fn the_orphans_of_a_killed_devstack_and_its_worker_all_go_without_leaking_semaphores() {
    let stack = TestStack::new(WEB);
    let (_, pool, semaphore) = orphaned(&stack);
    let done = stack.run("cleanup-workers").ends_with(0).says("Ended 3 processes");
    for id in &pool {
        assert!(!is_alive(*id) && done.stdout.contains(&id.pid.to_string()), "{done:?}");
    }
    assert!(!semaphore.exists());
    assert_eq!(stack.processes(), []);
    stack.run("cleanup-workers").ends_with(0).says("Nothing to clean up.");
}

#[test]
fn a_dry_run_explains_each_in_the_shape_of_the_contract_and_ends_nobody() {
    let stack = named_apart(WEB, "rehearsed.py");
    let (worker, pool, _) = orphaned(&stack);
    let json = document(&stack.run("cleanup_workers --dry-run --json web").ends_with(0));
    let keys = |value: &Value| {
        let mut keys: Vec<String> = value.as_object().expect("an object").keys().cloned().collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys(&json), ["dry_run", "freed_mb", "processes", "survivors"]);
    assert_eq!((&json["dry_run"], &json["freed_mb"], &json["survivors"]), (&json!(true), &json!(0.0), &json!([])));
    assert_eq!(pids(&json).len(), 3, "{json:#}");
    let expected = "action age_seconds command evidence kind memory_mb pid ppid reason role run_id service start_ticks";
    for one in json["processes"].as_array().expect("a list") {
        assert_eq!(keys(one).join(" "), expected);
        let id = pool.iter().find(|id| one["pid"] == id.pid).unwrap_or_else(|| panic!("who is {one:#}"));
        assert_eq!(one["start_ticks"], id.start_ticks);
        assert_eq!((&one["kind"], &one["action"], &one["service"]), (&json!("orphan"), &json!("would_terminate"), &json!("web")));
        assert_eq!(one["reason"], format!("its worker (pid {}) is gone", worker.pid));
        assert!(
            one["run_id"].is_string() && one["ppid"].is_u64() && one["age_seconds"].is_f64() && one["memory_mb"].as_f64() > Some(1.0),
            "{one:#}"
        );
        let evidence = one["evidence"].as_array().expect("a list");
        assert!(evidence.contains(&json!("cookie")) && evidence.contains(&json!("log_file")), "{one:#}");
    }
    let mut roles: Vec<&str> = json["processes"].as_array().expect("a list").iter().filter_map(|one| one["role"].as_str()).collect();
    roles.sort_unstable();
    assert_eq!(roles, ["pool_worker", "pool_worker", "resource_tracker"]);
    assert!(pool.iter().all(|id| is_alive(*id)));

    let done = document(&stack.run("cleanup-workers --json").ends_with(0));
    assert!(done["freed_mb"].as_f64() > Some(1.0), "{done:#}");
    let action = |one: &Value| (one["role"].clone(), one["action"].clone());
    let actions: Vec<_> = done["processes"].as_array().expect("a list").iter().map(action).collect();
    for (role, action) in actions {
        assert_eq!(action, if role == "resource_tracker" { "exited" } else { "terminated" });
    }
}

#[test]
fn only_the_services_that_are_named_are_looked_at() {
    let stack = TestStack::new(WEB);
    let (_, pool, _) = orphaned(&stack);
    stack.run("cleanup-workers bot").ends_with(0).says("Nothing to clean up.");
    assert!(pool.iter().all(|id| is_alive(*id)));
    stack.run("cleanup-workers web").ends_with(0);
    assert!(!pool.into_iter().any(is_alive));
}

#[test]
fn what_is_younger_than_asked_for_stays() {
    let stack = TestStack::new(WEB);
    let (_, pool, _) = orphaned(&stack);
    let done = stack.run("cleanup-workers --older-than 1h").ends_with(0);
    assert!(done.stdout.contains("younger than 1h"), "{done:?}");
    assert!(pool.iter().all(|id| is_alive(*id)));
    stack.run("cleanup-workers --older-than 0s").ends_with(0);
    assert!(!pool.into_iter().any(is_alive));
}

#[test]
fn copies_by_hand_go_and_copies_on_a_terminal_stay_until_they_are_asked_for() {
    let stack = TestStack::new(WEB);
    let by_hand = stack.start_beside("setsid", &["nohup", "python3", "worker.py", "bot"]);
    // The terminal outlives the copy, as a person's does: one that closes would kill the resource tracker by SIGHUP.
    let mut terminal = Terminal::open(&stack, "python3 worker.py web pool; read line");
    let (pool, semaphore) = stack.noted_pool("web");
    terminal.wait_for("web started");
    wait_until("it is the worker itself", || procfs::argv(by_hand.pid).is_ok_and(|argv| argv.get(2).is_some_and(|name| name == b"bot")));
    let done = stack.run("cleanup-workers").ends_with(0).says("end them too with --include-manual");
    assert!(!is_alive(by_hand) && done.stdout.contains("a copy of `bot` that devstack does not run"), "{done:?}");
    assert!(pool.iter().all(|id| is_alive(*id)));
    stack.run("cleanup-workers --include-manual").ends_with(0);
    assert!(!pool.into_iter().any(is_alive) && !semaphore.exists());
    terminal.type_keys("\r");
    terminal.end();
}

#[test]
fn a_living_stack_is_left_alone_unless_it_is_asked_for() {
    let stack = named_apart(WEB, "living.py");
    stack.run("start").ends_with(0);
    let (pool, _) = stack.noted_pool("web");
    let workers = [vec![stack.pid("web"), stack.pid("bot")], pool].concat();
    stack.run("cleanup-workers all").ends_with(0).says("Nothing to clean up.");
    assert!(workers.iter().all(|id| is_alive(*id)));
    let seen = document(&stack.run("cleanup-workers --dry-run --managed --json").ends_with(0));
    assert_eq!(pids(&seen).len(), workers.len(), "{seen:#}");
    assert!(seen["processes"].as_array().expect("a list").iter().all(|one| one["kind"] == "managed"), "{seen:#}");
    stack.run("cleanup-workers --managed").ends_with(0);
    assert!(!workers.into_iter().any(is_alive));
}

#[test]
fn decoys_and_other_projects_survive() {
    let (stack, other) = (named_apart(WEB, "decoyed.py"), TestStack::new(WEB));
    other.run("start bot").ends_with(0);
    let living = other.pid("bot");
    let (_, orphans_of_another, _) = orphaned(&other);
    let decoys = [
        stack.start_beside("tail", &["-f", "decoyed.py"]),
        stack.start_beside("tail", &["-f", "/dev/null", "--retry", "python3 decoyed.py web pool"]),
        stack.start_beside("python3", &["-c", "import time; time.sleep(600) # python3 decoyed.py web pool"]),
        stack.start_beside("python3", &["-c", "import time; time.sleep(600)", "decoyed.py", "web", "pool"]),
    ];
    let done = stack.run("cleanup-workers all").ends_with(0);
    assert!(decoys.into_iter().all(is_alive), "{done:?}");
    assert!(is_alive(living) && orphans_of_another.into_iter().all(is_alive));
}

#[test]
fn the_shell_that_it_is_typed_in_survives_even_inside_a_worker() {
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = ['sh', '-c', 'echo web started; {DEVSTACK} cleanup-workers --managed; echo survived; exec sleep 600']"
    ));
    stack.run("start").ends_with(0);
    wait_until("the shell goes on", || stack.log("web").contains("survived"));
    assert!(is_alive(stack.pid("web")));
}

#[test]
fn what_nothing_proves_is_not_ended_without_a_question() {
    let script = format!("lonely-{}.py", std::process::id());
    let stack = named_apart(WEB, &script);
    let line = format!("import time; time.sleep(600) # python3 {script} web pool");
    let look_alike = stack.start_beside("env", &["-C", "/", "python3", "-c", &line]);
    stack.run("cleanup-workers --include-unproven").ends_with(2).says("no terminal to ask on").says("hint: look first with --dry-run");
    assert!(is_alive(look_alike));
    let mut terminal = Terminal::devstack(&stack, "cleanup-workers --include-unproven");
    terminal.wait_for("End it? [y/N]");
    terminal.type_keys("n\r");
    terminal.end();
    assert!(is_alive(look_alike));
}

#[test]
fn a_process_that_heeds_no_sigterm_is_killed() {
    let stack = named_apart("[services.web]\ncommand = 'python3 worker.py web ignore-term'", "stubborn.py");
    stack.run("start").ends_with(0);
    let (keeper, supervisor, worker) = (stack.keeper(), stack.supervisor(), stack.pid("web"));
    send(keeper, Signal::STOP);
    kill(supervisor);
    kill(keeper);
    let json = document(&stack.run("cleanup-workers --managed --json").ends_with(0));
    assert_eq!((pids(&json), &json["processes"][0]["action"]), (vec![i64::from(worker.pid)], &json!("killed")));
    assert!(!is_alive(worker));
}
