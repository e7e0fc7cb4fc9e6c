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
fn a_worker_starts_clean_whatever_devstack_was_started_with() {
    // The shell itself reads: while it starts a program, it blocks every signal for a moment.
    let own = "while read -r line; do case $line in SigBlk*|SigIgn*) echo $line;; esac; done </proc/$$/status";
    let command = format!(r#"["sh", "-c", "{own}; ls /proc/$$/fd; echo started; exec sleep 600"]"#);
    let stack = TestStack::new(&format!("[services.web]\ncommand = {command}"));
    let unclean = "import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.set_inheritable(os.open('/dev/null', os.O_RDONLY), True)
os.execv(sys.argv[1], sys.argv[1:])";
    let mut start = std::process::Command::new("python3");
    stack.in_its_environment(&mut start).args(["-c", unclean, crate::support::DEVSTACK, "start"]);
    stack.begin_command(start).end().ends_with(0);
    let log = stack.log("web");
    let lines: Vec<&str> = log.lines().map(str::trim).collect();
    for (line, name) in lines.iter().zip(["SigBlk:", "SigIgn:"]) {
        let mask = line.strip_prefix(name).map(str::trim);
        assert_eq!(mask, Some("0000000000000000"), "{log}");
    }
    assert_eq!(lines[2..], ["0", "1", "2", "started"], "{log}");
}

#[test]
fn a_start_into_a_pipe_returns_because_nothing_of_it_is_inherited() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    // `cat` ends once nobody holds the pipe any more, neither as output nor as descriptor 9.
    let mut shell = Command::new("bash");
    stack.in_its_environment(shell.args(["-c", &format!("{DEVSTACK} start 2>&1 9>&1 | cat; echo \"${{PIPESTATUS[0]}}\"")]));
    let done = stack.begin_command(shell).end().ends_with(0);
    assert!(done.stdout.contains("web: ready in ") && done.stdout.ends_with("\n0\n"), "{done:?}");
    let descriptor = |number: u32| fs::read_link(format!("/proc/{}/fd/{number}", stack.pid("web").pid)).ok();
    let log = Some(stack.log_file("web"));
    assert_eq!([descriptor(0), descriptor(1), descriptor(2)], [Some("/dev/null".into()), log.clone(), log]);
    assert_eq!(descriptor(9), None);
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

#[test]
fn an_external_service_is_checked_brought_up_if_it_can_be_and_otherwise_said_to_be_down() {
    let (there, absent) = (free_port(), free_port());
    let stack = TestStack::new(&format!(
        "[services.db]\nexternal = true\nready = {{ tcp = '127.0.0.1:{there}', timeout = '20s' }}
command = ['sh', '-c', 'echo bringing up; setsid python3 worker.py db port {there} >/dev/null 2>&1 &']
[services.web]\ncommand = 'python3 worker.py web'\ndepends_on = ['db']
[services.cache]\nexternal = true\nready = {{ tcp = '127.0.0.1:{absent}', timeout = '1s' }}"
    ));
    stack.run("start web").ends_with(0).says("web: ready in ");
    assert_eq!(stack.log("db"), "bringing up\n");
    stack.run("start db").ends_with(0).says("db: present");
    assert_eq!(stack.log("db"), "bringing up\n", "it is there: nothing is done");
    stack.run("status db web").ends_with(0);
    stack.run("start cache").ends_with(1).says("cache was not started: it does not answer");
    stack.run("stop").ends_with(0);
    assert!(procfs::holder_of_port(there).is_ok_and(|holder| holder.is_some()), "what devstack does not run it does not stop");
}

#[test]
fn a_log_that_became_a_link_is_not_written_through() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'\nrestart = 'always'\nrestart_delay = '10ms'");
    stack.run("start").ends_with(0);
    let worker = stack.pid("web");
    fs::remove_file(stack.log_file("web")).expect("a log");
    std::os::unix::fs::symlink(stack.root.join("elsewhere"), stack.log_file("web")).expect("a link");
    kill(worker);
    let ledger = || fs::read_to_string(stack.state_file("ledger.json")).unwrap_or_default();
    wait_until("a new start is refused", || ledger().contains("its log cannot be opened"));
    assert!(!stack.root.join("elsewhere").exists());
    assert_eq!(stack.service("web")["state"], "failed");
    stack.run("logs web").ends_with(1);
    stack.run("stop").ends_with(0);
}

#[test]
fn folders_may_be_deeper_than_a_socket_address_is_long() {
    let stack = TestStack::below("very-deep/".repeat(20)).with("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    stack.run("status").ends_with(0);
    stack.run("stop --supervisor").ends_with(0);
    assert_eq!(stack.processes(), []);
}
