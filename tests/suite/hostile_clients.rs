//! Whoever talks nonsense to the control socket, or nothing, keeps nobody else from being served.

use crate::support::TestStack;
use crate::world::{is_alive, wait_until};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const WEB: &str = "[services.web]\ncommand = 'python3 worker.py web'\n";
const HELLO: &[u8] = b"{\"protocol\":1,\"version\":\"0.1.0\",\"pid\":1}\n";

fn socket(stack: &TestStack) -> PathBuf {
    let projects = fs::read_dir(stack.root.with_file_name("runtime/devstack")).expect("a folder");
    projects.last().expect("one").expect("an entry").path().join("control.sock")
}

fn connect(stack: &TestStack) -> UnixStream {
    UnixStream::connect(socket(stack)).expect("somebody listens")
}

#[track_caller]
fn others_are_served(stack: &TestStack, while_what: &str) {
    let began = Instant::now();
    stack.run("status").ends_with(0);
    // A debug build on a loaded machine; without anybody in the way it takes some hundredths.
    assert!(began.elapsed() < Duration::from_secs(1), "{while_what}: {:?}", began.elapsed());
}

#[test]
fn a_thousand_clients_that_say_nothing_keep_nobody_waiting() {
    let stack = TestStack::new(WEB);
    stack.run("start").ends_with(0);
    let (soft, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).expect("a limit");
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard.min(soft.max(4096)), hard).expect("raised");
    let silent: Vec<UnixStream> = (0..1000).map(|_| connect(&stack)).collect();
    others_are_served(&stack, "silent clients");
    // Half of them begin to speak, and never end.
    for mut client in silent.iter().take(500) {
        let _ = client.write_all(&HELLO[..20]);
    }
    others_are_served(&stack, "half messages");
    stack.run("start").ends_with(0).says("untouched");
}

#[test]
fn clients_that_never_read_keep_nobody_waiting() {
    let stack = TestStack::new(WEB);
    stack.run("start").ends_with(0);
    let status = br#"{"request":"status","services":[],"tree":true}"#;
    let clients: Vec<UnixStream> = (0..400)
        .map(|_| {
            let mut client = connect(&stack);
            let _ = client.write_all(&[HELLO, status, b"\n"].concat());
            client
        })
        .collect();
    others_are_served(&stack, "clients that never read");
    drop(clients);
    others_are_served(&stack, "clients that are gone");
}

#[test]
fn nonsense_is_refused_and_nothing_comes_of_it() {
    let stack = TestStack::new(WEB);
    stack.run("start").ends_with(0);
    let (supervisor, worker) = (stack.supervisor(), stack.pid("web"));
    let endless = vec![b'x'; 3 << 20];
    for nonsense in [
        &b"\xff\xfe\x00\n"[..],
        b"\n\n\n",
        b"{}\n{}\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[HELLO, b"\xff\n"].concat(),
        &[HELLO, b"{\"request\":\"stop\"}\n"].concat(),
        &[HELLO, b"{\"request\":\"run\",\"command\":[\"touch\",\"pwned\"]}\n"].concat(),
        &[HELLO, b"{\"request\":\"stop\",\"services\":[\"../x\"],\"kill\":true,\"timeout_seconds\":null}\n"].concat(),
        &[HELLO, b"{\"request\":\"stop\",\"services\":[],\"kill\":true,\"timeout_seconds\":null,\"more\":1}\n"].concat(),
        &[HELLO, b"{\"request\":\"stop\",\"services\":[],\"kill\":true,\"timeout_seconds\":null}"].concat(),
        &endless,
        &[HELLO, &endless[..]].concat(),
    ] {
        let mut client = connect(&stack);
        // It may have hung up before we were through.
        let _ = client.write_all(nonsense);
        let _ = client.shutdown(std::net::Shutdown::Write);
        client.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        let mut answer = Vec::new();
        let end = client.read_to_end(&mut answer);
        let hung_up = end.is_ok() || end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(hung_up, "{:?}", String::from_utf8_lossy(&nonsense[..nonsense.len().min(80)]));
        assert!(answer.len() < 4096, "{}", answer.len());
        assert!(is_alive(worker) && is_alive(supervisor));
    }
    others_are_served(&stack, "after nonsense");
    assert!(!stack.root.join("pwned").exists());
    assert_eq!((stack.supervisor(), stack.pid("web")), (supervisor, worker));
    stack.run("stop --supervisor").ends_with(0);
    wait_until("nothing is left", || stack.processes().is_empty());
}
