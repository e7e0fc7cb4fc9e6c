//! `health_port`: devstack answers for a worker that has no endpoint of its own, from its first start until it is stopped; also
//! between two runs, and once it has failed for good.
//!
//! Decides nothing: what is answered is what `status` says.

use super::desk::{self, Desk};
use super::message::Inbox;
use crate::http::{self, Answer, Question};
use crate::model::{Service, ServiceName};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;
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
        let desk = Rc::new(Desk::new(vec![service.name.clone()], inbox.clone(), FRESH));
        let answer = move |question| {
            let desk = desk.clone();
            async move { answer(&question, &desk).await }
        };
        let task = tokio::task::spawn_local(http::serve(listener, "", answer)).abort_handle();
        self.0.insert(service.name.clone(), Endpoint { at, task });
        Ok(())
    }

    pub fn close(&mut self, service: &ServiceName) {
        self.0.remove(service);
    }
}

async fn answer(question: &Question, desk: &Desk) -> Answer {
    match desk.snapshot().await {
        Ok(snapshot) => desk::facts(&snapshot).first().map_or_else(Answer::not_found, |facts| http::answer(question, facts)),
        Err(refusal) => refusal,
    }
}
