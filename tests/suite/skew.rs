//! Whoever answers on the control socket: another version, another program, nobody. Never a misread, never a hang.

use crate::another_version::{NEWER, OURS, newer, runs};
use crate::running::Done;
use crate::support::{DEVSTACK, TestStack, send};
use crate::world::{is_alive, wait_until};
use devstack::control::protocol::PROTOCOL;
use devstack::model::Signal;
use devstack::sys::folders::{CONTROL_SOCKET, Folders};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const WEB: &str = "[services.web]\ncommand = 'python3 worker.py web'";

/// What A5 and A12 allow, and a busy machine.
const SOON: Duration = Duration::from_secs(8);

fn folders(stack: &TestStack) -> Folders {
    let base = stack.root.parent().expect("a folder").to_owned();
    let variable = |name: &str| match name {
        "XDG_STATE_HOME" => Some(base.join("state").into()),
        "XDG_RUNTIME_DIR" => Some(base.join("runtime").into()),
        _ => None,
    };
    Folders::of(&devstack::config::project_id(&stack.root), variable).expect("folders")
}

fn socket(stack: &TestStack) -> PathBuf {
    folders(stack).runtime.join(CONTROL_SOCKET)
}

/// Something in place of a supervisor: does `speak` with everyone who comes, until it is dropped.
struct Fake {
    listener: UnixListener,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Fake {
    fn new(stack: &TestStack, speak: impl Fn(&mut UnixStream) + Send + 'static) -> Self {
        folders(stack).create().expect("folders");
        let listener = UnixListener::bind(socket(stack)).expect("a socket");
        let accepting = listener.try_clone().expect("a copy");
        let thread = std::thread::spawn(move || {
            // Who is spoken with stays connected.
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = accepting.accept() {
                speak(&mut stream);
                kept.push(stream);
            }
        });
        Self { listener, thread: Some(thread) }
    }

    /// Says hello as this, then reads what is asked and answers that.
    fn who_says(stack: &TestStack, hello: &str, answer: &'static str) -> Self {
        let hello = format!("{hello}\n");
        Self::new(stack, move |stream| {
            let mut lines = BufReader::new(stream.try_clone().expect("a copy"));
            let mut line = String::new();
            let _ = lines.read_line(&mut line);
            let _ = stream.write_all(hello.as_bytes());
            if !answer.is_empty() && lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                let _ = stream.write_all(answer.as_bytes());
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        })
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn hello(protocol: u32, version: &str) -> String {
    format!("{{\"protocol\":{protocol},\"version\":\"{version}\",\"pid\":{}}}", std::process::id())
}

/// Each of these ends soon, with status 1 and these words.
#[track_caller]
fn all_say(stack: &TestStack, verbs: &[&str], part: &str) {
    let began = Instant::now();
    let all: Vec<_> = verbs.iter().map(|verb| stack.begin(verb)).collect();
    for done in all {
        done.end().ends_with(1).says(part);
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    // The fake holds no lock, so this would have begun a supervisor if it were taken for dead.
    assert_eq!(stack.processes(), []);
}

const EVERY_VERB: [&str; 5] = ["status", "start", "stop", "restart", "upgrade"];

#[test]
fn a_greeting_that_is_no_greeting_is_no_supervisor() {
    for greeting in ["HTTP/1.1 400 Bad Request\r\n\r\n", "{}\n", "{\"protocol\":1,\"version\":\"0.1.0\",\"pid\":\"one\"}\n", "\0\0\0\0\n"] {
        let stack = TestStack::new(WEB);
        let _fake = Fake::new(&stack, move |stream| drop(stream.write_all(greeting.as_bytes())));
        all_say(&stack, &EVERY_VERB, "what answers on the control socket is no supervisor of devstack");
    }
}

#[test]
fn a_greeting_without_end_is_not_read_to_its_end() {
    let stack = TestStack::new(WEB);
    let _fake = Fake::new(&stack, |stream| {
        stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        // Four gigabytes, by their length: whoever believed in them would wait or run out of memory.
        let _ = stream.write_all(&[0xff, 0xff, 0xff, 0xff]);
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    });
    all_say(&stack, &["status"], "what answers on the control socket is no supervisor of devstack");
    all_say(&stack, &["start"], "what answers on the control socket is no supervisor of devstack");
}

#[test]
fn a_greeting_that_drips_is_not_waited_for() {
    let stack = TestStack::new(WEB);
    let _fake = Fake::new(&stack, |stream| {
        let mut stream = stream.try_clone().expect("a copy");
        std::thread::spawn(move || {
            // Until nobody reads any more.
            while stream.write_all(b" ").is_ok() {
                crate::support::pause();
            }
        });
    });
    all_say(&stack, &EVERY_VERB, &format!("supervisor pid {} not responding", std::process::id()));
}

#[test]
fn silence_is_told_within_seconds() {
    let stack = TestStack::new(WEB);
    let _fake = Fake::new(&stack, |_| {});
    all_say(&stack, &EVERY_VERB, &format!("supervisor pid {} not responding (state ", std::process::id()));
}

#[test]
fn silence_after_the_greeting_is_told_within_seconds() {
    let stack = TestStack::new(WEB);
    let _fake = Fake::who_says(&stack, &hello(PROTOCOL, OURS), "");
    all_say(&stack, &["status", "upgrade"], &format!("supervisor pid {} not responding (state ", std::process::id()));
}

#[test]
fn an_answer_that_is_none_is_not_misread() {
    for answer in ["nonsense\n", "{\"reply\":\"later\"}\n", "{\"reply\":\"snapshot\",\"services\":7}\n", "[]\n"] {
        let stack = TestStack::new(WEB);
        let _fake = Fake::who_says(&stack, &hello(PROTOCOL, OURS), answer);
        all_say(&stack, &["status", "start", "stop"], "the supervisor's answer makes no sense");
    }
    let stack = TestStack::new(WEB);
    let _fake = Fake::who_says(&stack, &hello(PROTOCOL, OURS), "{\"reply\":\"snap");
    all_say(&stack, &["status", "start", "stop", "upgrade"], "the supervisor ended while it was asked");
}

#[test]
fn who_hangs_up_at_once_is_nobody_and_is_replaced() {
    let stack = TestStack::new(WEB);
    let _fake = Fake::new(&stack, |stream| drop(stream.shutdown(std::net::Shutdown::Both)));
    stack.run("status").ends_with(3);
    // Whoever holds the lock of the project may take its socket over.
    stack.run("start").ends_with(0);
    stack.run("stop --supervisor").ends_with(0);
}

#[test]
fn another_protocol_is_an_error_that_offers_the_upgrade() {
    for protocol in [PROTOCOL + 1, PROTOCOL - 1] {
        let stack = TestStack::new(WEB);
        let _fake = Fake::who_says(&stack, &hello(protocol, "7.7.7"), "");
        let said = format!("is devstack 7.7.7 and speaks another protocol ({protocol}) than this devstack {OURS} ({PROTOCOL})");
        all_say(&stack, &["status", "start", "stop", "restart"], &said);
        all_say(&stack, &["status", "start", "stop", "restart"], "hint: `devstack upgrade` makes it this devstack");
    }
}

#[test]
fn a_supervisor_of_before_upgrade_is_said_to_be_so() {
    let malformed = "{\"reply\":\"refused\",\"refusal\":\"malformed\",\"detail\":\"unknown variant `upgrade`\"}\n";
    let other = "{\"reply\":\"refused\",\"refusal\":\"protocol\",\"supervisor\":{\"protocol\":0,\"version\":\"0.0.1\",\"pid\":1}}\n";
    for (protocol, answer) in [(PROTOCOL, malformed), (0, other)] {
        let stack = TestStack::new(WEB);
        let _fake = Fake::who_says(&stack, &hello(protocol, "0.0.1"), answer);
        all_say(
            &stack,
            &["upgrade"],
            &format!("the supervisor (pid {}, devstack 0.0.1) cannot become another program", std::process::id()),
        );
    }
}

/// One conversation with a real supervisor, as a devstack of another protocol would have it.
fn converse(stack: &TestStack, lines: &[&str]) -> String {
    let mut stream = UnixStream::connect(socket(stack)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    for line in lines {
        stream.write_all(format!("{line}\n").as_bytes()).expect("it reads");
    }
    let mut said = String::new();
    let mut lines = BufReader::new(stream);
    lines.read_line(&mut said).expect("a hello");
    said.clear();
    lines.take(1 << 20).read_line(&mut said).expect("an answer");
    said
}

#[test]
fn a_supervisor_understands_an_upgrade_in_any_protocol_and_nothing_else() {
    let stack = TestStack::new(WEB);
    stack.run("start").ends_with(0);
    let (supervisor, worker) = (stack.supervisor(), stack.pid("web"));
    let status = "{\"request\":\"status\",\"services\":[],\"tree\":false}";
    let said = converse(&stack, &[&hello(PROTOCOL + 1, "7.7.7"), status]);
    assert!(said.contains("\"refusal\":\"protocol\""), "{said}");
    // The program that asks is this test, which is no devstack: understood, looked at, refused.
    let said = converse(&stack, &[&hello(PROTOCOL + 1, "7.7.7"), devstack::control::upgrade::ASK]);
    assert!(said.starts_with("{\"upgrade\":\"refused\",\"why\":\"the program that asks is no devstack that could run here"), "{said}");
    assert_eq!((stack.supervisor(), stack.pid("web")), (supervisor, worker));
    assert!(runs(supervisor.pid, DEVSTACK.as_ref()));
}

#[track_caller]
fn says_nothing_of_versions(done: Done) {
    assert!(!done.ends_with(0).stderr.contains("note:"));
}

#[test]
fn another_version_of_the_same_protocol_is_noted_once_by_who_a_person_asks() {
    let stack = TestStack::new(WEB);
    let newer = newer(&stack);
    stack.run("start").ends_with(0);
    let pid = stack.supervisor().pid;
    let note = format!(
        "note: supervisor pid {pid} is devstack {OURS}, this is {NEWER}; `devstack upgrade` makes it this one; workers keep running\n"
    );
    for verb in ["start", "restart", "status"] {
        let done = stack.run_with(&newer, verb).ends_with(0);
        assert_eq!(done.stderr.matches(&note).count(), 1, "{done:?}");
    }
    for line in ["status --json", "-q status", "-q start"] {
        says_nothing_of_versions(stack.run_with(&newer, line));
    }
    says_nothing_of_versions(stack.run("start"));
    stack.run_with(&newer, "upgrade").ends_with(0);
    says_nothing_of_versions(stack.run_with(&newer, "start"));
    stack.run("status").ends_with(0).says(&format!("is devstack {NEWER}, this is {OURS}"));
}

#[test]
fn a_supervisor_whose_program_file_was_replaced_is_noted() {
    let stack = TestStack::new(WEB);
    let program = newer(&stack);
    stack.run_with(&program, "start").ends_with(0);
    let pid = stack.supervisor().pid;
    says_nothing_of_versions(stack.run_with(&program, "status"));
    std::fs::remove_file(&program).expect("it is there");
    let program = newer(&stack);
    stack.run_with(&program, "status").ends_with(0).says(&format!("note: the program file of supervisor pid {pid} was replaced"));
    stack.run_with(&program, "upgrade").ends_with(0).says(&format!("supervisor pid {pid}: devstack {NEWER} -> {NEWER}"));
    says_nothing_of_versions(stack.run_with(&program, "status"));
}

#[test]
fn a_supervisor_that_is_stopped_during_a_start_is_said_to_be_so() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web await go started'");
    let start = stack.begin("start");
    wait_until("it starts", || stack.service("web")["state"] == "starting");
    let supervisor = stack.supervisor();
    send(supervisor, Signal::STOP);
    let began = Instant::now();
    start.end().ends_with(1).says(&format!("supervisor pid {} not responding (state T)", supervisor.pid));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    send(supervisor, Signal::CONT);
    stack.write("go", "");
    stack.run("start").ends_with(0);
    assert_eq!((stack.supervisor(), stack.times("web", "started").len()), (supervisor, 1));
}

#[test]
fn a_stopped_supervisor_with_a_full_queue_hangs_nobody() {
    let stack = TestStack::new(WEB);
    stack.run("start").ends_with(0);
    let supervisor = stack.supervisor();
    send(supervisor, Signal::STOP);
    let mut waiting = Vec::new();
    let full = connect_until_full(&socket(&stack), &mut waiting);
    assert!(full, "the queue never filled");
    let began = Instant::now();
    let all: Vec<_> = EVERY_VERB.map(|verb| stack.begin(verb)).into();
    for done in all {
        done.end().ends_with(1).says("the supervisor is not responding: it takes no more connections");
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    drop(waiting);
    send(supervisor, Signal::CONT);
    stack.run("status").ends_with(0);
}

/// Connects until the kernel would have the next one wait.
fn connect_until_full(path: &std::path::Path, waiting: &mut Vec<std::os::fd::OwnedFd>) -> bool {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
    devstack::sys::pidfd::allow_many();
    for _ in 0..5000 {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a socket");
        match connect(&socket, &SocketAddrUnix::new(path).expect("an address")) {
            Ok(()) => waiting.push(socket),
            Err(rustix::io::Errno::AGAIN) => return true,
            Err(error) => panic!("{error}"),
        }
    }
    false
}

/// What such a supervisor manages, nobody else may judge: its ledger may be of another version, too.
#[test]
fn cleanup_workers_leaves_a_supervisor_alone_that_it_cannot_ask() {
    let stack = TestStack::new(WEB);
    stack.run("start").ends_with(0);
    let (supervisor, worker) = (stack.supervisor(), stack.pid("web"));
    std::fs::write(stack.state_file("ledger.json"), "{\"version\":99}").expect("a ledger");
    send(supervisor, Signal::STOP);
    let said = format!("supervisor pid {} not responding (state T)", supervisor.pid);
    stack.run("cleanup-workers").ends_with(1).says(&said);
    assert!(is_alive(worker));
    send(supervisor, Signal::CONT);
}
