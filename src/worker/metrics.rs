//! What a worker is limited to, and what it uses.

/// `None`: no such limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// After so long the worker is asked to stop, as planned.
    pub max_runtime_hours: Option<f64>,
    /// Resident memory of this process, in MB of 1024 × 1024 bytes.
    pub memory_limit_mb: Option<f64>,
    /// Percent of one core, mean of ten samples a second apart.
    pub cpu_limit_percent: Option<f64>,
    /// Without a heartbeat for longer than this a worker is not healthy.
    pub heartbeat_timeout_seconds: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_runtime_hours: None, memory_limit_mb: None, cpu_limit_percent: None, heartbeat_timeout_seconds: 300.0 }
    }
}

/// As the original tells it. `None`: not known yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    pub pid: i32,
    pub name: String,
    pub uptime_seconds: f64,
    /// Of one core, over the last second.
    pub cpu_percent: Option<f64>,
    /// Resident, in MB of 1024 × 1024 bytes.
    pub memory_mb: Option<f64>,
    /// Of the machine's memory.
    pub memory_percent: Option<f64>,
    pub num_threads: Option<u32>,
    /// `running`, `stopping` or `stopped`.
    pub status: &'static str,
    pub heartbeat_age_seconds: Option<f64>,
}
