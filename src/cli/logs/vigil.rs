//! Waiting for what is appended to files, until the person or the reader of standard output has had enough.

use super::Follower;
use crate::cli::{Error, output};
use crate::sys::poll::{Interest, wait};
use crate::sys::signals::{self, Signals};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

pub struct Vigil {
    events: Signals,
}

#[derive(Debug)]
pub enum Woken {
    /// There may be something new.
    ByNews,
    /// Nothing came in the time that was allowed.
    ByTime,
    /// Ctrl-C, another signal, or nobody reads any more.
    ToEnd(Error),
}

impl Vigil {
    /// # Errors
    /// When there is no descriptor left.
    pub fn begin() -> Result<Self, Error> {
        let events = Signals::hold(&[signals::INTERRUPT, signals::TERMINATE, signals::HANG_UP]).map_err(cannot_wait)?;
        Ok(Self { events })
    }

    /// For news of what is followed, for `patience` at most. `output`: where it goes; its reader may leave while nothing is
    /// written.
    ///
    /// # Errors
    /// When the kernel does not let us wait.
    pub fn wait(&mut self, follower: &Follower, output: BorrowedFd<'_>, patience: Option<Duration>) -> Result<Woken, Error> {
        let mut interests = vec![Interest::Input(self.events.as_fd()), Interest::HangUp(output)];
        interests.extend(follower.watched().map(Interest::Input));
        let looks_again = follower.patience();
        let ready = wait(&interests, looks_again.or(patience)).map_err(cannot_wait)?;
        if let Some(signal) = self.events.next().map_err(cannot_wait)? {
            return Ok(Woken::ToEnd(match signal.number() {
                signals::INTERRUPT => Error::interrupted(),
                number => Error::told(128_u8.saturating_add(number as u8)),
            }));
        }
        Ok(match ready[1] {
            true => Woken::ToEnd(output::closed()),
            false if ready.contains(&true) || looks_again.is_some() => Woken::ByNews,
            false => Woken::ByTime,
        })
    }
}

fn cannot_wait(error: io::Error) -> Error {
    Error::failed(format!("cannot wait for the logs: {error}"))
}
