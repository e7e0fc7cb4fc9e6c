use super::changes::Changed;
use super::upgrade::Asker;
use crate::control::protocol::{Reply, Request};
use crate::engine::{Notice, Report};
use crate::journal::Happened;
use crate::model::{ProcId, RunId, ServiceName, Signal};
use tokio::sync::mpsc;

/// What reaches the one owner of the stack. Producers are tasks that hold no state of their own.
#[derive(Debug)]
pub enum Message {
    Report(ServiceName, RunId, Report),
    Notice(ServiceName, Notice),
    /// The main process of a run has ended; its status is still to be read.
    MainEnded(ServiceName, RunId, ProcId),
    /// A sweep that waited for processes to end may go on.
    SweepDue(RunId),
    /// The use of memory and processor is to be looked at.
    SampleDue(RunId),
    FilesChanged(ServiceName, Changed),
    /// Something below us ended that is no main process.
    ChildEnded,
    /// Comes before the request that it is about.
    Asked(Happened),
    Request(Request, mpsc::Sender<Reply>),
    /// An endpoint wants a snapshot of these, or of all if none is named.
    Glance(Vec<ServiceName>, mpsc::Sender<Reply>),
    Upgrade(Asker),
    /// SIGTERM, or another that asks for the same.
    Terminate(Signal),
}

/// Where producers put their messages.
pub type Inbox = mpsc::Sender<Message>;
