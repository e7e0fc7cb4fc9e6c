use super::Stack;
use serde::{Deserialize, Serialize};

/// Raised when the meaning of the file changes.
pub const LEDGER_VERSION: u32 = 1;

/// What survives devstack, but not a reboot: who is ours, what is wanted, what happened. Holds no environment value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    pub version: u32,
    #[serde(flatten)]
    pub origin: Origin,
    pub stack: Stack,
}

/// Where the numbers of a ledger mean what they say. Start ticks depend on the boot and on the time namespace of the reader,
/// pids on its pid namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub boot_id: String,
    /// Inodes that name the namespaces; `None` where they could not be read, and in a ledger of an earlier version.
    #[serde(default)]
    pub pid_namespace: Option<u64>,
    #[serde(default)]
    pub time_namespace: Option<u64>,
}

impl Origin {
    /// Whether what was written there can be held against the processes seen here.
    pub fn is_seen_from(&self, here: &Self) -> bool {
        let same = |there: Option<u64>, here: Option<u64>| there.is_none() || here.is_none() || there == here;
        self.boot_id == here.boot_id && same(self.pid_namespace, here.pid_namespace) && same(self.time_namespace, here.time_namespace)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("it was written by another version of devstack (format {found}, this one reads {LEDGER_VERSION})")]
    Version { found: u64 },
}

impl Ledger {
    pub fn new(origin: Origin, stack: Stack) -> Self {
        Self { version: LEDGER_VERSION, origin, stack }
    }

    /// # Errors
    /// When something in it cannot be written as JSON; an empty ledger would forget what runs.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// # Errors
    /// When the bytes are no ledger, or one of another format.
    pub fn from_json(bytes: &[u8]) -> Result<Self, LedgerError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        let Versioned { version } = serde_json::from_slice(bytes)?;
        if version != u64::from(LEDGER_VERSION) {
            return Err(LedgerError::Version { found: version });
        }
        Ok(serde_json::from_slice(bytes)?)
    }
}
