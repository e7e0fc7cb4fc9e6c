//! One configuration file for supervisord, with a group of all services (<http://supervisord.org/configuration.html>).

use super::launch;
use super::{Export, Options, origin};
use crate::model::{Project, RestartPolicy, Service};
use std::fmt::Write;
use std::path::Path;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

pub fn export(project: &Project, options: &Options) -> Export {
    let mut export = Export::default();
    let own: Vec<&Service> = project.services.values().map(|service| &**service).filter(|service| !service.external).collect();
    let names: Vec<&str> = own.iter().map(|service| service.name.as_str()).collect();
    let mut text = origin("supervisor", project).replacen('#', ";", 1);
    let _ = write!(text, "\n[group:{}]\nprograms={}\n", group(&project.name), names.join(","));
    for (index, service) in own.iter().enumerate() {
        text += &program(project, service, index, options, &mut export);
    }
    for service in project.services.values().filter(|service| service.external) {
        export.lose(&service.name, "is external: whatever runs it has to be up before");
    }
    export.files.insert(0, super::File { path: format!("{}.conf", group(&project.name)), content: text });
    export
}

fn group(name: &str) -> String {
    name.chars().map(|it| if it.is_ascii_alphanumeric() || "-_.".contains(it) { it } else { '-' }).collect()
}

/// Why supervisord alone does not do, in the words of the keys.
fn beyond(service: &Service, command: Option<&String>, environment: Option<&String>) -> Vec<&'static str> {
    [
        ("memory_limit", service.memory_limit.is_some()),
        ("cpu_limit", service.cpu_limit.is_some()),
        ("max_runtime", service.max_runtime.is_some()),
        ("health", service.health.is_some()),
        ("heartbeat_timeout", service.heartbeat_timeout.is_some()),
        ("health_port", service.health_port.is_some()),
        ("env_file", !service.env_files.is_empty()),
        ("hooks", service.hooks != crate::model::Hooks::default()),
        ("way to say this env", environment.is_none()),
        ("way to say this command", command.is_none()),
    ]
    .into_iter()
    .filter_map(|(key, is_set)| is_set.then_some(key))
    .collect()
}

fn program(project: &Project, service: &Service, index: usize, options: &Options, export: &mut Export) -> String {
    let environment = environment(service);
    let command = Some(command(&launch::words(service, &service.command))).filter(|line| fits_a_line(line));
    let beyond = beyond(service, command.as_ref(), environment.as_ref());
    let mut text = format!("\n[program:{}]\n", service.name);
    let command = match command {
        Some(command) if beyond.is_empty() => command,
        _ => {
            let _ = writeln!(text, "; through devstack: supervisord has no {}", beyond.join(", "));
            self::command(&launch::through_devstack(&options.devstack, &project.config_file, service))
        }
    };
    let mut add = |key: &str, value: &str| text.push_str(&format!("{key}={value}\n"));
    add("command", &percent(&command));
    add("directory", &percent(&service.cwd.display().to_string()));
    if let Some(environment) = environment.filter(|text| beyond.is_empty() && !text.is_empty()) {
        add("environment", &percent(&environment));
    }
    add("priority", &(100 + index).to_string());
    add("autostart", "true");
    add(
        "autorestart",
        match service.restart {
            RestartPolicy::Always => "true",
            RestartPolicy::OnFailure => "unexpected",
            RestartPolicy::Never => "false",
        },
    );
    add("exitcodes", "0");
    add("startsecs", "1");
    add("startretries", &service.start_limit.burst.to_string());
    add("stopsignal", service.stop_signal.to_string().trim_start_matches("SIG"));
    // devstack itself needs the time that it gives its worker, and some more.
    let grace = service.stop_timeout.as_secs() + if beyond.is_empty() { 0 } else { 5 };
    add("stopwaitsecs", &grace.max(1).to_string());
    add("stopasgroup", "true");
    add("killasgroup", "true");
    add("redirect_stderr", "true");
    add("stdout_logfile", &percent(&log(service)));
    add("stdout_logfile_maxbytes", &service.log_rotate.size.map_or("0".to_owned(), |bytes| bytes.to_string()));
    add("stdout_logfile_backups", &service.log_rotate.keep.to_string());
    losses(service, export);
    text
}

fn log(service: &Service) -> String {
    let path: &Path = &service.log_file;
    path.display().to_string()
}

fn losses(service: &Service, export: &mut Export) {
    if !service.depends_on.is_empty() {
        export.lose(&service.name, "depends_on: supervisord starts by priority and waits for nobody");
    }
    if service.setup.is_some() {
        export.lose(&service.name, "setup: to be done once, before the first start");
    }
    if !service.watch.is_empty() {
        export.lose(&service.name, "watch: for development only");
    }
    if service.restart != RestartPolicy::Never {
        export.lose(
            &service.name,
            "restart_delay, start_limit: supervisord waits a second longer each time, and counts failed starts only (startretries)",
        );
    }
}

/// `KEY="value",…`. `None`: its parser has no way to say a value that holds a line break, or both kinds of quotes.
fn environment(service: &Service) -> Option<String> {
    let pairs = launch::environment(service, PATH).into_iter().map(|(key, value)| {
        let quote = match (value.contains('"'), value.contains('\'')) {
            (false, _) => '"',
            (true, false) => '\'',
            (true, true) => return None,
        };
        let is_plain = !value.chars().any(char::is_control) && !value.starts_with(['"', '\'']) && !value.ends_with(['"', '\'']);
        is_plain.then(|| format!("{key}={quote}{value}{quote}"))
    });
    Some(pairs.collect::<Option<Vec<_>>>()?.join(",")).filter(|line| fits_a_line(line))
}

fn command(words: &[String]) -> String {
    shell_words::join(words.iter().map(String::as_str))
}

/// A line ends at a line break, and at a `;` or `#` after a blank begins a comment, in quotes too.
fn fits_a_line(line: &str) -> bool {
    let mut after_blank = false;
    line.chars().all(|it| {
        let is_comment = after_blank && matches!(it, ';' | '#');
        after_blank = it.is_whitespace();
        !it.is_control() && !is_comment
    })
}

fn percent(text: &str) -> String {
    text.replace('%', "%%")
}
