//! Questions asked of a service from outside: HTTP, TCP, a command. Bounded in time and in size, whatever answers.

use super::helper::Helpers;
use super::http::Answer;
use crate::engine::{Now, Probed};
use crate::model::{Probe, Service};
use std::time::Duration;
use tokio::time::timeout;

/// Of what an endpoint says about itself, no more than this is kept.
const LONGEST_REASON: usize = 200;

#[derive(Clone)]
pub struct Prober {
    helpers: Helpers,
    clock: fn() -> Now,
}

impl Prober {
    pub fn new(helpers: Helpers, clock: fn() -> Now) -> Self {
        Self { helpers, clock }
    }

    /// Asks once; takes `limit` at most.
    pub async fn ask(&self, service: &Service, probe: &Probe, limit: Duration) -> Probed {
        let begun = (self.clock)();
        let verdict = timeout(limit, async {
            match probe {
                Probe::Http(url) => http(url).await,
                Probe::Tcp(address) => tcp(address).await,
                Probe::Exec(command) => self.helpers.check(service, command).await,
            }
        });
        let verdict = verdict.await;
        let timed_out = verdict.is_err();
        let verdict = verdict.unwrap_or_else(|_| Err(format!("timeout_{}s", limit.as_secs_f64())));
        let latency = (self.clock)().boot.since(begun.boot);
        let (passed, reason) = match verdict {
            Ok(reason) => (true, reason),
            Err(reason) => (false, reason),
        };
        let reason = reason.chars().take(LONGEST_REASON).collect();
        Probed { passed, timed_out, reason, latency, at: begun.wall, activity: None }
    }
}

async fn http(url: &str) -> Result<String, String> {
    let Answer { status, reason } = super::http::get(url).await?;
    if (200..300).contains(&status) {
        Ok(reason.unwrap_or_else(|| "healthy".to_owned()))
    } else {
        Err(reason.unwrap_or_else(|| format!("http_{status}")))
    }
}

async fn tcp(address: &str) -> Result<String, String> {
    match tokio::net::TcpStream::connect(address).await {
        Ok(_) => Ok("healthy".to_owned()),
        Err(error) => Err(format!("{:?}", error.kind()).to_lowercase()),
    }
}
