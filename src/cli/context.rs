//! What every command needs: the options before the verb, the project they lead to, and what a TARGET stands for in it.

use super::style::{self, ColorChoice};
use super::{Error, check};
use crate::config::{self, Location, Trust};
use crate::model::{Project, ServiceName};
use crate::sys::folders::Folders;
use crate::sys::socket;
use std::path::PathBuf;

#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// The project's folder [default: the nearest one at or above the current folder that holds a devstack.toml]
    #[arg(long, global = true, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// The configuration file [env: DEVSTACK_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: ColorChoice,
    /// Only failures
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Also say which configuration and which supervisor are meant
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// Which configuration the options mean.
///
/// # Errors
/// When there is none.
pub fn locate(global: &Global) -> Result<Location, Error> {
    let cwd = std::env::current_dir().map_err(|error| Error::failed(format!("there is no current folder: {error}")))?;
    let env = std::env::var_os("DEVSTACK_CONFIG");
    config::discover(global.config.as_deref(), global.project.as_deref(), &cwd, env.as_deref()).map_err(|problems| check::refuse(&problems))
}

/// A project, ready to be acted on.
pub struct Context {
    pub location: Location,
    pub project: Project,
    pub folders: Folders,
    pub quiet: bool,
    pub verbose: bool,
}

impl Context {
    /// # Errors
    /// When there is no configuration, it is not valid, or somebody could have written it whom this user does not trust.
    pub fn load(global: &Global) -> Result<Self, Error> {
        let location = locate(global)?;
        let project = config::load(&location, Trust::of_user(socket::own_user())).map_err(|problems| check::refuse(&problems))?;
        let folders = Folders::of(&project.id, |name| std::env::var_os(name)).map_err(Error::failed)?;
        folders.verify().map_err(Error::failed)?;
        if global.verbose {
            style::say(&style::visible(&format!(
                "configuration: {}\nstate: {}\n",
                location.config_file.display(),
                folders.state.display()
            )));
        }
        Ok(Self { location, project, folders, quiet: global.quiet, verbose: global.verbose })
    }

    /// The services that `targets` stand for, each once, in the configuration's order; all of them when none is named.
    ///
    /// # Errors
    /// When one of them is neither a service nor a group.
    pub fn services(&self, targets: &[String]) -> Result<Vec<ServiceName>, Error> {
        let mut wanted = Vec::new();
        for target in targets {
            match (self.project.groups.get(target), ServiceName::new(target)) {
                _ if target == "all" => wanted.extend(self.project.services.keys().cloned()),
                (Some(members), _) => wanted.extend(members.iter().cloned()),
                (None, Ok(name)) if self.project.services.contains_key(&name) => wanted.push(name),
                _ => return Err(no_such_target(target, &self.project, &self.location)),
            }
        }
        let all = self.project.services.keys();
        Ok(all.filter(|name| targets.is_empty() || wanted.contains(name)).cloned().collect())
    }
}

/// Whether these targets stand for everything, also for what the configuration does not name.
pub fn mean_all(targets: &[String]) -> bool {
    targets.is_empty() || targets.iter().any(|target| target == "all")
}

/// With what there is instead.
pub fn no_such_target(target: &str, project: &Project, location: &Location) -> Error {
    let services: Vec<&str> = project.services.keys().map(ServiceName::as_str).collect();
    let groups: Vec<&str> = project.groups.keys().map(String::as_str).collect();
    let file = location.config_file.file_name().unwrap_or_default().to_string_lossy();
    let mut defined = format!("{file} defines: {} (services)", services.join(", "));
    if !groups.is_empty() {
        defined.push_str(&format!(", {} (groups)", groups.join(", ")));
    }
    let error = Error::no_such_target(format!("no service or group named `{target}`")).at(defined);
    match config::closest(target, services.into_iter().chain(groups)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}
