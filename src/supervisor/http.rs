//! One HTTP question over a connection of its own, and of the answer no more than a probe needs.
//!
//! Guards that whatever answers costs little: of everything that it sends, heads and body together, only so many bytes are ever
//! read. Without that, an endpoint that sends one interim answer after the other, or a head without end, keeps the thread of a
//! whole supervisor busy for as long as it likes. No redirect is followed, no proxy asked, no connection kept.

use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Uri};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Of an answer, head and body, no more than this is read.
const LONGEST_ANSWER: usize = 128 * 1024;

/// Of its head.
const LONGEST_HEAD: usize = 32 * 1024;

/// Of its body.
const LONGEST_BODY: usize = 64 * 1024;

/// What a probe wants to know.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// What it says about itself: `reason` in a JSON object.
    pub reason: Option<String>,
}

/// # Errors
/// With a word for what happened instead of an answer.
pub async fn get(url: &str) -> Result<Answer, String> {
    let nothing = |_| "no_http_answer".to_owned();
    let uri: Uri = url.parse().map_err(|_| "no_such_url".to_owned())?;
    let (host, authority) = (uri.host().unwrap_or_default(), uri.authority().map_or("", |authority| authority.as_str()));
    let address = (host.trim_start_matches('[').trim_end_matches(']'), uri.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(address).await.map_err(|_| "connection_refused".to_owned())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let question = Request::get(path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("devstack/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(String::new())
        .map_err(|_| "no_such_url".to_owned())?;
    let io = Limited { stream, left: LONGEST_ANSWER };
    let (mut sender, connection) = http1::Builder::new().max_buf_size(LONGEST_HEAD).handshake(io).await.map_err(nothing)?;
    let exchange = async {
        let mut answer = sender.send_request(question).await.map_err(nothing)?;
        let is_json = answer.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
        let reason = if is_json { reason(&read(answer.body_mut()).await) } else { None };
        Ok(Answer { status: answer.status().as_u16(), reason })
    };
    let (mut connection, mut exchange) = (pin!(connection), pin!(exchange));
    tokio::select! {
        biased;
        done = &mut exchange => done,
        // What was received before the connection ended is still to be taken.
        _ = &mut connection => exchange.await,
    }
}

async fn read(body: &mut Incoming) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
        && bytes.len() < LONGEST_BODY
    {
        bytes.extend(Frame::into_data(frame).unwrap_or_default());
    }
    bytes
}

fn reason(body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    json.get("reason")?.as_str().map(str::to_owned)
}

/// A connection that seems to end once so much was read.
struct Limited {
    stream: TcpStream,
    left: usize,
}

/// Read at once.
const PIECE: usize = 8 * 1024;

impl hyper::rt::Read for Limited {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, mut into: hyper::rt::ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let mut piece = [0; PIECE];
        let length = PIECE.min(self.left).min(into.remaining());
        let mut buffer = ReadBuf::new(&mut piece[..length]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        self.left -= buffer.filled().len();
        into.put_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Limited {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
