use super::client::failed;
use super::{Error, context::Context, style};
use crate::control::protocol::Hello;
use crate::control::upgrade::{ASK, Answer};
use crate::supervisor::{self, Connection, LaunchError};
use crate::sys::poll::{Deadline, Interest, wait};
use crate::sys::procfs;
use crate::sys::signals::{self, Signals};
use std::io::{BufRead, Write};
use std::os::fd::AsFd;
use std::time::Duration;

/// Have the running supervisor become this devstack; workers keep running
///
/// Its pid and those of the workers stay. What is starting or stopping is finished first; Ctrl-C takes the request back.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {}

/// Longer than the supervisor gives this program to say its version.
const PATIENCE: Duration = Duration::from_secs(5);

const HERE: &str = env!("CARGO_PKG_VERSION");

/// # Errors
/// When the supervisor cannot, with its reason.
pub fn run(_: &Args, context: &Context) -> Result<(), Error> {
    let reach = || supervisor::reach(&context.folders, supervisor::PATIENCE).map_err(failed);
    let Some(mut connection) = reach()? else {
        style::say("no supervisor runs; the next `devstack start` starts this one\n");
        return Ok(());
    };
    let before = connection.hello.clone();
    if is_this_program(before.pid) {
        style::say(&format!("supervisor pid {}: is this devstack {HERE} already\n", before.pid));
        return Ok(());
    }
    let keeps = ask(&mut connection)?;
    let after = reach()?.map(|connection| connection.hello);
    match after {
        Some(after) if after.pid == before.pid && is_this_program(after.pid) => {
            let (from, services) = (style::visible(&before.version), if keeps == 1 { "service" } else { "services" });
            style::say(&format!("supervisor pid {}: devstack {from} -> {HERE}, keeps {keeps} {services} running\n", after.pid));
            Ok(())
        }
        after => {
            let now = after.map_or("gone".to_owned(), |hello| format!("pid {}, devstack {}", hello.pid, hello.version));
            let error = Error::failed(format!("the supervisor did not become this devstack {HERE}; it is {now}"));
            Err(error.hint(format!("{} says why; workers keep running", context.folders.own_log().display())))
        }
    }
}

/// Returns how many services keep running, once the supervisor has let go of its old program.
fn ask(connection: &mut Connection) -> Result<u64, Error> {
    let pid = connection.hello.pid;
    let signals = Signals::hold(&[signals::INTERRUPT, signals::TERMINATE]).map_err(Error::failed)?;
    connection.lines.get_mut().write_all(format!("{ASK}\n").as_bytes()).map_err(Error::failed)?;
    let (mut keeps, mut until) = (None, Some(Deadline::after(PATIENCE)));
    let mut line = Vec::new();
    loop {
        let stream = connection.lines.get_ref();
        let came =
            wait(&[Interest::Input(stream.as_fd()), Interest::Input(signals.as_fd())], until.map(Deadline::left)).map_err(Error::failed)?;
        if signals.next().map_err(Error::failed)?.is_some() {
            return Err(Error::interrupted());
        }
        if !came[0] && until.is_none_or(|until| !until.left().is_zero()) {
            continue;
        }
        if !came[0] {
            return Err(failed(LaunchError::silent(pid)));
        }
        let more = connection.lines.fill_buf().unwrap_or_default();
        if more.is_empty() {
            return keeps.ok_or_else(|| Error::failed("the supervisor ended while it was asked").hint("try the command again"));
        }
        let taken = more.len();
        line.extend_from_slice(more);
        connection.lines.consume(taken);
        while let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            let one: Vec<u8> = line.drain(..=end).collect();
            match serde_json::from_slice(&one) {
                // It is there, and takes the time that its services take.
                Ok(Answer::Waiting { services }) => {
                    until = None;
                    let services = if services.is_empty() { "a command".to_owned() } else { services.join(", ") };
                    style::say(&style::visible(&format!("waiting until nothing is under way: {services}\n")));
                }
                Ok(Answer::Now { keeps: running }) => {
                    (keeps, until) = (Some(running), Some(Deadline::after(PATIENCE)));
                }
                Ok(Answer::Refused { why }) => return Err(Error::failed(format!("the supervisor stays what it is: {why}"))),
                Err(_) => return Err(too_old(&connection.hello)),
            }
        }
        if line.len() > crate::control::protocol::LONGEST_LINE {
            return Err(Error::failed("the supervisor's answer has no end"));
        }
    }
}

/// It answered something else: it is of a time before `upgrade`.
fn too_old(hello: &Hello) -> Error {
    Error::failed(format!("the supervisor (pid {}, devstack {}) cannot become another program", hello.pid, hello.version))
        .hint("`devstack stop --supervisor` of that version ends it together with its workers; then start again")
}

fn is_this_program(pid: i32) -> bool {
    let own = procfs::exe_id(std::process::id().cast_signed());
    own.is_some() && own == procfs::exe_id(pid)
}

/// What a person should know who talks to a supervisor that is not this program.
pub fn note_about(hello: &Hello) -> Option<String> {
    let Hello { pid, version, .. } = hello;
    let offer = "`devstack upgrade` makes it this one; workers keep running";
    if version != HERE {
        Some(format!("note: supervisor pid {pid} is devstack {version}, this is {HERE}; {offer}\n"))
    } else if procfs::is_exe_gone(*pid) && !is_this_program(*pid) {
        Some(format!("note: the program file of supervisor pid {pid} was replaced; {offer}\n"))
    } else {
        None
    }
}
