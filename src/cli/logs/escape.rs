//! A line of a log for a terminal: its colours obeyed, everything else a terminal would obey made visible.

use crate::cli::style;
use std::fmt::Write;

const ESCAPE: char = '\x1b';

/// Without `colors` the colours are left out rather than shown as escapes: they are noise, not an attack.
pub fn shown(line: &[u8], colors: bool) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut text = String::with_capacity(line.len());
    let mut colored = false;
    for chunk in line.utf8_chunks() {
        colored |= push_text(&mut text, chunk.valid(), colors);
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if colored {
        text.push_str("\x1b[0m");
    }
    text
}

/// Whether a colour was passed on, and has to be reset.
fn push_text(text: &mut String, mut rest: &str, colors: bool) -> bool {
    let mut colored = false;
    while let Some(at) = rest.find(ESCAPE) {
        text.push_str(&style::visible(&rest[..at]));
        rest = &rest[at..];
        let sequence = color_sequence(rest).unwrap_or_default();
        if sequence.is_empty() {
            text.push_str("\\x1b");
            rest = &rest[ESCAPE.len_utf8()..];
        } else if colors {
            text.push_str(sequence);
            colored = true;
        }
        rest = &rest[sequence.len()..];
    }
    text.push_str(&style::visible(rest));
    colored
}

/// `ESC [ digits, semicolons and colons m`, if `text` begins with one.
fn color_sequence(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\x1b[")?;
    let length = parameters.find(|c: char| !matches!(c, '0'..='9' | ';' | ':'))?;
    parameters[length..].starts_with('m').then(|| &text[..2 + length + 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_pass_and_are_reset_and_nothing_else_is_obeyed() {
        for (line, expected) in [
            (&b"plain\ttext"[..], "plain\ttext"),
            (b"windows\r", "windows"),
            (b"10%\r20%\r", "10%\\x0d20%"),
            (b"\x1b[1;31mred", "\x1b[1;31mred\x1b[0m"),
            (b"\x1b[38:2:1:2:3mx\x1b[m", "\x1b[38:2:1:2:3mx\x1b[m\x1b[0m"),
            (b"\x1b[2J\x1b[31", "\\x1b[2J\\x1b[31"),
            (b"\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
            (b"\x1b\x1b[0m", "\\x1b\x1b[0m\x1b[0m"),
            (b"\x9b2J \xff\0", "\\x9b2J \\xff\\x00"),
            ("\u{9b}2J\u{202e}".as_bytes(), "\\x9b2J\\u{202e}"),
        ] {
            assert_eq!(shown(line, true), expected, "{line:?}");
        }
        assert_eq!(shown(b"\x1b[1;31mred\x1b[0m \x1b[2J", false), "red \\x1b[2J");
    }

    proptest::proptest! {
        #[test]
        fn no_control_character_survives(line: Vec<u8>, colors: bool) {
            let text = shown(&line, colors).replace("\x1b[0m", "");
            let mut rest = text.as_str();
            while let Some(at) = rest.find(ESCAPE) {
                proptest::prop_assert!(colors && color_sequence(&rest[at..]).is_some());
                rest = &rest[at + 1..];
            }
            proptest::prop_assert!(text.chars().all(|c| c == '\t' || c == '\n' || c == ESCAPE || !c.is_control()));
        }
    }
}
