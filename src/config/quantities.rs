//! Durations, sizes and percentages as a key holds them: as text with a unit, or as a bare number in the seed's unit.

use super::error::Problem;
use super::json::schema;
use super::read::{Faults, Read};
use super::tree::{Node, Value};
use crate::model::quantity::{self, BadQuantity};
use std::time::Duration;

/// A duration; a bare number is seconds.
#[derive(Debug, Clone, Copy)]
pub struct Seconds(pub Duration);
/// A duration; a bare number is hours, as the seed's `--max-runtime` is.
#[derive(Debug, Clone, Copy)]
pub struct Hours(pub Duration);
/// Bytes; a bare number is MB, as the seed's `--memory-limit` is.
#[derive(Debug, Clone, Copy)]
pub struct Megabytes(pub u64);
/// Percent; a bare number is percent.
#[derive(Debug, Clone, Copy)]
pub struct Percent(pub f64);
schema!(Seconds, { "type": ["string", "number"], "examples": ["500ms", "90s", "5m", "1h30m"], "minimum": 0 });
schema!(Hours, { "type": ["string", "number"], "examples": ["24h", "90m", 24], "minimum": 0 });
schema!(Megabytes, { "type": ["string", "number"], "examples": ["2048MB", "2GiB", 2048], "minimum": 0 });
schema!(Percent, { "type": ["string", "number"], "examples": ["80%", 80], "minimum": 0 });

/// How a quantity is written: as text with a unit, or as a bare number.
fn quantity<R: Read, T>(
    node: &Node,
    name: &str,
    faults: &mut Faults,
    text: impl Fn(&str) -> Result<T, BadQuantity>,
    number: impl Fn(f64) -> Result<T, BadQuantity>,
) -> Option<T> {
    let read = match &node.value {
        Value::Text(value) => text(value),
        Value::Integer(value) => number(value.map_or(f64::INFINITY, |value| value as f64)),
        Value::Float(value) => match value.parse::<f64>() {
            Ok(value) if !value.is_nan() => number(value),
            _ => {
                let problem = Problem::new(format!("`{name}` is not a number")).at(&node.span);
                faults.add(problem.hint(format!("for instance {}", R::EXAMPLE.replace("{}", name))));
                return None;
            }
        },
        _ => {
            faults.mismatch::<R>(node, name);
            return None;
        }
    };
    read.map_err(|error| faults.add(bad_quantity::<R>(node, name, &error))).ok()
}

fn bad_quantity<R: Read>(node: &Node, name: &str, error: &BadQuantity) -> Problem {
    let words = error.to_string();
    let (cause, hint) = words.split_once("; ").unwrap_or((&words, ""));
    let problem = match error {
        BadQuantity::Negative | BadQuantity::TooLarge => Problem::new(format!("`{name}` {cause}")),
        _ => Problem::new(format!("`{name}` is {cause}")).hint(hint),
    };
    let hint = match (error, &node.value) {
        (BadQuantity::Duration, Value::Text(text)) if text.trim().parse::<f64>().is_ok() => {
            Some(format!("a unit is missing: \"{0}s\", \"{0}m\" or \"{0}h\"", text.trim()))
        }
        (BadQuantity::TooLarge | BadQuantity::Negative, _) => Some(format!("for instance {}", R::EXAMPLE.replace("{}", name))),
        _ => None,
    };
    problem.at(&node.span).maybe_hint(hint)
}

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

impl Read for Seconds {
    const WHAT: &'static str = "a duration";
    const EXAMPLE: &'static str = "{} = \"30s\"";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        quantity::<Self, _>(node, name, faults, quantity::duration, |n| quantity::duration_from_number(n, SECOND)).map(Self)
    }
}

impl Read for Hours {
    const WHAT: &'static str = "a duration";
    const EXAMPLE: &'static str = "{} = \"24h\"";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        quantity::<Self, _>(node, name, faults, quantity::duration, |n| quantity::duration_from_number(n, HOUR)).map(Self)
    }
}

impl Read for Megabytes {
    const WHAT: &'static str = "a size";
    const EXAMPLE: &'static str = "{} = \"2048MB\"";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        quantity::<Self, _>(node, name, faults, quantity::size, quantity::size_from_number).map(Self)
    }
}

impl Read for Percent {
    const WHAT: &'static str = "a percentage";
    const EXAMPLE: &'static str = "{} = \"80%\"";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        quantity::<Self, _>(node, name, faults, quantity::percent, quantity::percent_from_number).map(Self)
    }
}
