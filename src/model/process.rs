use super::{Mark, ServiceName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A process number as the kernel gives it; by itself never enough to signal anything.
pub type Pid = i32;

/// A process that cannot be confused with a later one of the same number: within one boot, a pid and the start time of
/// `/proc/PID/stat` (field 22, clock ticks since boot) belong to one process only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcId {
    pub pid: Pid,
    pub start_ticks: u64,
}

/// A file that cannot be confused with another, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId {
    pub dev: u64,
    pub ino: u64,
}

/// One process as one scan saw it. What could not be read is `None` or empty: absence proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub id: ProcId,
    pub ppid: Pid,
    pub pgid: Pid,
    pub sid: Pid,
    /// It has a controlling terminal that nobody has hung up.
    pub on_terminal: bool,
    /// SIGHUP is ignored, as under nohup(1): the terminal's end would not be its own.
    pub ignores_hangup: bool,
    /// The letter of proc(5).
    pub state: u8,
    /// The real user id; `None` when it could not be read.
    pub uid: Option<u32>,
    pub same_pid_namespace: bool,
    pub argv: Vec<Vec<u8>>,
    pub exe: Option<PathBuf>,
    pub cwd: Option<PathBuf>,
    /// The nearest folder at or above `cwd` that holds a devstack.toml: the project it stands in.
    pub home: Option<PathBuf>,
    /// `DEVSTACK_RUN` of its environment.
    pub cookie: Option<String>,
    /// `DEVSTACK_ROOT` of its environment: the root of the project that started it.
    pub root: Option<PathBuf>,
    /// Inherited from the main process of a run; looked for where a process does not share the session of its parent.
    pub mark: Option<Mark>,
    /// The run of this project in whose group the kernel has it.
    pub run_group: Option<(ServiceName, RunId)>,
    /// What its descriptors 1 and 2 are open on.
    pub outputs: [Option<FileId>; 2],
    pub age: Duration,
    pub memory_bytes: u64,
}

impl Observed {
    /// The command line for a person: not escaped, and no way back to the vector.
    pub fn command(&self) -> String {
        let words: Vec<_> = self.argv.iter().map(|word| String::from_utf8_lossy(word)).collect();
        words.join(" ")
    }
}

/// One incarnation of a service, written `epoch-seq` (the epoch in hexadecimal).
///
/// The epoch changes when the ledger is made anew, so that a run is never numbered like an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId {
    pub epoch: u64,
    pub seq: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a run id of the form `7f3a-12`")]
pub struct InvalidRunId;

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.seq)
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;
    fn from_str(text: &str) -> Result<Self, InvalidRunId> {
        let (epoch, seq) = text.split_once('-').ok_or(InvalidRunId)?;
        Ok(Self { epoch: u64::from_str_radix(epoch, 16).map_err(|_| InvalidRunId)?, seq: seq.parse().map_err(|_| InvalidRunId)? })
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidRunId;
    fn try_from(text: String) -> Result<Self, InvalidRunId> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.to_string()
    }
}
