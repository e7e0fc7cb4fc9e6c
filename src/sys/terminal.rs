//! Single keys from a terminal, without its line editor.

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::read;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};

/// Standard input with keys delivered one by one and not echoed, until this is dropped. Ctrl-C and Ctrl-Z stay signals.
#[derive(Debug)]
pub struct Keys {
    stdin: io::Stdin,
    before: Termios,
}

impl Keys {
    /// `None` when standard input is no terminal.
    pub fn listen() -> Option<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut single = before.clone();
        single.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(&stdin, SetArg::TCSANOW, &single).ok()?;
        Some(Self { stdin, before })
    }

    /// What was typed; `None` when nobody can type any more. Blocks unless there is input.
    pub fn typed(&self) -> Option<Vec<u8>> {
        let mut bytes = [0; 64];
        match read(&self.stdin, &mut bytes) {
            Ok(0) | Err(_) => None,
            Ok(count) => Some(bytes[..count].to_vec()),
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.stdin, SetArg::TCSAFLUSH, &self.before);
    }
}

impl AsFd for Keys {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stdin.as_fd()
    }
}
