//! Standard output that may be closed, full or slow, which `println!` answers with a panic.
//!
//! A reader that went away (`| head -1`) ends the command quietly and successfully; anything else is an error.

use super::{Error, exit_code};
use crate::sys::pager::Pager;
use crate::sys::poll;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// One write, one system call: a frame is not torn by a buffer of somebody else's choosing.
#[derive(Debug)]
pub struct Output {
    /// Closed before the pager is waited for.
    file: File,
    _pager: Option<Pager>,
}

impl Output {
    pub fn stdout() -> Result<Self, Error> {
        let fd = io::stdout().as_fd().try_clone_to_owned().map_err(failure)?;
        Ok(Self { file: fd.into(), _pager: None })
    }

    /// Through a pager, if standard output is a terminal and there is one: `$DEVSTACK_PAGER`, `$PAGER` or `less`. Empty or `cat`: none.
    ///
    /// # Errors
    /// As [`Self::stdout`].
    pub fn paged() -> Result<Self, Error> {
        let wish = ["DEVSTACK_PAGER", "PAGER"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_else(|| "less".to_owned());
        let words = shell_words::split(&wish).unwrap_or_default();
        let is_wanted = console::Term::stdout().is_term() && !matches!(words.first().map(String::as_str), None | Some("cat"));
        match is_wanted.then(|| Pager::start(&words)) {
            Some(Ok((pager, file))) => Ok(Self { file, _pager: Some(pager) }),
            _ => Self::stdout(),
        }
    }

    /// # Errors
    /// [`Error::told`] with status 0 when nobody reads any more: the command has nothing left to do.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(failure(ErrorKind::WriteZero.into())),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => poll::wait_writable(&self.file).map_err(failure)?,
                Err(error) => return Err(failure(error)),
            }
        }
        Ok(())
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl From<File> for Output {
    fn from(file: File) -> Self {
        Self { file, _pager: None }
    }
}

/// Data of a command, whole, on standard output.
pub fn print(text: &str) -> Result<(), Error> {
    Output::stdout()?.write(text.as_bytes())
}

/// The reader of the output is gone.
pub fn closed() -> Error {
    Error::told(exit_code::DONE)
}

fn failure(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::BrokenPipe => closed(),
        _ => Error::failed(format!("standard output takes no more: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_no_failure_and_a_full_disk_is() {
        let (reader, writer) = io::pipe().expect("pipe");
        drop(reader);
        let left = Output::from(File::from(std::os::fd::OwnedFd::from(writer))).write(b"x").expect_err("nobody reads");
        assert_eq!(left.exit_code(), exit_code::DONE);

        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let full = Output::from(full).write(b"x").expect_err("no space");
        assert_eq!(full.exit_code(), exit_code::FAILED);
    }
}
