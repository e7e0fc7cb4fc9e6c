//! The definition in the words of other systems: pure text, from a resolved project.
//!
//! Decides what each key becomes there, and what it cannot become, which is told as a loss. Knows neither files nor commands, and no
//! value that an env file holds: such files are named, never copied.

mod grafana;
mod kubernetes;
mod launch;
mod prometheus;
mod supervisor;
mod systemd;
mod yaml;

use crate::model::{Project, ServiceName};
use std::fmt;
use std::path::PathBuf;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Systemd,
    Supervisor,
    Prometheus,
    Grafana,
    Kubernetes,
}

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// For the service manager of a user instead of that of the machine.
    pub user: bool,
    /// Read by every service, after its own.
    pub env_files: Vec<PathBuf>,
    /// What runs services that the target cannot look after by itself.
    pub devstack: PathBuf,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Export {
    /// In the order in which they are read best.
    pub files: Vec<File>,
    pub losses: Vec<Loss>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the folder that is exported to.
    pub path: String,
    pub content: String,
}

/// What the target cannot express.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// `None`: of the project.
    pub service: Option<ServiceName>,
    pub what: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.service {
            Some(service) => write!(f, "{service}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl Export {
    fn file(&mut self, path: impl Into<String>, content: String) {
        self.files.push(File { path: path.into(), content });
    }

    fn lose(&mut self, service: &ServiceName, what: impl Into<String>) {
        self.losses.push(Loss { service: Some(service.clone()), what: what.into() });
    }
}

pub fn export(target: Target, project: &Project, options: &Options) -> Export {
    match target {
        Target::Systemd => systemd::export(project, options),
        Target::Supervisor => supervisor::export(project, options),
        Target::Prometheus => prometheus::export(project),
        Target::Grafana => grafana::export(project),
        Target::Kubernetes => kubernetes::export(project, options),
    }
}

/// The first line of every file that may hold a comment.
fn origin(target: &str, project: &Project) -> String {
    format!("# {}: written by `devstack export {target}` from devstack.toml; `--check` tells when it is no longer so.\n", project.name)
}

#[cfg(test)]
mod tests;
