//! The story in words: how it is now, then each end, the last one with all that is known.

use crate::cli::events::words::{asker, exit};
use crate::cli::logs::shown;
use crate::cli::status::words::{duration, growth, memory};
use crate::cli::style::one_line;
use crate::control::{ServiceView, StateWord};
use crate::engine::Swept;
use crate::journal::{End, Then};
use crate::model::{Actor, Reason, ServiceName};
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub fn tell(service: &ServiceName, now: Option<&ServiceView>, ends: &[End], at: Timestamp, colors: bool) -> String {
    let mut text = now.map(|now| present(now) + "\n").unwrap_or_default();
    if ends.is_empty() {
        text += &format!("no end of {service} is recorded\n");
    }
    for (number, end) in ends.iter().enumerate() {
        text += &format!("\n{}\n", headline(end, at, colors));
        for (label, said) in facts(end) {
            text += &format!("  {label:<8} {}\n", one_line(&said));
        }
        let words = &end.ended.last_words;
        match (&words.traceback, number) {
            (Some(traceback), 0) => text += &block("traceback", traceback, colors),
            (Some(traceback), _) => text += &format!("  {:<8} {}\n", "raised", one_line(traceback.last().map_or("", String::as_str))),
            (None, _) => {}
        }
        if number == 0 && !words.last_lines.is_empty() {
            text += &block("the last lines of its log", &words.last_lines, colors);
        }
    }
    text
}

fn present(now: &ServiceView) -> String {
    let mut text = format!("{} is {}", now.name, now.state.word());
    if now.state == StateWord::Running {
        if let Some(uptime) = now.uptime_seconds {
            text += &format!(" for {}", duration(uptime));
        }
        text += &format!(" ({}", one_line(&now.health.status));
        if let Some(memory_mb) = now.memory_mb {
            text += &format!(", {}", memory(memory_mb));
        }
        text.push(')');
    }
    if let Some(detail) = &now.detail {
        text += &format!(": {}", one_line(detail));
    }
    let trend = now.memory_trend.as_ref();
    let slope = trend.and_then(|trend| trend.slope_mb_per_hour).filter(|slope| slope.abs() >= 1.0);
    match (trend.and_then(growth), slope) {
        (Some(growth), _) => text += &format!("; {growth}"),
        (None, Some(slope)) => text += &format!("; memory {slope:+.0} MB/h"),
        (None, None) => {}
    }
    text
}

fn headline(end: &End, now: Timestamp, colors: bool) -> String {
    let ago = now.duration_since(end.at).as_secs().max(0);
    let ago = if ago == 0 { "just now".to_owned() } else { format!("{} ago", duration(ago as f64)) };
    let when = end.at.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S");
    let word = if end.is_refusal() { "not started".to_owned() } else { end.ended.reason.to_string() };
    let good = end.ended.reason.is_planned() || end.ended.reason == Reason::Exited;
    let color = if good { console::Style::new().bold() } else { console::Style::new().bold().red() };
    format!("{}, {ago} ({when})", color.force_styling(colors).apply_to(word))
}

fn facts(end: &End) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if end.is_refusal() {
        facts.extend(end.detail.clone().map(|detail| ("why", detail)));
        facts.extend(end.asked_by.as_ref().map(|by| ("who", asker(by))));
    } else {
        facts.push(("who", who(end)));
        facts.push(("exit", how(end)));
        facts.push(("run", run(end)));
    }
    if !end.swept.is_empty() {
        facts.push(("with it", swept(&end.swept)));
    }
    facts.extend(end.then.as_ref().map(|then| ("then", what_then(then))));
    facts
}

fn who(end: &End) -> String {
    let because = |detail: Option<String>| detail.map(|detail| format!(": {detail}")).unwrap_or_default();
    match end.ended.by {
        Actor::User => match (&end.asked_by, end.ended.reason) {
            (Some(by), _) => asker(by),
            (None, Reason::FilesChanged) => format!("somebody changed a file{}", because(end.detail.clone())),
            (None, Reason::ConfigChanged) => "somebody took it out of devstack.toml".to_owned(),
            (None, _) => format!("somebody asked devstack for it{}", because(end.detail.clone())),
        },
        Actor::Devstack => {
            let limit = end.limit.as_ref().map(|limit| format!("it used {}", limit.words()));
            format!("devstack{}", because(limit.or_else(|| end.detail.clone())))
        }
        Actor::Worker => "the worker itself".to_owned(),
        Actor::Unknown => match end.ended.signal.map(|signal| signal.to_string()).as_deref() {
            None => "unknown: nobody was there to see it".to_owned(),
            Some("SIGKILL") => "not devstack: somebody, or the kernel for want of memory".to_owned(),
            Some("SIGSEGV" | "SIGABRT" | "SIGBUS" | "SIGFPE" | "SIGILL") => "not devstack: a fault in native code, or an abort".to_owned(),
            Some(_) => "not devstack: somebody sent it".to_owned(),
        },
    }
}

fn how(end: &End) -> String {
    let asked = end.stopping_at.map(|at| duration(end.at.duration_since(at).as_secs_f64().max(0.0)));
    let how = exit(&end.ended);
    match (asked, end.killed) {
        (Some(after), true) => format!("{how}; it was asked to stop, and killed {after} later"),
        (Some(after), false) => format!("{how}, {after} after it was asked to stop"),
        (None, _) => how,
    }
}

fn run(end: &End) -> String {
    let known = [
        end.run_id.map(|run| run.to_string()),
        end.ended.pid.map(|pid| format!("pid {pid}")),
        end.ended.uptime_seconds.map(|seconds| format!("lasted {}", duration(seconds))),
        (!end.ended.was_ready && end.ended.uptime_seconds.is_some()).then(|| "never ready".to_owned()),
        end.ended.last_words.peak_memory_mb.map(|peak| format!("peak memory {}", memory(peak))),
    ];
    known.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn swept(processes: &[Swept]) -> String {
    const NAMED: usize = 3;
    let one = |one: &Swept| format!("{} {} (by {})", one.pid, one.command.chars().take(60).collect::<String>(), one.evidence);
    let named: Vec<String> = processes.iter().take(NAMED).map(one).collect();
    match processes.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{}, and {more} more", named.join(", ")),
    }
}

fn what_then(then: &Then) -> String {
    match then {
        Then::Started { run_id, after_seconds } => format!("started again {} later as {run_id}", duration(*after_seconds)),
        Then::RestartsIn { seconds } => format!("to be started again after {}", duration(*seconds)),
        Then::Stopped => "stopped".to_owned(),
        Then::Exited => "not started again, as its restart policy says".to_owned(),
        Then::Failed { message, hint } => match hint {
            Some(hint) => format!("given up: {message}; {hint}"),
            None => format!("given up: {message}"),
        },
        Then::Stuck { pids } => {
            format!("stuck: SIGKILL has not ended {}", pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
    }
}

fn block(title: &str, lines: &[String], colors: bool) -> String {
    let bar = console::Style::new().dim().force_styling(colors).apply_to("|").to_string();
    let lines: String = lines.iter().map(|line| format!("    {bar} {}\n", shown(line.as_bytes(), colors))).collect();
    format!("  {title}:\n{lines}")
}
