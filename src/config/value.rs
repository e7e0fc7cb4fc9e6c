//! The single values of devstack.toml, read with everything that can be said about them without knowing the rest of the file.

use super::error::Problem;
use super::json::schema;
use super::read::{At, Element, Faults, Read, closest};
use super::tree::{Node, Value};
use crate::model::{KillMode, RestartPolicy, Signal};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port(pub u16);
/// 0: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaybePort(pub Option<u16>);
#[derive(Debug, Clone, Copy)]
pub struct Count(pub u32);
/// Never empty, and neither is its first word.
#[derive(Debug, Clone)]
pub struct Argv(pub Vec<String>);
#[derive(Debug, Clone)]
pub struct Environment(pub BTreeMap<String, String>);
/// A folder, or `false` for none.
#[derive(Debug, Clone)]
pub struct Venv(pub Option<String>);
#[derive(Debug, Clone)]
pub struct EnvFiles(pub Vec<At<String>>);
/// One of a few words.
#[derive(Debug, Clone, Copy)]
pub struct Choice<T>(pub T);

schema!(Port, { "type": "integer", "minimum": 1, "maximum": 65535 });
schema!(MaybePort, { "type": "integer", "minimum": 0, "maximum": 65535 });
schema!(Count, { "type": "integer", "minimum": 0, "maximum": 4_294_967_295_u32 });
schema!(Argv, { "oneOf": [{ "type": "array", "items": { "type": "string" }, "minItems": 1 }, { "type": "string", "minLength": 1 }] });
schema!(Environment, { "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } });
schema!(Venv, { "oneOf": [{ "type": "string" }, { "const": false }] });
schema!(EnvFiles, { "oneOf": [{ "type": "array", "items": { "type": "string" } }, { "type": "string" }] });
schema!(Choice<RestartPolicy>, { "enum": RestartPolicy::words() });
schema!(Choice<KillMode>, { "enum": KillMode::words() });
schema!(Signal, { "type": "string", "examples": ["SIGTERM", "SIGINT", "SIGQUIT"] });

/// A whole number between two bounds.
fn whole<R: Read>(node: &Node, name: &str, faults: &mut Faults, least: i128, most: i128, what: &str) -> Option<i128> {
    match &node.value {
        Value::Integer(Some(number)) if (least..=most).contains(number) => Some(*number),
        Value::Integer(_) | Value::Float(_) => {
            let problem = Problem::new(format!("`{name}` takes {what} from {least} to {most}")).at(&node.span);
            faults.add(problem.hint(format!("for instance {}", R::EXAMPLE.replace("{}", name))));
            None
        }
        _ => {
            faults.mismatch::<R>(node, name);
            None
        }
    }
}

impl Read for Port {
    const WHAT: &'static str = "a port number";
    const EXAMPLE: &'static str = "{} = [9091]";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        let number = whole::<Self>(node, name, faults, 1, 65_535, "port numbers")?;
        u16::try_from(number).ok().map(Self)
    }
}

impl Element for Port {
    const LIST: &'static str = "a list of port numbers";
    const LIST_EXAMPLE: &'static str = "{} = [9091]";
    fn written(value: &Value) -> Option<String> {
        match value {
            Value::Integer(Some(number)) => Some(number.to_string()),
            Value::Integer(None) | Value::Float(_) => Some("9091".to_owned()),
            _ => None,
        }
    }
}

impl Read for MaybePort {
    const WHAT: &'static str = "a port number";
    const EXAMPLE: &'static str = "{} = 9092";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        let number = whole::<Self>(node, name, faults, 0, 65_535, "a port number")?;
        u16::try_from(number).ok().map(|port| Self((port != 0).then_some(port)))
    }
}

impl Read for Count {
    const WHAT: &'static str = "a whole number";
    const EXAMPLE: &'static str = "{} = 5";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        let number = whole::<Self>(node, name, faults, 0, u32::MAX.into(), "a whole number")?;
        u32::try_from(number).ok().map(Self)
    }
}

impl Read for String {
    const WHAT: &'static str = "a string";
    const EXAMPLE: &'static str = "{} = \"…\"";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        match &node.value {
            Value::Text(text) if text.contains('\0') => {
                faults.add(Problem::new(format!("`{name}` holds a NUL character")).at(&node.span).hint("remove \\u0000"));
                None
            }
            Value::Text(text) => Some(text.clone()),
            _ => {
                faults.mismatch::<Self>(node, name);
                None
            }
        }
    }
}

impl Element for String {
    const LIST: &'static str = "a list of strings";
    const LIST_EXAMPLE: &'static str = "{} = [\"…\"]; write a number in quotes too";
    fn written(value: &Value) -> Option<String> {
        match value {
            Value::Text(text) => Some(format!("{text:?}")),
            _ => None,
        }
    }
}

impl Read for bool {
    const WHAT: &'static str = "true or false";
    const EXAMPLE: &'static str = "{} = true";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        match node.value {
            Value::Bool(value) => Some(value),
            _ => {
                faults.mismatch::<Self>(node, name);
                None
            }
        }
    }
}

impl Read for Argv {
    const WHAT: &'static str = "a list of words or a string";
    const EXAMPLE: &'static str = "{} = [\"python\", \"-m\", \"apps.worker\"]";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        let words = match &node.value {
            Value::List(_) => Vec::<At<String>>::read(node, name, faults)?.into_iter().map(|word| word.value).collect(),
            Value::Text(_) => match shell_words::split(&String::read(node, name, faults)?) {
                Ok(words) => words,
                Err(_) => {
                    let problem = Problem::new(format!("a quote in `{name}` is never closed")).at(&node.span);
                    faults.add(problem.hint("close it, or write the words as a list: [\"python\", \"-c\", \"…\"]"));
                    return None;
                }
            },
            _ => {
                faults.mismatch::<Self>(node, name);
                return None;
            }
        };
        if words.first().is_none_or(|program| program.trim().is_empty()) {
            let problem = Problem::new(format!("`{name}` is empty")).at(&node.span);
            faults.add(problem.hint(format!("name the program first: {}", Self::EXAMPLE.replace("{}", name))));
            return None;
        }
        Some(Self(words))
    }
}

impl Read for Environment {
    const WHAT: &'static str = "a table of variables";
    const EXAMPLE: &'static str = "{} = { LOG_LEVEL = \"debug\" }";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        let Value::Table(table) = &node.value else {
            faults.mismatch::<Self>(node, name);
            return None;
        };
        let before = faults.found.len();
        let mut variables = BTreeMap::new();
        for (key, entry) in table {
            if key.is_empty() || key.contains(['=', '\0']) {
                let problem = Problem::new(format!("`{key}` cannot be the name of a variable")).at(&entry.key);
                faults.add(problem.hint("a name is not empty and holds neither `=` nor NUL"));
            }
            variables.extend(variable(&entry.node, key, faults).map(|value| (key.clone(), value)));
        }
        (faults.found.len() == before).then_some(Self(variables))
    }
}

/// Never repeats the value.
fn variable(node: &Node, key: &str, faults: &mut Faults) -> Option<String> {
    let problem = match &node.value {
        Value::Text(text) if text.contains('\0') => {
            faults.add(Problem::new(format!("the value of `{key}` holds a NUL character")).at(&node.span).hint("remove \\u0000"));
            return None;
        }
        Value::Text(text) => return Some(text.clone()),
        Value::Integer(Some(number)) => return Some(number.to_string()),
        Value::Float(number) => return Some(number.clone()),
        Value::Bool(value) => return Some(value.to_string()),
        other => Problem::new(format!("the value of `{key}` must be a string, a number or a boolean, not {}", other.kind())),
    };
    faults.add(problem.at(&node.span).hint("environment variables are text; quote what is not"));
    None
}

impl Read for Venv {
    const WHAT: &'static str = "a folder or false";
    const EXAMPLE: &'static str = "{} = \".venv\"";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        match &node.value {
            Value::Bool(false) => Some(Self(None)),
            Value::Text(_) => String::read(node, name, faults).map(|folder| Self(Some(folder))),
            _ => {
                faults.mismatch::<Self>(node, name);
                None
            }
        }
    }
}

impl Read for EnvFiles {
    const WHAT: &'static str = "a list of files";
    const EXAMPLE: &'static str = "{} = [\".env\", \".env.local?\"]";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        match &node.value {
            Value::List(_) => Vec::read(node, name, faults).map(Self),
            Value::Text(_) => {
                let value = String::read(node, name, faults)?;
                Some(Self(vec![At { key: node.span.clone(), span: node.span.clone(), value }]))
            }
            _ => {
                faults.mismatch::<Self>(node, name);
                None
            }
        }
    }
}

/// A closed set of words.
pub trait Words: Sized + Copy + 'static {
    const WORDS: &'static [(&'static str, Self)];
    const WHAT: &'static str;
    const EXAMPLE: &'static str;

    fn words() -> Vec<&'static str> {
        Self::WORDS.iter().map(|(word, _)| *word).collect()
    }
}

impl Words for RestartPolicy {
    const WORDS: &'static [(&'static str, Self)] = &[("always", Self::Always), ("on-failure", Self::OnFailure), ("never", Self::Never)];
    const WHAT: &'static str = "\"always\", \"on-failure\" or \"never\"";
    const EXAMPLE: &'static str = "{} = \"on-failure\"";
}

impl Words for KillMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("mixed", Self::Mixed), ("control-group", Self::ControlGroup), ("process", Self::Process)];
    const WHAT: &'static str = "\"mixed\", \"control-group\" or \"process\"";
    const EXAMPLE: &'static str = "{} = \"mixed\"";
}

impl<T: Words> Read for Choice<T> {
    const WHAT: &'static str = T::WHAT;
    const EXAMPLE: &'static str = T::EXAMPLE;
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        let Value::Text(text) = &node.value else {
            faults.mismatch::<Self>(node, name);
            return None;
        };
        let found = T::WORDS.iter().find(|(word, _)| word == text);
        if found.is_none() {
            let near = closest(text, T::words().into_iter()).map(|near| format!("did you mean \"{near}\"?"));
            let problem = Problem::new(format!("`{name}` takes {}", T::WHAT)).at(&node.span);
            faults.add(problem.hint(format!("for instance {}", T::EXAMPLE.replace("{}", name))).maybe_hint(near));
        }
        found.map(|(_, value)| Self(*value))
    }
}

impl Read for Signal {
    const WHAT: &'static str = "the name of a signal";
    const EXAMPLE: &'static str = "{} = \"SIGTERM\"";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        let Value::Text(text) = &node.value else {
            faults.mismatch::<Self>(node, name);
            return None;
        };
        text.parse()
            .map_err(|_| {
                let problem = Problem::new(format!("`{name}`: there is no signal `{text}`")).at(&node.span);
                faults.add(problem.hint("write for instance \"SIGTERM\", \"SIGINT\", \"SIGQUIT\", \"SIGHUP\", \"SIGUSR1\" or \"SIGKILL\""));
            })
            .ok()
    }
}
