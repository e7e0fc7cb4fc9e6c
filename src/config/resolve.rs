//! From what is written to what it means: the file as a whole becomes a [`Project`], or a list of mistakes.

use super::error::Problem;
use super::paths::{Paths, leads_out};
use super::read::{At, Faults, Read};
use super::references::{self, Known};
use super::schema::{self, File};
use super::service::{self, Shared};
use super::source::Span;
use super::tree::{Node, Table, Value};
use super::{Location, project_id};
use crate::model::{EnvFile, Project, Service, ServiceName};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Only of use when `faults` stays empty.
pub fn project(table: Table, location: &Location, shown: &str, faults: &mut Faults) -> Option<Project> {
    let written = names(&table, "services");
    let written_groups = names(&table, "groups");
    let file = File::read(&Node { span: 0..0, value: Value::Table(table) }, "", faults)?;
    let services = file.services.as_ref().map(|at| &at.value);
    if written.is_empty() && !file.broken {
        let problem = match &file.services {
            Some(services) => Problem::new("no service is defined").at(&services.key),
            None => Problem::new("no service is defined").place(shown),
        };
        faults.add(problem.hint("add for instance [services.bot] with command = [\"python\", \"-m\", \"apps.bot\"]"));
    }
    let given = named(services, file.defaults.as_ref(), faults);
    let shared = &mut shared(&file, location, &given, shown, faults);
    let mut resolved: BTreeMap<ServiceName, Service> =
        given.iter().map(|(name, at)| (name.clone(), service::resolve(name, at, shared, faults))).collect();
    let known =
        Known { services: written.iter().map(String::as_str).collect(), groups: written_groups.iter().map(String::as_str).collect() };
    for (name, list) in references::dependencies(&given, &known, faults) {
        resolved.entry(name).and_modify(|service| service.depends_on = list);
    }
    let groups = file.groups.as_ref().map(|groups| references::groups(&groups.value, &known, faults)).unwrap_or_default();
    for (group, members) in &groups {
        for member in members {
            resolved.entry(member.clone()).and_modify(|service| service.groups.push(group.clone()));
        }
    }
    let listen = listen(&file, faults);
    references::collisions(&given, &resolved, listen.as_ref().map(|(address, span)| (address.port(), span.clone())), faults);
    Some(Project {
        name: project_name(&file, &location.root, faults),
        id: project_id(&location.root),
        root: location.root.clone(),
        config_file: location.config_file.clone(),
        log_dir: shared.log_dir.clone(),
        log_limit: log_limit(&file),
        http_listen: listen.map(|(address, _)| address),
        services: resolved.into_iter().map(|(name, service)| (name, Arc::new(service))).collect(),
        groups,
    })
}

/// Megabytes are not asked of everybody: what five old logs of forty services take.
const LOG_LIMIT: u64 = 10 << 30;

fn log_limit(file: &schema::File) -> Option<u64> {
    let given = file.project.as_ref().and_then(|at| at.value.log_limit.as_ref()).map(|at| at.value.0);
    Some(given.unwrap_or(LOG_LIMIT)).filter(|bytes| *bytes > 0)
}

/// As they stand in the file, whether or not the rest of them can be read.
fn names(table: &Table, section: &str) -> BTreeSet<String> {
    match table.get(section).map(|entry| &entry.node.value) {
        Some(Value::Table(inner)) => inner.keys().cloned().collect(),
        _ => BTreeSet::new(),
    }
}

type Services = BTreeMap<String, At<schema::Service>>;

fn named(
    services: Option<&Services>,
    defaults: Option<&At<schema::Service>>,
    faults: &mut Faults,
) -> BTreeMap<ServiceName, At<schema::Service>> {
    let mut named = BTreeMap::new();
    for (name, at) in services.into_iter().flatten() {
        let mut at = at.clone();
        if let Some(defaults) = defaults {
            at.value = at.value.with_defaults(&defaults.value);
        }
        match ServiceName::new(name) {
            Ok(name) => {
                named.insert(name, at);
            }
            Err(invalid) => {
                let better = name.to_lowercase().replace([' ', '.', '/'], "-");
                let hint = match ServiceName::new(&better) {
                    Ok(better) => format!("{invalid}; for instance `{better}`"),
                    Err(_) => invalid.to_string(),
                };
                faults.add(Problem::new(format!("`{name}` cannot name a service")).at(&at.key).hint(hint));
            }
        }
    }
    named
}

fn project_name(file: &File, root: &Path, faults: &mut Faults) -> String {
    match file.project.as_ref().and_then(|project| project.value.name.as_ref()) {
        Some(name) if name.value.trim().is_empty() || name.value.contains(char::is_control) => {
            let problem = Problem::new("`name` must be readable text").at(&name.span);
            faults.add(problem.hint("remove the key to get the folder's name"));
            String::new()
        }
        Some(name) => name.value.clone(),
        None => root.file_name().map_or_else(|| "project".to_owned(), |name| name.to_string_lossy().into_owned()),
    }
}

fn shared<'a>(
    file: &File,
    location: &'a Location,
    given: &BTreeMap<ServiceName, At<schema::Service>>,
    shown: &str,
    faults: &mut Faults,
) -> Shared<'a> {
    let mut paths = Paths::new(&location.root);
    let project = file.project.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    let env_files: Vec<EnvFile> =
        project.env_file.iter().flat_map(|files| &files.value.0).filter_map(|file| paths.env_file(file, faults)).collect();
    let venv = match &project.venv {
        Some(venv) => venv.value.0.as_ref().map(|folder| paths.venv(folder)),
        None => default_venv(&location.root, given),
    };
    let default_logs = location.root.join("logs");
    let log_dir = match &project.log_dir {
        Some(text) => paths.truly_inside(&text.value, &text.span, "log_dir", faults).unwrap_or(default_logs),
        None if paths.stays(&default_logs) => default_logs,
        None => {
            faults.add(leads_out("log_dir", &default_logs).place(shown));
            default_logs
        }
    };
    Shared { paths, root: location.root.clone(), log_dir, venv, env_files }
}

/// The first that is there, or that a `setup` is going to create: else the first start would use another interpreter than the second.
fn default_venv(root: &Path, given: &BTreeMap<ServiceName, At<schema::Service>>) -> Option<PathBuf> {
    let creates = |folder: &Path| {
        given
            .values()
            .filter_map(|at| at.value.setup.as_ref()?.value.creates.as_ref())
            .any(|path| root.join(&path.value).starts_with(folder))
    };
    [".venv", "venv"].map(|name| root.join(name)).into_iter().find(|folder| folder.is_dir() || creates(folder))
}

fn listen(file: &File, faults: &mut Faults) -> Option<(SocketAddr, Span)> {
    let at = file.http.as_ref()?;
    let Some(address) = &at.value.listen else {
        if !at.value.broken {
            let problem = Problem::new("`[http]` does not say where to listen").at(&at.key);
            faults.add(problem.hint("add listen = \"127.0.0.1:9464\", or remove [http]"));
        }
        return None;
    };
    // A name could mean another address tomorrow; only this one is known without asking.
    let numeric = match address.value.0.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => address.value.0.clone(),
    };
    match numeric.parse() {
        Ok(parsed) => Some((parsed, address.span.clone())),
        Err(_) => {
            let problem = Problem::new("`listen` takes the number of an address of this machine, not a name").at(&address.span);
            faults.add(problem.hint("for instance listen = \"127.0.0.1:9464\""));
            None
        }
    }
}
