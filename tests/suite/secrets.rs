//! The value of a variable is for the worker that gets it, and appears nowhere else.

use crate::support::{DEVSTACK, TestStack, kill, send};
use crate::world::{is_alive, wait_until};
use devstack::model::Signal;
use devstack::sys::procfs;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

const SECRETS: [&str; 3] = ["CANARY-of-the-file", "CANARY-of-the-env-file", "CANARY-of-the-caller"];

fn holds_a_secret(bytes: &[u8]) -> bool {
    bytes.windows(6).any(|six| six == b"CANARY")
}

fn search(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        if kind.is_dir() {
            search(&path, found);
        } else if kind.is_file() && holds_a_secret(&fs::read(&path).expect("readable")) {
            found.push(path.display().to_string());
        }
    }
}

#[test]
fn a_secret_reaches_the_worker_and_nobody_else() {
    let stack = TestStack::new(
        "[services.web]\ncommand = 'python3 worker.py web'\nenv = { DB_PASSWORD = 'CANARY-of-the-file' }\nenv_file = 'web.env'
[services.bad]\ncommand = 'python3 worker.py bad exit 3'\nenv = { DB_PASSWORD = 'CANARY-of-the-file' }
[services.missing]\ncommand = 'no-such-program'\nenv = { DB_PASSWORD = 'CANARY-of-the-file' }
setup = { command = ['sh', '-c', 'exit 4'], creates = 'made' }\n",
    );
    stack.write("web.env", "FILE_PASSWORD=CANARY-of-the-env-file\n");
    let mut said = Vec::new();
    let mut run = |line: &str| {
        let mut command = stack.command(line);
        command.env("CALLER_PASSWORD", "CANARY-of-the-caller");
        let done = stack.begin_command(command).end();
        said.push((line.to_owned(), format!("{}{}", done.stdout, done.stderr)));
    };
    run("-v start");
    for (name, secret) in ["DB_PASSWORD", "FILE_PASSWORD", "CALLER_PASSWORD"].into_iter().zip(SECRETS) {
        let value = procfs::environ_value(stack.pid("web").pid, name.as_bytes()).expect("the worker has it");
        assert_eq!(value, secret.as_bytes(), "{name}");
    }
    for line in [
        "-v status",
        "status --json",
        "status --tree --json",
        "check --show",
        "cleanup-workers --dry-run --managed --json",
        "logs",
        "start bad",
        "start missing",
        "restart web",
    ] {
        run(line);
    }
    let (keeper, supervisor) = (stack.keeper(), stack.supervisor());
    for process in [keeper, supervisor] {
        assert!(!holds_a_secret(&procfs::argv(process.pid).expect("it lives").concat()));
    }
    // What the supervisor says over its socket, progress of a start included.
    let projects = fs::read_dir(stack.root.with_file_name("runtime/devstack")).expect("a folder");
    let socket = projects.last().expect("one").expect("an entry").path().join("control.sock");
    for request in [
        r#"{"request":"status","services":[],"tree":true}"#,
        r#"{"request":"start","services":["web","bad","missing"],"mode":"restart","replace":false}"#,
    ] {
        let mut client = UnixStream::connect(&socket).expect("somebody listens");
        let hello = r#"{"protocol":1,"version":"0.1.0","pid":1}"#;
        client.write_all(format!("{hello}\n{request}\n").as_bytes()).expect("sent");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("an answer");
        assert!(answer.len() > 300 && !holds_a_secret(&answer), "{}", String::from_utf8_lossy(&answer));
    }
    // A broken file shows its line, and stars for its value; a broken env file its line number.
    stack.write("web.env", "FILE_PASSWORD=CANARY-of-the-env-file two\n");
    run("check");
    run("restart web");
    stack.configure("[services.web]\ncommand = 'python3 worker.py web'\nenv = { DB_PASSWORD = 'CANARY-of-the-file', 7 }\n");
    run("check");
    run("status");
    kill(supervisor);
    // One that finds the configuration broken and nobody to look after says so, and leaves.
    wait_until("another supervisor has come", || {
        !is_alive(keeper) || procfs::children(keeper.pid).is_ok_and(|children| children.iter().any(|pid| *pid != supervisor.pid))
    });
    run("stop --supervisor");
    for (line, said) in said {
        assert!(!said.contains("CANARY"), "{line}: {said}");
    }
    let mut found = Vec::new();
    for folder in ["state", "runtime", "project/logs"] {
        search(&stack.root.parent().expect("a folder").join(folder), &mut found);
    }
    assert_eq!(found, [] as [String; 0]);
}

/// The soft limit on the size of a core dump.
fn core_limit(pid: i32) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it lives");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).expect("a limit");
    line.split_whitespace().next().expect("a word").to_owned()
}

#[test]
fn keeper_and_supervisor_leave_no_core_dump_and_workers_may() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'\n");
    let mut command = Command::new("sh");
    stack.in_its_environment(command.args(["-c", "ulimit -S -c unlimited && ulimit -S -n 512 && exec \"$0\" start", DEVSTACK]));
    let done = stack.begin_command(command).end();
    if done.stderr.contains("ulimit") {
        return eprintln!("not tested: this machine allows no core dumps");
    }
    done.ends_with(0);
    let limits = |stack: &TestStack| [stack.keeper(), stack.supervisor()].map(|process| core_limit(process.pid));
    assert_eq!((limits(&stack), core_limit(stack.pid("web").pid).as_str()), (["1".to_owned(), "1".to_owned()], "unlimited"));
    // What becomes the keeper in place of a killed one knows the original limits too.
    let supervisor = stack.supervisor();
    kill(stack.keeper());
    wait_until("the pair is whole", || stack.status()["supervisor"]["pid"].as_i64().is_some_and(|pid| pid != i64::from(supervisor.pid)));
    stack.run("restart").ends_with(0);
    let worker = stack.pid("web");
    assert_eq!((limits(&stack), core_limit(worker.pid).as_str()), (["1".to_owned(), "1".to_owned()], "unlimited"));
    let files = fs::read_to_string(format!("/proc/{}/limits", worker.pid)).expect("it lives");
    let files = files.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit");
    assert_eq!(files.split_whitespace().next(), Some("512"));
    send(worker, Signal::KILL);
}
