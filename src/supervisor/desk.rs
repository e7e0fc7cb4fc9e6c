//! Where HTTP endpoints get what they answer from: the snapshot that `status` shows.
//!
//! Guards that questions without end do not keep the owner of the states from its work: what it said a moment ago is good enough
//! for the next who asks.

use super::message::{Inbox, Message};
use crate::control::protocol::Reply;
use crate::control::{ServiceView, Snapshot};
use crate::http::{Answer, Facts};
use crate::model::{BootTime, MIB, ServiceName};
use crate::sys::{clock, procfs};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;

pub struct Desk {
    /// None named: all.
    services: Vec<ServiceName>,
    inbox: Inbox,
    /// For as long as this, an answer is repeated.
    fresh: Duration,
    last: RefCell<Option<(BootTime, Rc<Snapshot>)>>,
}

impl Desk {
    pub fn new(services: Vec<ServiceName>, inbox: Inbox, fresh: Duration) -> Self {
        Self { services, inbox, fresh, last: RefCell::default() }
    }

    /// # Errors
    /// When whoever could tell is about to end.
    pub async fn snapshot(&self) -> Result<Rc<Snapshot>, Answer> {
        let is_fresh = |(at, _): &&(BootTime, Rc<Snapshot>)| clock::now().since(*at) < self.fresh;
        if let Some((_, snapshot)) = self.last.borrow().as_ref().filter(is_fresh) {
            return Ok(snapshot.clone());
        }
        let gone = || Answer::json(503, &serde_json::json!({ "error": "shutting down" }));
        let (reply, mut replies) = mpsc::channel(1);
        self.inbox.send(Message::Glance(self.services.clone(), reply)).await.map_err(|_| gone())?;
        let Some(Reply::Snapshot(snapshot)) = replies.recv().await else { return Err(gone()) };
        let snapshot: Rc<Snapshot> = snapshot.into();
        *self.last.borrow_mut() = Some((clock::now(), snapshot.clone()));
        Ok(snapshot)
    }
}

/// Of each service of a snapshot.
pub fn facts(snapshot: &Snapshot) -> Vec<Facts> {
    let total = procfs::machine_memory().ok().filter(|bytes| *bytes > 0).map(|bytes| bytes as f64 / MIB);
    snapshot.services.iter().map(|view| of_service(&snapshot.project.name, view, total)).collect()
}

fn of_service(project: &str, view: &ServiceView, machine_memory: Option<f64>) -> Facts {
    let percent = |used: f64| machine_memory.map(|total| (used / total * 1000.0).round() / 10.0);
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
        strays: view.pid.map(|_| view.strays),
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
