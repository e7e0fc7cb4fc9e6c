//! What a service is asked through: URLs, addresses and patterns, checked when they are read so that no probe fails for its spelling.

use super::error::Problem;
use super::json::schema;
use super::read::{Faults, Read};
use super::tree::{Node, Value};

/// `http://host[:port][/path]`.
#[derive(Debug, Clone)]
pub struct Url(pub String);
/// `host:port`.
#[derive(Debug, Clone)]
pub struct Address(pub String);
/// A regular expression that compiles.
#[derive(Debug, Clone)]
pub struct Pattern(pub String);

/// Longer than this, a pattern is a mistake.
const LONGEST_PATTERN: usize = 1000;
const LARGEST_PATTERN: usize = 1 << 20;

schema!(Url, { "type": "string", "pattern": "^http://", "examples": ["http://127.0.0.1:9091/health"] });
schema!(Address, { "type": "string", "pattern": "^.+:[0-9]+$", "examples": ["127.0.0.1:5432"] });
schema!(Pattern, { "type": "string", "format": "regex" });

/// Text that `check` accepts; what it refuses comes with a cause and a next step.
fn text<R: Read>(node: &Node, name: &str, faults: &mut Faults, check: impl Fn(&str) -> Result<(), Refusal>) -> Option<String> {
    let Value::Text(_) = &node.value else {
        faults.mismatch::<R>(node, name);
        return None;
    };
    let text = String::read(node, name, faults)?;
    if text.contains('@') {
        // A password, by mistake; the error will show its line.
        faults.secrets.push(node.span.clone());
    }
    match check(&text) {
        Ok(()) => Some(text),
        Err(Refusal(cause, hint)) => {
            let example = R::EXAMPLE.replace("{}", name);
            let hint = hint.unwrap_or_else(|| format!("for instance {example}"));
            faults.add(Problem::new(format!("`{name}` {cause}")).at(&node.span).hint(hint));
            None
        }
    }
}

/// Why not, and what to do if it is more than to look at the example.
struct Refusal(String, Option<String>);

impl From<&str> for Refusal {
    fn from(cause: &str) -> Self {
        Self(cause.to_owned(), None)
    }
}

impl Read for Url {
    const WHAT: &'static str = "a URL";
    const EXAMPLE: &'static str = "{} = \"http://127.0.0.1:9091/health\"";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        text::<Self>(node, name, faults, check_url).map(Self)
    }
}

fn check_url(text: &str) -> Result<(), Refusal> {
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
            let hint = "ask the port behind TLS with http://, or only connect: { tcp = \"host:443\" }";
            return Err(Refusal("uses https, and probes do not speak TLS".to_owned(), Some(hint.to_owned())));
        }
        _ => return Err("is not a URL that starts with http://".into()),
    };
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("is a URL with a space or a control character in it".into());
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(Refusal("has a user name or password in its URL".to_owned(), Some("ask a path that needs none".to_owned())));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    check_host(host)?;
    port.map_or(Ok(()), check_port)
}

fn check_host(host: &str) -> Result<(), Refusal> {
    let is_v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    match is_v6 {
        Some(true) => Ok(()),
        None if is_name => Ok(()),
        _ if host.is_empty() => Err("names no host".into()),
        _ => Err("names a host that cannot exist".into()),
    }
}

fn check_port(port: &str) -> Result<(), Refusal> {
    let is_digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if is_digits => Ok(()),
        _ => Err("needs a port from 1 to 65535 after the host".into()),
    }
}

impl Read for Address {
    const WHAT: &'static str = "an address \"host:port\"";
    const EXAMPLE: &'static str = "{} = \"127.0.0.1:9464\"";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        text::<Self>(node, name, faults, |text| {
            let (host, port) = text.rsplit_once(':').ok_or("is not an address \"host:port\"")?;
            check_host(host)?;
            check_port(port)
        })
        .map(Self)
    }
}

impl Read for Pattern {
    const WHAT: &'static str = "a regular expression";
    const EXAMPLE: &'static str = "{} = 'listening on port \\d+'";
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        text::<Self>(node, name, faults, check_pattern).map(Self)
    }
}

fn check_pattern(text: &str) -> Result<(), Refusal> {
    if text.is_empty() {
        return Err("is an empty pattern, which matches every line".into());
    }
    if text.len() > LONGEST_PATTERN {
        return Err("is a pattern of more than 1000 bytes".into());
    }
    match regex::RegexBuilder::new(text).size_limit(LARGEST_PATTERN).build() {
        Ok(_) => Ok(()),
        Err(regex::Error::CompiledTooBig(_)) => Err("is a pattern that needs too much memory".into()),
        Err(error) => {
            let words = error.to_string();
            let cause = words.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let hint = "look-around and back-references are not supported; single quotes keep backslashes: '\\d+'";
            Err(Refusal(format!("is not a regular expression: {cause}"), Some(hint.to_owned())))
        }
    }
}
