use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A Linux signal number with its name, as `kill -l` spells it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(u8);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such signal; use a name such as SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1 or SIGKILL")]
pub struct UnknownSignal;

/// Numbers 1 to 31 on x86-64 and ARM, in order (signal(7)).
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

impl Signal {
    pub const INT: Self = Self(2);
    pub const ABRT: Self = Self(6);
    pub const KILL: Self = Self(9);
    pub const USR1: Self = Self(10);
    pub const TERM: Self = Self(15);
    pub const CONT: Self = Self(18);
    pub const STOP: Self = Self(19);

    /// `None` outside 1 to 64.
    pub fn from_number(number: i32) -> Option<Self> {
        u8::try_from(number).ok().filter(|n| (1..=64).contains(n)).map(Self)
    }

    pub fn number(self) -> i32 {
        i32::from(self.0)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => f.write_str(name),
            None => write!(f, "SIG{}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Signal {
    type Err = UnknownSignal;
    /// Accepts `SIGTERM`, `TERM`, `sigterm` and the real-time form `SIG34` that `Display` writes.
    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        let named = NAMES.iter().position(|name| &name[3..] == bare).map(|index| index as i32 + 1);
        named.or_else(|| bare.parse().ok().filter(|n| *n > 31)).and_then(Self::from_number).ok_or(UnknownSignal)
    }
}

impl TryFrom<String> for Signal {
    type Error = UnknownSignal;
    fn try_from(text: String) -> Result<Self, UnknownSignal> {
        text.parse()
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_reads_back_what_it_prints() {
        for number in 1..=64 {
            let signal = Signal::from_number(number).expect("in range");
            assert_eq!(signal.to_string().parse(), Ok(signal));
        }
        for bad in ["SIGFOO", "", "0", "65", "SIG0", "-1", "15x"] {
            assert_eq!(bad.parse::<Signal>(), Err(UnknownSignal), "{bad}");
        }
    }
}
