//! Numbers as a person reads them at a glance: two units at most, never wider than eight characters.

use crate::control::{HealthView, LastExitView, MemoryTrend};
use jiff::Timestamp;

/// `450ms`, `45s`, `3m 20s`, `3h 12m`, `2d 4h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "-".to_owned();
    }
    if seconds > 0.0 && seconds < 1.0 {
        return format!("{:.0}ms", (seconds * 1000.0).floor().max(1.0));
    }
    let whole = seconds as u64;
    let pair = |large: u64, small: u64, units: (&str, &str)| match small {
        0 => format!("{large}{}", units.0),
        _ => format!("{large}{} {small}{}", units.0, units.1),
    };
    match whole {
        0..60 => format!("{whole}s"),
        60..3_600 => pair(whole / 60, whole % 60, ("m", "s")),
        3_600..86_400 => pair(whole / 3_600, whole % 3_600 / 60, ("h", "m")),
        _ => pair(whole / 86_400, whole % 86_400 / 3_600, ("d", "h")),
    }
}

/// MB are binary throughout devstack.
pub fn memory(mb: f64) -> String {
    match mb {
        _ if !mb.is_finite() || mb < 0.0 => "-".to_owned(),
        _ if mb < 10.0 => format!("{mb:.1} MB"),
        _ if mb < 1023.5 => format!("{mb:.0} MB"),
        _ => format!("{:.1} GB", mb / 1024.0),
    }
}

pub fn percent(percent: f64) -> String {
    if percent.is_finite() { format!("{percent:.1}%") } else { "-".to_owned() }
}

/// What is unknown, or does not apply.
pub fn or_dash<T>(value: Option<T>, word: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), word)
}

/// `healthy 1.2ms`, `hung: no heartbeat for 312 s`; nothing for what is stopped, as STATE says that already.
pub fn health(health: &HealthView) -> String {
    let HealthView { status, reason, latency_ms, heartbeat_age_seconds, .. } = health;
    if status.is_empty() || status == "stopped" {
        return "-".to_owned();
    }
    let took = latency_ms.filter(|ms| ms.is_finite()).map(latency);
    let said = (reason != status && !reason.is_empty() && status != "healthy").then_some(reason);
    let beat = heartbeat_age_seconds.map(|age| format!("beat {} ago", duration(age)));
    let measured: Vec<String> = took.into_iter().chain(beat).collect();
    let word = if measured.is_empty() { status.clone() } else { format!("{status} {}", measured.join(", ")) };
    said.map_or_else(|| word.clone(), |reason| format!("{word}: {reason}"))
}

/// What grows towards its limit within a day is news.
pub fn growth(trend: &MemoryTrend) -> Option<String> {
    let (slope, left) = (trend.slope_mb_per_hour?, trend.limit_in_seconds?);
    let left = duration(left.max(1.0));
    (trend.limit_in_seconds? < 86_400.0)
        .then(|| format!("memory grows by {}/h: limit in about {}", memory(slope), left.split(' ').next().unwrap_or(&left)))
}

fn latency(ms: f64) -> String {
    match ms {
        _ if ms < 10.0 => format!("{ms:.1}ms"),
        _ if ms < 1000.0 => format!("{ms:.0}ms"),
        _ => format!("{:.1}s", ms / 1000.0),
    }
}

/// `crashed (SIGKILL) 2m ago`: the larger unit is enough.
pub fn last_exit(last: &LastExitView, now: Timestamp) -> String {
    let how = match (last.signal, last.code) {
        (Some(signal), _) => format!(" ({signal})"),
        (None, Some(code)) if code != 0 => format!(" (status {code})"),
        (None, _) => String::new(),
    };
    // A clock that was set back must not show a negative age.
    let ago = now.duration_since(last.at).as_secs().max(0);
    let age = duration(ago as f64);
    format!("{}{how} {} ago", last.reason, age.split(' ').next().unwrap_or(&age))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Actor, Reason, Signal};

    #[test]
    fn durations_and_sizes_are_short() {
        for (seconds, expected) in [
            (0.0, "0s"),
            (0.45, "450ms"),
            (0.9999, "999ms"),
            (45.9, "45s"),
            (60.0, "1m"),
            (200.0, "3m 20s"),
            (11_520.0, "3h 12m"),
            (187_200.0, "2d 4h"),
            (-1.0, "-"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
        for (mb, expected) in [(0.0, "0.0 MB"), (4.24, "4.2 MB"), (856.3, "856 MB"), (1023.9, "1.0 GB"), (1228.8, "1.2 GB")] {
            assert_eq!(memory(mb), expected, "{mb}");
        }
        assert_eq!(percent(45.21), "45.2%");
    }

    #[test]
    fn growth_is_told_when_the_limit_is_near() {
        let trend = |slope, left| growth(&MemoryTrend { peak_mb: 900.0, slope_mb_per_hour: slope, limit_in_seconds: left });
        assert_eq!(trend(Some(38.0), Some(18_400.0)).as_deref(), Some("memory grows by 38 MB/h: limit in about 5h"));
        assert_eq!(trend(Some(3.0), Some(90_000.0)), None, "not today");
        assert_eq!(trend(Some(-2.0), None), None);
    }

    #[test]
    fn health_says_why_only_when_something_is_wrong() {
        let view = |status: &str, reason: &str, latency_ms| {
            health(&HealthView {
                status: status.to_owned(),
                reason: reason.to_owned(),
                checked_at: None,
                latency_ms,
                heartbeat_age_seconds: None,
            })
        };
        assert_eq!(view("healthy", "healthy", Some(1.23)), "healthy 1.2ms");
        assert_eq!(view("hung", "heartbeat_timeout", None), "hung: heartbeat_timeout");
        assert_eq!(view("slow", "over 1 s", Some(1850.0)), "slow 1.9s: over 1 s");
        assert_eq!(view("stopped", "stopped", None), "-");
        let beating = HealthView {
            status: "healthy".to_owned(),
            reason: "healthy".to_owned(),
            checked_at: None,
            latency_ms: Some(1.23),
            heartbeat_age_seconds: Some(5.2),
        };
        assert_eq!(health(&beating), "healthy 1.2ms, beat 5s ago");
        assert_eq!(health(&HealthView { latency_ms: None, ..beating }), "healthy beat 5s ago");
    }

    #[test]
    fn the_last_exit_names_reason_status_and_age() {
        let now: Timestamp = "2025-11-19T10:30:00Z".parse().expect("a timestamp");
        let last = |code, signal, at: &str| LastExitView {
            code,
            signal,
            reason: Reason::Crashed,
            by: Actor::Unknown,
            at: at.parse().expect("a timestamp"),
        };
        let kill = Signal::from_number(9);
        assert_eq!(last_exit(&last(None, kill, "2025-11-19T10:27:10Z"), now), "crashed (SIGKILL) 2m ago");
        assert_eq!(last_exit(&last(Some(3), None, "2025-11-19T11:30:00Z"), now), "crashed (status 3) 0s ago");
    }
}
