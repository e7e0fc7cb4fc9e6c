//! The control socket: who may speak, how long a line may be, and nothing about what is asked.

use super::helper::Helpers;
use super::message::{Inbox, Message};
use super::upgrade;
use super::waiting::Waiting;
use crate::control::protocol::{Hello, LONGEST_LINE, PROTOCOL, Refusal, Reply, Request};
use crate::engine::StartMode;
use crate::journal::{Asker, Happened};
use crate::model::Pid;
use crate::sys::{procfs, socket};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// For a client to say what it wants, and to take an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Conversations at once; for the next one, whoever has kept us waiting longest makes way.
const MOST_CLIENTS: u32 = 256;

/// Characters of a client's command line that are kept.
const LONGEST_COMMAND: usize = 200;

/// Updates that a client may lag behind.
const BACKLOG: usize = 1024;

/// Places for conversations, and whether new ones may begin.
#[derive(Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    is_closed: watch::Sender<bool>,
    waiting: Waiting,
}

impl Places {
    pub fn new() -> Self {
        Self { free: Arc::new(Semaphore::new(MOST_CLIENTS as usize)), is_closed: watch::Sender::new(false), waiting: Waiting::default() }
    }

    /// No conversation begins until what is answered is dropped; who comes meanwhile waits in the kernel's queue.
    pub fn close(&self) -> Closed<'_> {
        self.is_closed.send_replace(true);
        Closed(self)
    }

    async fn one(&self) -> Option<OwnedSemaphorePermit> {
        if self.free.available_permits() == 0 {
            self.waiting.dismiss_one();
        }
        self.free.clone().acquire_owned().await.ok()
    }
}

pub struct Closed<'a>(&'a Places);

impl Closed<'_> {
    /// Returns once no conversation is left.
    pub async fn is_empty(&self) {
        let _ = self.0.free.acquire_many(MOST_CLIENTS).await;
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.is_closed.send_replace(false);
    }
}

/// Accepts clients until the runtime ends.
pub async fn accept(listener: UnixListener, inbox: Inbox, places: Places, helpers: Helpers) {
    let mut is_closed = places.is_closed.subscribe();
    while is_closed.wait_for(|is_closed| !is_closed).await.is_ok() {
        let accepted = tokio::select! {
            biased;
            _ = is_closed.wait_for(|is_closed| *is_closed) => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // Whoever may not speak takes nobody's place.
            Ok((stream, _)) if may_speak(&stream) => {
                let Some(place) = places.one().await else { return };
                let (inbox, waiting, helpers) = (inbox.clone(), places.waiting.clone(), helpers.clone());
                tokio::task::spawn_local(async move {
                    let _place = place;
                    let _ = converse(stream, inbox, &waiting, &helpers).await;
                });
            }
            Ok(_) => {}
            // Out of descriptors: without a pause this loop would spin.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn may_speak(stream: &UnixStream) -> bool {
    socket::peer(stream).is_ok_and(|(_, uid)| uid == 0 || uid == socket::own_user())
}

async fn converse(stream: UnixStream, inbox: Inbox, waiting: &Waiting, helpers: &Helpers) -> std::io::Result<()> {
    let peer = socket::peer(&stream).ok();
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(2 * LONGEST_LINE as u64));
    let ours = Hello::ours(std::process::id().cast_signed());
    let theirs: Option<Hello> = read_line(&mut lines, waiting).await?.and_then(|line| serde_json::from_slice(&line).ok());
    send(&mut write, waiting, &ours).await?;
    let Some(theirs) = theirs else {
        return send(&mut write, waiting, &Reply::Refused(Refusal::Protocol { supervisor: ours })).await;
    };
    let Some(line) = read_line(&mut lines, waiting).await? else { return Ok(()) };
    // Before the protocol is looked at: this is how two that do not speak the same come to do so.
    if crate::control::upgrade::is_asked(&line) {
        if let Ok(stream) = lines.into_inner().into_inner().reunite(write) {
            upgrade::ask(stream, helpers, &inbox).await;
        }
        return Ok(());
    }
    if theirs.protocol != PROTOCOL {
        return send(&mut write, waiting, &Reply::Refused(Refusal::Protocol { supervisor: ours })).await;
    }
    let request: Request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => return send(&mut write, waiting, &Reply::Refused(Refusal::Malformed { detail: error.to_string() })).await,
    };
    if let Some(asked) = asked(&request, peer)
        && inbox.send(Message::Asked(asked)).await.is_err()
    {
        return Ok(());
    }
    let (reply, mut replies) = mpsc::channel(BACKLOG);
    if inbox.send(Message::Request(request, reply)).await.is_err() {
        return Ok(());
    }
    while let Some(reply) = replies.recv().await {
        send(&mut write, waiting, &reply).await?;
        if !matches!(reply, Reply::Update(_) | Reply::Warning { .. }) {
            break;
        }
    }
    Ok(())
}

/// Who asks for something to be done, for the journal; they may be gone by the time that somebody wonders.
fn asked(request: &Request, peer: Option<(Pid, u32)>) -> Option<Happened> {
    let (pid, uid) = peer?;
    let (what, services) = match request {
        Request::Status { .. } => return None,
        Request::Start { services, mode: StartMode::Ensure, .. } => ("start", services.clone()),
        Request::Start { services, mode: StartMode::Restart, .. } => ("restart", services.clone()),
        Request::Stop { services, .. } => ("stop", services.clone()),
        Request::Shutdown { .. } => ("shutdown", Vec::new()),
    };
    let command = procfs::command(pid).chars().take(LONGEST_COMMAND).collect();
    let name = |pid| procfs::stat(pid).ok().map(|stat| String::from_utf8_lossy(&stat.comm).into_owned());
    let parent = procfs::stat(pid).ok().and_then(|stat| name(stat.ppid));
    Some(Happened::Asked { what: what.to_owned(), services, by: Asker { pid, uid, command, parent } })
}

async fn read_line(lines: &mut (impl AsyncBufReadExt + Unpin), waiting: &Waiting) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut limited = lines.take(LONGEST_LINE as u64);
    waiting.on(PATIENCE, limited.read_until(b'\n', &mut line)).await?;
    Ok(line.ends_with(b"\n").then_some(line))
}

async fn send(write: &mut OwnedWriteHalf, waiting: &Waiting, message: &impl serde::Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    waiting.on(PATIENCE, write.write_all(&line)).await
}
