//! Which lines of one log are shown.

use super::level::Level;
use super::merge::time_of;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use regex::bytes::Regex;

/// What is asked of each line.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub grep: Option<Regex>,
    /// At least.
    pub level: Option<Level>,
}

impl Wanted {
    pub fn is_everything(&self) -> bool {
        self.grep.is_none() && self.level.is_none()
    }
}

/// What a line says of itself, or the line that it belongs to: a traceback has the level and the time of what it follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Said {
    pub time: Option<Timestamp>,
    pub level: Option<Level>,
}

/// Over the lines of one log, in their order.
#[derive(Debug, Clone)]
pub struct Filter {
    wanted: Wanted,
    zone: TimeZone,
    said: Said,
}

impl Filter {
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, zone: TimeZone::system(), said: Said::default() }
    }

    /// What is known of this line; `None`: it is not shown.
    pub fn look(&mut self, line: &[u8]) -> Option<Said> {
        let (time, level) = (time_of(line, &self.zone), Level::of(line));
        self.said = match (time, level) {
            (None, level) => Said { level: level.or(self.said.level), ..self.said },
            // A line that begins with a time begins anew.
            (time, level) => Said { time, level },
        };
        let is_grave = self.wanted.level.is_none_or(|least| self.said.level.unwrap_or(Level::Info) >= least);
        let matches = || self.wanted.grep.as_ref().is_none_or(|grep| grep.is_match(line));
        (is_grave && matches()).then_some(self.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceback_belongs_to_its_line_and_a_line_with_a_time_begins_anew() {
        let mut filter = Filter::new(Wanted { level: Some(Level::Warning), ..Wanted::default() });
        let mut shown = |line: &str| filter.look(line.as_bytes()).is_some();
        assert!(!shown("plain words") && !shown("2025-11-19 10:30:00 INFO all is well"));
        assert!(shown("2025-11-19 10:30:00 ERROR it failed") && shown("Traceback (most recent call last):") && shown("  File"));
        assert!(!shown("2025-11-19 10:30:01 no level") && !shown("  nor here"));
    }

    #[test]
    fn both_wishes_hold_together() {
        let grep = Regex::new("disk").ok();
        let mut filter = Filter::new(Wanted { level: Some(Level::Error), grep });
        let mut shown = |line: &str| filter.look(line.as_bytes()).is_some();
        assert!(shown("ERROR disk is full") && !shown("INFO disk is well") && !shown("ERROR no network"));
    }
}
