use super::Stack;
use serde::{Deserialize, Serialize};

/// Raised when the meaning of the file changes.
pub const LEDGER_VERSION: u32 = 1;

/// What survives devstack, but not a reboot: who is ours, what is wanted, what happened. Holds no environment value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    pub version: u32,
    /// Times and start ticks mean nothing in another boot.
    pub boot_id: String,
    pub stack: Stack,
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("it was written by another version of devstack (format {found}, this one reads {LEDGER_VERSION})")]
    Version { found: u64 },
}

impl Ledger {
    pub fn new(boot_id: String, stack: Stack) -> Self {
        Self { version: LEDGER_VERSION, boot_id, stack }
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
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
