//! `devstack run SERVICE`: its policy, its limits, its dependencies, and that nobody else runs it at the same time.

use crate::running::Running;
use crate::support::{TestStack, free_port, kill, proc_id, send};
use crate::world::{is_alive, wait_until};
use devstack::model::{ProcId, Signal};
use devstack::sys::procfs;

const WEB: &str = "[services.web]\ncommand = 'python3 worker.py web'\nready = { delay = '0s' }\nrestart = 'on-failure'\n";

fn run<'a>(stack: &'a TestStack, line: &str) -> (Running<'a>, ProcId) {
    let devstack = stack.begin(line);
    wait_until("its worker says so", || devstack.stdout().contains("web started"));
    let worker = proc_id(procfs::children(devstack.id().pid).expect("children")[0]);
    (devstack, worker)
}

fn end(devstack: Running<'_>) {
    send(devstack.id(), Signal::TERM);
    devstack.end().ends_with(0);
}

#[test]
fn it_writes_to_the_output_of_the_command_and_ends_with_it() {
    let stack = TestStack::new(WEB);
    let (devstack, worker) = run(&stack, "run web");
    let stopping = devstack.id();
    send(stopping, Signal::TERM);
    let done = devstack.end().ends_with(0);
    assert!(done.stdout.contains("web stopping") && done.stdout.contains("web stopped") && !is_alive(worker), "{done:?}");
    assert!(done.stderr.is_empty() && !stack.log_file("web").exists(), "{done:?}");
}

#[test]
fn a_second_one_is_refused_and_the_first_untouched() {
    let stack = TestStack::new(WEB);
    let (devstack, worker) = run(&stack, "run web");
    let refused = stack.run("run web").ends_with(1);
    assert!(
        refused.stderr.contains(&format!("web runs in the foreground already: `devstack run`, pid {}", devstack.id().pid)),
        "{refused:?}"
    );
    assert!(is_alive(worker));
    end(devstack);
}

#[test]
fn what_the_supervisor_has_is_not_run_beside_it_until_it_is_stopped_there() {
    let stack = TestStack::new(WEB);
    stack.run("start web").ends_with(0);
    let before = stack.pid("web");
    stack.run("run web").ends_with(1).says("`devstack stop web` first");
    assert!(is_alive(before));
    stack.run("stop web").ends_with(0);
    let (devstack, _) = run(&stack, "run web");
    end(devstack);
}

#[test]
fn what_runs_in_the_foreground_is_not_started_adopted_or_cleaned_up_and_status_shows_it() {
    let stack = TestStack::new(&format!("{WEB}[services.bot]\ncommand = 'python3 worker.py bot'\n"));
    let (devstack, worker) = run(&stack, "run web");
    let shown = |stack: &TestStack| {
        let web = stack.wait_for_state("web", "running");
        assert_eq!((web["pid"].as_i64(), web["restarts"].as_u64()), (Some(worker.pid.into()), Some(0)));
    };
    shown(&stack);
    stack.run("cleanup-workers").ends_with(0);
    // A supervisor comes up beside it.
    stack.run("start bot").ends_with(0);
    shown(&stack);
    stack.run("start web").ends_with(1).says("it runs in the foreground: `devstack run`, pid");
    stack.run("cleanup-workers").ends_with(0);
    assert!(is_alive(worker));
    kill(stack.supervisor());
    stack.wait_for_state("bot", "running");
    shown(&stack);
    // It dies under its own devstack, which alone starts another.
    kill(worker);
    wait_until("another one runs", || devstack.stdout().matches("web started").count() == 2);
    assert_eq!(stack.wait_for_state("web", "running")["restarts"], 1);
    end(devstack);
    let web = stack.service("web");
    assert!(web["pid"].is_null() && web["state"] == "failed", "the supervisor was refused it: {web}");
}

/// Main processes of `web`, whoever started them.
fn instances(stack: &TestStack) -> usize {
    let argv = |id: &ProcId| procfs::argv(id.pid).unwrap_or_default();
    let is_web = |id: &ProcId| argv(id).get(1..).is_some_and(|rest| rest == [b"worker.py".to_vec(), b"web".to_vec()]);
    stack.processes().iter().filter(|id| is_web(id)).count()
}

#[test]
fn ten_at_the_same_moment_make_one_instance() {
    let stack = TestStack::new(WEB);
    let mut all: Vec<Running<'_>> = (0..10).map(|_| stack.begin("run web")).collect();
    wait_until("all but one are refused", || all.iter_mut().filter_map(|one| one.is_over().then_some(())).count() == 9);
    wait_until("one runs", || instances(&stack) == 1);
    all.retain_mut(|one| !one.is_over());
    end(all.pop().expect("one is left"));
    assert_eq!(instances(&stack), 0);
}

#[test]
fn a_start_at_the_same_moment_makes_no_second_instance() {
    let stack = TestStack::new(&format!("{WEB}[services.bot]\ncommand = 'python3 worker.py bot'\n"));
    // The supervisor is there already: both have the same way to go.
    stack.run("start bot").ends_with(0);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let mut foreground = stack.begin("run web");
        let start = stack.run("start web");
        wait_until("the other has decided, too", || foreground.is_over() || foreground.stdout().contains("web started"));
        let runs = !foreground.is_over();
        assert_eq!(instances(&stack), usize::from(start.code == Some(0)) + usize::from(runs), "{start:?} {}", foreground.stderr());
        assert!(start.code != Some(0) || !runs, "{start:?} {}", foreground.stderr());
        seen.insert((start.code, runs));
        stack.run("stop web").ends_with(0);
        drop(foreground);
    }
    println!("start and run ended with {seen:?}");
}

#[test]
fn stop_ends_it_as_any_other_service() {
    let stack = TestStack::new(WEB);
    let (devstack, worker) = run(&stack, "run web");
    stack.run("stop web").ends_with(0).says("web: stopped (exit status 0)");
    devstack.end().ends_with(0);
    assert!(!is_alive(worker));
    let (devstack, worker) = run(&stack, "run web");
    stack.run("stop").ends_with(0);
    devstack.end().ends_with(0);
    assert!(!is_alive(worker));
}

#[test]
fn killed_itself_its_worker_runs_on_and_the_next_run_ends_it_before_it_starts_another() {
    let stack = TestStack::new(WEB);
    let (devstack, worker) = run(&stack, "run web");
    kill(devstack.id());
    assert!(is_alive(worker));
    let (devstack, second) = run(&stack, "run web");
    assert!(!is_alive(worker) && is_alive(second), "{}", devstack.stderr());
    end(devstack);
}

#[test]
fn killed_itself_its_worker_is_adopted_by_the_next_start_and_stopped_by_the_next_stop() {
    let stack = TestStack::new(WEB);
    let (devstack, worker) = run(&stack, "run web");
    kill(devstack.id());
    stack.run("start web").ends_with(0);
    assert_eq!(stack.pid("web"), worker);
    stack.run("stop web").ends_with(0);
    assert!(!is_alive(worker));
}

#[test]
fn killed_itself_beside_a_supervisor_its_worker_is_that_ones_with_the_next_command() {
    let stack = TestStack::new(&format!("{WEB}[services.bot]\ncommand = 'python3 worker.py bot'\n"));
    stack.run("start bot").ends_with(0);
    for command in ["status", "start web", "restart web", "stop web", "stop --supervisor"] {
        let (devstack, worker) = run(&stack, "run web");
        kill(devstack.id());
        let done = stack.run(command);
        match command {
            "status" => assert_eq!((done.code, stack.pid("web")), (Some(0), worker), "{done:?}"),
            "start web" => assert!(done.stderr.contains("web: already running") && stack.pid("web") == worker, "{done:?}"),
            _ => assert!(done.code == Some(0) && !is_alive(worker), "{done:?}"),
        }
        if is_alive(worker) {
            stack.run("stop web").ends_with(0);
        }
        assert!(!is_alive(worker));
        let told = stack.run("why web -n 1 --json").ends_with(0).stdout;
        assert!(told.contains(&format!("\"pid\": {}", worker.pid)) && told.contains("\"requested\""), "{command}: {told}");
        if command == "restart web" {
            stack.run("stop web").ends_with(0);
        }
    }
    assert_eq!(stack.processes(), []);
}

#[test]
fn its_restart_policy_holds_and_once_overrules_it() {
    let stack = TestStack::new(
        "[services.bad]\ncommand = 'python3 worker.py bad exit 6'\nready = { delay = '0s' }
restart = 'always'\nrestart_delay = '0s'\nstart_limit = { burst = 3, interval = '60s' }",
    );
    let done = stack.run("run bad").ends_with(6).says("restarted 3 times within 60 s");
    assert_eq!(done.stderr.matches("crashed: exit status 6").count(), 4, "{done:?}");
    let done = stack.run("run bad --once").ends_with(6);
    assert_eq!(done.stderr.matches("crashed").count(), 1, "{done:?}");
}

#[test]
fn external_dependencies_are_waited_for_and_the_others_left_to_whoever_runs_them() {
    let port = free_port();
    let stack = TestStack::new(&format!(
        "{WEB}depends_on = ['db', 'bot']\n[services.bot]\ncommand = 'python3 worker.py bot'
[services.db]\nexternal = true\nready = {{ tcp = '127.0.0.1:{port}' }}"
    ));
    stack.run("run web").ends_with(1).says("db was not started: it does not answer");
    let _listener = std::net::TcpListener::bind(("127.0.0.1", port)).expect("bound");
    let (devstack, _) = run(&stack, "run web");
    assert!(stack.log("bot").is_empty());
    end(devstack);
}

#[test]
fn a_service_that_is_ready_by_a_line_of_its_log_has_one() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    let devstack = stack.begin("run web");
    stack.wait_for_state("web", "running");
    assert!(stack.log("web").contains("web started") && devstack.stderr().contains("readiness is a line of its log"));
    end(devstack);
}

#[test]
fn names_that_stand_for_no_single_service_are_usage_errors() {
    let stack =
        TestStack::new(&format!("{WEB}[services.db]\nexternal = true\nready = {{ tcp = '127.0.0.1:1' }}\n[groups]\nworkers = ['web']"));
    stack.run("run wbe").ends_with(4).says("did you mean `web`?");
    stack.run("run workers").ends_with(2).says("`workers` is a group");
    stack.run("run db").ends_with(2).says("`db` is external");
}

#[test]
fn it_needs_neither_a_home_folder_nor_anything_to_write_to() {
    let stack = TestStack::new(WEB);
    let mut command = stack.command("run web --once");
    command.env("HOME", "/nonexistent").env_remove("XDG_STATE_HOME").env_remove("XDG_RUNTIME_DIR");
    let devstack = stack.begin_command(command);
    wait_until("its worker says so", || devstack.stdout().contains("web started"));
    end(devstack);
}
