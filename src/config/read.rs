//! From nodes to typed values: every mistake is noted and the reading goes on, so that all are told at once.

use super::error::Problem;
use super::source::Span;
use super::tree::{self, Node, Table, Value};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A value and where it was written; `key` is where its name was.
#[derive(Debug, Clone)]
pub struct At<T> {
    pub key: Span,
    pub span: Span,
    pub value: T,
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub struct Faults {
    pub found: Vec<Problem>,
    pub secrets: Vec<Span>,
}

impl Faults {
    pub fn add(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// The wrong kind of value for a key.
    pub fn mismatch<T: Read>(&mut self, node: &Node, name: &str) {
        let found = node.value.kind();
        let problem = Problem::new(format!("`{name}` takes {}, not {found}", T::WHAT)).at(&node.span);
        self.add(problem.hint(format!("for instance {}", T::EXAMPLE.replace("{}", name))));
    }
}

/// What a key of devstack.toml can hold.
pub trait Read: Sized {
    /// Completes "takes …".
    const WHAT: &'static str;
    /// How it is written; `{}` stands for the key.
    const EXAMPLE: &'static str;

    /// `None` after noting why.
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self>;
}

/// A list of something has its own words.
pub trait Element: Read {
    const LIST: &'static str;
    const LIST_EXAMPLE: &'static str;

    /// Whether it is of the right kind, and how it is written then.
    fn written(value: &Value) -> Option<String>;
}

/// What to say of a list that is none, or of an element that does not belong: the nearest thing that would be right.
fn list_hint<T: Element>(value: &Value, name: &str) -> String {
    match T::written(value) {
        Some(written) => format!("write a list: {name} = [{written}]"),
        None => format!("for instance {}", T::LIST_EXAMPLE.replace("{}", name)),
    }
}

impl<T: Element> Read for Vec<At<T>> {
    const WHAT: &'static str = T::LIST;
    const EXAMPLE: &'static str = T::LIST_EXAMPLE;

    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        let Value::List(list) = &node.value else {
            let problem = Problem::new(format!("`{name}` takes {}, not {}", T::LIST, node.value.kind())).at(&node.span);
            faults.add(problem.hint(list_hint::<T>(&node.value, name)));
            return None;
        };
        let before = faults.found.len();
        let mut values = Vec::with_capacity(list.len());
        for element in list {
            if T::written(&element.value).is_none() {
                let found = element.value.kind();
                let problem = Problem::new(format!("`{name}` takes {}, and this is {found}", T::LIST)).at(&element.span);
                faults.add(problem.hint(list_hint::<T>(&element.value, name)));
                continue;
            }
            let value = T::read(element, name, faults);
            values.extend(value.map(|value| At { key: element.span.clone(), span: element.span.clone(), value }));
        }
        (faults.found.len() == before).then_some(values)
    }
}

/// Named things of one kind: services, groups. What cannot be read is left out, after noting why.
impl<T: Read> Read for BTreeMap<String, At<T>> {
    const WHAT: &'static str = "a table";
    const EXAMPLE: &'static str = T::EXAMPLE;

    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        let Value::Table(table) = &node.value else {
            faults.mismatch::<Self>(node, name);
            return None;
        };
        let mut read = Self::new();
        for (key, entry) in table {
            let value = T::read(&entry.node, key, faults);
            let at = |value| At { key: entry.key.clone(), span: entry.node.span.clone(), value };
            read.extend(value.map(|value| (key.clone(), at(value))));
        }
        Some(read)
    }
}

/// One key of a table. `None` when it is silent, or after noting why it cannot be read.
pub fn field<T: Read>(table: &Table, name: &str, broken: &mut bool, faults: &mut Faults) -> Option<At<T>> {
    let entry = table.get(name)?;
    let value = T::read(&entry.node, name, faults);
    *broken |= value.is_none();
    Some(At { key: entry.key.clone(), span: entry.node.span.clone(), value: value? })
}

/// Words that other tools use for what a key of ours means.
const ELSEWHERE: [(&str, &str); 34] = [
    ("args", "command"),
    ("autorestart", "restart"),
    ("cmd", "command"),
    ("cpu", "cpu_limit"),
    ("cwd", "cwd"),
    ("depends", "depends_on"),
    ("dir", "cwd"),
    ("directory", "cwd"),
    ("entrypoint", "command"),
    ("environment", "env"),
    ("exec", "command"),
    ("exec_start", "command"),
    ("grace", "stop_timeout"),
    ("healthcheck", "health"),
    ("healthcheck_port", "health_port"),
    ("kill_signal", "stop_signal"),
    ("kill_timeout", "stop_timeout"),
    ("log", "log_file"),
    ("logfile", "log_file"),
    ("logs", "log_file"),
    ("max_memory_restart", "memory_limit"),
    ("mem_limit", "memory_limit"),
    ("memory", "memory_limit"),
    ("port", "ports"),
    ("process", "services"),
    ("processes", "services"),
    ("program", "services"),
    ("readiness", "ready"),
    ("run", "command"),
    ("stdout_logfile", "log_file"),
    ("stopsignal", "stop_signal"),
    ("stopwaitsecs", "stop_timeout"),
    ("virtualenv", "venv"),
    ("working_directory", "cwd"),
];

/// Notes every key that is not in `known`. Its value is hidden: a misspelt `env` holds secrets as well.
pub fn unknown_keys(table: &Table, name: &str, known: &[&str], faults: &mut Faults) -> bool {
    let before = faults.found.len();
    for (key, entry) in table.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
        if matches!(entry.node.value, Value::Table(_)) {
            tree::leaves(&entry.node, &mut faults.secrets);
        }
        let elsewhere = ELSEWHERE.iter().find(|(word, ours)| word == key && known.contains(ours)).map(|(_, ours)| *ours);
        let hint = match closest(key, known.iter().copied()).or(elsewhere) {
            Some(near) => format!("did you mean `{near}`?\n{}", expected(name, known)),
            None => expected(name, known),
        };
        let whose = if name.is_empty() { String::new() } else { format!(" in `{name}`") };
        faults.add(Problem::new(format!("unknown key `{key}`{whose}")).at(&entry.key).hint(hint));
    }
    faults.found.len() > before
}

/// In lines that fit a terminal.
fn expected(name: &str, known: &[&str]) -> String {
    const WIDTH: usize = 90;
    let mut line = if name.is_empty() { "the file takes".to_owned() } else { format!("`{name}` takes") };
    let mut lines = String::new();
    for (index, key) in known.iter().enumerate() {
        if line.len() + key.len() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line = String::new();
        }
        let space = if line.is_empty() { "" } else { " " };
        let comma = if index + 1 < known.len() { "," } else { "" };
        line.push_str(&format!("{space}{key}{comma}"));
    }
    lines + &line
}

/// The known name that a person most likely meant.
pub fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word: String = word.to_lowercase().replace('-', "_").chars().take(64).collect();
    let far = (word.chars().count() / 3).max(1);
    let distance = |name: &str| {
        let name = name.replace('-', "_");
        let begins = word.len() >= 3 && name.starts_with(&word);
        if begins { 1 } else { strsim::damerau_levenshtein(&word, &name) }
    };
    known.map(|name| (distance(name), name)).filter(|(distance, _)| *distance <= far).min().map(|(_, name)| name)
}
