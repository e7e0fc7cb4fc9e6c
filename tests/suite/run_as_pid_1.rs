//! `devstack run` as the first process of a container: a pid namespace of its own, a read-only root, no groups of the kernel.

use crate::support::{DEVSTACK, TestStack, proc_id, send};
use crate::world::{is_alive, wait_until};
use devstack::model::{ProcId, Signal};
use devstack::sys::procfs;
use std::process::Command;

/// In namespaces of its own with everything read-only but the project; `None`, and said so, where that is not allowed.
fn contained(stack: &TestStack, line: &str) -> Option<Command> {
    let allowed = Command::new("unshare").args(["-pfm", "--mount-proc", "true"]).output().is_ok_and(|tried| tried.status.success());
    if !allowed {
        eprintln!("SKIPPED: this test needs root, for a pid namespace");
        return None;
    }
    let root = stack.root.display();
    let script = format!(
        "mount --bind {root} {root} && mount -o remount,ro,bind / 2>/dev/null; umount -R /sys/fs/cgroup 2>/dev/null
cd {root} && exec {DEVSTACK} run {line}"
    );
    let mut command = Command::new("unshare");
    stack.in_its_environment(&mut command).args(["-pfm", "--mount-proc", "sh", "-c", &script]);
    command.env("HOME", "/nonexistent").env_remove("XDG_STATE_HOME").env_remove("XDG_RUNTIME_DIR");
    Some(command)
}

/// Process 1 of the namespace, as it is seen from here.
fn first_process(unshare: ProcId) -> ProcId {
    wait_until("it has a child", || procfs::children(unshare.pid).is_ok_and(|children| !children.is_empty()));
    proc_id(procfs::children(unshare.pid).expect("children")[0])
}

#[test]
fn orphans_are_collected_and_a_stop_ends_everything() {
    let stack = TestStack::empty();
    let python = "
import os, signal, time
for _ in range(20):
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            time.sleep(0.05)
        os._exit(0)
    os.wait()
while True:
    time.sleep(0.01)
    states = [open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[0] for pid in os.listdir('/proc') if pid.isdigit()]
    if len(states) == 2:
        break
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    os._exit(0)
os.wait()
os.write(1, b'alone with pid 1 and one daemon: %d\\n' % os.getpid())
signal.pause()
";
    stack.write("worker.py", python);
    let Some(command) = contained(&stack, "-- python3 worker.py") else { return };
    let unshare = stack.begin_command(command);
    wait_until("no zombie is left", || unshare.stdout().contains("alone with pid 1"));
    let first = first_process(unshare.id());
    assert!(procfs::argv(first.pid).expect("alive")[0].ends_with(b"devstack"));
    send(first, Signal::TERM);
    unshare.end().ends_with(0);
    assert!(!is_alive(first));
}

#[test]
fn its_exit_status_is_the_workers_and_a_signal_that_nobody_handles_is_passed_on() {
    let stack = TestStack::empty();
    let Some(command) = contained(&stack, "--once -- sh -c 'exit 42'") else { return };
    stack.begin_command(command).end().ends_with(42);
    let line = "--once -- sh -c 'trap \"exit 7\" USR1; echo waiting; while :; do sleep 0.01; done'";
    let unshare = stack.begin_command(contained(&stack, line).expect("as before"));
    wait_until("it waits", || unshare.stdout().contains("waiting"));
    send(first_process(unshare.id()), Signal::from_number(10).expect("SIGUSR1"));
    unshare.end().ends_with(7);
}

#[test]
fn a_service_of_a_project_needs_nothing_to_write_to() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'\nready = { delay = '0s' }");
    let Some(command) = contained(&stack, "web") else { return };
    let unshare = stack.begin_command(command);
    wait_until("it runs", || unshare.stdout().contains("web started"));
    send(first_process(unshare.id()), Signal::TERM);
    let done = unshare.end().ends_with(0);
    assert!(done.stdout.contains("web stopped") && done.stderr.is_empty(), "{done:?}");
}
