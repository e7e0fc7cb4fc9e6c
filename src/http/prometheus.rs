//! The metrics of services as Prometheus reads them. Names and labels are stable; what is not known is left out.

use super::format::Format;
use super::health::is_well;
use super::{Answer, Facts};
use crate::model::MIB;
use prometheus::core::Collector;
use prometheus::{GaugeVec, IntCounterVec, Opts, Registry, TextEncoder};

const LABELS: [&str; 2] = ["project", "service"];

/// A number that goes up and down: its name, what it is, and where it comes from.
type Gauge = (&'static str, &'static str, fn(&Facts) -> Option<f64>);

const GAUGES: [Gauge; 14] = [
    ("up", "1 while the service runs", |it| Some(flag(it.state == "running"))),
    ("healthy", "1 while it is well: healthy, slow, asleep between cycles, or still starting", |it| Some(flag(is_well(it)))),
    ("ready", "1 while it is ready", |it| Some(flag(it.ready))),
    ("uptime_seconds", "Since its present run was started", |it| it.uptime_seconds),
    ("remaining_seconds", "Until max_runtime ends the run", |it| it.remaining_seconds),
    ("cpu_percent", "Of one core, of the whole process tree", |it| it.cpu_percent),
    ("memory_bytes", "Resident memory of the whole process tree", |it| it.memory_mb.map(|mb| mb * MIB)),
    ("memory_percent", "The same, of the machine's memory", |it| it.memory_percent),
    ("processes", "Of the whole tree", |it| it.processes.map(f64::from)),
    ("strays", "Of these, those that have left the tree of the main process", |it| it.strays.map(f64::from)),
    ("threads", "Of all of its processes", |it| it.threads.map(f64::from)),
    ("heartbeat_age_seconds", "Since its last heartbeat", |it| it.heartbeat_age_seconds),
    ("limit_memory_bytes", "Its memory limit", |it| it.memory_limit_mb.map(|mb| mb * MIB)),
    ("last_exit_code", "How its last run ended; 128 and the number of the signal that ended it", |it| it.last_exit_code.map(f64::from)),
];

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

pub fn answer(format: Format, services: &[Facts]) -> Answer {
    let text = gather(services).and_then(|registry| TextEncoder::new().encode_to_string(&registry.gather()));
    let (content_type, body) = match (format, text) {
        (_, Err(error)) => return Answer::json(500, &serde_json::json!({ "error": error.to_string() })),
        (Format::OpenMetrics, Ok(text)) => ("application/openmetrics-text; version=1.0.0; charset=utf-8", open_metrics(&text)),
        (_, Ok(text)) => ("text/plain; version=0.0.4; charset=utf-8", text),
    };
    Answer { status: 200, content_type, body }
}

fn gather(services: &[Facts]) -> prometheus::Result<Registry> {
    let registry = Registry::new();
    for (name, help, value) in GAUGES {
        let gauge = GaugeVec::new(Opts::new(name, help).namespace("devstack_service"), &LABELS)?;
        for it in services {
            if let Some(value) = value(it) {
                gauge.with_label_values(&[&it.project, &it.name]).set(value);
            }
        }
        register(&registry, gauge)?;
    }
    let opts = Opts::new("restarts_total", "Automatic restarts, by the reason of the end before them").namespace("devstack_service");
    let restarts = IntCounterVec::new(opts, &[LABELS[0], LABELS[1], "reason"])?;
    for it in services {
        for (reason, count) in &it.restarts {
            restarts.with_label_values(&[&it.project, &it.name, reason]).inc_by(*count);
        }
    }
    register(&registry, restarts)?;
    Ok(registry)
}

fn register(registry: &Registry, collector: impl Collector + 'static) -> prometheus::Result<()> {
    registry.register(Box::new(collector))
}

/// Of the older format it differs in two things here: a counter is declared without the suffix of its samples, and there is an end.
fn open_metrics(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let declared = ["# HELP ", "# TYPE "].iter().find_map(|start| Some((start, line.strip_prefix(*start)?)));
        lines.push(match declared.and_then(|(start, rest)| Some((start, rest.split_once("_total ")?))) {
            Some((start, (name, rest))) if !name.contains(' ') => format!("{start}{name} {rest}"),
            _ => line.to_owned(),
        });
    }
    lines.push("# EOF\n".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::health::tests::facts;
    use super::*;

    #[test]
    fn every_number_has_its_name_its_labels_and_its_unit() {
        let text = answer(Format::Prometheus, &[facts()]).body;
        let of = "{project=\"analyticbot\",service=\"mtproto_worker_all\"}";
        for line in [
            format!("devstack_service_up{of} 1"),
            format!("devstack_service_healthy{of} 1"),
            format!("devstack_service_ready{of} 1"),
            format!("devstack_service_uptime_seconds{of} 3600.5"),
            format!("devstack_service_remaining_seconds{of} 82800"),
            format!("devstack_service_cpu_percent{of} 45.2"),
            format!("devstack_service_memory_bytes{of} {}", 856.3 * MIB),
            format!("devstack_service_memory_percent{of} 8.1"),
            format!("devstack_service_processes{of} 5"),
            format!("devstack_service_strays{of} 0"),
            format!("devstack_service_threads{of} 12"),
            format!("devstack_service_heartbeat_age_seconds{of} 5.2"),
            format!("devstack_service_limit_memory_bytes{of} 2147483648"),
            format!("devstack_service_last_exit_code{of} 137"),
            "devstack_service_restarts_total{project=\"analyticbot\",reason=\"crashed\",service=\"mtproto_worker_all\"} 2".to_owned(),
            "# TYPE devstack_service_restarts_total counter".to_owned(),
        ] {
            assert!(text.lines().any(|seen| seen == line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let quiet = Facts { cpu_percent: None, heartbeat_age_seconds: None, restarts: Vec::new(), ..facts() };
        let text = answer(Format::Prometheus, &[quiet]).body;
        assert!(!text.contains("cpu_percent") && !text.contains("heartbeat") && !text.contains("restarts_total"), "{text}");
    }

    #[test]
    fn open_metrics_declares_the_counter_by_its_family_and_ends() {
        let Answer { content_type, body, .. } = answer(Format::OpenMetrics, &[facts()]);
        assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"));
        assert!(body.ends_with("\n# EOF\n") && body.contains("# TYPE devstack_service_restarts counter\n"), "{body}");
        assert!(body.contains("\ndevstack_service_restarts_total{") && !body.contains("# HELP devstack_service_restarts_total"), "{body}");
    }
}
