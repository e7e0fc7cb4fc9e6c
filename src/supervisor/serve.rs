//! The control socket: who may speak, how long a line may be, and nothing about what is asked.

use super::helper::Helpers;
use super::message::{Inbox, Message};
use super::upgrade;
use crate::control::protocol::{Hello, LONGEST_LINE, PROTOCOL, Refusal, Reply, Request};
use crate::sys::socket;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

/// For a client to say what it wants, and to take an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Conversations at once; the next one waits in the kernel's queue.
const MOST_CLIENTS: u32 = 256;

/// Updates that a client may lag behind.
const BACKLOG: usize = 1024;

/// Places for conversations, and whether new ones may begin.
#[derive(Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    is_closed: watch::Sender<bool>,
}

impl Places {
    pub fn new() -> Self {
        Self { free: Arc::new(Semaphore::new(MOST_CLIENTS as usize)), is_closed: watch::Sender::new(false) }
    }

    /// No conversation begins until what is answered is dropped; who comes meanwhile waits in the kernel's queue.
    pub fn close(&self) -> Closed<'_> {
        self.is_closed.send_replace(true);
        Closed(self)
    }

    async fn one(&self) -> Option<OwnedSemaphorePermit> {
        self.is_closed.subscribe().wait_for(|is_closed| !is_closed).await.ok()?;
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
    while let Some(place) = places.one().await {
        let accepted = tokio::select! {
            biased;
            _ = is_closed.wait_for(|is_closed| *is_closed) => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (inbox, helpers) = (inbox.clone(), helpers.clone());
                tokio::task::spawn_local(async move {
                    let _place = place;
                    let _ = converse(stream, inbox, &helpers).await;
                });
            }
            // Out of descriptors: without a pause this loop would spin.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(stream: UnixStream, inbox: Inbox, helpers: &Helpers) -> std::io::Result<()> {
    let (_, uid) = socket::peer(&stream)?;
    if uid != 0 && uid != socket::own_user() {
        return Ok(());
    }
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(2 * LONGEST_LINE as u64));
    let ours = Hello::ours(std::process::id().cast_signed());
    let theirs: Option<Hello> = read_line(&mut lines).await?.and_then(|line| serde_json::from_slice(&line).ok());
    send(&mut write, &ours).await?;
    let Some(theirs) = theirs else {
        return send(&mut write, &Reply::Refused(Refusal::Protocol { supervisor: ours })).await;
    };
    let Some(line) = read_line(&mut lines).await? else { return Ok(()) };
    // Before the protocol is looked at: this is how two that do not speak the same come to do so.
    if crate::control::upgrade::is_asked(&line) {
        if let Ok(stream) = lines.into_inner().into_inner().reunite(write) {
            upgrade::ask(stream, helpers, &inbox).await;
        }
        return Ok(());
    }
    if theirs.protocol != PROTOCOL {
        return send(&mut write, &Reply::Refused(Refusal::Protocol { supervisor: ours })).await;
    }
    let request: Request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => return send(&mut write, &Reply::Refused(Refusal::Malformed { detail: error.to_string() })).await,
    };
    let (reply, mut replies) = mpsc::channel(BACKLOG);
    if inbox.send(Message::Request(request, reply)).await.is_err() {
        return Ok(());
    }
    while let Some(reply) = replies.recv().await {
        send(&mut write, &reply).await?;
        if !matches!(reply, Reply::Update(_)) {
            break;
        }
    }
    Ok(())
}

async fn read_line(lines: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut limited = lines.take(LONGEST_LINE as u64);
    timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await??;
    Ok(line.ends_with(b"\n").then_some(line))
}

async fn send(write: &mut OwnedWriteHalf, message: &impl serde::Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    timeout(PATIENCE, write.write_all(&line)).await?
}
