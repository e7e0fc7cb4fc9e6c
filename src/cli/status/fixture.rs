use crate::control::{HealthView, Limits, ProjectView, ServiceView, Snapshot, StateWord, SupervisorView};
use crate::model::ServiceName;
use jiff::Timestamp;
use std::collections::BTreeMap;

pub fn now() -> Timestamp {
    "2025-11-19T10:30:00Z".parse().expect("a timestamp")
}

/// As it would be in that state, healthy when running.
pub fn service(name: &str, state: StateWord) -> ServiceView {
    let up = state == StateWord::Running;
    ServiceView {
        name: ServiceName::new(name).expect("a name"),
        state,
        ready: up,
        health: HealthView {
            status: if up { "healthy" } else { "stopped" }.to_owned(),
            reason: if up { "healthy" } else { "stopped" }.to_owned(),
            checked_at: up.then(now),
            latency_ms: up.then_some(1.23),
            heartbeat_age_seconds: None,
        },
        pid: up.then_some(4720),
        run_id: None,
        started_at: None,
        uptime_seconds: up.then_some(3600.0 * 3.2),
        remaining_seconds: up.then_some(82_799.5),
        restarts: 0,
        restarts_by_reason: BTreeMap::new(),
        last_exit: None,
        cpu_percent: up.then_some(45.21),
        memory_mb: up.then_some(856.3),
        processes: u32::from(up),
        threads: u32::from(up),
        memory_trend: None,
        limits: Limits::default(),
        ports: vec![9091],
        log_file: format!("logs/dev_{name}.log"),
        strays: 0,
        detail: None,
        status_text: None,
        external: false,
        tree: Vec::new(),
    }
}

pub fn snapshot(services: Vec<ServiceView>) -> Snapshot {
    Snapshot {
        project: ProjectView { name: "analyticbot".to_owned(), root: "/srv/analyticbot".to_owned() },
        supervisor: Some(SupervisorView {
            pid: 4711,
            version: "0.1.0".to_owned(),
            uptime_seconds: 12.5,
            memory_mb: 4.2,
            degraded: None,
            trouble: None,
        }),
        services,
    }
}
