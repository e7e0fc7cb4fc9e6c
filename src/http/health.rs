use super::format::Format;
use super::{Answer, Question, prometheus};
use crate::model::Pid;
use jiff::Timestamp;
use serde::Serialize;

/// What is known of a service at one moment. `None`: not known, and said to be `null`.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub at: Timestamp,
    pub project: String,
    pub name: String,
    pub pid: Option<Pid>,
    /// `running`, `starting`, …
    pub state: String,
    pub ready: bool,
    /// `healthy`, `unhealthy`, `hung`, …
    pub health: String,
    pub reason: String,
    pub uptime_seconds: Option<f64>,
    pub remaining_seconds: Option<f64>,
    /// Of one core.
    pub cpu_percent: Option<f64>,
    pub memory_mb: Option<f64>,
    /// Of the machine's memory.
    pub memory_percent: Option<f64>,
    pub processes: Option<u32>,
    /// Of these, those that have left the tree of the main process.
    pub strays: Option<u32>,
    pub threads: Option<u32>,
    pub heartbeat_age_seconds: Option<f64>,
    pub max_runtime_hours: Option<f64>,
    pub memory_limit_mb: Option<f64>,
    pub cpu_limit_percent: Option<f64>,
    /// Automatic restarts, by the reason of the end before them.
    pub restarts: Vec<(String, u64)>,
    /// As a shell tells it: 128 and the number of the signal, for who ended by one.
    pub last_exit_code: Option<i32>,
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'a str,
    reason: &'a str,
    timestamp: Timestamp,
}

#[derive(Serialize)]
struct Ready<'a> {
    ready: bool,
    reason: &'a str,
    timestamp: Timestamp,
}

#[derive(Serialize)]
pub(super) struct Metrics<'a> {
    metrics: Process<'a>,
    health: Verdict<'a>,
    runtime: Runtime,
    limits: Limits,
    timestamp: Timestamp,
}

#[derive(Serialize)]
struct Process<'a> {
    pid: Option<Pid>,
    name: &'a str,
    uptime_seconds: Option<f64>,
    cpu_percent: Option<f64>,
    memory_mb: Option<f64>,
    memory_percent: Option<f64>,
    num_threads: Option<u32>,
    status: &'a str,
    heartbeat_age_seconds: Option<f64>,
}

#[derive(Serialize)]
struct Verdict<'a> {
    is_healthy: bool,
    reason: &'a str,
}

#[derive(Serialize)]
struct Runtime {
    uptime_hours: Option<f64>,
    remaining_hours: Option<f64>,
}

#[derive(Serialize)]
struct Limits {
    max_runtime_hours: Option<f64>,
    #[serde(serialize_with = "crate::model::quantity::whole_if_possible")]
    memory_limit_mb: Option<f64>,
    cpu_limit_percent: Option<f64>,
}

/// The three endpoints of one service.
pub fn answer(question: &Question, facts: &Facts) -> Answer {
    let (reason, timestamp) = (facts.reason.as_str(), facts.at);
    match question.path.as_str() {
        "/health" => Answer::json(ok_or_unavailable(is_well(facts)), &Health { status: &facts.health, reason, timestamp }),
        "/ready" => {
            let reason = if facts.ready { "ready" } else { reason };
            Answer::json(ok_or_unavailable(facts.ready), &Ready { ready: facts.ready, reason, timestamp })
        }
        "/metrics" => match Format::wanted(question) {
            Some(Format::Json) => Answer::json(200, &metrics(facts)),
            Some(format) => prometheus::answer(format, std::slice::from_ref(facts)),
            None => Format::refusal(),
        },
        _ => Answer::not_found(),
    }
}

fn ok_or_unavailable(is_so: bool) -> u16 {
    if is_so { 200 } else { 503 }
}

/// Whoever is still starting must not be ended for it by a liveness probe; whether it is ready is another question.
pub(super) fn is_well(facts: &Facts) -> bool {
    matches!(facts.health.as_str(), "healthy" | "slow" | "asleep" | "starting")
}

pub(super) fn metrics(facts: &Facts) -> Metrics<'_> {
    Metrics {
        metrics: Process {
            pid: facts.pid,
            name: &facts.name,
            uptime_seconds: facts.uptime_seconds,
            cpu_percent: facts.cpu_percent,
            memory_mb: facts.memory_mb,
            memory_percent: facts.memory_percent,
            num_threads: facts.threads,
            status: &facts.state,
            heartbeat_age_seconds: facts.heartbeat_age_seconds,
        },
        health: Verdict { is_healthy: is_well(facts), reason: &facts.reason },
        runtime: Runtime { uptime_hours: facts.uptime_seconds.map(hours), remaining_hours: facts.remaining_seconds.map(hours) },
        limits: Limits {
            max_runtime_hours: facts.max_runtime_hours,
            memory_limit_mb: facts.memory_limit_mb,
            cpu_limit_percent: facts.cpu_limit_percent,
        },
        timestamp: facts.at,
    }
}

fn hours(seconds: f64) -> f64 {
    (seconds / 3.6).round() / 1000.0
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(in crate::http) fn facts() -> Facts {
        Facts {
            at: "2025-11-19T10:30:00Z".parse().expect("a time"),
            project: "analyticbot".to_owned(),
            name: "mtproto_worker_all".to_owned(),
            pid: Some(12345),
            state: "running".to_owned(),
            ready: true,
            health: "healthy".to_owned(),
            reason: "healthy".to_owned(),
            uptime_seconds: Some(3600.5),
            remaining_seconds: Some(82_800.0),
            cpu_percent: Some(45.2),
            memory_mb: Some(856.3),
            memory_percent: Some(8.1),
            processes: Some(5),
            strays: Some(0),
            threads: Some(12),
            heartbeat_age_seconds: Some(5.2),
            max_runtime_hours: Some(24.0),
            memory_limit_mb: Some(2048.0),
            cpu_limit_percent: Some(80.0),
            restarts: vec![("crashed".to_owned(), 2), ("memory_limit_exceeded".to_owned(), 1)],
            last_exit_code: Some(137),
        }
    }

    fn ask(path: &str, facts: &Facts) -> (u16, Value) {
        let answer = answer(&Question { path: path.to_owned(), ..Question::default() }, facts);
        (answer.status, serde_json::from_str(&answer.body).expect("json"))
    }

    #[test]
    fn the_answers_are_those_of_the_worker_that_devstack_stands_in_for() {
        let time = "2025-11-19T10:30:00Z";
        assert_eq!(ask("/health", &facts()), (200, json!({ "status": "healthy", "reason": "healthy", "timestamp": time })));
        assert_eq!(ask("/ready", &facts()), (200, json!({ "ready": true, "reason": "ready", "timestamp": time })));
        let (status, metrics) = ask("/metrics", &facts());
        let expected = json!({
            "metrics": { "pid": 12345, "name": "mtproto_worker_all", "uptime_seconds": 3600.5, "cpu_percent": 45.2, "memory_mb": 856.3,
                "memory_percent": 8.1, "num_threads": 12, "status": "running", "heartbeat_age_seconds": 5.2 },
            "health": { "is_healthy": true, "reason": "healthy" },
            "runtime": { "uptime_hours": 1.0, "remaining_hours": 23.0 },
            "limits": { "max_runtime_hours": 24.0, "memory_limit_mb": 2048, "cpu_limit_percent": 80.0 },
            "timestamp": time,
        });
        assert_eq!((status, metrics), (200, expected));
        assert_eq!(ask("/other", &facts()).0, 404);
    }

    #[test]
    fn what_is_not_well_is_503_and_what_is_not_known_is_null() {
        for (health, well) in [("slow", true), ("asleep", true), ("starting", true), ("unhealthy", false), ("hung", false), ("dead", false)]
        {
            assert_eq!(ask("/health", &Facts { health: health.to_owned(), ..facts() }).0, if well { 200 } else { 503 }, "{health}");
        }
        let gone =
            Facts { ready: false, reason: "not_running".to_owned(), pid: None, memory_limit_mb: None, uptime_seconds: None, ..facts() };
        assert_eq!(ask("/ready", &gone).0, 503);
        let metrics = ask("/metrics", &gone).1;
        assert!(metrics["metrics"]["pid"].is_null() && metrics["limits"]["memory_limit_mb"].is_null());
        assert!(metrics["runtime"]["uptime_hours"].is_null());
    }
}
