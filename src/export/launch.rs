//! What starts a service, where, and in which environment, whoever starts it.

use crate::model::Service;
use std::collections::BTreeMap;
use std::path::Path;

/// The words of a command; a program without a path is that of the virtual environment, if there is one.
pub fn words(service: &Service, command: &[String]) -> Vec<String> {
    let mut words = command.to_vec();
    if let (Some(venv), Some(program)) = (&service.venv, words.first_mut())
        && !program.contains('/')
        && (program.starts_with("python") || program.starts_with("pip"))
    {
        *program = venv.join("bin").join(&*program).display().to_string();
    }
    words
}

/// With what a virtual environment adds. `path`: what the target's PATH is without it.
pub fn environment(service: &Service, path: &str) -> BTreeMap<String, String> {
    let mut env = service.env.clone();
    if let Some(venv) = &service.venv {
        env.entry("VIRTUAL_ENV".to_owned()).or_insert_with(|| venv.display().to_string());
        let search = format!("{}:{path}", venv.join("bin").display());
        env.entry("PATH".to_owned()).or_insert(search);
    }
    // As under devstack: lines reach the log when they are written.
    env.entry("PYTHONUNBUFFERED".to_owned()).or_insert_with(|| "1".to_owned());
    env
}

/// `devstack run SERVICE`, which enforces and answers what the target cannot.
pub fn through_devstack(devstack: &Path, config_file: &Path, service: &Service) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    vec![text(devstack), "--config".to_owned(), text(config_file), "run".to_owned(), service.name.to_string()]
}
