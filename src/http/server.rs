use super::host;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// For a client to send its headers; and for all of it, the answer taken.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
const DONE_WITHIN: Duration = Duration::from_secs(10);

/// In bytes, of the request line and the headers together.
const LONGEST_HEAD: usize = 16 << 10;

/// At once; whoever has been there longest makes way for the next.
const MOST_CLIENTS: usize = 128;

/// Out of descriptors: without a pause the loop would spin.
const PAUSE: Duration = Duration::from_millis(100);

const METHOD_NOT_ALLOWED: u16 = 405;

/// What is asked, as far as anybody cares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    pub path: String,
    pub query: String,
    pub accept: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

impl Answer {
    pub fn json(status: u16, value: &impl serde::Serialize) -> Self {
        Self { status, content_type: "application/json", body: serde_json::to_string(value).unwrap_or_default() }
    }

    pub fn not_found() -> Self {
        Self::json(404, &serde_json::json!({ "error": "not found" }))
    }
}

/// Answers GET and HEAD, one request a connection, until the future is dropped. `called`: what the address was called by whoever set
/// it up; clients may ask by that name.
pub async fn serve<F, A>(listener: TcpListener, called: &str, answer: F)
where
    F: Fn(Question) -> A + Clone + 'static,
    A: Future<Output = Answer> + 'static,
{
    let Ok(bound) = listener.local_addr().map(|address| address.ip()) else { return };
    let place: Arc<(IpAddr, String)> = Arc::new((bound, called.to_owned()));
    let mut clients = Clients::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                clients.add(tokio::task::spawn_local(converse(stream, place.clone(), answer.clone())).abort_handle());
                // However many wait in line: whoever has asked by now is answered before others can make it leave.
                tokio::task::yield_now().await;
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Whoever is being answered.
#[derive(Default)]
struct Clients(VecDeque<AbortHandle>);

impl Clients {
    fn add(&mut self, client: AbortHandle) {
        self.0.retain(|client| !client.is_finished());
        if self.0.len() >= MOST_CLIENTS
            && let Some(longest) = self.0.pop_front()
        {
            longest.abort();
        }
        self.0.push_back(client);
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

async fn converse<F, A>(stream: TcpStream, place: Arc<(IpAddr, String)>, answer: F)
where
    F: Fn(Question) -> A + Clone + 'static,
    A: Future<Output = Answer> + 'static,
{
    let respond = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let answer = answer.clone();
        let judged = judge(&request, &place);
        async move {
            Ok::<_, Infallible>(match judged {
                Ok(question) => response(answer(question).await),
                Err(refusal) => response(refusal),
            })
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(LONGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), respond);
    let _ = tokio::time::timeout(DONE_WITHIN, connection).await;
}

fn judge<B>(request: &Request<B>, (bound, called): &(IpAddr, String)) -> Result<Question, Answer> {
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    // HTTP/1.0 knows no Host, and no browser speaks it.
    let named = text(HOST).or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    let is_old = request.version() < hyper::Version::HTTP_11 && !request.headers().contains_key(HOST);
    if !is_old && !named.is_some_and(|name| host::is_ours(name, *bound, called)) {
        return Err(Answer::json(421, &serde_json::json!({ "error": "not asked by a name of this machine" })));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Answer::json(METHOD_NOT_ALLOWED, &serde_json::json!({ "error": "method not allowed" })));
    }
    Ok(Question {
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        accept: text(ACCEPT).unwrap_or_default().to_owned(),
    })
}

fn response(answer: Answer) -> Response<String> {
    let mut response = Response::new(answer.body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if answer.status == METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    response
}
