//! Units: one a service, and a target for the project (systemd.unit(5), systemd.service(5), systemd.exec(5)).

use super::launch;
use super::{Export, Options, origin};
use crate::model::{KillMode, MIB, Project, ReadyWhen, RestartPolicy, Service};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// Where systemd itself looks for programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";

/// What a Python worker lives with, pools and named semaphores included.
const HARDENING: [&str; 19] = [
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
    "UMask=0027",
];

pub fn export(project: &Project, options: &Options) -> Export {
    let mut export = Export::default();
    let own: Vec<&Service> = project.services.values().map(|service| &**service).filter(|service| !service.external).collect();
    export.file(format!("{}.target", slug(&project.name)), target(project, &own, options));
    for service in own {
        let text = unit(project, service, options, &mut export);
        export.file(unit_name(project, service.name.as_str()), text);
    }
    for service in project.services.values().filter(|service| service.external) {
        export.lose(&service.name, "is external: whatever runs it has to be up before, for instance by a unit of its own");
    }
    export
}

/// A name of a unit holds no space and no slash.
fn slug(name: &str) -> String {
    name.chars().map(|it| if it.is_ascii_alphanumeric() || "-_.".contains(it) { it } else { '-' }).collect()
}

fn unit_name(project: &Project, service: &str) -> String {
    format!("{}-{service}.service", slug(&project.name))
}

fn target(project: &Project, own: &[&Service], options: &Options) -> String {
    let units: Vec<String> = own.iter().map(|service| unit_name(project, service.name.as_str())).collect();
    let boot = if options.user { "default.target" } else { "multi-user.target" };
    format!(
        "{}\n[Unit]\nDescription={}\nWants={}\n\n[Install]\nWantedBy={boot}\n",
        origin("systemd", project),
        specifiers(&project.name),
        units.join(" ")
    )
}

fn unit(project: &Project, service: &Service, options: &Options, export: &mut Export) -> String {
    let mut text = origin("systemd", project);
    text.push_str("\n[Unit]\n");
    let mut add = |key: &str, value: &str| text.push_str(&format!("{key}={value}\n"));
    add("Description", &specifiers(&format!("{}: {}", project.name, service.name)));
    add("PartOf", &format!("{}.target", slug(&project.name)));
    let needs: Vec<String> = needed(project, service).map(|name| unit_name(project, name)).collect();
    let after: Vec<&str> = needs.iter().map(String::as_str).chain((!options.user).then_some("network.target")).collect();
    if !after.is_empty() {
        add("After", &after.join(" "));
    }
    if !needs.is_empty() {
        add("Requires", &needs.join(" "));
    }
    add("StartLimitIntervalSec", &seconds(service.start_limit.interval));
    add("StartLimitBurst", &(service.start_limit.burst + 1).to_string());
    add("\n[Service]\nType", if speaks(service) { "notify" } else { "exec" });
    if speaks(service) {
        add("NotifyAccess", "all");
    }
    if !options.user {
        add("User", &slug(&project.name));
    }
    add("WorkingDirectory", &path(&service.cwd));
    for (key, value) in launch::environment(service, PATH) {
        add("Environment", &specifiers(&word(&format!("{key}={value}"))));
    }
    for file in &service.env_files {
        let optional = if file.optional { "-" } else { "" };
        add("EnvironmentFile", &format!("{optional}{}", path(&file.path)));
    }
    for file in &options.env_files {
        add("EnvironmentFile", &path(file));
    }
    for (key, command) in [
        ("ExecStartPre", service.hooks.pre_start.as_ref()),
        ("ExecStart", Some(&service.command)),
        ("ExecStopPost", service.hooks.post_stop.as_ref()),
    ] {
        if let Some(command) = command {
            add(key, &command_line(&launch::words(service, command)));
        }
    }
    add(
        "Restart",
        match service.restart {
            RestartPolicy::Always => "always",
            RestartPolicy::OnFailure => "on-failure",
            RestartPolicy::Never => "no",
        },
    );
    add("RestartSec", &seconds(service.restart_delay));
    add("TimeoutStartSec", &seconds(service.ready.timeout));
    add("TimeoutStopSec", &seconds(service.stop_timeout));
    add("KillSignal", &service.stop_signal.to_string());
    add(
        "KillMode",
        match service.kill_mode {
            KillMode::Mixed => "mixed",
            KillMode::ControlGroup => "control-group",
            KillMode::Process => "process",
        },
    );
    if let Some(timeout) = service.heartbeat_timeout {
        add("WatchdogSec", &seconds(timeout));
    }
    if let Some(longest) = service.max_runtime {
        let spread = longest.mul_f64(service.max_runtime_jitter.clamp(0.0, 1.0));
        add("RuntimeMaxSec", &seconds(longest.saturating_sub(spread)));
        if !spread.is_zero() {
            add("RuntimeRandomizedExtraSec", &seconds(spread));
        }
    }
    if let Some(bytes) = service.memory_limit {
        // Pressure at the limit, an end a quarter above it.
        add("MemoryHigh", &megabytes(bytes));
        add("MemoryMax", &megabytes(bytes + bytes / 4));
    }
    if let Some(percent) = service.cpu_limit {
        add("CPUQuota", &format!("{percent:.0}%"));
    }
    add("SyslogIdentifier", &unit_name(project, service.name.as_str()).replace(".service", ""));
    for line in HARDENING {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        add(key, value);
    }
    if !options.user {
        add("CapabilityBoundingSet", "");
        add("ProtectHome", "read-only");
    }
    add("ReadWritePaths", &specifiers(&word(&project.root.display().to_string())));
    add("\n[Install]\nWantedBy", &format!("{}.target", slug(&project.name)));
    losses(project, service, export);
    text
}

/// Units of this project that it depends on.
fn needed<'a>(project: &'a Project, service: &'a Service) -> impl Iterator<Item = &'a str> {
    let is_own = |name: &&crate::model::ServiceName| project.services.get(*name).is_some_and(|it| !it.external);
    service.depends_on.iter().filter(is_own).map(|name| name.as_str())
}

/// Whether the worker says by itself that it is ready or alive.
fn speaks(service: &Service) -> bool {
    service.ready.when == ReadyWhen::Notify
}

fn losses(project: &Project, service: &Service, export: &mut Export) {
    let name = &service.name;
    if service.health.is_some() {
        export.lose(name, "health: systemd asks no endpoint; heartbeats with `heartbeat_timeout` (WatchdogSec), or an alert, see to that");
    }
    if service.heartbeat_timeout.is_some() && !speaks(service) {
        export.lose(
            name,
            "heartbeat_timeout: WatchdogSec counts from the start here, as the worker does not say READY=1 (`ready = { notify = true }`)",
        );
    }
    if matches!(service.ready.when, ReadyWhen::Probe(_) | ReadyWhen::Log(_)) {
        export.lose(name, "ready: what depends on it starts as soon as its program runs; `ready = { notify = true }` would be waited for");
    }
    if service.cpu_limit.is_some() {
        export.lose(name, "cpu_limit: CPUQuota slows it down, and does not end it");
    }
    if service.restart != RestartPolicy::Never {
        export.lose(name, "restart_delay: the same each time (RestartSec); growing delays need systemd 254");
    }
    if service.setup.is_some() {
        export.lose(name, "setup: to be done once, before the first start");
    }
    if !service.watch.is_empty() {
        export.lose(name, "watch: for development only");
    }
    if service.health_port.is_some() {
        export.lose(name, "health_port: nobody answers for it; `devstack run` in ExecStart would");
    }
    for external in service.depends_on.iter().filter(|name| project.services.get(*name).is_some_and(|it| it.external)) {
        export.lose(name, format!("depends_on: `{external}` is external, and is not waited for"));
    }
}

/// Arguments of ExecStart= and the like: quoted, with neither specifiers nor variables.
fn command_line(words: &[String]) -> String {
    words.iter().map(|it| specifiers(&word(it)).replace('$', "$$")).collect::<Vec<_>>().join(" ")
}

/// One word as systemd.syntax(7) has it.
fn word(text: &str) -> String {
    let plain = |it: char| it.is_alphanumeric() || "-_./=:,@+%$^~".contains(it);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for it in text.chars() {
        match it {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            it if it.is_ascii_control() => drop(write!(quoted, "\\x{:02x}", u32::from(it))),
            it => quoted.push(it),
        }
    }
    quoted.push('"');
    quoted
}

fn specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

fn path(path: &Path) -> String {
    specifiers(&path.display().to_string())
}

fn seconds(time: Duration) -> String {
    if time.subsec_nanos() == 0 { format!("{}s", time.as_secs()) } else { format!("{}ms", time.as_millis()) }
}

/// Whole ones: systemd takes no fraction.
fn megabytes(bytes: u64) -> String {
    format!("{:.0}M", (bytes as f64 / MIB).ceil())
}
