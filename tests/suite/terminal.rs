//! A command on a terminal of its own, by way of `script`: what it draws is read, and keys are typed.

use crate::support::{DEVSTACK, TestStack, pause};
use crate::world::wait_until;
use std::io::{Read, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const CTRL_C: &str = "\x03";

pub struct Terminal {
    keys: Option<ChildStdin>,
    drawn: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// A shell line on a terminal of 40 rows and 160 columns; when it has ended, the terminal says `status=` and its exit status.
    pub fn open(stack: &TestStack, line: &str) -> Self {
        let line = format!("trap : INT; stty rows 40 cols 160; {line}; echo status=$?");
        let mut command = Command::new("script");
        stack.in_its_environment(command.args(["-qefc", &line, "/dev/null"])).env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("script");
        let keys = child.stdin.take();
        let mut output = child.stdout.take().expect("a pipe");
        let drawn = Arc::new(Mutex::new(Vec::new()));
        let drawing = drawn.clone();
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut some) {
                drawing.lock().expect("no panic").extend_from_slice(&some[..count]);
            }
        });
        stack.adopt(child);
        Self { keys, drawn }
    }

    pub fn devstack(stack: &TestStack, line: &str) -> Self {
        Self::open(stack, &format!("{DEVSTACK} {line}"))
    }

    pub fn drawn(&self) -> String {
        String::from_utf8_lossy(&self.drawn.lock().expect("no panic")).into_owned()
    }

    pub fn wait_for(&self, text: &str) {
        wait_until(&format!("{text:?} is drawn"), || self.drawn().contains(text));
    }

    pub fn type_keys(&mut self, keys: &str) {
        let input = self.keys.as_mut().expect("open");
        input.write_all(keys.as_bytes()).and_then(|()| input.flush()).expect("typed");
    }

    /// The exit status of its line, and everything that was drawn.
    pub fn end(self) -> (i32, String) {
        let mut found = None;
        wait_until("the line on the terminal ends", || {
            found = self.drawn().rsplit_once("status=").and_then(|(_, code)| code.split(['\r', '\n']).next()?.parse().ok());
            found.is_some()
        });
        (found.expect("just seen"), self.drawn())
    }
}

/// Sleeps for no reason but to give something the chance to go wrong that must not: at most a few tenths of a second.
pub fn watch_that(what: &str, lasting: Duration, holds: impl Fn() -> bool) {
    let until = std::time::Instant::now() + lasting;
    while std::time::Instant::now() < until {
        assert!(holds(), "no longer so: {what}");
        pause();
    }
}
