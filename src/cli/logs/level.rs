//! How grave a line is, by the words that loggers write.

use clap::ValueEnum;

/// In order of gravity, as Python's logging names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Level {
    Debug,
    Info,
    #[value(alias = "warn")]
    Warning,
    Error,
    #[value(alias = "fatal")]
    Critical,
}

/// Where the word is looked for: after a time, a process and a module, before the message.
const HEAD: usize = 160;

/// What Python prints of an exception that nobody caught.
const TRACEBACK: &[u8] = b"Traceback (most recent call last)";

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// `None`: the line does not say. The first word counts; in a line of JSON, the one after its key `level` or the like.
    pub fn of(line: &[u8]) -> Option<Self> {
        let head = &line[..line.len().min(HEAD)];
        if head.starts_with(TRACEBACK) {
            return Some(Self::Error);
        }
        let is_json = head.starts_with(b"{");
        let mut words = head.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        if is_json {
            words.by_ref().find(|word| [&b"level"[..], b"levelname", b"severity", b"lvl"].contains(word))?;
            return words.next().and_then(Self::named_in_any_case);
        }
        let named_by_key = |word: &[u8]| word == b"level" || word == b"lvl";
        while let Some(word) = words.next() {
            if named_by_key(word) {
                return words.next().and_then(Self::named_in_any_case);
            }
            // In lower case it is a word like any other, unless a key says what it is.
            if let Some(level) = Self::named(word) {
                return Some(level);
            }
        }
        None
    }

    fn named_in_any_case(word: &[u8]) -> Option<Self> {
        Self::named(&word.to_ascii_uppercase())
    }

    fn named(word: &[u8]) -> Option<Self> {
        match word {
            b"DEBUG" | b"TRACE" => Some(Self::Debug),
            b"INFO" | b"NOTICE" => Some(Self::Info),
            b"WARNING" | b"WARN" => Some(Self::Warning),
            b"ERROR" => Some(Self::Error),
            b"CRITICAL" | b"FATAL" => Some(Self::Critical),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_loggers_write_it() {
        for (line, level) in [
            ("2025-11-19 10:30:00,123 WARNING apps.bot slow", Some(Level::Warning)),
            ("INFO:     127.0.0.1:50000 - \"GET /health HTTP/1.1\" 200 OK", Some(Level::Info)),
            ("[2025-11-19 10:30:00 +0000] [7] [ERROR] Worker failed", Some(Level::Error)),
            ("ts=2025-11-19T10:30:00Z level=warn msg=\"an ERROR\"", Some(Level::Warning)),
            ("{\"time\": \"2025-11-19\", \"level\": \"critical\", \"msg\": \"INFO\"}", Some(Level::Critical)),
            ("{\"msg\": \"no ERROR at all\"}", None),
            ("Traceback (most recent call last):", Some(Level::Error)),
            ("  File \"worker.py\", line 3", None),
            ("an error occurred", None),
            ("ERRORS: 0", None),
            ("", None),
        ] {
            assert_eq!(Level::of(line.as_bytes()), level, "{line}");
        }
        assert!(Level::Warning < Level::Critical);
    }
}
