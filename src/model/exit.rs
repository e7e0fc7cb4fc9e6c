use super::Signal;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a run ended. What was not seen is said to be unobserved, never guessed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Code(u8),
    Signal(Signal),
    /// It ended while nobody who could read its status was alive.
    Unobserved,
    /// It never ran; the operating system's word for why.
    NotSpawned(String),
}

impl Exit {
    pub fn is_success(&self) -> bool {
        *self == Self::Code(0)
    }

    pub fn code(&self) -> Option<u8> {
        match self {
            Self::Code(code) => Some(*code),
            Self::Signal(_) | Self::Unobserved | Self::NotSpawned(_) => None,
        }
    }

    pub fn signal(&self) -> Option<Signal> {
        match self {
            Self::Signal(signal) => Some(*signal),
            Self::Code(_) | Self::Unobserved | Self::NotSpawned(_) => None,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "killed by {signal}"),
            Self::Unobserved => f.write_str("ended unobserved"),
            Self::NotSpawned(why) => write!(f, "could not be started: {why}"),
        }
    }
}
