//! The control socket: who may speak, how long a line may be, and nothing about what is asked.

use super::message::{Inbox, Message};
use super::waiting::Waiting;
use crate::control::protocol::{Hello, LONGEST_LINE, PROTOCOL, Refusal, Reply, Request};
use crate::sys::socket;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

/// For a client to say what it wants, and to take an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Conversations at once; for the next one, whoever has kept us waiting longest makes way.
const MOST_CLIENTS: usize = 256;

/// Updates that a client may lag behind.
const BACKLOG: usize = 1024;

/// Accepts clients until the runtime ends.
pub async fn accept(listener: UnixListener, inbox: Inbox) {
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(MOST_CLIENTS));
    let waiting = Waiting::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Whoever may not speak takes nobody's place.
                if !may_speak(&stream) {
                    continue;
                }
                if places.available_permits() == 0 {
                    waiting.dismiss_one();
                }
                let Ok(place) = places.clone().acquire_owned().await else { return };
                let (inbox, waiting) = (inbox.clone(), waiting.clone());
                tokio::task::spawn_local(async move {
                    let _place = place;
                    let _ = converse(stream, inbox, &waiting).await;
                });
            }
            // Out of descriptors: without a pause this loop would spin.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn may_speak(stream: &UnixStream) -> bool {
    socket::peer(stream).is_ok_and(|(_, uid)| uid == 0 || uid == socket::own_user())
}

async fn converse(stream: UnixStream, inbox: Inbox, waiting: &Waiting) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(2 * LONGEST_LINE as u64));
    let ours = Hello::ours(std::process::id().cast_signed());
    let theirs: Option<Hello> = read_line(&mut lines, waiting).await?.and_then(|line| serde_json::from_slice(&line).ok());
    send(&mut write, waiting, &ours).await?;
    if theirs.is_none_or(|hello| hello.protocol != PROTOCOL) {
        return send(&mut write, waiting, &Reply::Refused(Refusal::Protocol { supervisor: ours })).await;
    }
    let Some(line) = read_line(&mut lines, waiting).await? else { return Ok(()) };
    let request: Request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => return send(&mut write, waiting, &Reply::Refused(Refusal::Malformed { detail: error.to_string() })).await,
    };
    let (reply, mut replies) = mpsc::channel(BACKLOG);
    if inbox.send(Message::Request(request, reply)).await.is_err() {
        return Ok(());
    }
    while let Some(reply) = replies.recv().await {
        send(&mut write, waiting, &reply).await?;
        if !matches!(reply, Reply::Update(_)) {
            break;
        }
    }
    Ok(())
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
