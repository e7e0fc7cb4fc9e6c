//! The program in which a person reads what does not fit on the screen.

use super::signals;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

/// One that reads what is written to it, and ends when the person leaves it.
#[derive(Debug)]
pub struct Pager(Child);

impl Pager {
    /// Starts it, and answers where to write. From here on Ctrl-C is the pager's to hear: it lives in the same terminal.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn start(words: &[String]) -> io::Result<(Self, File)> {
        let Some((program, arguments)) = words.split_first() else { return Err(io::ErrorKind::InvalidInput.into()) };
        #[expect(clippy::disallowed_methods, reason = "the person's own program, on the person's own terminal")]
        let mut command = Command::new(OsStr::new(program));
        command.args(arguments).stdin(Stdio::piped());
        // As git and journalctl do: short output stays on the screen, colours pass, and nothing is cleared.
        if std::env::var_os("LESS").is_none() {
            command.env("LESS", "FRX");
        }
        let mut child = command.spawn()?;
        let input = child.stdin.take().map(OwnedFd::from).ok_or(io::ErrorKind::BrokenPipe)?;
        signals::leave_interrupts_to_others();
        Ok((Self(child), File::from(input)))
    }
}

impl Drop for Pager {
    /// Until the person leaves it.
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}
