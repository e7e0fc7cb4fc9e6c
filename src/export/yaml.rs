//! JSON values as YAML that people read: blocks, with every text that could be taken for something else in quotes.
//!
//! A double-quoted scalar of YAML 1.2 takes every escape that JSON has, so any text survives.

use serde_json::Value;
use std::fmt::Write;

/// Documents of one file.
pub fn documents(values: &[Value]) -> String {
    values.iter().map(document).collect::<Vec<_>>().join("---\n")
}

pub fn document(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

fn block(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                let _ = write!(text, "{indent}{}:", scalar(&Value::String(key.clone())));
                below(value, depth, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut inner = String::new();
                block(item, depth + 1, &mut inner);
                let _ = write!(text, "{indent}- {}", inner.trim_start_matches(' '));
            }
        }
        value => drop(writeln!(text, "{indent}{}", scalar(value))),
    }
}

fn below(value: &Value, depth: usize, text: &mut String) {
    let is_block =
        matches!(value, Value::Object(entries) if !entries.is_empty()) || matches!(value, Value::Array(items) if !items.is_empty());
    if is_block {
        text.push('\n');
        block(value, depth + 1, text);
    } else {
        let _ = writeln!(text, " {}", scalar(value));
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        // What JSON leaves as it is and YAML takes for a line break.
        Value::String(_) => value
            .to_string()
            .replace('\u{85}', "\\u0085")
            .replace('\u{2028}', "\\u2028")
            .replace('\u{2029}', "\\u2029")
            .replace('\u{7f}', "\\u007f"),
        value => value.to_string(),
    }
}

/// Nothing that any YAML reader takes for a number, a date, a truth value or punctuation.
fn is_plain(text: &str) -> bool {
    let begins = text.starts_with(|it: char| it.is_ascii_alphabetic() || it == '/');
    let word = text.to_ascii_lowercase();
    let is_said = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"].contains(&word.as_str());
    begins && !is_said && text.chars().all(|it| it.is_ascii_alphanumeric() || "_-./".contains(it))
}
