//! Memory and processor of real workers against their limits: told, stopped, killed, and never for what is only shared.

use crate::support::TestStack;
use crate::terminal::watch_that;
use crate::world::{is_alive, wait_until};
use serde_json::Value;
use std::time::Duration;

/// `program` is Python; `service` are further keys of the service `web`.
fn worker(program: &str, service: &str) -> TestStack {
    let stack = TestStack::new(&format!("[services.web]\ncommand = ['python3', 'program.py']\n{service}"));
    stack.write("program.py", program);
    stack
}

/// The end of the first run of `web`, once there was one.
fn first_end(stack: &TestStack) -> Value {
    let mut last = Value::Null;
    wait_until("its first run ended", || {
        last = stack.service("web")["last_exit"].clone();
        !last.is_null()
    });
    last
}

const MEGABYTE: &str = "import os, signal, sys, time\nkept = []\ndef fill(megabytes): kept.append(b'x' * (megabytes << 20))\n";

#[test]
fn a_worker_that_leaks_is_replaced_and_the_reason_is_kept() {
    let program = format!(
        "{MEGABYTE}print('started', flush=True)
if os.path.exists('leaked'): time.sleep(3600)
open('leaked', 'w').close()
while True:
    fill(5); time.sleep(0.01)
    with open('grown.new', 'w') as file: file.write(str(len(kept) * 5))
    os.replace('grown.new', 'grown')"
    );
    let stack = worker(&program, "memory_limit = '200MB'\nrestart = 'on-failure'\nrestart_delay = '10ms'");
    stack.run("start --no-wait").ends_with(0);
    let last = first_end(&stack);
    assert_eq!((&last["reason"], &last["by"]), (&"memory_limit_exceeded".into(), &"devstack".into()));
    wait_until("another one runs", || stack.service("web")["state"] == "running");
    let grown: u64 = std::fs::read_to_string(stack.root.join("grown")).expect("it grew").parse().expect("a number");
    assert!((100..300).contains(&grown), "it grew to {grown} MB");
}

#[test]
fn over_its_limit_a_worker_may_still_clean_up() {
    let program = format!(
        "{MEGABYTE}def stop(*_):
    time.sleep(0.3); open('cleaned', 'w').close(); sys.exit(0)
signal.signal(signal.SIGTERM, stop)
fill(110); print('started', flush=True); time.sleep(3600)"
    );
    let stack = worker(&program, "memory_limit = '100MB'");
    stack.run("start --no-wait").ends_with(0);
    let last = first_end(&stack);
    assert_eq!((&last["reason"], &last["code"]), (&"memory_limit_exceeded".into(), &0.into()));
    assert!(stack.root.join("cleaned").exists());
}

#[test]
fn a_worker_that_ignores_the_stop_and_goes_on_leaking_is_killed_before_its_grace_is_over() {
    let program = format!(
        "{MEGABYTE}signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('started', flush=True)
while len(kept) < 300: fill(5); time.sleep(0.02)
time.sleep(3600)"
    );
    let stack = worker(&program, "memory_limit = '100MB'\nstop_timeout = '1h'");
    stack.run("start --no-wait").ends_with(0);
    let last = first_end(&stack);
    assert_eq!((&last["reason"], &last["signal"]), (&"memory_limit_exceeded".into(), &"SIGKILL".into()));
}

const POOL: &str = "import multiprocessing, sys, time
def work(megabytes, ready):
    kept = b'x' * (megabytes << 20)
    ready.put(1); time.sleep(3600)
def pool(context, megabytes):
    context, ready = multiprocessing.get_context(context), multiprocessing.Queue()
    ready = context.Queue()
    for _ in range(4): context.Process(target=work, args=(megabytes, ready)).start()
    for _ in range(4): ready.get()
    print('started', flush=True); time.sleep(3600)
";

#[test]
fn the_memory_of_a_pool_counts_and_what_its_processes_share_counts_once() {
    let alone = format!("{POOL}if __name__ == '__main__': pool('spawn', 60)");
    let stack = worker(&alone, "memory_limit = '200MB'");
    stack.run("start --no-wait").ends_with(0);
    assert_eq!(first_end(&stack)["reason"], "memory_limit_exceeded");

    let shared = format!("{POOL}shared = b'x' * (150 << 20)\nif __name__ == '__main__': pool('fork', 0)");
    let stack = worker(&shared, "memory_limit = '400MB'");
    stack.run("start").ends_with(0);
    let web = stack.service("web");
    assert!(web["memory_mb"].as_f64() > Some(600.0), "more than the limit, counted in every process: {web:#}");
    wait_until("it was counted well", || stack.service("web")["memory_trend"]["peak_mb"].is_number());
    let main = stack.pid("web");
    watch_that("it lives", Duration::from_millis(1500), || is_alive(main));
    assert!(stack.service("web")["memory_trend"]["peak_mb"].as_f64() < Some(400.0), "{:#}", stack.service("web"));
}

#[test]
fn a_worker_that_spins_is_replaced_and_one_below_its_limit_is_not() {
    let spins = "print('started', flush=True)\nwhile True: pass";
    let stack = worker(spins, "cpu_limit = '5%'\ncpu_window = '1s'");
    stack.run("start --no-wait").ends_with(0);
    assert_eq!(first_end(&stack)["reason"], "cpu_limit_exceeded");
    let stack =
        worker("import time\nprint('started', flush=True)\nwhile True: time.sleep(0.01)", "cpu_limit = '60%'\ncpu_window = '500ms'");
    stack.run("start").ends_with(0);
    let main = stack.pid("web");
    watch_that("it lives", Duration::from_millis(1500), || is_alive(main));
}

#[test]
fn a_pool_that_spins_counts_as_one_and_its_short_lived_children_too() {
    let pool = "import multiprocessing, time
def spin():
    while True: pass
if __name__ == '__main__':
    for _ in range(2): multiprocessing.get_context('spawn').Process(target=spin).start()
    print('started', flush=True); time.sleep(3600)";
    let children = "import subprocess\nprint('started', flush=True)
while True: subprocess.run(['python3', '-S', '-c', 'for _ in range(300000): pass'])";
    for (program, without_groups) in [(pool, false), (children, false), (children, true)] {
        let stack = worker(program, "cpu_limit = '5%'\ncpu_window = '1s'");
        if without_groups {
            stack.set("DEVSTACK_NO_CGROUP", "1");
        }
        stack.run("start --no-wait").ends_with(0);
        assert_eq!(first_end(&stack)["reason"], "cpu_limit_exceeded", "{program}");
    }
}

#[test]
fn limits_hold_while_a_worker_starts_and_after_the_supervisor_was_killed() {
    let program = format!("{MEGABYTE}fill(300); time.sleep(3600)");
    let stack = worker(&program, "memory_limit = '100MB'\nready = { delay = '1h', timeout = '2h' }");
    stack.run("start --no-wait").ends_with(0);
    assert_eq!(first_end(&stack)["reason"], "memory_limit_exceeded", "it was not ready yet");

    let program = format!(
        "{MEGABYTE}print('started', flush=True)
while not os.path.exists('go'): time.sleep(0.01)
fill(300); time.sleep(3600)"
    );
    let stack = worker(&program, "memory_limit = '100MB'");
    stack.run("start").ends_with(0);
    crate::support::kill(stack.supervisor());
    wait_until("the next one is there", || stack.status()["supervisor"].is_object());
    stack.write("go", "");
    assert_eq!(first_end(&stack)["reason"], "memory_limit_exceeded");
}

#[test]
fn where_the_kernel_counts_memory_a_group_ends_before_it_uses_half_as_much_again() {
    let own = std::fs::read_to_string("/proc/self/cgroup").expect("/proc");
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
    let mount =
        ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(std::path::PathBuf::from).into_iter().find(|it| it.join("cgroup.procs").exists());
    let controllers =
        mount.and_then(|mount| std::fs::read_to_string(mount.join(own).join("cgroup.subtree_control")).ok()).unwrap_or_default();
    if !controllers.split_whitespace().any(|controller| controller == "memory") {
        eprintln!("NOT TESTED: no memory controller of cgroup v2 is passed on to groups below this one");
        return;
    }
    // Deaf to the stop, and faster than anybody who looks.
    let program =
        format!("{MEGABYTE}signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('started', flush=True)\nfill(4000)\ntime.sleep(3600)");
    let stack = worker(&program, "memory_limit = '100MB'");
    stack.run("start --no-wait").ends_with(0);
    let last = first_end(&stack);
    assert_eq!((&last["reason"], &last["signal"]), (&"memory_limit_exceeded".into(), &"SIGKILL".into()));
    let story: Value = serde_json::from_str(&stack.run("why web --json").stdout).expect("JSON");
    assert!(story["ends"][0]["peak_memory_mb"].as_f64().is_some_and(|peak| peak <= 160.0), "{story:#}");
}
