//! The resolved configuration as text that reads like devstack.toml: what every key came to.

use crate::model::{HealthCheck, KillMode, LogRotate, Probe, Project, Ready, ReadyWhen, RestartPolicy, Service, is_obeyed_by_terminals};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// Environment variables by name only.
pub fn show(project: &Project) -> String {
    let mut text = String::from("[project]\n");
    let mut line = |key: &str, value: String| key_value(&mut text, key, &value);
    line("name", quoted(&project.name));
    line("id", quoted(&project.id.0));
    line("root", path(&project.root));
    line("config_file", path(&project.config_file));
    line("log_dir", path(&project.log_dir));
    line("log_limit", project.log_limit.map_or("0".to_owned(), size));
    if let Some(listen) = project.http_listen {
        text.push_str("\n[http]\n");
        key_value(&mut text, "listen", &quoted(&listen.to_string()));
    }
    for service in project.services.values() {
        let _ = write!(text, "\n[services.{}]\n", service.name);
        for (key, value) in keys(service) {
            key_value(&mut text, key, &value);
        }
    }
    if !project.groups.is_empty() {
        text.push_str("\n[groups]\n");
        for (name, members) in &project.groups {
            key_value(&mut text, name, &list(members.iter().map(|member| member.as_str())));
        }
    }
    text
}

fn key_value(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key} = {value}");
}

/// In the order of the contract; what is off is left out.
fn keys(service: &Service) -> Vec<(&'static str, String)> {
    let mut keys = Vec::new();
    let mut add = |key, value: Option<String>| keys.extend(value.map(|value| (key, value)));
    let some = |condition: bool, value: String| condition.then_some(value);
    add("external", some(service.external, "true".to_owned()));
    add("command", some(!service.command.is_empty(), words(&service.command)));
    add("cwd", Some(path(&service.cwd)));
    add("env", some(!service.env.is_empty(), environment_names(service)));
    add("env_file", some(!service.env_files.is_empty(), env_files(service)));
    add("venv", Some(service.venv.as_deref().map_or("false".to_owned(), path)));
    add("depends_on", some(!service.depends_on.is_empty(), list(service.depends_on.iter().map(|name| name.as_str()))));
    add(
        "setup",
        service.setup.as_ref().map(|setup| {
            let creates = setup.creates.as_deref().map(|creates| format!(", creates = {}", path(creates))).unwrap_or_default();
            format!("{{ command = {}{creates} }}", words(&setup.command))
        }),
    );
    add("match", some(!service.match_argv.is_empty(), words(&service.match_argv)));
    add("ports", some(!service.ports.is_empty(), numbers(&service.ports)));
    add("health", service.health.as_ref().map(health));
    add("ready", Some(ready(&service.ready)));
    add("heartbeat_timeout", service.heartbeat_timeout.map(duration));
    add("max_runtime", service.max_runtime.map(duration));
    add("max_runtime_jitter", some(service.max_runtime_jitter > 0.0, quoted(&format!("{}%", service.max_runtime_jitter * 100.0))));
    add("memory_limit", service.memory_limit.map(size));
    add("cpu_limit", service.cpu_limit.map(|percent| quoted(&format!("{percent}%"))));
    add("cpu_window", some(service.cpu_limit.is_some(), duration(service.cpu_window)));
    add("restart", Some(quoted(restart_word(service.restart))));
    add("restart_delay", Some(duration(service.restart_delay)));
    add("restart_delay_max", Some(duration(service.restart_delay_max)));
    let limit = service.start_limit;
    add("start_limit", Some(format!("{{ burst = {}, interval = {} }}", limit.burst, duration(limit.interval))));
    add("stop_signal", Some(quoted(&service.stop_signal.to_string())));
    add("stop_timeout", Some(duration(service.stop_timeout)));
    add("kill_mode", Some(quoted(kill_word(service.kill_mode))));
    add("health_port", service.health_port.map(|port| port.to_string()));
    add("log_file", Some(path(&service.log_file)));
    add("log_rotate", Some(log_rotate(service.log_rotate)));
    add("watch", some(!service.watch.is_empty(), words(&service.watch)));
    let hook = |name: &str, command: &Option<Vec<String>>| command.as_ref().map(|command| format!("{name} = {}", words(command)));
    let hooks: Vec<String> =
        [hook("pre_start", &service.hooks.pre_start), hook("post_stop", &service.hooks.post_stop)].into_iter().flatten().collect();
    add("hooks", some(!hooks.is_empty(), format!("{{ {} }}", hooks.join(", "))));
    keys
}

/// As TOML writes a basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if is_obeyed_by_terminals(c) => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", items.map(quoted).collect::<Vec<_>>().join(", "))
}

fn words(words: &[String]) -> String {
    list(words.iter().map(String::as_str))
}

fn numbers(numbers: &[u16]) -> String {
    format!("[{}]", numbers.iter().map(u16::to_string).collect::<Vec<_>>().join(", "))
}

fn environment_names(service: &Service) -> String {
    let bare = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let name = |name: &String| if bare(name) { name.clone() } else { quoted(name) };
    let names: Vec<String> = service.env.keys().map(|key| format!("{} = \"***\"", name(key))).collect();
    format!("{{ {} }}", names.join(", "))
}

fn env_files(service: &Service) -> String {
    let names: Vec<String> =
        service.env_files.iter().map(|file| file.path.to_string_lossy().into_owned() + if file.optional { "?" } else { "" }).collect();
    words(&names)
}

fn duration(duration: Duration) -> String {
    quoted(&humantime::format_duration(duration).to_string())
}

fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    quoted(&if bytes.is_multiple_of(MIB) { format!("{}MB", bytes / MIB) } else { format!("{bytes}B") })
}

fn log_rotate(rotate: LogRotate) -> String {
    let age = rotate.age.map_or_else(String::new, |age| format!(", age = {}", duration(age)));
    let compress = if rotate.compress { ", compress = true" } else { "" };
    format!("{{ size = {}, keep = {}{age}{compress} }}", rotate.size.map_or("0".to_owned(), size), rotate.keep)
}

fn probe(probe: &Probe, http: &str) -> String {
    match probe {
        Probe::Http(url) => format!("{http} = {}", quoted(url)),
        Probe::Tcp(address) => format!("tcp = {}", quoted(address)),
        Probe::Exec(command) => format!("exec = {}", words(command)),
    }
}

fn health(check: &HealthCheck) -> String {
    format!(
        "{{ {}, interval = {}, timeout = {}, failures = {}, start_period = {} }}",
        probe(&check.probe, "url"),
        duration(check.interval),
        duration(check.timeout),
        check.failures,
        duration(check.start_period)
    )
}

fn ready(ready: &Ready) -> String {
    let when = match &ready.when {
        ReadyWhen::Probe(check) => probe(check, "http"),
        ReadyWhen::Log(pattern) => format!("log = {}", quoted(pattern)),
        ReadyWhen::Notify => "notify = true".to_owned(),
        ReadyWhen::Delay(delay) => format!("delay = {}", duration(*delay)),
    };
    format!("{{ {when}, timeout = {} }}", duration(ready.timeout))
}

fn restart_word(policy: RestartPolicy) -> &'static str {
    match policy {
        RestartPolicy::Always => "always",
        RestartPolicy::OnFailure => "on-failure",
        RestartPolicy::Never => "never",
    }
}

fn kill_word(mode: KillMode) -> &'static str {
    match mode {
        KillMode::Mixed => "mixed",
        KillMode::ControlGroup => "control-group",
        KillMode::Process => "process",
    }
}
