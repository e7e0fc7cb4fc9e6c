//! Questions asked of a service from outside: HTTP, TCP, a command. Bounded in time and in size, whatever answers.

use super::helper::Helpers;
use crate::engine::{Now, Probed};
use crate::model::{Probe, Service};
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Of an answer's body, no more than this is read.
const LONGEST_BODY: usize = 64 * 1024;

/// Of what an endpoint says about itself, no more than this is kept.
const LONGEST_REASON: usize = 200;

#[derive(Clone)]
pub struct Prober {
    client: Arc<OnceCell<Option<reqwest::Client>>>,
    helpers: Helpers,
    clock: fn() -> Now,
}

impl Prober {
    pub fn new(helpers: Helpers, clock: fn() -> Now) -> Self {
        Self { client: Arc::default(), helpers, clock }
    }

    /// Asks once; takes `limit` at most.
    pub async fn ask(&self, service: &Service, probe: &Probe, limit: Duration) -> Probed {
        let begun = (self.clock)();
        let verdict = timeout(limit, async {
            match probe {
                Probe::Http(url) => self.http(url).await,
                Probe::Tcp(address) => tcp(address).await,
                Probe::Exec(command) => self.helpers.check(service, command).await,
            }
        });
        let verdict = verdict.await.unwrap_or_else(|_| Err(format!("timeout_{}s", limit.as_secs_f64())));
        let latency = (self.clock)().boot.since(begun.boot);
        let (passed, reason) = match verdict {
            Ok(reason) => (true, reason),
            Err(reason) => (false, reason),
        };
        Probed { passed, reason: reason.chars().take(LONGEST_REASON).collect(), latency, at: begun.wall }
    }

    async fn http(&self, url: &str) -> Result<String, String> {
        let Some(client) = self.client.get_or_init(client) else { return Err("no_http_client".to_owned()) };
        let mut response = client.get(url).send().await.map_err(|error| http_error(&error))?;
        let status = response.status();
        let is_json = response.headers().get("content-type").is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
        let mut body = Vec::new();
        while is_json && body.len() < LONGEST_BODY {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(LONGEST_BODY - body.len())]),
                _ => break,
            }
        }
        let said = serde_json::from_slice::<serde_json::Value>(&body).ok().and_then(|json| json.get("reason")?.as_str().map(str::to_owned));
        if status.is_success() {
            Ok(said.unwrap_or_else(|| "healthy".to_owned()))
        } else {
            Err(said.unwrap_or_else(|| format!("http_{}", status.as_u16())))
        }
    }
}

fn client() -> Option<reqwest::Client> {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).pool_max_idle_per_host(0).build().ok()
}

fn http_error(error: &reqwest::Error) -> String {
    if error.is_connect() { "connection_refused".to_owned() } else { "no_http_answer".to_owned() }
}

async fn tcp(address: &str) -> Result<String, String> {
    match tokio::net::TcpStream::connect(address).await {
        Ok(_) => Ok("healthy".to_owned()),
        Err(error) => Err(format!("{:?}", error.kind()).to_lowercase()),
    }
}
