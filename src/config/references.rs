//! What services say about each other: groups, dependencies, and what two of them cannot share.

use super::error::Problem;
use super::read::{At, Faults, closest};
use super::schema;
use super::source::Span;
use crate::model::{Service, ServiceName};
use std::collections::{BTreeMap, BTreeSet, HashMap};

type Given = BTreeMap<ServiceName, At<schema::Service>>;
type Groups = BTreeMap<String, At<Vec<At<String>>>>;

/// Names that `depends_on` and groups may use. Names that could not be read count too: one mistake, one error.
pub struct Known<'a> {
    pub services: BTreeSet<&'a str>,
    pub groups: BTreeSet<&'a str>,
}

impl Known<'_> {
    /// The services of a list, each once.
    fn list(&self, names: &[At<String>], list: &str, faults: &mut Faults) -> Vec<ServiceName> {
        let mut seen: HashMap<&str, &Span> = HashMap::new();
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let text = name.value.as_str();
            if let Some(first) = seen.insert(text, &name.span) {
                let problem = Problem::new(format!("`{text}` is twice in {list}")).marked(&name.span, "again here");
                faults.add(problem.marked(first, "first here").hint("remove one of them"));
            } else if self.services.contains(text) {
                found.extend(ServiceName::new(text).ok());
            } else {
                faults.add(self.no_such(text, list).at(&name.span));
            }
        }
        found
    }

    fn no_such(&self, text: &str, list: &str) -> Problem {
        if self.groups.contains(text) || text == "all" {
            let problem = Problem::new(format!("`{text}` in {list} is a group"));
            return problem.hint("name the services themselves");
        }
        let problem = Problem::new(format!("no service named `{text}`, in {list}"));
        match closest(text, self.services.iter().copied()) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem.hint(format!("the services are: {}", some(self.services.iter().copied()))),
        }
    }
}

/// The first few, for a hint that fits a screen.
fn some<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let more = names.len().saturating_sub(SHOWN);
    let listed = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if more == 0 { listed } else { format!("{listed} and {more} more") }
}

pub fn groups(given: &Groups, known: &Known<'_>, faults: &mut Faults) -> BTreeMap<String, Vec<ServiceName>> {
    let mut groups = BTreeMap::new();
    for (name, members) in given {
        if known.services.contains(name.as_str()) {
            let problem = Problem::new(format!("group `{name}` has the name of a service")).at(&members.key);
            faults.add(problem.hint("a target must mean one thing: rename the group"));
        } else if let Err(invalid) = ServiceName::new(name) {
            faults.add(Problem::new(format!("`{name}` cannot name a group")).at(&members.key).hint(invalid.to_string()));
        }
        if members.value.is_empty() {
            let problem = Problem::new(format!("group `{name}` is empty")).at(&members.span);
            faults.add(problem.hint("list the services it stands for"));
        }
        groups.insert(name.clone(), known.list(&members.value, &format!("group `{name}`"), faults));
    }
    groups
}

pub fn dependencies(given: &Given, known: &Known<'_>, faults: &mut Faults) -> BTreeMap<ServiceName, Vec<ServiceName>> {
    let mut edges = BTreeMap::new();
    for (name, service) in given {
        let names = service.value.depends_on.as_ref().map(|names| names.value.as_slice()).unwrap_or_default();
        let mut list = known.list(names, "`depends_on`", faults);
        if let Some(own) = names.iter().find(|other| other.value == name.as_str()) {
            faults.add(Problem::new(format!("`{name}` depends on itself")).at(&own.span).hint("remove it from depends_on"));
            list.retain(|other| other != name);
        }
        edges.insert(name.clone(), list);
    }
    cycles(given, &edges, faults);
    edges
}

/// Depth first, without recursion: a file can hold a chain of thousands.
fn cycles(given: &Given, edges: &BTreeMap<ServiceName, Vec<ServiceName>>, faults: &mut Faults) {
    let mut done: BTreeSet<&ServiceName> = BTreeSet::new();
    for start in edges.keys() {
        let mut path: Vec<(&ServiceName, usize)> = Vec::new();
        let mut on_path: HashMap<&ServiceName, usize> = HashMap::new();
        if !done.contains(start) {
            on_path.insert(start, 0);
            path.push((start, 0));
        }
        while let Some((name, next)) = path.last_mut() {
            let name = *name;
            let Some(other) = edges.get(name).and_then(|list| list.get(*next)) else {
                done.insert(name);
                on_path.remove(name);
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(first) = on_path.get(other) {
                let round: Vec<&str> = path[*first..].iter().map(|(name, _)| name.as_str()).collect();
                faults.add(cycle(&round, given.get(name)));
            } else if !done.contains(other) {
                on_path.insert(other, path.len());
                path.push((other, 0));
            }
        }
    }
}

fn cycle(round: &[&str], last: Option<&At<schema::Service>>) -> Problem {
    let shown = match round.len() {
        0..=8 => round.join(" -> "),
        _ => format!("{} -> … -> {}", round[..4].join(" -> "), round[round.len() - 2..].join(" -> ")),
    };
    let problem = Problem::new(format!("services depend on each other in a circle: {shown} -> {}", round[0]))
        .hint("remove one of these dependencies, or else none of them can start first");
    let span = last
        .and_then(|service| service.value.depends_on.as_ref())
        .and_then(|names| names.value.iter().find(|name| name.value == round[0]).map(|name| name.span.clone()));
    span.map_or(problem.clone(), |span| problem.at(&span))
}

/// Two services cannot listen on one port, or append to one log.
pub fn collisions(given: &Given, resolved: &BTreeMap<ServiceName, Service>, listen: Option<(u16, Span)>, faults: &mut Faults) {
    let mut ports: HashMap<u16, (String, Span)> = HashMap::new();
    ports.extend(listen.map(|(port, span)| (port, ("the endpoint of [http]".to_owned(), span))));
    let mut logs = HashMap::new();
    for (name, service) in given {
        let own = service.value.ports.iter().flat_map(|ports| ports.value.iter().map(|port| (port.value.0, &port.span)));
        let health = service.value.health_port.iter().filter_map(|port| port.value.0.map(|number| (number, &port.span)));
        for (port, span) in own.chain(health) {
            if let Some((holder, first)) = ports.insert(port, (format!("`{name}`"), span.clone())) {
                let who = if holder == format!("`{name}`") { format!("twice by {holder}") } else { format!("by {holder} and `{name}`") };
                // Services come by name here, and people read from the top.
                let (first, again) = if first.start < span.start { (&first, span) } else { (span, &first) };
                let problem = Problem::new(format!("port {port} is claimed {who}")).marked(again, "again here");
                let problem = if first == again { problem } else { problem.marked(first, "first here") };
                faults.add(problem.hint("only one of them can listen on it; change or remove one"));
            }
        }
        let Some(path) = resolved.get(name).map(|service| &service.log_file) else { continue };
        if let Some(other) = logs.insert(path, name) {
            let span = service.value.log_file.as_ref().map_or(&service.key, |at| &at.span);
            let problem = Problem::new(format!("`{other}` and `{name}` would write to the same log: {}", path.display())).at(span);
            faults.add(problem.hint("put {service} into log_file: \"logs/dev_{service}.log\""));
        }
    }
}
