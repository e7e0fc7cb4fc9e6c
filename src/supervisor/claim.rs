//! Who runs a service in the foreground: `devstack run SERVICE` holds a name in the kernel's own table of sockets, and answers there.
//!
//! Guards promise 3 between commands and supervisors without any file, which a container may not let us write. Whoever wants to
//! run a service first shows that it does (the command by the name, a supervisor by its state), and only then looks whether
//! another does; so of two that begin at the same moment at least one sees the other.

use super::launch::{self, Connection, LaunchError};
use crate::control::protocol::PROTOCOL;
use crate::model::{Pid, ProjectId, ServiceName};
use crate::sys::socket;
use std::fmt;
use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// For the kernel to queue us; one that is stopped has long been connected to.
const PATIENCE: Duration = Duration::from_secs(1);

fn name(project: &ProjectId, service: &ServiceName) -> String {
    format!("devstack/{}/{}/run/{service}", socket::own_user(), project.0)
}

/// The right to run one service, as long as this process lives.
#[derive(Debug)]
pub struct Claim(pub(super) UnixListener);

impl Claim {
    /// `Err`: who has it.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn take(project: &ProjectId, service: &ServiceName) -> std::io::Result<Result<Self, Holder>> {
        let taken = socket::claim_and_listen(&name(project, service))?;
        Ok(taken.map(Self).ok_or_else(|| holder(project, service).unwrap_or(Holder(None))))
    }
}

/// The process that runs a service in the foreground, as far as it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder(Option<Pid>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "`devstack run`, pid {pid}"),
            None => f.write_str("`devstack run`"),
        }
    }
}

/// Another process that has the service. What a stranger holds under that name means nothing.
pub fn holder(project: &ProjectId, service: &ServiceName) -> Option<Holder> {
    match socket::connect_claimed(&name(project, service), PATIENCE) {
        Ok(stream) => match socket::peer(&stream) {
            Ok((pid, uid)) if uid == socket::own_user() && pid != std::process::id().cast_signed() => Some(Holder(Some(pid))),
            _ => None,
        },
        Err(error) if error.kind() == ErrorKind::WouldBlock => Some(Holder(None)),
        Err(_) => None,
    }
}

/// Whether another process has the service.
pub fn is_in_foreground(project: &ProjectId, service: &ServiceName) -> bool {
    holder(project, service).is_some()
}

/// A conversation with the process that runs a service in the foreground; `None` when there is none.
///
/// # Errors
/// When it does not answer, or speaks another protocol.
pub fn reach(project: &ProjectId, service: &ServiceName) -> Result<Option<Connection>, LaunchError> {
    if holder(project, service).is_none() {
        return Ok(None);
    }
    let Ok(stream) = socket::connect_claimed(&name(project, service), PATIENCE) else { return Ok(None) };
    match launch::greet(stream, launch::PATIENCE)? {
        connection if connection.hello.protocol != PROTOCOL => Err(LaunchError::Protocol(connection.hello)),
        connection => Ok(Some(connection)),
    }
}
