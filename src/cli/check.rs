//! `devstack check`: is the configuration valid, and what does it come to?

use super::{Error, exit_code, output, style};
use crate::config::{self, Location, Problems, Trust};
use crate::model::{Hooks, Project, Service};

/// Validate the configuration.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the resolved configuration: every default filled in, environment values left out.
    #[arg(long)]
    show: bool,
}

/// # Errors
/// When the configuration or an env file that it names is not valid; all of it has been told then.
pub fn run(args: &Args, location: &Location) -> Result<(), Error> {
    let project = config::load(location, Trust::Everybody).map_err(|problems| refuse(&problems))?;
    env_files(&project)?;
    let file = location.config_file.file_name().unwrap_or_default().to_string_lossy();
    let (services, groups) = (project.services.len(), project.groups.len());
    style::say(&style::visible(&format!("{file} is valid: {}, {}\n", count(services, "service"), count(groups, "group"))));
    for key in not_acted_on(&project) {
        style::say(&format!("note: `{key}` is valid, but this version does not act on it yet\n"));
    }
    if args.show {
        let text = config::show(&project);
        output::print(&text)?;
    }
    Ok(())
}

/// Tells what is wrong with a configuration; every command does it in the same way.
pub fn refuse(problems: &Problems) -> Error {
    style::say(&problems.render(console::colors_enabled_stderr()));
    Error::told(exit_code::USAGE)
}

/// A start would read them; here is the place to learn of a bad line before that.
fn env_files(project: &Project) -> Result<(), Error> {
    let mut told = Vec::new();
    for service in project.services.values() {
        if let Err(problems) = config::environment(service, Trust::Everybody, std::iter::empty()) {
            let text = problems.render(console::colors_enabled_stderr());
            if !told.contains(&text) {
                style::say(&text);
                told.push(text);
            }
        }
    }
    if told.is_empty() { Ok(()) } else { Err(Error::told(exit_code::USAGE)) }
}

/// Keys of the contract whose time has not come. Silence would let somebody rely on them.
fn not_acted_on(project: &Project) -> Vec<String> {
    let of_service = |service: &Service| {
        let keys = [
            (service.external && !service.watch.is_empty(), "watch"),
            // Nothing of it is run that a hook could belong to.
            (service.external && service.hooks != Hooks::default(), "hooks"),
        ];
        keys.into_iter().filter(|(is_set, _)| *is_set).map(|(_, key)| format!("services.{}.{key}", service.name)).collect::<Vec<_>>()
    };
    project.services.values().flat_map(|service| of_service(service)).collect()
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<(), u8> {
        let folder = tempfile::tempdir().expect("temp dir");
        let root = folder.path().canonicalize().expect("canonical");
        std::fs::write(root.join("devstack.toml"), text).expect("file");
        std::fs::write(root.join("bad.env"), "A=1 2\n").expect("file");
        let location = Location { config_file: root.join("devstack.toml"), root };
        run(&Args { show: false }, &location).map_err(|error| error.exit_code())
    }

    #[test]
    fn a_mistake_anywhere_is_exit_status_2() {
        assert_eq!(checked("[services.a]\ncommand = ['x']\n"), Ok(()));
        assert_eq!(checked("[services.a]\ncommand = []\n"), Err(exit_code::USAGE));
        assert_eq!(checked("[services.a]\ncommand = ['x']\nenv_file = 'bad.env'\n"), Err(exit_code::USAGE));
    }
}
