//! For those who outgrow one machine: a Deployment a service (a Job for what is not restarted), with what belongs to it.
//!
//! The image holds the project in `/app`, with its dependencies for the `python` of the image, and devstack where it is the entry point.

use super::yaml;
use super::{Export, Options, origin};
use crate::model::{MIB, Probe, Project, ReadyWhen, RestartPolicy, Service};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::Duration;

const APP: &str = "/app";

pub fn export(project: &Project, options: &Options) -> Export {
    let mut export = Export::default();
    for service in project.services.values() {
        if service.external {
            export.lose(&service.name, "is external: a Service of the cluster has to stand for it");
            continue;
        }
        let objects = objects(project, service, options, &mut export);
        export.file(format!("{}.yaml", service.name), origin("kubernetes", project) + &yaml::documents(&objects));
    }
    export
}

/// A name as the cluster takes it (RFC 1123).
fn label(text: &str) -> String {
    let text: String = text.to_ascii_lowercase().chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '-' }).collect();
    text.trim_matches('-').chars().take(63).collect()
}

fn objects(project: &Project, service: &Service, options: &Options, export: &mut Export) -> Vec<Value> {
    let name = label(&format!("{}-{}", project.name, service.name));
    let labels = json!({ "app.kubernetes.io/name": label(service.name.as_str()), "app.kubernetes.io/part-of": label(&project.name) });
    let meta = json!({ "name": name, "labels": labels });
    let mut objects = Vec::new();
    let env_name = format!("{name}-env");
    if !service.env.is_empty() {
        objects.push(
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": env_name, "labels": labels }, "data": service.env }),
        );
    }
    let pod = json!({
        "metadata": { "labels": labels },
        "spec": {
            "containers": [container(project, service, options, &env_name)],
            "restartPolicy": if service.restart == RestartPolicy::Never { "Never" } else { "Always" },
            "terminationGracePeriodSeconds": service.stop_timeout.as_secs() + 5,
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
        },
    });
    objects.push(match service.restart {
        RestartPolicy::Never => json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": meta,
            "spec": { "backoffLimit": 0, "template": pod },
        }),
        // Never two at once, as on one machine.
        _ => json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
            "spec": { "replicas": 1, "strategy": { "type": "Recreate" }, "selector": { "matchLabels": labels }, "template": pod },
        }),
    });
    let ports = ports(service);
    if !ports.is_empty() {
        let named: Vec<Value> = ports.iter().map(|port| json!({ "name": format!("p{port}"), "port": port, "targetPort": port })).collect();
        objects.push(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": { "selector": labels, "ports": named },
        }));
    }
    if let Some(port) = metrics_port(service) {
        objects.push(json!({
            "apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": meta,
            "spec": { "selector": { "matchLabels": labels }, "endpoints": [{ "port": format!("p{port}"), "path": "/metrics", "interval": "30s" }] },
        }));
    }
    if service.restart != RestartPolicy::Never {
        objects.push(json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta,
            "spec": { "maxUnavailable": 1, "selector": { "matchLabels": labels } },
        }));
    }
    losses(service, export);
    objects
}

fn ports(service: &Service) -> Vec<u16> {
    let mut ports = service.ports.clone();
    ports.extend(metrics_port(service));
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Where `/metrics` is: of devstack, or of the worker's own endpoint.
fn metrics_port(service: &Service) -> Option<u16> {
    service.health_port.or_else(|| match &service.health.as_ref()?.probe {
        Probe::Http(url) => port_and_path(url).map(|(port, _)| port),
        Probe::Tcp(_) | Probe::Exec(_) => None,
    })
}

fn port_and_path(url: &str) -> Option<(u16, String)> {
    let rest = url.strip_prefix("http://")?;
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80);
    Some((port, format!("/{path}")))
}

/// What the cluster has no word for.
fn needs_devstack(service: &Service) -> bool {
    service.max_runtime.is_some() || service.heartbeat_timeout.is_some() || service.health_port.is_some() || service.cpu_limit.is_some()
}

fn container(project: &Project, service: &Service, options: &Options, env_name: &str) -> Value {
    let mut container = Map::new();
    let mut add = |key: &str, value: Value| drop(container.insert(key.to_owned(), value));
    add("name", json!(label(service.name.as_str())));
    add("image", json!(format!("{}:latest", label(&project.name))));
    let command = if needs_devstack(service) {
        vec!["devstack".to_owned(), "--project".to_owned(), APP.to_owned(), "run".to_owned(), service.name.to_string()]
    } else {
        service.command.clone()
    };
    add("command", json!(command));
    add("workingDir", json!(in_image(project, &service.cwd)));
    let mut from: Vec<Value> = Vec::new();
    if !service.env.is_empty() {
        from.push(json!({ "configMapRef": { "name": env_name } }));
    }
    for file in service.env_files.iter().map(|file| (&file.path, file.optional)).chain(options.env_files.iter().map(|path| (path, false))) {
        from.push(json!({ "secretRef": { "name": secret(project, file.0), "optional": file.1 } }));
    }
    if !from.is_empty() {
        add("envFrom", json!(from));
    }
    let ports: Vec<Value> = ports(service).iter().map(|port| json!({ "name": format!("p{port}"), "containerPort": port })).collect();
    if !ports.is_empty() {
        add("ports", json!(ports));
    }
    if let Some(health) = &service.health {
        add("livenessProbe", probe(&health.probe, health.interval, health.timeout, health.failures, health.start_period));
    }
    if let ReadyWhen::Probe(check) = &service.ready.when {
        let second = Duration::from_secs(1);
        let patience = u32::try_from(service.ready.timeout.as_secs().max(1)).unwrap_or(u32::MAX);
        add("readinessProbe", probe(check, Duration::from_secs(5), second, 1, Duration::ZERO));
        add("startupProbe", probe(check, second, second, patience, Duration::ZERO));
    }
    let resources = resources(service);
    if !resources.is_empty() {
        add(
            "resources",
            json!({ "requests": resources.iter().map(|(key, (request, _))| (*key, request.clone())).collect::<std::collections::BTreeMap<_, _>>(),
            "limits": resources.iter().map(|(key, (_, limit))| (*key, limit.clone())).collect::<std::collections::BTreeMap<_, _>>() }),
        );
    }
    add("securityContext", json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } }));
    Value::Object(container)
}

/// Half is asked for, all of it may be used.
fn resources(service: &Service) -> Vec<(&'static str, (String, String))> {
    let memory = service.memory_limit.map(|bytes| {
        let mb = (bytes as f64 / MIB).ceil();
        ("memory", (format!("{:.0}Mi", (mb / 2.0).ceil()), format!("{mb:.0}Mi")))
    });
    let cpu =
        service.cpu_limit.map(|percent| ("cpu", (format!("{:.0}m", (percent * 5.0).ceil()), format!("{:.0}m", (percent * 10.0).ceil()))));
    memory.into_iter().chain(cpu).collect()
}

fn probe(check: &Probe, interval: Duration, timeout: Duration, failures: u32, start: Duration) -> Value {
    let whole = |time: Duration| time.as_secs_f64().ceil().max(1.0) as u64;
    let mut probe = match check {
        Probe::Http(url) => {
            let (port, path) = port_and_path(url).unwrap_or((80, "/".to_owned()));
            json!({ "httpGet": { "port": port, "path": path } })
        }
        Probe::Tcp(address) => {
            json!({ "tcpSocket": { "port": address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).unwrap_or(80) } })
        }
        Probe::Exec(command) => json!({ "exec": { "command": command } }),
    };
    if let Some(entries) = probe.as_object_mut() {
        entries.insert("periodSeconds".to_owned(), json!(whole(interval)));
        entries.insert("timeoutSeconds".to_owned(), json!(whole(timeout)));
        entries.insert("failureThreshold".to_owned(), json!(failures.max(1)));
        entries.insert("initialDelaySeconds".to_owned(), json!(start.as_secs()));
    }
    probe
}

fn in_image(project: &Project, path: &Path) -> String {
    match path.strip_prefix(&project.root) {
        Ok(below) if below.as_os_str().is_empty() => APP.to_owned(),
        Ok(below) => format!("{APP}/{}", below.display()),
        Err(_) => path.display().to_string(),
    }
}

/// `config/.env.production` of `shop` is the Secret `shop-env-production`.
fn secret(project: &Project, file: &Path) -> String {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    label(&format!("{}-{}", project.name, name.trim_start_matches('.')))
}

fn losses(service: &Service, export: &mut Export) {
    if !service.depends_on.is_empty() {
        export.lose(&service.name, "depends_on: pods start in any order; the worker has to wait or to end");
    }
    if !service.env_files.is_empty() {
        export
            .lose(&service.name, "env_file: its Secret is to be made of the file: kubectl create secret generic NAME --from-env-file=FILE");
    }
    if service.health.is_some() || matches!(service.ready.when, ReadyWhen::Probe(_)) {
        export.lose(&service.name, "health, ready: the cluster asks from outside, so the endpoint has to listen on 0.0.0.0");
    }
    if service.hooks != crate::model::Hooks::default() && !needs_devstack(service) {
        export.lose(&service.name, "hooks: an init container would do for pre_start");
    }
    if service.setup.is_some() {
        export.lose(&service.name, "setup: belongs into the image");
    }
    if !service.watch.is_empty() {
        export.lose(&service.name, "watch: for development only");
    }
    if service.restart == RestartPolicy::OnFailure {
        export.lose(&service.name, "restart: a Deployment also restarts what ended well");
    }
}
