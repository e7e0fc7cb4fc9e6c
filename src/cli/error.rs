use super::{exit_code, style};
use std::fmt;

/// What a command answers instead of success: what happened, where, and the next step.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    place: Option<String>,
    hint: Option<String>,
}

/// Decides the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Failed,
    Usage,
    NoSuchTarget,
    Interrupted,
    /// The supervisor was killed under a conversation.
    Gone,
    /// Already told in full, for instance by a table or by the configuration's own rendering.
    Told(u8),
}

impl Error {
    fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string(), place: None, hint: None }
    }

    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(Kind::Failed, message)
    }

    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub fn no_such_target(message: impl fmt::Display) -> Self {
        Self::new(Kind::NoSuchTarget, message)
    }

    pub fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "interrupted")
    }

    /// The supervisor ended while it was asked.
    pub fn gone() -> Self {
        Self::new(Kind::Gone, "the supervisor ended while it was asked").hint("its workers keep running; try the command again")
    }

    pub fn is_gone(&self) -> bool {
        self.kind == Kind::Gone
    }

    /// Nothing more to say; only the exit status is left.
    pub fn told(exit_code: u8) -> Self {
        Self::new(Kind::Told(exit_code), "")
    }

    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(place.to_string());
        self
    }

    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Failed | Kind::Gone => exit_code::FAILED,
            Kind::Usage => exit_code::USAGE,
            Kind::NoSuchTarget => exit_code::NO_SUCH_TARGET,
            Kind::Interrupted => exit_code::INTERRUPTED,
            Kind::Told(code) => code,
        }
    }

    /// On standard error, in the contract's form; text from elsewhere has its control characters escaped.
    pub fn print(&self) {
        if matches!(self.kind, Kind::Told(_) | Kind::Interrupted) {
            return;
        }
        let mut text = format!("{} {}\n", style::error("error:"), style::visible(&self.message));
        if let Some(place) = &self.place {
            text.push_str(&format!("  {} {}\n", style::faint("-->"), style::visible(place)));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("{} {}\n", style::hint("hint:"), style::visible(hint)));
        }
        style::say(&text);
    }
}
