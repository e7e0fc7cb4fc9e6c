//! `hooks`: commands before each start and after each end, and what becomes of them when something comes in between.

use crate::support::{TestStack, kill};
use crate::world::{is_alive, wait_until};

fn hooked(worker: &str, pre_start: &str, post_stop: &str, more: &str) -> TestStack {
    let hook = |line: &str| serde_json::to_string(&["sh", "-c", line]).expect("text");
    TestStack::new(&format!(
        "[services.web]\ncommand = 'python3 worker.py web {worker}'\n{more}\nhooks = {{ pre_start = {}, post_stop = {} }}",
        hook(pre_start),
        hook(post_stop)
    ))
}

const HOW: &str = "echo after: $DEVSTACK_EXIT_REASON ${DEVSTACK_EXIT_CODE-none} ${DEVSTACK_EXIT_SIGNAL-none}";

/// What the hooks and the worker said, in order, without the times.
fn story(stack: &TestStack) -> Vec<String> {
    let lines = stack.log("web");
    lines
        .lines()
        .map(|line| line.split(' ').filter(|word| word.parse::<u64>().is_err() || word.len() < 4).collect::<Vec<_>>().join(" "))
        .collect()
}

fn ends_in(stack: &TestStack, last: &str) {
    wait_until(&format!("the log ends in {last:?}"), || story(stack).last().is_some_and(|line| line == last));
}

#[test]
fn hooks_stand_around_every_run_in_its_folder_environment_and_log() {
    let stack = hooked(
        "await go exit 3",
        "echo before: $MODE in $(basename $PWD)",
        HOW,
        "env = { MODE = 'dev' }\nrestart = 'always'\nrestart_delay = '10ms'\nready = { delay = '0s' }\ncwd = 'apps'",
    );
    std::fs::create_dir(stack.root.join("apps")).expect("a folder");
    std::fs::copy(stack.root.join("worker.py"), stack.root.join("apps/worker.py")).expect("the stub");
    stack.run("start").ends_with(0).says("web: pre_start: sh -c echo before").says("web: ready in ");
    let first = stack.pid("web");
    stack.write("apps/go", "");
    ends_in_new_run(&stack, first.pid);
    std::fs::remove_file(stack.root.join("apps/go")).expect("a file");
    let second = stack.wait_for_state("web", "running")["pid"].as_i64().expect("a pid");
    assert_ne!(second, i64::from(first.pid));
    let said = story(&stack);
    assert_eq!(said[..3], ["before: dev in apps", "after: crashed 3 none", "before: dev in apps"], "{said:?}");
}

fn ends_in_new_run(stack: &TestStack, old: i32) {
    wait_until("another run is there", || stack.service("web")["pid"].as_i64().is_some_and(|pid| pid != i64::from(old)));
}

#[test]
fn the_hook_after_a_run_is_told_how_it_ended_and_a_stop_returns_after_it() {
    let stack = hooked("", "true", &format!("sleep 0.3; {HOW}"), "");
    stack.run("start").ends_with(0);
    stack.run("stop").ends_with(0).says("web: post_stop: sh -c sleep 0.3");
    assert_eq!(story(&stack).last().map(String::as_str), Some("after: requested 0 none"));
    stack.run("start").ends_with(0);
    kill(stack.pid("web"));
    ends_in(&stack, "after: crashed none SIGKILL");
    stack.wait_for_state("web", "exited");
}

#[test]
fn a_start_whose_hook_fails_leads_to_its_output_and_starts_nothing() {
    let stack = hooked("", "echo the database is not there; exit 4", HOW, "restart = 'always'");
    let done = stack
        .run("start")
        .ends_with(1)
        .says("web was not started: its pre_start hook `sh -c echo the database is not there; exit 4` failed: exit status 4");
    assert!(done.stderr.contains("hint: see `devstack logs web`, and `hooks.pre_start` in devstack.toml"), "{done:?}");
    assert_eq!(story(&stack), ["the database is not there", "after: start_failed none none"]);
    assert_eq!(stack.service("web")["state"], "failed");
}

#[test]
fn a_hook_that_does_not_end_is_ended_with_what_it_has_started() {
    let stack = hooked("", "sleep 600 & echo $! >child; wait", "true", "ready = { delay = '0s', timeout = '1s' }");
    stack.run("start").ends_with(1).says("its pre_start hook failed: it did not end within 1 s (`ready.timeout`)");
    stack.run("stop --supervisor").ends_with(0);
    assert_eq!(stack.processes(), []);
}

#[test]
fn a_stop_in_the_middle_of_a_hook_leaves_nothing_of_it() {
    let lines = "setsid sh -c 'trap \"\" TERM; echo $$ >child; sleep 600; true' & while :; do sleep 1; done";
    let stack = hooked("", lines, HOW, "");
    stack.run("start --no-wait").ends_with(0);
    let child = child(&stack);
    assert_eq!(stack.service("web")["state"], "starting");
    stack.run("stop").ends_with(0);
    assert!(!is_alive(child), "the child of a hook is the service's as well");
    assert_eq!(story(&stack), ["after: requested none none"]);
    let told = stack.run("why web -n 1").ends_with(0).stdout;
    for part in ["not started, ", "why      cut short during its pre_start hook", "devstack stop (pid ", "then     stopped"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    stack.run("stop --supervisor").ends_with(0);
    assert_eq!(stack.processes(), []);
}

fn child(stack: &TestStack) -> devstack::model::ProcId {
    let file = stack.root.join("child");
    let mut found = None;
    wait_until("the child is there", || {
        found = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
        found.is_some()
    });
    crate::support::proc_id(found.expect("a pid"))
}

#[test]
fn a_stop_in_the_middle_of_a_set_up_leaves_nothing_of_it() {
    let stack = TestStack::new(
        "[services.web]\ncommand = 'python3 worker.py web'\nsetup = { command = ['sh', '-c', 'sleep 600 & echo $! >child; wait'], creates = 'made' }",
    );
    stack.run("start --no-wait").ends_with(0);
    let child = child(&stack);
    stack.run("stop").ends_with(0);
    assert!(!is_alive(child));
}

#[test]
fn what_a_hook_leaves_behind_goes_with_the_run_and_with_the_hook_after_it() {
    let daemon = |name: &str| format!("setsid sleep 600 >/dev/null 2>&1 & echo $! >{name}");
    let stack = hooked("", &daemon("child"), &daemon("after"), "");
    stack.run("start").ends_with(0);
    let before = child(&stack);
    assert!(is_alive(before), "it may be what the worker needs");
    stack.run("stop").ends_with(0);
    assert!(!is_alive(before));
    let after = std::fs::read_to_string(stack.root.join("after")).expect("the hook ran");
    let told = stack.run("why web --json").ends_with(0).stdout;
    assert!(told.contains(&format!("\"pid\": {}", after.trim())), "what the hook left is told with the run: {told}");
    assert_eq!(stack.processes().len(), 2, "keeper and supervisor");
    stack.run("stop --supervisor").ends_with(0);
    assert_eq!(stack.processes(), []);
}

#[test]
fn a_failure_of_the_hook_after_a_run_is_told_and_holds_nobody() {
    let stack = hooked("", "true", "echo cannot; exit 9", "");
    stack.run("start").ends_with(0);
    stack.run("stop").ends_with(0).says("web: its post_stop hook `sh -c echo cannot; exit 9` failed: exit status 9").says("web: stopped");
    stack.run("start").ends_with(0);
}

#[test]
fn a_kill_does_not_wait_for_the_hook_after_a_run() {
    let stack = hooked("", "true", "echo $$ >child; exec sleep 600", "stop_timeout = '600s'");
    stack.run("start").ends_with(0);
    let slow = stack.begin("stop");
    let hook = child(&stack);
    stack.run("stop --kill").ends_with(0).says("its post_stop hook failed: it was killed on request");
    assert!(!is_alive(hook));
    slow.end().ends_with(0);
}

#[test]
fn a_supervisor_killed_during_the_hook_after_a_run_runs_it_again_and_once_at_a_time() {
    let stack = hooked("", "true", "echo once more; echo $$ >child; while ! [ -e go ]; do sleep 0.01; done; echo done", "");
    stack.run("start").ends_with(0);
    let stop = stack.begin("stop");
    let first = child(&stack);
    std::fs::remove_file(stack.root.join("child")).expect("a file");
    kill(stack.supervisor());
    let second = child(&stack);
    assert!(first != second && !is_alive(first), "never two at once");
    stack.write("go", "");
    drop(stop);
    stack.run("stop").ends_with(0);
    let said: Vec<String> = story(&stack).into_iter().filter(|line| line == "once more" || line == "done").collect();
    assert_eq!(said, ["once more", "once more", "done"]);
    stack.run("stop --supervisor").ends_with(0);
    assert_eq!(stack.processes(), []);
}

#[test]
fn check_has_nothing_to_say_against_hooks() {
    let stack = hooked("", "true", "true", "");
    let done = stack.run("check").ends_with(0);
    assert!(!done.stderr.contains("hooks"), "{done:?}");
}

#[test]
fn an_earlier_exit_is_not_told_of_a_start_that_was_cut_short() {
    let stack = hooked("await go exit 7", "if [ -e go ]; then echo $$ >child; exec sleep 600; fi", "true", "ready = { delay = '0s' }");
    stack.run("start").ends_with(0);
    stack.write("go", "");
    stack.wait_for_state("web", "exited");
    stack.run("start --no-wait").ends_with(0);
    let hook = child(&stack);
    let done = stack.run("stop").ends_with(0).says("web: stopped\n");
    assert!(!done.stderr.contains("exit status 7") && !is_alive(hook), "{done:?}");
}

#[test]
fn a_supervisor_killed_during_the_hook_before_a_run_tells_the_hook_after_it_that_there_was_no_start() {
    let stack = hooked("", "[ -e child ] || { echo $$ >child; exec sleep 600; }", HOW, "");
    stack.run("start --no-wait").ends_with(0);
    let hook = child(&stack);
    kill(stack.supervisor());
    stack.wait_for_state("web", "running");
    assert!(!is_alive(hook));
    assert_eq!(story(&stack)[0], "after: start_failed none none");
    let told = stack.run("why web").ends_with(0).stdout;
    assert!(told.contains("cut short during its pre_start hook, as devstack was killed"), "{told}");
}
