//! Colours, and the one way that text from elsewhere reaches a terminal.

use crate::model::is_obeyed_by_terminals;
use console::{Color, Style};
use std::fmt;
use std::io::Write;

/// When to colour, as `--color` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    Always,
    Never,
}

impl ColorChoice {
    /// Settles it for the whole process, each stream by itself.
    pub fn apply(self) {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let settle = |is_terminal: bool| match self {
            Self::Auto => is_terminal && !no_color,
            Self::Always => true,
            Self::Never => false,
        };
        console::set_colors_enabled(settle(console::Term::stdout().is_term()));
        console::set_colors_enabled_stderr(settle(console::Term::stderr().is_term()));
    }
}

pub fn error(text: &str) -> impl fmt::Display {
    Style::new().for_stderr().red().bold().apply_to(text.to_owned())
}

pub fn hint(text: &str) -> impl fmt::Display {
    Style::new().for_stderr().cyan().apply_to(text.to_owned())
}

pub fn faint(text: &str) -> impl fmt::Display {
    Style::new().for_stderr().dim().apply_to(text.to_owned())
}

/// The colour a service keeps in every interleaved output: by its place in the list.
pub fn of_service(index: usize) -> Style {
    const COLORS: [Color; 6] = [Color::Cyan, Color::Yellow, Color::Green, Color::Magenta, Color::Blue, Color::Red];
    Style::new().fg(COLORS[index % COLORS.len()])
}

/// Words for a person, on standard error. A closed or full stream is no reason to fail.
pub fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Text with everything that a terminal would obey made visible, except newline and tab.
pub fn visible(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            _ if !is_obeyed_by_terminals(c) || c == '\n' || c == '\t' => safe.push(c),
            '\0'..='\u{ff}' => safe.push_str(&format!("\\x{:02x}", u32::from(c))),
            _ => safe.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        }
    }
    safe
}

/// As [`visible`], on one line.
pub fn one_line(text: &str) -> String {
    visible(text).replace('\n', " ")
}

/// JSON that says the same and does nothing to a terminal: its strings may hold any character as an escape.
pub fn harmless_json(json: &str) -> String {
    let escaped = |c: char| if is_obeyed_by_terminals(c) && c != '\n' { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    if json.chars().any(|c| is_obeyed_by_terminals(c) && c != '\n') { json.chars().map(escaped).collect() } else { json.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_meaning_and_loses_its_power() {
        let said = serde_json::json!({"reason": "\u{9b}2J\u{202e}\x7f\x1b[2J\u{2028}\u{61c} plain \u{e9}"});
        let json = harmless_json(&serde_json::to_string_pretty(&said).expect("JSON"));
        assert!(!json.contains(|c: char| is_obeyed_by_terminals(c) && c != '\n') && json.contains("plain \u{e9}"), "{json}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).expect("JSON"), said);
    }
}
