//! What a service manager above `devstack run` hears, and that its worker hears nothing of it.

use crate::run_command::{command, noting};
use crate::running::Running;
use crate::support::{TestStack, free_port, kill, send};
use crate::terminal::watch_that;
use crate::world::wait_until;
use devstack::model::Signal;
use std::cell::RefCell;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

/// The socket that systemd would listen on.
struct Manager {
    socket: UnixDatagram,
    heard: RefCell<Vec<String>>,
}

impl Manager {
    fn new(stack: &TestStack) -> Self {
        let socket = UnixDatagram::bind(stack.root.join("notify")).expect("bound");
        socket.set_nonblocking(true).expect("a socket");
        Self { socket, heard: RefCell::default() }
    }

    fn above<'a>(&self, stack: &'a TestStack, mut command: Command) -> Running<'a> {
        stack.begin_command(std::mem::replace(command.env("NOTIFY_SOCKET", stack.root.join("notify")), Command::new("true")))
    }

    fn heard(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            self.heard.borrow_mut().extend(text.lines().map(str::to_owned));
        }
        self.heard.borrow().clone()
    }

    fn wait_for(&self, line: &str) {
        wait_until(&format!("{line} is heard"), || self.heard().iter().any(|heard| heard.starts_with(line)));
    }

    fn count(&self, line: &str) -> usize {
        self.heard().iter().filter(|heard| *heard == line).count()
    }
}

#[test]
fn it_is_told_when_the_worker_is_ready_how_it_is_and_when_it_stops() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web await go'\nready = { exec = ['test', '-e', 'go'] }");
    let manager = Manager::new(&stack);
    let devstack = manager.above(&stack, stack.command("run web"));
    manager.wait_for("STATUS=starting (pid ");
    assert_eq!(manager.count("READY=1"), 0);
    stack.write("go", "");
    manager.wait_for("READY=1");
    manager.wait_for("STATUS=running (pid ");
    assert_eq!(manager.count("STOPPING=1"), 0);
    send(devstack.id(), Signal::TERM);
    manager.wait_for("STOPPING=1");
    devstack.end().ends_with(0);
}

#[test]
fn the_worker_speaks_to_devstack_and_gets_nothing_of_the_managers() {
    let stack = TestStack::empty();
    let manager = Manager::new(&stack);
    let mut command = command(&stack, "--once", &["sh", "-c", "echo [$NOTIFY_SOCKET] [$WATCHDOG_USEC] [$WATCHDOG_PID]"]);
    command.env("WATCHDOG_USEC", "20000000").env("WATCHDOG_PID", "1");
    let done = manager.above(&stack, command).end().ends_with(0);
    assert!(done.stdout.starts_with("[@devstack/") && done.stdout.ends_with("[] []\n"), "{done:?}");
}

#[test]
fn a_worker_that_says_itself_when_it_is_ready_is_believed_and_it_is_told_above() {
    let python = "
import os, socket, time
while not os.path.exists('go'):
    time.sleep(0.01)
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.sendto(b'READY=1', '\\0' + os.environ['NOTIFY_SOCKET'][1:])
time.sleep(600)
";
    let stack = TestStack::new("[services.web]\ncommand = 'python3 says.py'\nready = { notify = true }");
    stack.write("says.py", python);
    let manager = Manager::new(&stack);
    let devstack = manager.above(&stack, stack.command("run web"));
    manager.wait_for("STATUS=starting (pid ");
    assert_eq!(manager.count("READY=1"), 0);
    stack.write("go", "");
    manager.wait_for("READY=1");
    send(devstack.id(), Signal::TERM);
    devstack.end().ends_with(0);
}

#[test]
fn its_watchdog_is_fed_only_while_the_worker_is_well() {
    let port = free_port();
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = 'python3 worker.py web http {port}'\nrestart = 'never'
health = {{ url = 'http://127.0.0.1:{port}/health', interval = '20ms', timeout = '200ms', failures = 2, start_period = '0s' }}\nready = {{ delay = '0s' }}"
    ));
    let manager = Manager::new(&stack);
    let mut command = stack.command("run web");
    command.env("WATCHDOG_USEC", "200000");
    let devstack = manager.above(&stack, command);
    wait_until("it is fed", || manager.count("WATCHDOG=1") >= 5);
    stack.write("answer-web", "503");
    wait_until("it is found unhealthy", || stack.service("web")["health"]["status"] == "unhealthy");
    let before = manager.count("WATCHDOG=1");
    watch_that("it is not fed", Duration::from_millis(600), || manager.count("WATCHDOG=1") <= before + 1);
    stack.write("answer-web", "200");
    wait_until("it is fed again", || manager.count("WATCHDOG=1") >= before + 3);
    send(devstack.id(), Signal::TERM);
    devstack.end().ends_with(0);
}

#[test]
fn a_worker_that_crashes_is_seen_to_here_and_told_above() {
    let stack = TestStack::empty();
    let manager = Manager::new(&stack);
    let devstack = manager.above(&stack, command(&stack, "", &["sh", "-c", &noting("exec sleep 600")]));
    let worker = stack.noted_process("worker");
    manager.wait_for("READY=1");
    kill(worker);
    manager.wait_for("STATUS=ended: crashed (killed by SIGKILL)");
    manager.wait_for("STATUS=starts again in 1.");
    stack.noted_process("worker");
    assert_eq!(manager.count("STOPPING=1"), 0);
    send(devstack.id(), Signal::TERM);
    devstack.end().ends_with(0);
}
