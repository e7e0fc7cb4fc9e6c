//! `[http] listen`: one endpoint for the whole project, read only, as long as its supervisor lives.
//!
//! Decides nothing: what is answered is what `status` and `events` say. Any user of the machine may ask, so what is for the
//! owner of the project alone, the lines that workers wrote, is not among it.

use super::clear;
use super::desk::{self, Desk};
use super::message::Inbox;
use crate::http::{self, Answer, Question};
use crate::journal::{Happened, LastWords, Record, Records};
use crate::model::ServiceName;
use crate::sys::{clock, journal_file, procfs};
use serde_json::json;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// For as long as this, a snapshot of all services is repeated.
const FRESH: Duration = Duration::from_millis(250);

/// Bytes from the end of the journal that are looked through for events.
const REACH: u64 = 128 * 1024;

const EVENTS: usize = 100;

#[derive(Default)]
pub struct ProjectEndpoint {
    /// Asked for; `task` is there while it is listened to.
    at: Option<SocketAddr>,
    task: Option<AbortHandle>,
    /// Why it is not listened to although asked for.
    pub trouble: Option<String>,
}

impl ProjectEndpoint {
    /// Listens where the configuration says; what listens there already goes on, and what could not is tried again.
    pub fn open(&mut self, wanted: Option<SocketAddr>, journal: PathBuf, inbox: &Inbox) {
        if self.at == wanted && self.trouble.is_none() {
            return;
        }
        self.close();
        self.at = wanted;
        let Some(at) = wanted else { return };
        match listen(at) {
            Ok(listener) => {
                let desk = Rc::new(Desk::new(Vec::new(), inbox.clone(), FRESH));
                let answer = move |question| {
                    let (desk, journal) = (desk.clone(), journal.clone());
                    async move { answer(&question, &desk, &journal).await }
                };
                self.task = Some(tokio::task::spawn_local(http::serve(listener, "", answer)).abort_handle());
            }
            Err(error) => self.trouble = Some(format!("`[http] listen` is not served: {at}: {}", why(&error, at))),
        }
    }

    fn close(&mut self) {
        (self.at, self.trouble) = (None, None);
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

fn why(error: &io::Error, at: SocketAddr) -> String {
    let holder = procfs::holder_of_port(at.port()).ok().flatten().filter(|_| error.kind() == io::ErrorKind::AddrInUse);
    match holder.and_then(|holder| holder.pid) {
        Some(pid) => format!("taken by pid {pid} (`{}`)", clear::command_line(pid)),
        None => error.to_string(),
    }
}

fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(at)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn answer(question: &Question, desk: &Desk, journal: &std::path::Path) -> Answer {
    if question.path == "/api/v1/events" {
        return events(question, journal);
    }
    let snapshot = match desk.snapshot().await {
        Ok(snapshot) => snapshot,
        Err(refusal) => return refusal,
    };
    if question.path == "/api/v1/status" {
        return Answer::json(200, &*snapshot);
    }
    if let Some(name) = question.path.strip_prefix("/api/v1/services/") {
        let service = snapshot.services.iter().find(|service| service.name.as_str() == name);
        return service.map_or_else(Answer::not_found, |service| Answer::json(200, service));
    }
    http::answer_for_all(question, &desk::facts(&snapshot), clock::both().wall).unwrap_or_else(Answer::not_found)
}

/// `{"events": […]}`, oldest first: the last `n` (100), of `service` if one is named.
fn events(question: &Question, journal: &std::path::Path) -> Answer {
    let value =
        |key: &str| question.query.split('&').filter_map(|pair| pair.split_once('=')).find(|(it, _)| *it == key).map(|(_, value)| value);
    let most = match value("n").map(str::parse) {
        None => EVENTS,
        Some(Ok(most)) => most,
        Some(Err(_)) => return Answer::json(400, &json!({ "error": "n is not a number" })),
    };
    let service = match value("service").map(ServiceName::new) {
        None => None,
        Some(Ok(service)) => Some(service),
        Some(Err(_)) => return Answer::not_found(),
    };
    let mut records = Records::read(&journal_file::read_end(journal, REACH)).records;
    records.retain(|record| service.is_none() || record.service == service);
    let last = records.split_off(records.len().saturating_sub(most));
    Answer::json(200, &json!({ "events": last.into_iter().map(for_anybody).collect::<Vec<_>>() }))
}

fn for_anybody(mut record: Record) -> Record {
    if let Happened::Ended(ended) = &mut record.happened {
        ended.last_words = LastWords { peak_memory_mb: ended.last_words.peak_memory_mb, ..LastWords::default() };
    }
    record
}
