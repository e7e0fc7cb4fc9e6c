//! Real CPython workers that hang, spin, or only sleep: what they are called, what follows, and what is left to read.

use crate::support::{TestStack, free_port, send};
use crate::terminal::watch_that;
use crate::world::{is_alive, wait_until};
use devstack::model::Signal;
use serde_json::Value;
use std::time::Duration;

/// What each of the workers begins with: heartbeats, and an endpoint like the seed's.
const LIBRARY: &str = r#"
import ctypes, faulthandler, http.server, json, os, signal, socket, sys, threading, time

speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

def say(text):
    speaker.sendto(text.encode(), "\0" + os.environ["NOTIFY_SOCKET"][1:])

def beat():
    say("WATCHDOG=1")

def endpoint(port, status, reason):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"status": "unhealthy", "reason": reason}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
"#;

/// One service, `web`, which is a Python program.
fn python(keys: &str, program: &str) -> TestStack {
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = 'python3 program.py'\nready = {{ notify = true, timeout = '20s' }}\nrestart_delay = '10ms'\n{keys}"
    ));
    stack.write("program.py", &format!("{LIBRARY}{program}"));
    stack.run("start").ends_with(0);
    stack
}

/// Waits until the first worker is gone, and answers its end.
fn replaced(stack: &TestStack) -> Value {
    wait_until("another one runs", || stack.service("web")["restarts"].as_u64() >= Some(1));
    stack.service("web")["last_exit"].clone()
}

const BEATING: &str = "heartbeat_timeout = '1s'\nrestart = 'on-failure'";

#[test]
fn a_worker_that_deadlocks_is_replaced_and_its_log_says_where_it_was() {
    let deadlock = "
def take_it_twice(lock):
    beat()
    say('READY=1')
    with lock:
        lock.acquire()
take_it_twice(threading.Lock())
";
    let stack = python(BEATING, deadlock);
    let last = replaced(&stack);
    assert_eq!((&last["reason"], &last["by"], &last["signal"]), (&"heartbeat_timeout".into(), &"devstack".into(), &"SIGABRT".into()));
    let log = stack.log("web");
    assert!(log.contains("(most recent call first)") && log.contains("in take_it_twice"), "{log}");
}

#[test]
fn behind_a_shell_the_worker_itself_is_asked_where_it_was() {
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = ['sh', '-c', 'python3 program.py; exit 3']\nready = {{ notify = true, timeout = '20s' }}\nrestart_delay = '10ms'
env = {{ PYTHONFAULTHANDLER = '1' }}\n{BEATING}"
    ));
    stack.write("program.py", &format!("{LIBRARY}def rest():\n    say('READY=1\\nWATCHDOG=1')\n    time.sleep(600)\nrest()\n"));
    stack.run("start").ends_with(0);
    assert_eq!(replaced(&stack)["reason"], "heartbeat_timeout");
    assert!(stack.log("web").contains("in rest"), "{}", stack.log("web"));
}

#[test]
fn a_worker_that_holds_the_interpreter_in_c_is_replaced_and_its_log_says_where_it_was() {
    let hold = "
def hold_the_interpreter():
    beat()
    say('READY=1')
    ctypes.PyDLL(None).sleep(600)
hold_the_interpreter()
";
    let stack = python(BEATING, hold);
    assert_eq!(replaced(&stack)["reason"], "heartbeat_timeout");
    assert!(stack.log("web").contains("in hold_the_interpreter"), "{}", stack.log("web"));
}

#[test]
fn a_worker_that_registered_a_signal_for_its_stack_is_asked_by_that_and_may_still_end_well() {
    let wait = "
faulthandler.register(signal.SIGUSR1, all_threads=True)
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
def forget_to_beat():
    beat()
    say('READY=1')
    while True:
        time.sleep(600)
forget_to_beat()
";
    let stack = python(BEATING, wait);
    let last = replaced(&stack);
    assert_eq!((&last["reason"], &last["code"]), (&"heartbeat_timeout".into(), &7.into()));
    assert!(stack.log("web").contains("in forget_to_beat"), "{}", stack.log("web"));
}

#[test]
fn a_worker_that_has_no_handler_for_a_stack_is_sent_no_signal_but_the_usual_one() {
    let wait = "
faulthandler.disable()
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
beat()
say('READY=1')
while True:
    time.sleep(600)
";
    let stack = python(&format!("{BEATING}\nenv = {{ PYTHONFAULTHANDLER = '' }}"), wait);
    let last = replaced(&stack);
    assert_eq!((&last["reason"], &last["code"]), (&"heartbeat_timeout".into(), &7.into()));
    assert!(!stack.log("web").contains("most recent call"), "{}", stack.log("web"));
}

#[test]
fn a_worker_that_sleeps_between_two_cycles_is_asleep_and_left_alone_whatever_its_endpoint_says() {
    let port = free_port();
    let keys = format!("health = {{ url = 'http://127.0.0.1:{port}/health', interval = '100ms', failures = 2 }}\nrestart = 'always'");
    let sleeping = format!("endpoint({port}, 503, 'heartbeat_timeout_447s')\nsay('READY=1')\ntime.sleep(600)\n");
    let stack = python(&keys, &sleeping);
    let first = stack.pid("web");
    wait_until("it is found asleep", || stack.service("web")["health"]["status"] == "asleep");
    watch_that("it lives", Duration::from_secs(3), || is_alive(first));
    let health = stack.service("web")["health"].clone();
    assert_eq!((&health["status"], &health["reason"]), (&"asleep".into(), &"heartbeat_timeout_447s".into()));
    stack.run("status").ends_with(0);
    stack.run("start").ends_with(0).says("untouched");
    assert_eq!(stack.pid("web"), first);
}

#[test]
fn a_worker_that_spins_while_its_endpoint_misses_its_cycle_is_not_asleep() {
    let port = free_port();
    let keys = format!("health = {{ url = 'http://127.0.0.1:{port}/health', interval = '100ms', failures = 2 }}\nrestart = 'always'");
    let spinning = format!("endpoint({port}, 503, 'heartbeat_timeout_447s')\nsay('READY=1')\nwhile True: pass\n");
    let stack = python(&keys, &spinning);
    assert_eq!(replaced(&stack)["reason"], "unhealthy");
}

#[test]
fn a_worker_that_sleeps_longer_than_its_endpoint_allows_is_replaced_where_the_configuration_says_how_long_is_too_long() {
    let port = free_port();
    let keys = format!(
        "health = {{ url = 'http://127.0.0.1:{port}/health', interval = '100ms', failures = 2 }}\nrestart = 'always'\nheartbeat_timeout = '400s'"
    );
    let sleeping = format!("endpoint({port}, 503, 'heartbeat_timeout_447s')\nsay('READY=1')\ntime.sleep(600)\n");
    let stack = python(&keys, &sleeping);
    assert_eq!(replaced(&stack)["reason"], "unhealthy");
}

#[test]
fn a_worker_that_says_how_long_it_sleeps_is_not_hung_meanwhile() {
    let sleeping = "say('READY=1\\nWATCHDOG=1\\nEXTEND_TIMEOUT_USEC=60000000')\ntime.sleep(600)\n";
    let stack = python(BEATING, sleeping);
    let first = stack.pid("web");
    watch_that("it lives", Duration::from_secs(3), || is_alive(first));
    assert_eq!(stack.service("web")["health"]["status"], "healthy");
}

#[test]
fn a_worker_that_was_stopped_by_a_signal_is_hung_and_one_that_goes_on_is_not() {
    let stack = python("", "say('READY=1')\nsignal.pause()\n");
    let pid = stack.pid("web");
    assert_eq!(stack.service("web")["health"]["status"], "healthy");
    send(pid, Signal::STOP);
    wait_until("it is hung", || stack.service("web")["health"]["status"] == "hung");
    assert_eq!(stack.service("web")["health"]["reason"], "stopped_by_a_signal");
    send(pid, Signal::CONT);
    wait_until("it goes on", || stack.service("web")["health"]["status"] == "healthy");
}

#[test]
fn who_does_not_answer_is_slow_while_it_works_and_hung_while_it_does_nothing() {
    let port = free_port();
    let keys = format!(
        "health = {{ url = 'http://127.0.0.1:{port}/health', interval = '100ms', timeout = '600ms', failures = 1000 }}\nrestart = 'always'"
    );
    let program = format!(
        "
server = socket.create_server(('127.0.0.1', {port}), backlog=100)
say('READY=1')
while not os.path.exists('rest'): pass
threading.Event().wait()
"
    );
    let stack = python(&keys, &program);
    let status = || stack.service("web")["health"]["status"].clone();
    wait_until("it was asked", || stack.service("web")["health"]["reason"] == "timeout_0.6s");
    assert_eq!(status(), "slow");
    stack.write("rest", "");
    wait_until("it is hung", || status() == "hung");
    assert_eq!(stack.service("web")["health"]["reason"], "timeout_0.6s_doing_nothing");
}
