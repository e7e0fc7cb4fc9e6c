use super::{ServiceName, Signal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Tells one checkout from another, whatever their projects are called: derived from the root folder's canonical path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProjectId(pub String);

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// devstack.toml, resolved: every default filled in, every path absolute, every reference checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    pub name: String,
    pub id: ProjectId,
    /// The folder that holds devstack.toml, canonical.
    pub root: PathBuf,
    pub config_file: PathBuf,
    pub log_dir: PathBuf,
    /// Bytes that all logs together may take before the oldest old ones go; `None`: any.
    pub log_limit: Option<u64>,
    /// Where the project's endpoint listens, if it has one.
    pub http_listen: Option<std::net::SocketAddr>,
    pub services: BTreeMap<ServiceName, Arc<Service>>,
    pub groups: BTreeMap<String, Vec<ServiceName>>,
}

/// One service, resolved. Environment values are kept out of everything that is written or shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub name: ServiceName,
    /// devstack does not run it; it checks that it is there, and may run `command` once to bring it up.
    pub external: bool,
    /// Never empty for a service that devstack runs.
    pub command: Vec<String>,
    #[serde(with = "super::path")]
    pub cwd: PathBuf,
    #[serde(skip)]
    pub env: BTreeMap<String, String>,
    pub env_files: Vec<EnvFile>,
    /// Its `bin/` leads PATH.
    #[serde(default, with = "super::path::optional")]
    pub venv: Option<PathBuf>,
    pub depends_on: Vec<ServiceName>,
    /// The groups that name it: two services of one are never recycled at the same moment.
    #[serde(default)]
    pub groups: Vec<String>,
    pub setup: Option<Setup>,
    /// How a copy started by hand is recognised.
    pub match_argv: Vec<String>,
    pub ports: Vec<u16>,
    pub health: Option<HealthCheck>,
    pub ready: Ready,
    pub heartbeat_timeout: Option<Duration>,
    pub max_runtime: Option<Duration>,
    /// Share of `max_runtime`, 0 to 1, by which a run may end earlier.
    pub max_runtime_jitter: f64,
    /// Bytes, of the whole tree.
    pub memory_limit: Option<u64>,
    /// Percent of one core, mean over `cpu_window`.
    pub cpu_limit: Option<f64>,
    pub cpu_window: Duration,
    pub restart: RestartPolicy,
    pub restart_delay: Duration,
    pub restart_delay_max: Duration,
    pub start_limit: StartLimit,
    pub stop_signal: Signal,
    pub stop_timeout: Duration,
    pub kill_mode: KillMode,
    pub health_port: Option<u16>,
    #[serde(with = "super::path")]
    pub log_file: PathBuf,
    pub log_rotate: LogRotate,
    pub watch: Vec<String>,
    pub hooks: Hooks,
}

/// A file of `KEY=value` lines, read again at every start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvFile {
    #[serde(with = "super::path")]
    pub path: PathBuf,
    /// Written with a trailing `?`: may be missing.
    pub optional: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    pub command: Vec<String>,
    /// The set-up runs only while this is missing.
    #[serde(default, with = "super::path::optional")]
    pub creates: Option<PathBuf>,
}

/// One question asked of a service from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// Passes on a 2xx answer.
    Http(String),
    /// `host:port`; passes when a connection opens.
    Tcp(String),
    /// Passes when it exits 0.
    Exec(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub probe: Probe,
    pub interval: Duration,
    pub timeout: Duration,
    /// So many failures in a row make it unhealthy.
    pub failures: u32,
    /// Failures before this age of the run, or before its first success, do not count.
    pub start_period: Duration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    pub when: ReadyWhen,
    /// How long `start` waits for it.
    pub timeout: Duration,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadyWhen {
    Probe(Probe),
    /// A line of this run's log matches.
    Log(String),
    /// `READY=1` over NOTIFY_SOCKET (sd_notify(3)).
    Notify,
    /// Still alive after so long.
    Delay(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

/// At most `burst` starts that were not asked for or planned within `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartLimit {
    pub burst: u32,
    pub interval: Duration,
}

/// systemd.kill(5): who gets the stop signal, and who is killed after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillMode {
    /// The stop signal to the main process, SIGKILL to what is left.
    Mixed,
    /// The stop signal to every process, SIGKILL to what is left.
    ControlGroup,
    /// The main process only; its children are left alone on purpose.
    Process,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRotate {
    /// Bytes; `None`: never.
    pub size: Option<u64>,
    pub keep: u32,
    /// A shorter one too, once its last rotation is so long ago.
    #[serde(default)]
    pub age: Option<Duration>,
    /// Old logs from the second one on.
    #[serde(default)]
    pub compress: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hooks {
    pub pre_start: Option<Vec<String>>,
    pub post_stop: Option<Vec<String>>,
}
