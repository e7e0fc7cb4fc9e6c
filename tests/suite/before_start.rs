//! What `devstack start` does before a process exists: set-up, stale copies, orphans, ports, descriptors, env files.

use crate::support::{DEVSTACK, TestStack, free_port, kill, path};
use crate::terminal::{CTRL_C, Terminal};
use crate::world::{is_alive, wait_until};
use devstack::sys::procfs;
use std::fs;
use std::process::Command;

#[test]
fn set_up_runs_once_when_what_it_creates_is_missing() {
    let stack = TestStack::new(
        "[services.web]\ncommand = 'python3 worker.py web'\nsetup = { command = ['sh', '-c', 'echo preparing; echo x >> made'], creates = 'made' }",
    );
    stack.run("start").ends_with(0).says("web: setting up: sh -c echo preparing");
    assert!(stack.log("web").starts_with("preparing\nweb started"));
    let again = stack.run("restart").ends_with(0);
    assert!(!again.stderr.contains("setting up"), "{again:?}");
    assert_eq!(fs::read_to_string(stack.root.join("made")).expect("made"), "x\n");
    fs::remove_file(stack.root.join("made")).expect("made");
    stack.run("restart").ends_with(0).says("setting up");
}

#[test]
fn a_set_up_that_fails_leads_to_the_log() {
    let stack = TestStack::new(
        "[services.web]\ncommand = 'python3 worker.py web'\nsetup = { command = ['sh', '-c', 'echo no network; exit 5'], creates = 'made' }",
    );
    stack.run("start").ends_with(1).says("web was not started: its set-up command").says("exit status 5").says("see `devstack logs web`");
    assert_eq!(stack.log("web"), "no network\n");
    assert_eq!(stack.service("web")["state"], "failed");
}

#[test]
fn a_port_that_a_stranger_holds_is_named_with_its_holder_and_nothing_starts() {
    let port = free_port();
    let stack = TestStack::new(&format!("[services.web]\ncommand = 'python3 worker.py web port {port}'\nports = [{port}]"));
    let listen = format!("import socket,time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(600)");
    let stranger = stack.start_beside("env", &["-C", "/", "python3", "-c", &listen]);
    wait_until("the stranger listens", || procfs::holder_of_port(port).is_ok_and(|holder| holder.is_some()));
    let done = stack.run("start").ends_with(1);
    let expected = format!("error: web was not started: port {port} is taken by pid {} (`python3 -c import socket", stranger.pid);
    assert!(done.stderr.contains(&expected), "{done:?}");
    for part in ["`), for ", "; it belongs to user ", "is not of this project", &format!("kill {}", stranger.pid)] {
        assert!(done.stderr.contains(part), "{part}: {done:?}");
    }
    assert!(is_alive(stranger));
    assert_eq!((stack.log("web"), &stack.service("web")["state"]), (String::new(), &"failed".into()));
    kill(stranger);
    stack.run("start").ends_with(0);
}

#[test]
fn a_port_that_another_service_holds_is_said_to_be_that_services() {
    let port = free_port();
    let stack = TestStack::new(&format!(
        "[services.one]\ncommand = 'python3 worker.py one port {port}'\n[services.two]\ncommand = 'python3 worker.py two'\nports = [{port}]"
    ));
    stack.run("start one").ends_with(0);
    stack.run("start two").ends_with(1).says("it is service `one` of this project");
}

#[test]
fn a_stale_copy_is_ended_before_the_start() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    let wrapper = stack.start_beside("setsid", &["nohup", "python3", "worker.py", "web", "daemon"]);
    let daemon = stack.noted_process("web-daemon");
    stack.run("start").ends_with(0).says("web: ended pid ").says("a copy of `web` that devstack does not run");
    assert!(!is_alive(wrapper) && !is_alive(daemon));
    assert_eq!(stack.service("web")["state"], "running");
}

#[test]
fn orphans_of_a_pool_are_cleaned_before_the_start() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web pool'");
    fs::create_dir(stack.root.join("logs")).expect("a folder");
    let copy = stack.start_beside("setsid", &["sh", "-c", "exec python3 worker.py web pool >>logs/dev_web.log"]);
    let (pool, semaphore) = stack.noted_pool("web");
    kill(copy);
    assert!(pool.iter().all(|id| is_alive(*id)), "CPython leaves them behind");
    stack.run("start").ends_with(0).says("its worker");
    assert!(!pool.into_iter().any(is_alive));
    assert!(!semaphore.exists(), "the tracker was left the time to unlink it");
    let (new, _) = stack.noted_pool("web");
    assert!(new.into_iter().all(is_alive));
}

#[test]
fn a_copy_on_a_terminal_is_refused_until_it_may_be_replaced() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    let terminal = Terminal::open(&stack, "python3 worker.py web");
    terminal.wait_for("web started");
    let done = stack.run("start").ends_with(1).says("web was not started: a copy of it runs on a terminal: pid ");
    assert!(done.stderr.contains("hint: end that copy, or let `devstack start --replace web` end it"), "{done:?}");
    assert_eq!(stack.log("web"), "");
    stack.run("start --replace web").ends_with(0).says("web: ended pid ");
    terminal.end();
    assert_eq!(stack.service("web")["state"], "running");
}

#[test]
fn a_copy_on_a_terminal_that_was_left_by_its_owner_is_no_obstacle() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    let mut terminal = Terminal::open(&stack, "python3 worker.py web");
    terminal.wait_for("web started");
    terminal.type_keys(CTRL_C);
    terminal.end();
    stack.run("start").ends_with(0);
}

#[test]
fn a_start_into_a_pipe_returns_because_nothing_of_it_is_inherited() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    // `cat` ends once nobody holds the pipe any more, neither as output nor as descriptor 9.
    let mut shell = Command::new("bash");
    stack.in_its_environment(shell.args(["-c", &format!("{DEVSTACK} start 2>&1 9>&1 | cat; echo \"${{PIPESTATUS[0]}}\"")]));
    let done = stack.begin_command(shell).end().ends_with(0);
    assert!(done.stdout.contains("web: ready in ") && done.stdout.ends_with("\n0\n"), "{done:?}");
    for id in [stack.keeper(), stack.supervisor(), stack.pid("web")] {
        let held = fs::read_dir(format!("/proc/{}/fd", id.pid)).expect("alive");
        let names: Vec<_> = held.filter_map(|fd| Some((fd.as_ref().ok()?.file_name(), fs::read_link(fd.ok()?.path()).ok()?))).collect();
        assert!(names.iter().all(|(number, _)| number != "9") || id != stack.pid("web"), "{names:?}");
    }
}

#[test]
fn the_pair_stands_in_a_session_of_its_own_and_in_no_folder_of_the_project() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    let (keeper, supervisor) = (stack.keeper(), stack.supervisor());
    let own = procfs::stat(std::process::id().cast_signed()).expect("we live").sid;
    for id in [keeper, supervisor] {
        let stat = procfs::stat(id.pid).expect("it lives");
        assert!(stat.sid != own && stat.tty_nr == 0, "{stat:?}");
        assert_eq!(procfs::cwd(id.pid).expect("it lives"), std::path::Path::new("/"));
    }
}

#[test]
fn env_files_are_read_again_at_every_restart() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web env COLOUR'\nenv_file = ['.env']");
    stack.write(".env", "COLOUR=red\n");
    stack.run("start").ends_with(0);
    stack.write(".env", "COLOUR=blue\n");
    stack.run("start").ends_with(0).says("untouched");
    stack.run("restart").ends_with(0);
    let log = stack.log("web");
    assert!(log.find("COLOUR = red") < log.find("COLOUR = blue") && log.contains("blue"), "{log}");
    stack.write(".env", "COLOUR=two words\n");
    stack.run("restart").ends_with(1).says(".env");
}

#[test]
fn workers_get_unbuffered_output_and_the_environment_that_start_was_typed_in() {
    let stack =
        TestStack::new("[services.web]\ncommand = 'python3 worker.py web env PYTHONUNBUFFERED env PYTHONFAULTHANDLER env MINE env PATH'");
    let mut command = stack.command("start");
    command.env("MINE", "kept");
    stack.begin_command(command).end().ends_with(0);
    let log = stack.log("web");
    for line in ["PYTHONUNBUFFERED = 1", "PYTHONFAULTHANDLER = 1", "MINE = kept", &format!("PATH = {}", path())] {
        assert!(log.contains(line), "{line}: {log}");
    }
}
