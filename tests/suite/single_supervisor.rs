//! One supervisor a project, whoever starts one, from where, and whatever was deleted meanwhile.

use crate::support::{TestStack, proc_id};
use crate::world::is_alive;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

const WEB: &str = "[services.web]\ncommand = 'python3 worker.py web'\n";

fn with_runtime(stack: &TestStack, runtime: Option<&Path>, line: &str) -> crate::running::Done {
    let mut command = stack.command(line);
    match runtime {
        Some(runtime) => command.env("XDG_RUNTIME_DIR", runtime),
        None => command.env_remove("XDG_RUNTIME_DIR"),
    };
    stack.begin_command(command).end()
}

fn private_folder(path: PathBuf) -> PathBuf {
    fs::DirBuilder::new().mode(0o700).create(&path).expect("a folder");
    path
}

fn state_folder(stack: &TestStack) -> PathBuf {
    stack.state_file("ledger.json").parent().expect("a folder").to_owned()
}

#[test]
fn fifty_starts_at_once_make_one_supervisor_and_one_worker() {
    let stack = TestStack::new(WEB);
    let all: Vec<_> = (0..50).map(|_| stack.begin("start")).collect();
    for one in all {
        one.end().ends_with(0);
    }
    assert_eq!((stack.processes().len(), stack.times("web", "started").len()), (3, 1));
}

#[test]
fn a_command_with_another_runtime_folder_finds_the_supervisor() {
    let stack = TestStack::new(WEB);
    let other = private_folder(stack.root.with_file_name("other-runtime"));
    stack.run("start").ends_with(0);
    let worker = stack.pid("web");
    let missing = stack.root.join("missing");
    for runtime in [None, Some(other.as_path()), Some(Path::new("relative")), Some(missing.as_path())] {
        let done = with_runtime(&stack, runtime, "status --json").ends_with(0);
        let status: Value = serde_json::from_str(&done.stdout).expect("JSON");
        assert_eq!(status["supervisor"]["pid"], stack.supervisor().pid, "{runtime:?}");
        with_runtime(&stack, runtime, "start").ends_with(0).says("untouched");
    }
    assert_eq!((stack.pid("web"), stack.processes().len()), (worker, 3));
    with_runtime(&stack, None, "stop --supervisor").ends_with(0);
    assert!(!is_alive(worker));
    // And the other way round: started without one, found with one.
    with_runtime(&stack, None, "start").ends_with(0);
    stack.run("start").ends_with(0).says("untouched");
    assert_eq!(stack.processes().len(), 3);
    stack.run("stop --supervisor").ends_with(0);
}

#[test]
fn a_note_that_leads_to_somebody_elses_folder_is_not_followed() {
    let stack = TestStack::new(WEB);
    stack.run("start").ends_with(0);
    let real =
        fs::read_dir(stack.root.with_file_name("runtime/devstack")).expect("a folder").next().expect("one").expect("an entry").path();
    for (what, change) in [
        ("open to others", (|to: &Path| fs::set_permissions(to, fs::Permissions::from_mode(0o755))) as fn(&Path) -> std::io::Result<()>),
        ("of somebody else", |to| std::os::unix::fs::chown(to, Some(65534), Some(65534))),
    ] {
        if what == "of somebody else" && !nix::unistd::geteuid().is_root() {
            eprintln!("not tested: only root can give a folder away");
            continue;
        }
        change(&real).expect(what);
        let done = with_runtime(&stack, None, "start").ends_with(1);
        assert!(done.stderr.contains("a supervisor of this project is alive (pid "), "{done:?}");
        std::os::unix::fs::chown(&real, Some(nix::unistd::geteuid().as_raw()), None).expect("ours again");
        fs::set_permissions(&real, fs::Permissions::from_mode(0o700)).expect("ours again");
    }
    assert_eq!(stack.processes().len(), 3);
}

#[test]
fn a_deleted_state_folder_comes_back_and_no_second_supervisor_does() {
    let stack = TestStack::new(WEB);
    stack.run("start").ends_with(0);
    let (supervisor, worker, state) = (stack.supervisor(), stack.pid("web"), state_folder(&stack));
    fs::remove_dir_all(&state).expect("deleted");
    stack.run("start --restart").ends_with(0);
    assert_eq!((stack.supervisor(), stack.processes().len()), (supervisor, 3));
    assert!(!is_alive(worker));
    let ledger: Value = serde_json::from_slice(&fs::read(state.join("ledger.json")).expect("it is back")).expect("JSON");
    assert_eq!(ledger["stack"]["slots"]["web"]["process"]["main"]["pid"], stack.pid("web").pid);
    assert_eq!(fs::metadata(&state).expect("a folder").permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_supervisor_that_lost_its_socket_and_its_lock_is_named_and_not_doubled() {
    let stack = TestStack::new(WEB);
    with_runtime(&stack, None, "start").ends_with(0);
    let (pair, worker) = (stack.processes(), stack.pid("web"));
    let keeper = stack.keeper();
    // Socket, lock and note, all at once.
    fs::remove_dir_all(state_folder(&stack)).expect("deleted");
    for line in ["start", "start --restart"] {
        let done = with_runtime(&stack, None, line).ends_with(1);
        assert!(done.stderr.contains(&format!("is alive (pid {}) but cannot be reached", keeper.pid)), "{done:?}");
        assert!(done.stderr.contains(&format!("hint: `kill {}` ends it together with its workers", keeper.pid)), "{done:?}");
    }
    assert_eq!(stack.processes(), pair);
    // What the hint says is so.
    crate::support::send(keeper, devstack::model::Signal::TERM);
    crate::world::wait_until("all of it is gone", || stack.processes().is_empty());
    assert!(!is_alive(worker));
    with_runtime(&stack, None, "start").ends_with(0);
    assert_eq!(stack.processes().len(), 3);
}

#[test]
fn somebody_who_squats_on_the_claim_keeps_nobody_from_starting() {
    let stack = TestStack::new(WEB);
    let uid = nix::unistd::geteuid();
    let id = devstack::config::project_id(&stack.root).0;
    let squatter = devstack::sys::socket::claim(&format!("devstack/{uid}/{id}")).expect("a socket").expect("it was free");
    stack.run("start").ends_with(0);
    drop(squatter);
    stack.run("stop --supervisor").ends_with(0);
}

#[test]
fn a_stale_socket_is_replaced_and_anything_else_in_its_place_is_not() {
    let stack = TestStack::new(WEB);
    stack.run("start").ends_with(0);
    let real =
        fs::read_dir(stack.root.with_file_name("runtime/devstack")).expect("a folder").next().expect("one").expect("an entry").path();
    let socket = real.join("control.sock");
    stack.run("stop --supervisor").ends_with(0);
    // Nobody listens on what a killed pair leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    stack.run("status").ends_with(3);
    assert!(socket.exists(), "only a start replaces it");
    stack.run("start").ends_with(0);
    stack.run("stop --supervisor").ends_with(0);
    fs::write(&socket, "mine").expect("a file");
    let done = stack.run("start").ends_with(1);
    assert!(done.stderr.contains("control.sock is in the way"), "{done:?}");
    assert_eq!(fs::read_to_string(&socket).expect("untouched"), "mine");
    fs::remove_file(&socket).expect("removed");
    fs::create_dir(&socket).expect("a folder");
    stack.run("start").ends_with(1).says("is in the way");
    fs::remove_dir(&socket).expect("it is still there");
    stack.run("start").ends_with(0);
    let _ = proc_id(stack.supervisor().pid);
}
