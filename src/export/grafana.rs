//! A dashboard with the metrics that say how a worker is, and what provisions it (Grafana 9 and newer).

use super::prometheus::selector;
use super::yaml;
use super::{Export, origin};
use crate::model::Project;
use serde_json::{Value, json};

const SOURCE: &str = "devstack-prometheus";

/// Title, unit, queries with their legends; half of the width each.
type Panel = (&'static str, &'static str, Vec<(String, &'static str)>);

pub fn export(project: &Project) -> Export {
    let mut export = Export::default();
    let file = format!("{}.json", project.name.replace(['/', ' '], "-"));
    let text = serde_json::to_string_pretty(&dashboard(project)).unwrap_or_default() + "\n";
    export.file(format!("dashboards/{file}"), text);
    let head = origin("grafana", project);
    let provider = json!({
        "apiVersion": 1,
        "providers": [{ "name": "devstack", "type": "file", "options": { "path": "/var/lib/grafana/dashboards" } }],
    });
    export.file("provisioning/dashboards/devstack.yml", head.clone() + &yaml::document(&provider));
    let source = json!({
        "apiVersion": 1,
        "datasources": [{ "name": "devstack", "uid": SOURCE, "type": "prometheus", "access": "proxy", "url": "http://localhost:9090" }],
    });
    export.file("provisioning/datasources/devstack.yml", head + &yaml::document(&source));
    export
}

fn panels(project: &Project) -> Vec<Panel> {
    let of = selector(project);
    let one = |metric: &str| format!("devstack_service_{metric}{of}");
    let service = "{{service}}";
    vec![
        ("Health (1: well)", "none", vec![(one("healthy"), service)]),
        ("Uptime", "s", vec![(one("uptime_seconds"), service)]),
        ("Processor, of one core", "percent", vec![(one("cpu_percent"), service)]),
        ("Memory against its limit", "bytes", vec![(one("memory_bytes"), service), (one("limit_memory_bytes"), "{{service}}, limit")]),
        ("Age of the last heartbeat", "s", vec![(one("heartbeat_age_seconds"), service)]),
        (
            "Restarts by reason, in an hour",
            "none",
            vec![(format!("sum by (service, reason) (increase(devstack_service_restarts_total{of}[1h]))"), "{{service}}: {{reason}}")],
        ),
        ("Processes", "none", vec![(one("processes"), service), (one("strays"), "{{service}}, strays")]),
        ("Until max_runtime", "s", vec![(one("remaining_seconds"), service)]),
    ]
}

fn dashboard(project: &Project) -> Value {
    let source = json!({ "type": "prometheus", "uid": SOURCE });
    let panel = |(index, (title, unit, queries)): (usize, Panel)| {
        let target = |(index, (expr, legend)): (usize, (String, &str))| {
            let letter = char::from_digit(10 + u32::try_from(index).unwrap_or_default(), 36).unwrap_or('a').to_ascii_uppercase();
            json!({ "refId": letter.to_string(), "datasource": source, "expr": expr, "legendFormat": legend })
        };
        json!({
            "id": index + 1,
            "type": "timeseries",
            "title": title,
            "datasource": source,
            "gridPos": { "x": (index % 2) * 12, "y": (index / 2) * 8, "w": 12, "h": 8 },
            "fieldConfig": { "defaults": { "unit": unit, "min": 0 }, "overrides": [] },
            "options": { "legend": { "displayMode": "list", "placement": "bottom" }, "tooltip": { "mode": "multi" } },
            "targets": queries.into_iter().enumerate().map(target).collect::<Vec<_>>(),
        })
    };
    json!({
        "uid": format!("devstack-{}", project.id).chars().take(40).collect::<String>(),
        "title": format!("{}: workers", project.name),
        "tags": ["devstack"],
        "timezone": "browser",
        "schemaVersion": 39,
        "editable": true,
        "refresh": "30s",
        "time": { "from": "now-6h", "to": "now" },
        "panels": panels(project).into_iter().enumerate().map(panel).collect::<Vec<_>>(),
        "templating": { "list": [] },
        "annotations": { "list": [] },
    })
}
