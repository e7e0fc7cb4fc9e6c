//! What workers say of themselves over NOTIFY_SOCKET (sd_notify(3)), and who is not heard.

use crate::support::{TestStack, kill, send};
use crate::terminal::watch_that;
use crate::world::{is_alive, wait_until};
use devstack::model::{ProcId, Signal};
use serde_json::Value;
use std::time::Duration;

/// `speaker.py FILE…`: sends what stands in each of the files as soon as it is there, one message a file, then waits.
const SPEAKER: &str = r#"
import os, signal, socket, sys, time
connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
address = os.environ["NOTIFY_SOCKET"]
connected.connect("\0" + address[1:] if address[0] == "@" else address)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
for file in sys.argv[1:]:
    while not os.path.exists(file):
        time.sleep(0.005)
    connected.send(open(file, "rb").read())
    os.rename(file, file + ".sent")
signal.pause()
"#;

/// One service, `web`, that sends what the test writes, message after message.
fn speaker(keys: &str, files: &str) -> TestStack {
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = 'python3 speaker.py {files}'\nready = {{ notify = true, timeout = '20s' }}\n{keys}"
    ));
    stack.write("speaker.py", SPEAKER);
    stack
}

impl TestStack {
    /// Has the speaker send a message; returns once it has.
    fn says(&self, file: &str, message: &str) {
        self.write(&format!("{file}.tmp"), message);
        std::fs::rename(self.root.join(format!("{file}.tmp")), self.root.join(file)).expect("a file");
        wait_until("it is sent", || self.root.join(format!("{file}.sent")).exists());
    }
}

#[test]
fn a_service_is_ready_when_it_says_so_and_its_status_text_is_shown() {
    let stack = speaker("", "one two three");
    let start = stack.begin("start");
    wait_until("it runs", || stack.service("web")["pid"].is_number());
    stack.says("one", "STATUS=Loading 3/7 \u{1b}[2Jchannels\nFOO=bar");
    wait_until("its status is known", || stack.service("web")["status_text"].is_string());
    let web = stack.service("web");
    assert_eq!((&web["state"], &web["ready"]), (&"starting".into(), &false.into()));
    assert_eq!(web["status_text"], "Loading 3/7 \u{1b}[2Jchannels");
    let shown = stack.run("status").stdout;
    assert!(!shown.contains('\u{1b}') && shown.contains("Loading 3/7"), "{shown}");
    stack.says("two", "READY=1\nSTATUS=At work");
    start.end().ends_with(0);
    let web = stack.service("web");
    assert_eq!((&web["state"], &web["ready"], &web["status_text"]), (&"running".into(), &true.into(), &"At work".into()));
    stack.says("three", "STATUS=");
    wait_until("nothing is said any more", || stack.service("web")["status_text"].is_null());
}

#[test]
fn a_worker_that_stops_sending_heartbeats_is_replaced_with_that_reason() {
    let stack = speaker("heartbeat_timeout = '1500ms'\nrestart = 'on-failure'\nrestart_delay = '10ms'", "ready beat");
    stack.write("ready", "READY=1");
    stack.run("start").ends_with(0);
    let first = stack.pid("web");
    let age = || stack.service("web")["health"]["heartbeat_age_seconds"].clone();
    watch_that("nobody who never sent one is judged by it", Duration::from_millis(2000), || is_alive(first));
    assert_eq!(age(), Value::Null);
    stack.says("beat", "WATCHDOG=1");
    wait_until("it was heard", || age().is_number());
    wait_until("it is ended", || !is_alive(first));
    wait_until("it was recorded", || stack.service("web")["last_exit"].is_object());
    let last = &stack.service("web")["last_exit"];
    assert_eq!((&last["reason"], &last["by"]), (&"heartbeat_timeout".into(), &"devstack".into()));
}

#[test]
fn a_hung_worker_that_must_not_be_restarted_is_only_shown_until_it_beats_again() {
    let stack = speaker("heartbeat_timeout = '300ms'", "ready one two");
    stack.write("ready", "READY=1");
    stack.run("start").ends_with(0);
    let first = stack.pid("web");
    stack.says("one", "WATCHDOG=1");
    wait_until("it is hung", || stack.service("web")["health"]["status"] == "hung");
    let reason = stack.service("web")["health"]["reason"].as_str().expect("text").to_owned();
    assert!(reason.starts_with("heartbeat_timeout_") && reason.ends_with('s'), "{reason}");
    stack.run("status").ends_with(3);
    stack.says("two", "EXTEND_TIMEOUT_USEC=1\nWATCHDOG=1\nEXTEND_TIMEOUT_USEC=600000000");
    watch_that("it is well for as long as it said", Duration::from_millis(900), || stack.service("web")["health"]["status"] == "healthy");
    assert!(is_alive(first));
}

#[test]
fn a_worker_that_gives_itself_up_is_replaced_at_once() {
    let stack = speaker("restart = 'always'\nrestart_delay = '10ms'", "ready fail");
    stack.write("ready", "READY=1");
    stack.run("start").ends_with(0);
    let first = stack.pid("web");
    stack.says("fail", "WATCHDOG=trigger");
    wait_until("it is ended", || !is_alive(first));
    wait_until("it was recorded", || stack.service("web")["last_exit"]["reason"] == "heartbeat_timeout");
}

#[test]
fn a_start_and_a_stop_take_as_long_as_the_worker_says() {
    let stack = TestStack::new("");
    stack.configure(
        "[services.web]\ncommand = 'python3 speaker.py more ready stay'\nready = { notify = true, timeout = '1500ms' }\nstop_timeout = '500ms'",
    );
    stack.write("speaker.py", &SPEAKER.replace("lambda *_: os._exit(0)", "signal.SIG_IGN"));
    let start = stack.begin("start");
    stack.says("more", "EXTEND_TIMEOUT_USEC=60000000");
    watch_that("it is not late", Duration::from_millis(2000), || stack.service("web")["health"]["status"] == "starting");
    stack.says("ready", "READY=1");
    start.end().ends_with(0);
    let pid = stack.pid("web");
    let stop = stack.begin("stop");
    wait_until("it stops", || stack.service("web")["state"] == "stopping");
    stack.says("stay", "EXTEND_TIMEOUT_USEC=2000000");
    watch_that("it is let go on", Duration::from_millis(1000), || is_alive(pid));
    stop.end().ends_with(0);
    assert!(!is_alive(pid));
}

#[test]
fn heartbeats_go_on_over_the_same_connection_when_the_supervisor_was_killed() {
    let stack = speaker("heartbeat_timeout = '3s'\nrestart = 'always'\nrestart_delay = '10ms'", "ready one two three");
    stack.write("ready", "READY=1");
    stack.run("start").ends_with(0);
    let first = stack.pid("web");
    stack.says("one", "WATCHDOG=1");
    wait_until("it was heard", || stack.service("web")["health"]["heartbeat_age_seconds"].is_number());
    let (keeper, supervisor) = (stack.keeper(), stack.supervisor());
    // A stopped keeper starts no other supervisor: nobody listens.
    send(keeper, Signal::STOP);
    kill(supervisor);
    stack.says("two", "WATCHDOG=1\nSTATUS=in between");
    send(keeper, Signal::CONT);
    wait_until("what was said in between was heard", || stack.service("web")["status_text"] == "in between");
    assert_eq!(stack.pid("web"), first);
    stack.says("three", "STATUS=after");
    wait_until("it is still heard", || stack.service("web")["status_text"] == "after");
    wait_until("its silence still means something", || !is_alive(first));
    wait_until("it was recorded", || stack.service("web")["last_exit"]["reason"] == "heartbeat_timeout");
}

#[test]
fn heartbeats_that_nobody_can_receive_any_more_are_not_held_against_the_worker() {
    let stack = speaker("heartbeat_timeout = '1s'\nrestart = 'always'", "ready one");
    stack.write("ready", "READY=1");
    stack.run("start").ends_with(0);
    let first = stack.pid("web");
    stack.says("one", "WATCHDOG=1");
    wait_until("it was heard", || stack.service("web")["health"]["heartbeat_age_seconds"].is_number());
    crate::crash::kill_both(stack.keeper(), stack.supervisor());
    stack.run("start").ends_with(0);
    watch_that("it lives", Duration::from_millis(2000), || is_alive(first));
    assert_eq!(stack.pid("web"), first);
}

#[test]
fn strangers_are_not_heard_children_of_the_worker_are() {
    let stack = speaker("", "ready address");
    let child = r#"
import os, subprocess, sys, time
open("address.tmp", "w").write(os.environ["NOTIFY_SOCKET"]); os.rename("address.tmp", "address")
say = "import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.sendto(b'READY=1\\nSTATUS=the child', '\\0' + os.environ['NOTIFY_SOCKET'][1:]); input()"
while not os.path.exists("go"):
    time.sleep(0.005)
subprocess.run([sys.executable, "-c", say], stdin=subprocess.PIPE and os.pipe()[0])
"#;
    stack.write("speaker.py", child);
    let start = stack.begin("start");
    let address = stack.root.join("address");
    wait_until("the address is known", || address.exists());
    let address = std::fs::read_to_string(address).expect("text");
    let stranger = "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\nfor n in range(2000): s.sendto(b'READY=1\\nSTATUS=the stranger\\nWATCHDOG=trigger\\nMAINPID=1', '\\0' + sys.argv[1][1:])\nopen('flooded', 'w').close(); import signal; signal.pause()";
    stack.start_beside("python3", &["-c", stranger, &address]);
    wait_until("the stranger was not kept waiting", || stack.root.join("flooded").exists());
    let web = stack.service("web");
    assert_eq!((&web["state"], &web["status_text"]), (&"starting".into(), &Value::Null));
    stack.write("go", "");
    start.end().ends_with(0);
    assert_eq!(stack.service("web")["status_text"], "the child");
}

#[test]
fn only_workers_are_given_the_socket_and_the_watchdog_only_where_there_is_one() {
    let show = "sh -c 'echo notify=$NOTIFY_SOCKET usec=$WATCHDOG_USEC pid=$WATCHDOG_PID own=$$'";
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = \"{show}\"\nheartbeat_timeout = '90s'\nready = {{ delay = '0s' }}\nsetup = {{ command = \"{show}\" }}
[services.bot]\ncommand = \"{show}\"\nready = {{ delay = '0s' }}"
    ));
    stack.set("NOTIFY_SOCKET", "/run/systemd/notify");
    stack.set("WATCHDOG_USEC", "1000");
    stack.set("WATCHDOG_PID", "1");
    stack.run("start").ends_with(0);
    wait_until("both have spoken", || stack.log("web").lines().count() == 2 && stack.log("bot").lines().count() == 1);
    let (web, bot) = (stack.log("web"), stack.log("bot"));
    let own = |line: &str| line.rsplit_once("own=").expect("its pid").1.to_owned();
    let mut lines = web.lines();
    let set_up = lines.next().expect("a line");
    assert_eq!(set_up, format!("notify= usec= pid= own={}", own(set_up)));
    let worker = lines.next().expect("a line");
    assert!(
        worker.starts_with("notify=@devstack/") && worker.ends_with(&format!("usec=90000000 pid={0} own={0}", own(worker))),
        "{worker}"
    );
    assert!(bot.starts_with("notify=@devstack/") && bot.contains(" usec= pid= "), "{bot}");
}

#[test]
fn a_flood_keeps_nobody_from_being_served() {
    let stack = TestStack::new(
        "[services.web]\ncommand = 'python3 flood.py'\nready = { notify = true }\n[services.bot]\ncommand = 'python3 worker.py bot'",
    );
    stack.write(
        "flood.py",
        "import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect('\\0' + os.environ['NOTIFY_SOCKET'][1:])\n
while True: s.send(b'READY=1\\nWATCHDOG=1\\nSTATUS=' + os.urandom(2000) + b'\\nX=' * 300)",
    );
    stack.run("start").ends_with(0);
    let before = stack.status()["supervisor"]["memory_mb"].as_f64().expect("a number");
    let began = std::time::Instant::now();
    for _ in 0..20 {
        stack.run("status").ends_with(0);
    }
    stack.run("restart bot").ends_with(0);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let after = stack.status()["supervisor"]["memory_mb"].as_f64().expect("a number");
    assert!(after < before + 5.0, "{before} MB, then {after} MB");
    stack.run("stop --supervisor").ends_with(0);
}

/// Forks; the child is the service from now on. `stays`: the process that was started waits for it, and collects it.
const DAEMON: &str = r#"
import os, signal, socket, sys, time
connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
address = os.environ["NOTIFY_SOCKET"]
connected.connect("\0" + address[1:] if address[0] == "@" else address)
child = os.fork()
if child == 0:
    os.setsid()
    def stop(*_):
        print("stopped", flush=True)
        os._exit(7)
    signal.signal(signal.SIGTERM, stop)
    while not os.path.exists("end"):
        time.sleep(0.01)
    os.rename("end", "ended")
    os._exit(5)
connected.send(f"MAINPID={child}\nREADY=1".encode())
if "stays" in sys.argv:
    os.waitpid(child, 0)
    time.sleep(3600)
"#;

fn daemon(arguments: &str, keys: &str) -> (TestStack, ProcId) {
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = 'python3 daemon.py {arguments}'\nready = {{ notify = true, timeout = '20s' }}\n{keys}"
    ));
    stack.write("daemon.py", DAEMON);
    stack.run("start").ends_with(0);
    let started = std::fs::read_to_string(stack.state_file("events.jsonl")).expect("a journal");
    let starting = started.lines().find(|line| line.contains("\"starting\"")).expect("it was started").to_owned();
    let starting: Value = serde_json::from_str(&starting).expect("JSON");
    let main = stack.pid("web");
    assert_ne!(starting["pid"].as_i64(), Some(i64::from(main.pid)), "another one is the main process now");
    (stack, main)
}

#[test]
fn a_main_process_that_the_started_one_has_named_is_supervised_and_its_exit_is_the_services() {
    let (stack, main) = daemon("", "");
    assert_eq!((stack.service("web")["state"].clone(), is_alive(main)), ("running".into(), true));
    stack.write("end", "");
    let web = stack.wait_for_state("web", "exited");
    assert_eq!((&web["last_exit"]["code"], &web["last_exit"]["reason"]), (&5.into(), &"crashed".into()), "{web:#}");
    stack.run("start").ends_with(0);
    let second = stack.pid("web");
    stack.run("stop").ends_with(0);
    assert!(!is_alive(second) && stack.log("web").contains("stopped"), "it was asked to");
    assert_eq!(stack.service("web")["last_exit"]["code"], 7);
}

#[test]
fn a_named_main_process_goes_on_under_each_next_supervisor_and_its_exit_stays_exact() {
    let (stack, main) = daemon("", "restart = 'always'\nrestart_delay = '10ms'");
    for _ in 0..2 {
        kill(stack.supervisor());
        stack.run("start").ends_with(0);
        assert_eq!(stack.pid("web"), main);
    }
    stack.write("end", "");
    wait_until("its end is known", || stack.service("web")["last_exit"]["code"] == 5);
    stack.wait_for_state("web", "running");
    let second = stack.pid("web");
    let (keeper, supervisor) = (stack.keeper(), stack.supervisor());
    kill(keeper);
    kill(supervisor);
    stack.run("start").ends_with(0);
    assert_eq!(stack.pid("web"), second, "also when nobody is left who could collect anybody");
    stack.run("stop --supervisor").ends_with(0);
    assert_eq!(stack.processes(), []);
}

#[test]
fn of_a_named_main_process_whose_parent_stays_the_end_is_the_runs_and_the_parent_goes_with_it() {
    let (stack, main) = daemon("stays", "");
    let started = devstack::sys::procfs::stat(main.pid).expect("it is there").ppid;
    let started = crate::support::proc_id(started);
    stack.write("end", "");
    let web = stack.wait_for_state("web", "exited");
    assert_eq!(
        (&web["last_exit"]["code"], &web["last_exit"]["signal"]),
        (&Value::Null, &Value::Null),
        "its parent has collected it: {web:#}"
    );
    assert!(!is_alive(started) && !is_alive(main));
    assert_eq!(stack.processes().len(), 2, "devstack alone");
}
