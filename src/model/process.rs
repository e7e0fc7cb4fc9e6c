use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

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
