//! devstack.toml: from a file that a person wrote to a [`Project`] that the engine can trust, or to every mistake in it at once.
//!
//! Decides what keys exist, what they mean together, and how a mistake is told. Must not know of processes, sockets or the engine, and
//! changes nothing: it reads the configuration, asks whether folders and links it names are there, and reads env files when a worker starts.
//!
//! Invariant: a `Project` exists only if nothing at all is wrong with the files it came from, and no text from here shows the value of an
//! environment variable.
//!
//! The way of a file: `discover` → `source` (text) → `tree` (TOML with positions; devstack.local.toml laid over) → `schema` (typed keys) →
//! `resolve` with `service`, `paths` and `references` (meaning).

mod ad_hoc;
mod discover;
pub(crate) mod environment;
mod error;
mod json;
mod paths;
mod probe;
mod quantities;
mod read;
mod references;
mod resolve;
pub mod schema;
mod service;
mod show;
mod source;
mod tree;
mod trust;
mod value;

pub use ad_hoc::ad_hoc;
pub use discover::{Location, discover};
pub use environment::environment;
pub use error::Problems;
pub use read::closest;
pub use show::show;
pub use trust::Trust;

use crate::model::{Project, ProjectId, fnv1a};
use error::Problem;
use read::Faults;
use source::Sources;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Beside the configuration, not committed: overrides it key by key.
const LOCAL: &str = "devstack.local.toml";

/// Reads and resolves it, with devstack.local.toml beside it if there is one.
///
/// # Errors
/// Everything that is wrong with them, and whose they are if `trust` does not reach so far.
pub fn load(location: &Location, trust: Trust) -> Result<Project, Problems> {
    let mut sources = Sources::default();
    let mut faults = Faults::default();
    let mut table = add_file(&location.config_file, trust, &mut sources, &mut faults);
    let local = location.root.join(LOCAL);
    if local != location.config_file && local.symlink_metadata().is_ok() {
        match (&mut table, add_file(&local, trust, &mut sources, &mut faults)) {
            (Some(table), Some(over)) => tree::overlay(table, over),
            _ => table = None,
        }
    }
    let shown = sources.main().unwrap_or_default().to_owned();
    let project = table.and_then(|table| resolve::project(table, location, &shown, &mut faults));
    for secret in faults.secrets {
        sources.hide(secret);
    }
    match project {
        Some(project) if faults.found.is_empty() => Ok(project),
        _ if faults.found.is_empty() => Err(Problem::new("the configuration cannot be read").place(shown).into()),
        _ => Err(Problems::new(sources, faults.found)),
    }
}

/// `None` when nothing in it can be judged further.
fn add_file(path: &Path, trust: Trust, sources: &mut Sources, faults: &mut Faults) -> Option<tree::Table> {
    match source::read(path, trust) {
        Ok(text) => {
            let parsed = tree::parse(&text, sources.end());
            sources.add(path, text);
            faults.found.extend(parsed.problems);
            faults.secrets.extend(parsed.secrets);
            parsed.table
        }
        Err(problem) => {
            faults.add(problem);
            None
        }
    }
}

/// `<folder>-<16 hex digits>`: the digits are FNV-1a (64 bits) of the path's bytes, the same in every version of devstack.
///
/// From the path alone, so that a project keeps its supervisor when its name changes or its file cannot be read.
pub fn project_id(root: &Path) -> ProjectId {
    let hash = fnv1a(root.as_os_str().as_bytes().iter().copied());
    let folder = root.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = folder.chars().take(24).map(word).collect();
    let name = name.trim_matches('-');
    ProjectId(format!("{}-{hash:016x}", if name.is_empty() { "project" } else { name }))
}

#[cfg(test)]
mod hostile;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Service;

    pub fn load_text(root: &Path, text: &str) -> Result<Project, Problems> {
        let root = root.canonicalize().expect("canonical");
        std::fs::write(root.join("devstack.toml"), text).expect("file");
        load(&Location { config_file: root.join("devstack.toml"), root }, Trust::Everybody)
    }

    pub fn service(root: &Path, keys: &str) -> Service {
        let project = load_text(root, &format!("[services.x]\n{keys}\n")).unwrap_or_else(|problems| panic!("{problems}"));
        project.services.values().next().map(|service| Service::clone(service)).expect("a service")
    }

    #[test]
    fn a_project_is_known_by_its_path() {
        assert_eq!(project_id(Path::new("/home/a/Analytic Bot")).0, "analytic-bot-95f698c28b801f44");
    }
}
