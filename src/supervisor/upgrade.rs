//! Another program in the supervisor's place, on request: who may ask, when it is done, and what is told.
//!
//! What is under way is finished first: no service is starting or stopping, no client waits for an answer. Then this is what
//! a crash would be, without the crash: the ledger is on disk, and the next program recovers from it. The keeper goes on with
//! the old program until the new one has recovered ([`KeeperLink::succeed`]); a new one that fails before that is replaced by
//! the old.

use super::helper::Helpers;
use super::message::{Inbox, Message};
use super::succession::Inherited;
use crate::control::upgrade::Answer;
use crate::engine::{Stack, State};
use crate::model::ServiceName;
use crate::sys::failpoint::{self, Failpoint};
use crate::sys::keeper::KeeperLink;
use crate::sys::reexec::Program;
use std::io;
use std::os::fd::AsFd;
use tokio::net::UnixStream;

/// Whoever asked, and the program that it runs.
#[derive(Debug)]
pub struct Asker {
    stream: UnixStream,
    program: Program,
}

/// Looks at who asks. The program is the kernel's word about the other end of the connection, never the client's.
pub async fn ask(stream: UnixStream, helpers: &Helpers, inbox: &Inbox) {
    let program = match Program::of_peer(&stream) {
        Ok(program) => program,
        Err(error) => return tell(&stream, &Answer::Refused { why: format!("the program that asks cannot be looked at: {error}") }),
    };
    match helpers.version_of(&program).await {
        Ok(_) => drop(inbox.send(Message::Upgrade(Asker { stream, program })).await),
        Err(why) => tell(&stream, &Answer::Refused { why: format!("the program that asks is no devstack that could run here: {why}") }),
    }
}

/// A line is far smaller than the buffer of a socket; whoever does not read it has gone.
fn tell(stream: &UnixStream, answer: &Answer) {
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    let _ = stream.try_write(&line);
}

/// Those who wait for an upgrade. The last one's program is the one that comes.
#[derive(Default)]
pub struct Upgrade {
    askers: Vec<Asker>,
    told: Option<Vec<String>>,
}

impl Upgrade {
    pub fn add(&mut self, asker: Asker) {
        self.askers.push(asker);
        self.told = None;
    }

    /// Whoever gave up is forgotten.
    pub fn is_asked(&mut self) -> bool {
        self.askers.retain(|asker| !matches!(asker.stream.try_read(&mut [0]), Ok(0)));
        !self.askers.is_empty()
    }

    pub fn wait_for(&mut self, services: &[ServiceName]) {
        let services: Vec<String> = services.iter().map(ToString::to_string).collect();
        if self.told.as_ref() != Some(&services) {
            self.tell(&Answer::Waiting { services: services.clone() });
            self.told = Some(services);
        }
    }

    /// Returns only when it was refused, and then nothing has changed.
    pub fn perform(&mut self, inherited: &Inherited, link: &KeeperLink, saved: Result<(), String>, stack: &Stack) {
        let why = match (saved, self.askers.last()) {
            (Err(error), _) => format!("the ledger cannot be saved: {error}"),
            (Ok(()), None) => return,
            (Ok(()), Some(asker)) => {
                let keeps = stack.slots().values().filter(|slot| slot.process.is_some()).count() as u64;
                self.tell(&Answer::Now { keeps });
                format!("the kernel refused: {}", become_program(&asker.program, inherited, link))
            }
        };
        self.tell(&Answer::Refused { why });
        self.askers.clear();
    }

    pub fn refuse(&mut self, why: &str) {
        self.tell(&Answer::Refused { why: why.to_owned() });
        self.askers.clear();
    }

    fn tell(&self, answer: &Answer) {
        self.askers.iter().for_each(|asker| tell(&asker.stream, answer));
    }
}

fn become_program(program: &Program, inherited: &Inherited, link: &KeeperLink) -> io::Error {
    match inherited.pass_on(link.as_fd()) {
        Ok(succession) => {
            failpoint::reach(Failpoint::Upgrading);
            succession.argv.perform(program, succession.inherit)
        }
        Err(error) => error,
    }
}

/// What is on its way somewhere. Who waits for others, or is late, may do so for ever.
pub fn under_way(stack: &Stack) -> Vec<ServiceName> {
    let moves = |state: &State| match state {
        State::SettingUp { .. } | State::Clearing { .. } | State::PreStart { .. } | State::Spawning { .. } => true,
        State::Starting { late_at: Some(_), .. } => true,
        State::Stopping { .. } | State::Killing { .. } | State::Draining { .. } | State::PostStop { .. } => true,
        State::Stopped | State::Waiting | State::Starting { late_at: None, .. } | State::Running { .. } | State::Stuck { .. } => false,
        State::Backoff { .. } | State::Exited { .. } | State::Failed { .. } | State::Present => false,
    };
    stack.slots().iter().filter(|(_, slot)| moves(&slot.state)).map(|(name, _)| name.clone()).collect()
}
