//! Colours, and the one way that text from elsewhere reaches a terminal.

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

/// Text with everything a terminal would obey made visible: C0 and C1 controls except newline and tab, DEL, line and
/// paragraph separators, and the bidirectional overrides that reorder what is read.
pub fn visible(text: &str) -> String {
    let obeyed = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            _ if !obeyed(c) => safe.push(c),
            '\0'..='\u{ff}' => safe.push_str(&format!("\\x{:02x}", u32::from(c))),
            _ => safe.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        }
    }
    safe
}
