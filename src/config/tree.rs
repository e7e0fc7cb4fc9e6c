//! TOML with positions: what the parser found, before any of it has a meaning.

use super::error::Problem;
use super::source::Span;
use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

#[derive(Debug, Clone)]
pub struct Node {
    pub span: Span,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    Text(String),
    /// `None` when it does not fit 128 bits.
    Integer(Option<i128>),
    /// As it is written, because a person's `1.50` should reach an environment unchanged.
    Float(String),
    Bool(bool),
    Date,
    List(Vec<Node>),
    Table(Table),
}

pub type Table = BTreeMap<String, Entry>;

#[derive(Debug, Clone)]
pub struct Entry {
    pub key: Span,
    pub node: Node,
}

impl Value {
    /// What a person would call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::Date => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// What could be read, and what is wrong with the rest. Only duplicate keys leave a tree that is worth a closer look.
pub struct Parsed {
    pub table: Option<Table>,
    pub problems: Vec<Problem>,
    /// What an error must not show.
    pub secrets: Vec<Span>,
}

/// Past this, the first error only: a large file that is not TOML at all would yield one for every byte.
const RECOVERABLE: usize = 64 << 10;

/// `start` is the position of the text among the sources.
pub fn parse(text: &str, start: usize) -> Parsed {
    let error = match DeTable::parse(text) {
        Ok(table) => {
            let table = convert_table(table.into_inner(), start);
            return Parsed { secrets: environment_values(&table), table: Some(table), problems: Vec::new() };
        }
        Err(error) => error,
    };
    if text.len() > RECOVERABLE {
        let secrets = hidden_line(&error, text, start).into_iter().collect();
        return Parsed { table: None, problems: vec![syntax(&error, text, start, None)], secrets };
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let table = convert_table(table.into_inner(), start);
    let only_duplicates = errors.iter().all(|error| error.message() == DUPLICATE);
    let errors = worth_telling(&errors, text);
    let problems = errors.iter().map(|error| syntax(error, text, start, Some(&table))).collect();
    let mut secrets = environment_values(&table);
    secrets.extend(errors.iter().filter_map(|error| hidden_line(error, text, start)));
    Parsed { table: only_duplicates.then_some(table), problems, secrets }
}

/// Tables in one line that hold no secrets, so that a slip in them can be shown.
const HARMLESS_TABLES: [&str; 6] = ["health", "hooks", "log_rotate", "ready", "setup", "start_limit"];

/// Where the parser lost its way inside `env`, nothing tells a value from a key: what follows the first `=` is hidden.
fn hidden_line(error: &toml::de::Error, text: &str, start: usize) -> Option<Span> {
    let mut at = error.span().map_or(text.len(), |span| span.start.min(text.len()));
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let table = text[..end].rfind("\n[").map_or(0, |header| header + 1);
    let header = text[table..end].lines().next().unwrap_or_default();
    let opened = text[table..end].rfind("env");
    let is_open = opened.is_some_and(|env| {
        let between = &text[table + env..end];
        table + env >= line || between.matches('{').count() > between.matches('}').count()
    });
    let equals = text[line..end].find('=')?;
    // A table of which even the name is damaged may be `env`.
    let key = text[line..line + equals].trim();
    let is_table = text[line..end].contains(['{', '}']) && !HARMLESS_TABLES.contains(&key);
    (is_open || is_table || header.contains("env")).then_some(start + line + equals + 1..start + end)
}

const DUPLICATE: &str = "duplicate key";

/// What the parser says, and what helps.
const SYNTAX_HINTS: [(&str, &str); 10] = [
    ("recursion limit", "tables and lists may not be nested this deep"),
    ("string values must be quoted", "write text in quotes: key = \"text\""),
    ("missing comma between array elements", "put a comma between the elements; or a list above is not closed with `]`"),
    ("missing comma between key-value pairs", "put a comma between them; or a table above is not closed with `}`"),
    ("unclosed array", "close the list with `]`"),
    ("unclosed inline table", "close the table with `}`"),
    ("unclosed table", "close the header with `]`"),
    ("invalid basic string, expected `\"`", "close the text with `\"`"),
    ("invalid basic string, expected non", "write a control character as an escape: \"\\u001b\""),
    ("key with no value", "write key = value"),
];

fn syntax(error: &toml::de::Error, text: &str, start: usize, tree: Option<&Table>) -> Problem {
    let found = error.span().unwrap_or(text.len()..text.len());
    let end = found.end.min(text.len());
    let span = start + found.start.min(end)..start + end;
    let word = text.get(found.clone()).unwrap_or_default().trim();
    if error.message() == DUPLICATE {
        let header = header(text, found.start);
        let name = header.map_or(word, |header| header.1);
        let first = match header {
            Some((at, header)) => text.find(header).filter(|first| *first < at).map(|first| start + first..start + first + header.len()),
            None => tree.and_then(|tree| only_key(tree, word.trim_matches(['"', '\'']), span.start)),
        };
        let problem = Problem::new(format!("`{name}` is defined twice")).marked(&span, "again here");
        return first.map_or(problem.clone(), |first| problem.marked(&first, "first here")).hint("keep one of them, or merge them");
    }
    let line = text.get(..end).unwrap_or_default().lines().next_back().unwrap_or_default();
    let colon = line.contains(':') && !line.contains(['=', '"', '\'', '[']);
    let hint = SYNTAX_HINTS.iter().find(|(message, _)| error.message().starts_with(message)).map(|(_, hint)| *hint);
    let hint = if colon { Some("write key = value; a colon is YAML's") } else { hint };
    let message = error.message().trim_end_matches(", expected literal string");
    Problem::new(format!("this is not TOML: {message}")).at(&span).maybe_hint(hint.map(str::to_owned))
}

/// The `[header]` that `position` is part of, and where it begins.
fn header(text: &str, position: usize) -> Option<(usize, &str)> {
    let start = text.get(..position)?.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next()?;
    line.starts_with('[').then(|| (start, line.split('#').next().unwrap_or_default().trim_end()))
}

/// One mistake confuses the parser more than once: only the first of a line is told, and nothing of what a repeated table repeats.
fn worth_telling(errors: &[toml::de::Error], text: &str) -> Vec<toml::de::Error> {
    let line_of = |at: usize| text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count();
    let mut told: Vec<toml::de::Error> = Vec::new();
    let mut lines = BTreeSet::new();
    let mut repeated: Option<Span> = None;
    for error in errors {
        let at = error.span().map_or(text.len(), |span| span.start);
        if !lines.insert(line_of(at)) || repeated.as_ref().is_some_and(|table| table.contains(&at)) {
            continue;
        }
        if error.message() == DUPLICATE && header(text, at).is_some() {
            let end = text[at..].find("\n[").map_or(text.len(), |end| at + end);
            repeated = Some(at..end);
        }
        told.push(error.clone());
        if told.len() > MOST_SYNTAX {
            break;
        }
    }
    told
}

/// Each costs a look through the file.
const MOST_SYNTAX: usize = 100;

/// The key of that name before `position`, when there is no doubt which one it is.
fn only_key(table: &Table, name: &str, position: usize) -> Option<Span> {
    fn collect(table: &Table, name: &str, position: usize, found: &mut Vec<Span>) {
        for (key, entry) in table {
            if key == name && entry.key.start < position {
                found.push(entry.key.clone());
            }
            if let Value::Table(inner) = &entry.node.value {
                collect(inner, name, position, found);
            }
        }
    }
    let mut found = Vec::new();
    collect(table, name, position, &mut found);
    (found.len() == 1).then(|| found.swap_remove(0))
}

fn convert_table(table: DeTable<'_>, start: usize) -> Table {
    let entry = |(key, node): (Spanned<std::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)| {
        let span = shift(key.span(), start);
        (key.into_inner().into_owned(), Entry { key: span, node: convert(node, start) })
    };
    table.into_iter().map(entry).collect()
}

fn convert(node: Spanned<DeValue<'_>>, start: usize) -> Node {
    let span = shift(node.span(), start);
    let value = match node.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => Value::Integer(i128::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(list) => Value::List(list.into_iter().map(|element| convert(element, start)).collect()),
        DeValue::Table(table) => Value::Table(convert_table(table, start)),
    };
    Node { span, value }
}

fn shift(span: Span, start: usize) -> Span {
    span.start + start..span.end + start
}

/// Keys of which a table holds one: an override by another replaces it instead of standing beside it.
const CHECKS: [&str; 7] = ["http", "url", "tcp", "exec", "log", "notify", "delay"];

/// `over` wins key by key; tables are merged, everything else is replaced.
pub fn overlay(base: &mut Table, over: Table) {
    for (name, entry) in over {
        let is_check = name == "ready" || name == "health";
        match base.entry(name) {
            Slot::Vacant(slot) => {
                slot.insert(entry);
            }
            Slot::Occupied(mut slot) => match (&mut slot.get_mut().node.value, entry.node.value) {
                (Value::Table(old), Value::Table(new)) => {
                    if is_check && new.keys().any(|key| CHECKS.contains(&key.as_str())) {
                        old.retain(|key, _| !CHECKS.contains(&key.as_str()));
                    }
                    overlay(old, new);
                }
                (_, value) => *slot.get_mut() = Entry { key: entry.key, node: Node { span: entry.node.span, value } },
            },
        }
    }
}

/// Every value that may be a secret, wherever `env` stands.
fn environment_values(table: &Table) -> Vec<Span> {
    let mut found = Vec::new();
    for (name, entry) in table {
        match &entry.node.value {
            _ if name == "env" => leaves(&entry.node, &mut found),
            Value::Table(inner) => found.extend(environment_values(inner)),
            _ => {}
        }
    }
    found
}

/// The values themselves, without the keys and brackets around them.
pub fn leaves(node: &Node, found: &mut Vec<Span>) {
    match &node.value {
        Value::Table(table) => table.values().for_each(|entry| leaves(&entry.node, found)),
        Value::List(list) => list.iter().for_each(|element| leaves(element, found)),
        _ => found.push(node.span.clone()),
    }
}
