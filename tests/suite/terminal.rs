//! A command on a terminal of its own, by way of `script`: what it draws is read, and keys are typed.

use crate::support::{DEVSTACK, TestStack, pause};
use crate::world::wait_until;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

pub const CTRL_C: &str = "\x03";

pub struct Terminal {
    keys: Option<ChildStdin>,
    drawn: PathBuf,
}

impl Terminal {
    /// A shell line on a terminal of 40 rows and 160 columns; when it has ended, the terminal says `status=` and its exit status.
    pub fn open(stack: &TestStack, line: &str) -> Self {
        let line = format!("trap : INT; stty rows 40 cols 160; {line}; echo status=$?");
        let mut command = Command::new("script");
        stack.in_its_environment(command.args(["-qefc", &line, "/dev/null"])).env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
        let drawn = stack.new_output("drawn");
        let output = File::create_new(&drawn).expect("a file");
        let mut child = command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::null()).spawn().expect("script");
        let keys = child.stdin.take();
        stack.adopt(child);
        Self { keys, drawn }
    }

    pub fn devstack(stack: &TestStack, line: &str) -> Self {
        Self::open(stack, &format!("{DEVSTACK} {line}"))
    }

    pub fn drawn(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.drawn).unwrap_or_default()).into_owned()
    }

    pub fn wait_for(&self, text: &str) {
        wait_until(&format!("{text:?} is drawn"), || self.drawn().contains(text));
    }

    pub fn type_keys(&mut self, keys: &str) {
        let input = self.keys.as_mut().expect("open");
        input.write_all(keys.as_bytes()).and_then(|()| input.flush()).expect("typed");
    }

    pub fn is_over(&self) -> bool {
        self.status().is_some()
    }

    fn status(&self) -> Option<i32> {
        self.drawn().rsplit_once("status=").and_then(|(_, code)| code.split(['\r', '\n']).next()?.parse().ok())
    }

    /// The exit status of its line, and everything that was drawn.
    pub fn end(self) -> (i32, String) {
        wait_until("the line on the terminal ends", || self.is_over());
        (self.status().expect("just seen"), self.drawn())
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
