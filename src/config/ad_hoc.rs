use super::read::{At, Faults};
use super::schema;
use super::service::{self, Shared};
use super::value::Argv;
use super::{paths::Paths, project_id};
use crate::model::{InvalidName, Project, Service, ServiceName};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A command that no devstack.toml knows, with every default of a service, as the only one of a project of its own. `owner` tells
/// it from every other such project, whatever runs in the same folder at the same time.
///
/// # Errors
/// Never, as long as `command` is a name for a service.
pub fn ad_hoc(command: Vec<String>, cwd: PathBuf, owner: &str, change: impl FnOnce(&mut Service)) -> Result<Project, InvalidName> {
    // Not a folder: nothing is ever written there. It names the project in the marks of its processes.
    let root = cwd.join(".devstack-run").join(owner);
    let name = name_of(command.first().map_or("", String::as_str))?;
    let given = schema::Service { command: Some(At { key: 0..0, span: 0..0, value: Argv(command) }), ..schema::Service::default() };
    let log_dir = root.join("logs");
    let mut shared = Shared { paths: Paths::new(&root), root: root.clone(), log_dir: log_dir.clone(), venv: None, env_files: Vec::new() };
    let given = At { key: 0..0, span: 0..0, value: given };
    let mut service = service::resolve(&name, &given, &mut shared, &mut Faults::default());
    service.cwd = cwd;
    change(&mut service);
    Ok(Project {
        name: "run".to_owned(),
        id: project_id(&root),
        config_file: root.join("devstack.toml"),
        root,
        log_dir,
        log_limit: None,
        http_listen: None,
        services: BTreeMap::from([(name, Arc::new(service))]),
        groups: BTreeMap::new(),
    })
}

/// After the program, as far as a service can be called so.
fn name_of(program: &str) -> Result<ServiceName, InvalidName> {
    let file = Path::new(program).file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = file.chars().map(word).skip_while(|c| !c.is_ascii_alphanumeric()).take(32).collect();
    ServiceName::new(&name).or_else(|_| ServiceName::new("command"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RestartPolicy;

    #[test]
    fn a_command_is_a_service_with_every_default_called_after_its_program() {
        for (program, name) in [("python3.12", "python3-12"), ("/usr/bin/My App", "my-app"), ("./--", "command"), ("", "command")] {
            let project = ad_hoc(vec![program.to_owned()], "/srv/app".into(), "7-1", |_| {}).expect("a project");
            let service = project.services.values().next().expect("one");
            assert_eq!(service.name.as_str(), name);
            assert_eq!((service.restart, service.cwd.as_path()), (RestartPolicy::OnFailure, Path::new("/srv/app")));
            assert!(!project.root.exists());
        }
    }
}
