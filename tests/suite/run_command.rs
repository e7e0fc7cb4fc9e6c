//! `devstack run -- COMMAND`: exit statuses, signals, output, restarts and limits of any command, without a project.

use crate::running::Running;
use crate::support::{TestStack, kill, proc_id, send};
use crate::terminal::{CTRL_C, Terminal};
use crate::world::{is_alive, wait_until};
use devstack::model::{ProcId, Signal};
use devstack::sys::procfs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

pub fn command(stack: &TestStack, options: &str, argv: &[&str]) -> Command {
    let mut command = stack.command(&format!("run {options} --"));
    command.args(argv);
    command
}

pub fn run<'a>(stack: &'a TestStack, options: &str, argv: &[&str]) -> Running<'a> {
    stack.begin_command(command(stack, options, argv))
}

/// A shell that notes its own pid and then does `rest`.
pub fn noting(rest: &str) -> String {
    format!("mkdir -p noted; echo $$ >noted/new; mv noted/new noted/worker; {rest}")
}

/// A worker that heeds SIGTERM with `status`.
fn heeding(status: u8) -> String {
    format!("trap 'exit {status}' TERM; {}", noting("while :; do sleep 0.01; done"))
}

fn signal(number: i32) -> Signal {
    Signal::from_number(number).expect("a signal")
}

#[test]
fn every_exit_status_of_the_worker_is_that_of_the_command() {
    let stack = TestStack::empty();
    for status in (0..=255).step_by(17).chain([1, 2, 3, 4, 101, 126, 127, 130]) {
        run(&stack, "-q --once", &["sh", "-c", &format!("exit {status}")]).end().ends_with(status);
    }
}

#[test]
fn a_worker_that_a_signal_ended_is_told_as_a_shell_would() {
    let stack = TestStack::empty();
    for number in [1, 2, 3, 6, 9, 10, 11, 14, 15, 34, 64] {
        let python = format!("import os; os.kill(os.getpid(), {number})");
        run(&stack, "-q --once", &["python3", "-c", &python]).end().ends_with(128 + number);
    }
}

#[test]
fn a_command_that_cannot_be_executed_is_told_as_a_shell_would() {
    let stack = TestStack::empty();
    run(&stack, "", &["no-such-program"]).end().ends_with(127).says("there is no `no-such-program` in PATH");
    stack.write("data", "x");
    run(&stack, "", &["./data"]).end().ends_with(126).says("./data is not executable");
    stack.run("run").ends_with(2);
    stack.run("run web -- true").ends_with(2);
    stack.run("run --max-runtime=-1 -- true").ends_with(2);
}

#[test]
fn output_and_input_are_the_workers_alone_byte_for_byte() {
    let stack = TestStack::empty();
    let bytes: Vec<u8> = (0..200_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut command = command(&stack, "", &["cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("a pipe");
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || input.write_all(&sent).expect("written"));
    let output = child.wait_with_output().expect("its end");
    writer.join().expect("all written");
    assert!(output.status.success() && output.stdout == bytes && output.stderr.is_empty(), "{:?}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_the_worker_left_behind_ends_with_it() {
    let stack = TestStack::new("[services.unused]\ncommand = 'true'");
    let worker = run(&stack, "--once", &["python3", "worker.py", "x", "daemon", "wiped", "await", "go", "exit", "4"]);
    let left = [stack.noted_process("x-daemon"), stack.noted_process("x-wiped")];
    stack.write("go", "");
    worker.end().ends_with(4).says("ended what it left behind");
    assert!(left.iter().all(|id| !is_alive(*id)));
}

#[test]
fn a_stop_that_the_worker_heeds_is_no_failure_and_one_that_it_answers_with_a_status_is() {
    for (line, by, expected) in [
        (heeding(0), 15, 0),
        (heeding(0), 2, 130),
        (heeding(5), 15, 5),
        (noting("exec sleep 600"), 15, 0),
        (noting("exec sleep 600"), 2, 130),
    ] {
        let stack = TestStack::empty();
        let devstack = run(&stack, "", &["sh", "-c", &line]);
        let worker = stack.noted_process("worker");
        send(devstack.id(), signal(by));
        devstack.end().ends_with(expected);
        assert!(!is_alive(worker));
    }
}

#[test]
fn a_second_signal_kills_what_does_not_heed_the_first() {
    let stack = TestStack::empty();
    let line = format!("trap 'echo asked' TERM; {}", noting("while :; do sleep 0.01; done"));
    let devstack = run(&stack, "", &["sh", "-c", &line]);
    let worker = stack.noted_process("worker");
    send(devstack.id(), Signal::TERM);
    wait_until("it is asked", || devstack.stdout().contains("asked"));
    assert!(is_alive(worker));
    send(devstack.id(), Signal::TERM);
    devstack.end().ends_with(137);
    assert!(!is_alive(worker));
}

#[test]
fn other_signals_reach_the_worker_and_nobody_else() {
    let stack = TestStack::empty();
    let python = "
import os, signal, time
for name in ('HUP', 'QUIT', 'USR1', 'USR2', 'WINCH', 'ALRM', 'CONT', 'IO', 'PWR'):
    signal.signal(getattr(signal, 'SIG' + name), lambda number, _: os.write(1, b'%d\\n' % number))
if os.fork() == 0:
    os.write(1, b'child\\n')
while True:
    signal.pause()
";
    let devstack = run(&stack, "", &["python3", "-c", python]);
    wait_until("both are there", || devstack.stdout().contains("child"));
    for number in [1, 3, 10, 12, 28, 14, 18, 29, 30] {
        send(devstack.id(), signal(number));
        wait_until(&format!("signal {number} arrives"), || devstack.stdout().lines().any(|line| line == number.to_string()));
    }
    let lines = devstack.stdout().lines().count();
    send(devstack.id(), Signal::TERM);
    // Its handler is Python's default, so it ends of the signal.
    let done = devstack.end().ends_with(0);
    assert_eq!(lines, 10, "each once, to the main process alone: {done:?}");
}

#[test]
fn a_command_that_fails_is_started_again_until_it_succeeds() {
    let stack = TestStack::empty();
    let line = "n=$(cat n 2>/dev/null || echo 0); echo $((n + 1)) >n; [ $n = 1 ] && exit 0; exit 9";
    let done = run(&stack, "", &["sh", "-c", line]).end().ends_with(0).says("crashed: exit status 9");
    assert!(done.stderr.contains("starts again in 1."), "{done:?}");
    assert_eq!(std::fs::read_to_string(stack.root.join("n")).expect("it ran").trim(), "2");
}

#[test]
fn a_longest_life_is_followed_by_another_or_with_once_by_none() {
    let stack = TestStack::empty();
    let line = noting("echo begun; exec sleep 600");
    run(&stack, "--once --max-runtime 0.0001", &["sh", "-c", &line]).end().ends_with(0).says("stopping: max_runtime_reached");
    let devstack = run(&stack, "--max-runtime 0.0001", &["sh", "-c", &line]);
    wait_until("it begins again", || devstack.stdout().matches("begun").count() >= 3);
    send(devstack.id(), Signal::TERM);
    devstack.end().ends_with(0);
}

#[test]
fn a_worker_beyond_its_memory_limit_is_stopped_and_with_once_the_command_fails() {
    let stack = TestStack::empty();
    let python = "import time\nkept = bytearray(200 << 20)\ntime.sleep(600)";
    run(&stack, "--once --memory-limit 100", &["python3", "-c", python]).end().ends_with(1).says("stopping: memory_limit_exceeded");
}

#[test]
fn killed_with_its_worker_alive_it_leaves_it_running_and_the_same_command_ends_it_first() {
    let stack = TestStack::empty();
    let line = noting("exec sleep 600");
    let devstack = run(&stack, "", &["sh", "-c", &line]);
    let worker = stack.noted_process("worker");
    let other = run(&stack, "", &["sh", "-c", "exec sleep 601"]);
    wait_until("it runs", || !procfs::children(other.id().pid).expect("children").is_empty());
    let others = proc_id(procfs::children(other.id().pid).expect("children")[0]);
    let devstack_id = devstack.id();
    kill(devstack_id);
    assert!(is_alive(worker));
    let again = run(&stack, "", &["sh", "-c", &line]);
    let second = stack.noted_process("worker");
    assert!(!is_alive(worker) && is_alive(second) && is_alive(others), "{}", again.stderr());
    let killed = format!("devstack-{}-{}-", devstack_id.pid, devstack_id.start_ticks);
    for one in [again, other] {
        send(one.id(), Signal::TERM);
        one.end().ends_with(0);
    }
    let groups = Command::new("find").args(["/sys/fs/cgroup", "-maxdepth", "3", "-name", &format!("{killed}*")]).output().expect("find");
    assert_eq!(String::from_utf8_lossy(&groups.stdout), "", "what the killed one could not give back is gone");
}

#[test]
fn two_of_the_same_command_run_side_by_side() {
    let stack = TestStack::empty();
    let begin = || {
        let one = run(&stack, "", &["sh", "-c", &noting("exec sleep 600")]);
        let worker = stack.noted_process("worker");
        (one, worker)
    };
    let (first, second) = (begin(), begin());
    assert!(is_alive(first.1) && is_alive(second.1));
    for (devstack, worker) in [first, second] {
        send(devstack.id(), Signal::TERM);
        devstack.end().ends_with(0);
        assert!(!is_alive(worker));
    }
}

#[test]
fn what_its_caller_ignored_or_blocked_does_not_reach_the_worker() {
    let stack = TestStack::empty();
    let mut command = command(&stack, "--once", &["sh", "-c", "grep -E 'SigBlk|SigIgn' /proc/self/status; sleep 0.01; exit 3"]);
    // SAFETY: only async-signal-safe calls.
    #[expect(unsafe_code, reason = "a child with unusual signals")]
    unsafe {
        command.pre_exec(|| {
            use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
            signal(Signal::SIGCHLD, SigHandler::SigIgn)?;
            signal(Signal::SIGINT, SigHandler::SigIgn)?;
            Ok(SigSet::all().thread_set_mask()?)
        });
    }
    let done = stack.begin_command(command).end().ends_with(3);
    let zeros = |name: &str| done.stdout.lines().any(|line| line == format!("{name}:\t0000000000000000"));
    assert!(zeros("SigBlk") && zeros("SigIgn"), "{done:?}");
}

fn workers_of(drawn: &str) -> ProcId {
    let pid = drawn.split("worker=").nth(1).and_then(|rest| rest.split(['\r', '\n', ' ']).next()?.parse().ok());
    proc_id(pid.unwrap_or_else(|| panic!("no worker in {drawn:?}")))
}

#[test]
fn on_a_terminal_the_worker_reads_it_and_ctrl_c_asks_it_to_stop() {
    let stack = TestStack::empty();
    let line = "echo worker=$$; read line; echo \"read:$line:\"; trap 'echo asked; exit 0' TERM; while :; do sleep 0.01; done";
    stack.write("worker.sh", line);
    let mut terminal = Terminal::devstack(&stack, "run -- sh worker.sh");
    terminal.wait_for("worker=");
    let worker = workers_of(&terminal.drawn());
    terminal.type_keys("hello\n");
    terminal.wait_for("read:hello:");
    terminal.type_keys(CTRL_C);
    let (status, drawn) = terminal.end();
    assert!(status == 130 && drawn.contains("asked") && !is_alive(worker), "{drawn:?}");
}

#[test]
fn ctrl_z_holds_the_whole_tree_and_continuing_lets_it_go_on() {
    let stack = TestStack::empty();
    let devstack = run(&stack, "", &["sh", "-c", &noting("sleep 600 & echo $! >child; wait")]);
    let worker = stack.noted_process("worker");
    wait_until("its child runs", || std::fs::read_to_string(stack.root.join("child")).is_ok_and(|text| text.ends_with('\n')));
    let child = std::fs::read_to_string(stack.root.join("child")).expect("noted").trim().parse().expect("a pid");
    let state = |pid| char::from(procfs::stat(pid).expect("alive").state);
    let all = [devstack.id().pid, worker.pid, child];
    send(devstack.id(), signal(20));
    wait_until("all are stopped", || all.iter().all(|pid| state(*pid) == 'T'));
    send(devstack.id(), Signal::CONT);
    wait_until("all go on", || all.iter().all(|pid| state(*pid) != 'T'));
    send(devstack.id(), Signal::TERM);
    devstack.end().ends_with(0);
}

#[test]
fn a_terminal_that_is_closed_ends_the_worker() {
    let stack = TestStack::empty();
    stack.write("worker.sh", &noting("exec sleep 600"));
    let terminal = Terminal::devstack(&stack, "run -- sh worker.sh");
    let worker = stack.noted_process("worker");
    let devstack = proc_id(procfs::stat(worker.pid).expect("alive").ppid);
    let script = procfs::stat(procfs::stat(devstack.pid).expect("alive").sid).expect("alive").ppid;
    kill(proc_id(script));
    wait_until("devstack has left", || !is_alive(devstack));
    assert!(!is_alive(worker));
    drop(terminal);
}
