//! `health_port`: devstack answers for a worker that has no endpoint of its own, from its first start until it is stopped; also
//! between two runs, and once it has failed for good.
//!
//! Decides nothing: what is answered is what `status` says. Guards that questions without end do not keep the owner of the
//! states from its work: what it said a moment ago is good enough for the next who asks.

use super::message::{Inbox, Message};
use crate::control::ServiceView;
use crate::control::protocol::{Reply, Request};
use crate::http::{self, Answer, Facts, Question};
use crate::model::{BootTime, MIB, Service, ServiceName};
use crate::sys::{clock, procfs};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// For as long as this, an answer is repeated.
const FRESH: Duration = Duration::from_millis(50);

/// The endpoints of services that have one.
#[derive(Default)]
pub struct HealthPorts(BTreeMap<ServiceName, Endpoint>);

struct Endpoint {
    at: SocketAddr,
    task: AbortHandle,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HealthPorts {
    /// Listens where the service says, on `address` or else only for this machine; what listens there already goes on.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub fn open(&mut self, service: &Service, address: Option<IpAddr>, inbox: &Inbox) -> io::Result<()> {
        let wanted = service.health_port.map(|port| SocketAddr::new(address.unwrap_or(Ipv4Addr::LOCALHOST.into()), port));
        if self.0.get(&service.name).map(|endpoint| endpoint.at) == wanted {
            return Ok(());
        }
        self.close(&service.name);
        let Some(at) = wanted else { return Ok(()) };
        let listener = std::net::TcpListener::bind(at).map_err(|error| io::Error::new(error.kind(), format!("{at}: {error}")))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let desk = Rc::new(Desk { service: service.name.clone(), inbox: inbox.clone(), last: RefCell::default() });
        let answer = move |question| {
            let desk = desk.clone();
            async move { desk.answer(question).await }
        };
        let task = tokio::task::spawn_local(http::serve(listener, answer)).abort_handle();
        self.0.insert(service.name.clone(), Endpoint { at, task });
        Ok(())
    }

    pub fn close(&mut self, service: &ServiceName) {
        self.0.remove(service);
    }
}

/// Where one endpoint gets its answers.
struct Desk {
    service: ServiceName,
    inbox: Inbox,
    last: RefCell<Option<(BootTime, Facts)>>,
}

impl Desk {
    async fn answer(&self, question: Question) -> Answer {
        match self.facts().await {
            Some(facts) => http::answer(&question, &facts),
            // Whoever could tell is about to end.
            None => Answer::json(503, &serde_json::json!({ "error": "shutting down" })),
        }
    }

    async fn facts(&self) -> Option<Facts> {
        let fresh = |(at, _): &&(BootTime, Facts)| clock::now().since(*at) < FRESH;
        if let Some((_, facts)) = self.last.borrow().as_ref().filter(fresh) {
            return Some(facts.clone());
        }
        let (reply, mut replies) = mpsc::channel(1);
        let request = Request::Status { services: vec![self.service.clone()], tree: false };
        self.inbox.send(Message::Request(request, reply)).await.ok()?;
        let Some(Reply::Snapshot(snapshot)) = replies.recv().await else { return None };
        let facts = facts(&snapshot.project.name, snapshot.services.first()?);
        *self.last.borrow_mut() = Some((clock::now(), facts.clone()));
        Some(facts)
    }
}

fn facts(project: &str, view: &ServiceView) -> Facts {
    let total = procfs::machine_memory().ok().filter(|bytes| *bytes > 0).map(|bytes| bytes as f64 / MIB);
    let percent = |used: f64| total.map(|total| (used / total * 1000.0).round() / 10.0);
    Facts {
        at: clock::both().wall,
        project: project.to_owned(),
        name: view.name.to_string(),
        pid: view.pid,
        state: view.state.word().to_owned(),
        ready: view.ready,
        health: view.health.status.clone(),
        reason: view.health.reason.clone(),
        uptime_seconds: view.uptime_seconds,
        remaining_seconds: view.remaining_seconds,
        cpu_percent: view.cpu_percent,
        memory_mb: view.memory_mb,
        memory_percent: view.memory_mb.and_then(percent),
        processes: view.pid.map(|_| view.processes),
        threads: Some(view.threads).filter(|threads| *threads > 0),
        heartbeat_age_seconds: view.health.heartbeat_age_seconds,
        max_runtime_hours: view.limits.max_runtime_hours,
        memory_limit_mb: view.limits.memory_limit_mb,
        cpu_limit_percent: view.limits.cpu_limit_percent,
        restarts: view.restarts_by_reason.iter().map(|(reason, count)| (reason.word().to_owned(), *count)).collect(),
        last_exit_code: view.last_exit.as_ref().and_then(|last| {
            let by_signal = last.signal.map(|signal| 128 + signal.number());
            last.code.map(i32::from).or(by_signal)
        }),
    }
}
