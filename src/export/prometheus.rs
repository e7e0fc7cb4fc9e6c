//! Scrape configuration, rules, and the tests of the rules, for Prometheus 2 and newer.

use super::yaml;
use super::{Export, Loss, origin};
use crate::model::{Probe, Project, Service};
use serde_json::{Value, json};

/// Of the limit: where the journal warns, too.
const NEAR_LIMIT: f64 = 0.85;

/// Without `heartbeat_timeout`: the default of the worker library, in seconds.
const HEARTBEAT_TIMEOUT: u64 = 300;

pub fn export(project: &Project) -> Export {
    let mut export = Export::default();
    let targets = targets(project);
    if targets.is_empty() {
        let what = "nothing to scrape: set `listen` under [http] (one endpoint for the project), or `health_port` of a service";
        export.losses.push(Loss { service: None, what: what.to_owned() });
    }
    let head = origin("prometheus", project);
    let scrape = json!({
        "global": { "scrape_interval": "15s", "evaluation_interval": "15s" },
        "rule_files": ["rules.yml"],
        "alerting": { "alertmanagers": [{ "static_configs": [{ "targets": ["localhost:9093"] }] }] },
        "scrape_configs": [{
            "job_name": project.name,
            "metrics_path": "/metrics",
            "scrape_interval": "30s",
            "static_configs": [{ "targets": targets }],
        }],
    });
    export.file("prometheus.yml", head.clone() + &yaml::document(&scrape));
    export.file("rules.yml", head.clone() + &yaml::document(&rules(project)));
    export.file("rules_test.yml", head + &yaml::document(&tests(project)));
    export
}

/// The endpoint of the project where there is one, else those of its services.
fn targets(project: &Project) -> Vec<String> {
    match project.http_listen {
        Some(listen) => vec![listen.to_string()],
        None => project.services.values().filter_map(|service| own_endpoint(service)).collect(),
    }
}

/// Where a service answers by itself, or devstack for it.
fn own_endpoint(service: &Service) -> Option<String> {
    let of_url = || match &service.health.as_ref()?.probe {
        Probe::Http(url) => url.strip_prefix("http://")?.split('/').next().map(str::to_owned),
        Probe::Tcp(_) | Probe::Exec(_) => None,
    };
    service.health_port.map(|port| format!("127.0.0.1:{port}")).or_else(of_url)
}

/// What every query of the project is about.
pub fn selector(project: &Project) -> String {
    format!("{{job={}}}", quoted(&project.name))
}

/// A text as PromQL has it.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// Of the slowest service that says how long it may take; alerts are for the project.
fn heartbeat_timeout(project: &Project) -> u64 {
    let longest = project.services.values().filter_map(|service| service.heartbeat_timeout).max();
    longest.map_or(HEARTBEAT_TIMEOUT, |longest| longest.as_secs().max(1))
}

fn rules(project: &Project) -> Value {
    let of = selector(project);
    let ratio = format!("devstack_service_memory_bytes{of} / devstack_service_limit_memory_bytes{of}");
    let restarts = |window: &str| format!("sum by (job, project, service) (increase(devstack_service_restarts_total{of}[{window}]))");
    let crashes = format!(
        "sum by (job, project, service) (increase(devstack_service_restarts_total{{job={}, reason=\"crashed\"}}[10m]))",
        quoted(&project.name)
    );
    let alert = |name: &str, expr: String, wait: &str, severity: &str, summary: &str| {
        json!({
            "alert": name,
            "expr": expr,
            "for": wait,
            "labels": { "severity": severity },
            "annotations": { "summary": summary },
        })
    };
    let name = "{{ $labels.service }}";
    json!({
        "groups": [
            {
                "name": format!("{} recorded", project.name),
                "rules": [
                    { "record": "devstack:memory_of_limit:ratio", "expr": ratio },
                    { "record": "devstack:restarts:increase1h", "expr": restarts("1h") },
                ],
            },
            {
                "name": format!("{} alerts", project.name),
                "rules": [
                    alert("DevstackHighMemory", format!("devstack:memory_of_limit:ratio{of} > {NEAR_LIMIT}"), "5m", "warning", &format!("{name} uses {{{{ $value | humanizePercentage }}}} of its memory limit")),
                    alert("DevstackNotHealthy", format!("devstack_service_healthy{of} == 0"), "2m", "critical", &format!("{name} is not healthy")),
                    alert("DevstackFrequentRestarts", format!("devstack:restarts:increase1h{of} > 3"), "0m", "warning", &format!("{name} was restarted {{{{ $value | humanize }}}} times within an hour")),
                    alert("DevstackCrashLoop", format!("{crashes} > 3"), "0m", "critical", &format!("{name} crashes again and again")),
                    alert("DevstackDown", format!("up{of} == 0"), "1m", "critical", "{{ $labels.instance }} cannot be scraped"),
                    alert("DevstackHeartbeatLate", format!("devstack_service_heartbeat_age_seconds{of} > {}", heartbeat_timeout(project)), "0m", "critical", &format!("no heartbeat of {name} for {{{{ $value | humanizeDuration }}}}")),
                    alert("DevstackStrays", format!("devstack_service_strays{of} > 0"), "15m", "warning", &format!("{{{{ $value }}}} processes have left the tree of {name}")),
                ],
            },
        ],
    })
}

/// For `promtool test rules`: each alert is silent while all is well, and fires after its time.
fn tests(project: &Project) -> Value {
    let labels = format!("job={}, project=\"shop\", service=\"web\"", quoted(&project.name));
    let series = |name: &str, more: &str, values: &str| json!({ "series": format!("{name}{{{labels}{more}}}"), "values": values });
    let is_silent = |name: &str| json!({ "alertname": name, "eval_time": "80m", "exp_alerts": [] });
    let well = [
        series("devstack_service_memory_bytes", "", "50x90"),
        series("devstack_service_limit_memory_bytes", "", "100x90"),
        series("devstack_service_healthy", "", "1x90"),
        series("devstack_service_strays", "", "0x90"),
        series("devstack_service_heartbeat_age_seconds", "", "1x90"),
        series("devstack_service_restarts_total", ", reason=\"crashed\"", "1x90"),
    ];
    let quiet: Vec<Value> = [
        "DevstackHighMemory",
        "DevstackNotHealthy",
        "DevstackFrequentRestarts",
        "DevstackCrashLoop",
        "DevstackHeartbeatLate",
        "DevstackStrays",
    ]
    .iter()
    .map(|name| is_silent(name))
    .collect();
    let ill = [
        series("devstack_service_memory_bytes", "", "90x90"),
        series("devstack_service_limit_memory_bytes", "", "100x90"),
        series("devstack_service_healthy", "", "0x90"),
        series("devstack_service_strays", "", "2x90"),
        series("devstack_service_heartbeat_age_seconds", "", &format!("{}x90", heartbeat_timeout(project) + 60)),
        series("devstack_service_restarts_total", ", reason=\"crashed\"", "0+1x90"),
        json!({ "series": format!("up{{job={}, instance=\"here\"}}", quoted(&project.name)), "values": "0x90" }),
    ];
    let query = |name: &str, state: &str| format!("count(ALERTS{{alertname={}, alertstate=\"{state}\"}})", quoted(name));
    let sample = |name: &str, at: &str, state: &str, is_there: bool| {
        let samples = if is_there { json!([{ "labels": "{}", "value": 1 }]) } else { json!([]) };
        json!({ "expr": query(name, state), "eval_time": at, "exp_samples": samples })
    };
    let after = [
        ("DevstackHighMemory", "6m"),
        ("DevstackNotHealthy", "3m"),
        ("DevstackFrequentRestarts", "10m"),
        ("DevstackCrashLoop", "10m"),
        ("DevstackDown", "2m"),
        ("DevstackHeartbeatLate", "1m"),
        ("DevstackStrays", "16m"),
    ];
    let mut firing: Vec<Value> = after.iter().map(|(name, at)| sample(name, at, "firing", true)).collect();
    firing.extend(
        [("DevstackHighMemory", "4m"), ("DevstackNotHealthy", "1m"), ("DevstackStrays", "14m")]
            .map(|(name, at)| sample(name, at, "firing", false)),
    );
    json!({
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            { "name": "all is well", "interval": "1m", "input_series": well, "alert_rule_test": quiet },
            { "name": "everything is wrong", "interval": "1m", "input_series": ill, "promql_expr_test": firing },
        ],
    })
}
