//! Projects in folders that break programs: long, with spaces, quotes and newlines, or no text at all.

use crate::support::{TestStack, kill, send};
use crate::world::{is_alive, wait_until};
use devstack::model::Signal;
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const WEB: &str =
    "[services.web]\ncommand = 'python3 worker.py web'\nenv_file = 'web.env'\nsetup = { command = ['touch', 'made'], creates = 'made' }\n";

/// Start, status, kill -9 of the supervisor, kill -9 of both, adoption, stop.
fn goes_through_everything_below(name: &Path) {
    let stack = TestStack::below(name).with(WEB);
    stack.write("web.env", "A=b\n");
    stack.run("check").ends_with(0);
    stack.run("start").ends_with(0);
    let worker = stack.pid("web");
    let ledger = std::fs::read(stack.state_file("ledger.json")).expect("a ledger");
    serde_json::from_slice::<Value>(&ledger).expect("it holds what runs");
    stack.run("status").ends_with(0);
    stack.run("logs").ends_with(0);

    let (keeper, supervisor) = (stack.keeper(), stack.supervisor());
    kill(supervisor);
    wait_until("another supervisor", || stack.status()["supervisor"]["pid"].as_i64().is_some_and(|pid| pid != i64::from(supervisor.pid)));
    let supervisor = stack.supervisor();
    send(keeper, Signal::STOP);
    kill(supervisor);
    kill(keeper);
    assert_eq!(stack.service("web")["pid"], worker.pid);
    stack.run("start").ends_with(0).says("untouched");
    assert_eq!((stack.pid("web"), stack.times("web", "started").len()), (worker, 1));
    stack.run("cleanup-workers --dry-run").ends_with(0);
    stack.run("stop --supervisor").ends_with(0);
    assert!(!is_alive(worker));
    assert_eq!(stack.processes(), []);
}

#[test]
fn a_path_of_three_hundred_bytes_with_a_socket_below_it() {
    goes_through_everything_below(&PathBuf::from("l".repeat(150)).join("o".repeat(150)));
}

#[test]
fn a_path_with_spaces_quotes_and_newlines() {
    goes_through_everything_below(Path::new("a b'c\"d\\e\nf\tg $(touch h) {i} %s"));
}

#[test]
fn a_path_that_is_no_text() {
    goes_through_everything_below(Path::new(OsStr::from_bytes(b"caf\xe9 \xff\xfe")));
}

#[test]
fn a_path_that_would_move_the_cursor_is_shown_without_doing_so() {
    let stack = TestStack::below("\u{1b}[2J\u{9b}2J\u{202e}").with("[services.web]\ncommand = []\n");
    let done = stack.run("start --color always").ends_with(2);
    assert!(!done.stderr.contains("\u{1b}[2J") && !done.stderr.contains('\u{9b}') && !done.stderr.contains('\u{202e}'), "{done:?}");
}

#[test]
fn two_checkouts_of_one_project_never_see_each_other() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'\n");
    let other = stack.root.with_file_name("other");
    std::fs::create_dir(&other).expect("a folder");
    for file in ["devstack.toml", "worker.py"] {
        std::fs::copy(stack.root.join(file), other.join(file)).expect("a copy");
    }
    let there = |line: &str| {
        let mut command = stack.command(line);
        command.current_dir(&other);
        stack.begin_command(command).end()
    };
    stack.run("start").ends_with(0);
    let status: Value = serde_json::from_str(&there("status --json").ends_with(3).stdout).expect("JSON");
    assert_eq!((&status["supervisor"], &status["services"][0]["state"]), (&Value::Null, &"stopped".into()));
    there("start").ends_with(0);
    let status: Value = serde_json::from_str(&there("status --json").ends_with(0).stdout).expect("JSON");
    let (here, elsewhere) = (stack.pid("web"), status["services"][0]["pid"].clone());
    assert_ne!(elsewhere, here.pid);
    there("cleanup-workers all --managed").ends_with(0);
    there("stop --supervisor").ends_with(0);
    assert!(is_alive(here));
    assert_eq!(stack.pid("web"), here);
}
