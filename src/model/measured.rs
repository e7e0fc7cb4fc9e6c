use super::Reason;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is called an MB throughout devstack, in bytes.
pub const MIB: f64 = 1_048_576.0;

/// What a run used of something that it may use only so much of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Measured {
    /// Bytes of the whole tree, shared pages counted once.
    Memory { used: u64, limit: u64 },
    /// Percent of one core, mean over the window.
    Cpu { used: f64, limit: f64 },
}

impl Measured {
    /// Why a run ends for which this is too much.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Memory { .. } => Reason::MemoryLimit,
            Self::Cpu { .. } => Reason::CpuLimit,
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Memory { used, limit } => write!(f, "{:.0} MB of {:.0} MB", used as f64 / MIB, limit as f64 / MIB),
            Self::Cpu { used, limit } => write!(f, "{used:.0} % of {limit:.0} % of a core"),
        }
    }
}
