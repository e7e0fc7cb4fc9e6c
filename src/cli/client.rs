//! One conversation with a supervisor, while a person may press Ctrl-C or lose patience.

use super::{Error, context::Context, style, upgrade};
use crate::control::protocol::{LONGEST_LINE, Refusal, Reply, Request};
use crate::model::ServiceName;
use crate::supervisor::{self, Connection, LaunchError};
use crate::sys::folders::Folders;
use crate::sys::pidfd::PidFd;
use crate::sys::poll::{Deadline, Interest, wait};
use crate::sys::signals::Signals;
use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::time::Duration;

pub struct Client {
    connection: Connection,
    folders: Folders,
    line: Vec<u8>,
}

/// How often a supervisor may be killed under what is asked of it.
const TRIES: usize = 5;

/// For what may be asked twice: the successor of a supervisor that was killed meanwhile is asked again.
///
/// # Errors
/// Those of `ask`.
pub fn persist<T>(mut ask: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..TRIES {
        match ask() {
            Err(error) if error.is_gone() => {}
            result => return result,
        }
    }
    ask()
}

/// A supervisor that says nothing for so long is asked whether it still answers.
const SILENCE: Duration = Duration::from_secs(2);

/// And may take so long to say so.
const ANSWER: Duration = Duration::from_secs(3);

/// For an answer that is only to be put together.
const QUICK: Duration = Duration::from_secs(5);

/// What came first.
pub enum Next {
    Reply(Reply),
    /// Ctrl-C or SIGTERM.
    Interrupted,
    TimedOut,
}

impl Client {
    /// The running supervisor; `None` when there is none.
    ///
    /// # Errors
    /// When it is there and cannot be talked to.
    pub fn connect(context: &Context) -> Result<Option<Self>, Error> {
        supervisor::connect(&context.folders).map(|found| found.map(|connection| Self::new(connection, context))).map_err(failed)
    }

    /// The running supervisor, or a new one.
    ///
    /// # Errors
    /// When there is none and none can be started.
    pub fn launch(context: &Context) -> Result<Self, Error> {
        supervisor::connect_or_launch(&context.folders, &context.location).map(|connection| Self::new(connection, context)).map_err(failed)
    }

    /// The process that runs a service in the foreground; `None` when there is none.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn of_foreground(context: &Context, service: &ServiceName) -> Result<Option<Self>, Error> {
        let found = supervisor::reach_foreground(&context.project.id, service).map_err(failed)?;
        Ok(found.map(|connection| Self { connection, folders: context.folders.clone(), line: Vec::new() }))
    }

    fn new(connection: Connection, context: &Context) -> Self {
        if context.verbose {
            style::say(&format!("supervisor: pid {}, version {}\n", connection.hello.pid, style::visible(&connection.hello.version)));
        }
        if !connection.said.is_empty() {
            style::say(&style::visible(&format!("warning: {}\n", connection.said)));
        }
        Self { connection, folders: context.folders.clone(), line: Vec::new() }
    }

    /// Says so when the supervisor is not this devstack.
    pub fn note_difference(&self) {
        if let Some(note) = upgrade::note_about(&self.connection.hello) {
            style::say(&style::visible(&note));
        }
    }

    /// The supervisor's process.
    pub fn supervisor(&self) -> i32 {
        self.connection.hello.pid
    }

    /// # Errors
    /// When the supervisor is gone.
    pub fn send(&mut self, request: &Request) -> Result<(), Error> {
        let mut line = serde_json::to_vec(request).map_err(Error::failed)?;
        line.push(b'\n');
        self.connection.lines.get_mut().write_all(&line).map_err(|_| Error::gone())
    }

    /// Waits for a reply, a signal or the deadline.
    ///
    /// # Errors
    /// When the supervisor is gone, refuses, or talks nonsense.
    pub fn next(&mut self, signals: &Signals, deadline: Option<Deadline>) -> Result<Next, Error> {
        loop {
            if let Some(reply) = self.buffered()? {
                return Ok(Next::Reply(reply));
            }
            let stream = self.connection.lines.get_ref();
            let patience = deadline.map_or(SILENCE, |deadline| deadline.left().min(SILENCE));
            let ready =
                wait(&[Interest::Input(stream.as_fd()), Interest::Input(signals.as_fd())], Some(patience)).map_err(Error::failed)?;
            if signals.next().map_err(Error::failed)?.is_some() {
                return Ok(Next::Interrupted);
            }
            if ready[0] {
                self.read_more()?;
            } else if deadline.is_some_and(|deadline| deadline.left().is_zero()) {
                return Ok(Next::TimedOut);
            } else {
                // The kernel tells when it ends, but not when somebody stops it.
                supervisor::greet_again(&self.folders, ANSWER).map_err(failed)?;
            }
        }
    }

    /// Waits for a reply that is due at once.
    ///
    /// # Errors
    /// As [`Client::next`].
    pub fn reply(&mut self) -> Result<Reply, Error> {
        let until = Deadline::after(QUICK);
        loop {
            if let Some(reply) = self.buffered()? {
                return Ok(reply);
            }
            wait(&[Interest::Input(self.connection.lines.get_ref().as_fd())], Some(until.left())).map_err(Error::failed)?;
            if until.left().is_zero() {
                return Err(failed(LaunchError::silent(self.supervisor())));
            }
            self.read_more()?;
        }
    }

    /// Supervisor and keeper, to wait for their ends.
    ///
    /// # Errors
    /// When they cannot be held.
    pub fn pair(&self) -> Result<Vec<PidFd>, Error> {
        supervisor::pair(&self.connection).map_err(Error::failed)
    }

    fn buffered(&mut self) -> Result<Option<Reply>, Error> {
        let buffer = self.connection.lines.buffer();
        let taken = buffer.iter().position(|&byte| byte == b'\n').map_or(buffer.len(), |end| end + 1);
        self.line.extend_from_slice(&buffer[..taken]);
        self.connection.lines.consume(taken);
        if !self.line.ends_with(b"\n") {
            return Ok(None);
        }
        let reply = serde_json::from_slice(&std::mem::take(&mut self.line))
            .map_err(|error| Error::failed(format!("the supervisor's answer makes no sense: {error}")))?;
        match reply {
            Reply::Refused(refusal) => Err(refused(refusal)),
            reply => Ok(Some(reply)),
        }
    }

    fn read_more(&mut self) -> Result<(), Error> {
        if self.line.len() > 64 * LONGEST_LINE {
            return Err(Error::failed("the supervisor's answer has no end"));
        }
        match self.connection.lines.fill_buf() {
            Ok([]) => Err(Error::gone()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(Error::gone()),
        }
    }
}

pub fn failed(error: LaunchError) -> Error {
    let hint = match &error {
        LaunchError::Silent { pid, state: 'T' | 't' } => Some(format!("continue it with `kill -CONT {pid}`; its workers keep running")),
        LaunchError::Silent { state: '?', .. } => Some("it is dead, and its keeper does not replace it; is that one stopped?".to_owned()),
        LaunchError::Silent { .. } | LaunchError::Crowded => {
            Some("if it is stopped, continue it with `kill -CONT`; its workers keep running".to_owned())
        }
        LaunchError::Protocol(_) => Some("`devstack upgrade` makes it this devstack; its workers keep running".to_owned()),
        LaunchError::Unreachable { pid, .. } => {
            let kill = pid.map_or_else(|| "SIGTERM".to_owned(), |pid| format!("`kill {pid}`"));
            Some(format!("{kill} ends it together with its workers; then start again"))
        }
        LaunchError::Io(_) | LaunchError::Stranger | LaunchError::Failed(_) => None,
    };
    match hint {
        Some(hint) => Error::failed(error).hint(hint),
        None => Error::failed(error),
    }
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Protocol { supervisor } => failed(LaunchError::Protocol(supervisor)),
        Refusal::Malformed { detail } => Error::failed(format!("the supervisor did not understand the request: {detail}")),
        Refusal::NoSuchService { service } => Error::no_such_target(format!("the supervisor knows no service `{service}`")),
        Refusal::Config { rendered } => {
            style::say(&rendered);
            Error::told(super::exit_code::USAGE)
        }
        Refusal::ShuttingDown => Error::failed("the supervisor is shutting down").hint("try again once it is gone"),
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.connection.lines.get_ref().as_fd()
    }
}
