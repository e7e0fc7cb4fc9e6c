//! What became of each process, for a person and for a program.

use super::leftovers::{self, Handled, LeftoverView};
use super::{Done, Error, style};
use crate::cleanup::{Action, Decision, Evidence, Kind, Role};
use crate::model::{Pid, RunId, ServiceName};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{self, Write};
use std::time::Duration;

/// The whole of a clean-up.
#[derive(Debug, Clone)]
pub struct Report {
    pub dry_run: bool,
    pub done: Vec<Done>,
    /// `None`: not asked for.
    pub leftovers: Option<Vec<Handled>>,
}

/// The contract's shape; fields may be added, never changed.
#[derive(Serialize)]
struct ReportView<'a> {
    dry_run: bool,
    processes: Vec<ProcessView<'a>>,
    freed_mb: f64,
    survivors: Vec<Pid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leftovers: Option<Vec<LeftoverView<'a>>>,
}

#[derive(Serialize)]
struct ProcessView<'a> {
    pid: Pid,
    ppid: Pid,
    start_ticks: u64,
    age_seconds: f64,
    memory_mb: f64,
    command: String,
    kind: Kind,
    role: Role,
    service: Option<&'a ServiceName>,
    run_id: Option<RunId>,
    evidence: &'a [Evidence],
    action: Action,
    reason: &'a str,
}

impl Report {
    pub fn survivors(&self) -> impl Iterator<Item = Pid> {
        self.done.iter().filter(|done| done.action == Action::Survived).map(|done| done.decision.process.id.pid)
    }

    /// Whether everything that was to go is gone.
    pub fn is_complete(&self) -> bool {
        self.survivors().next().is_none() && !self.leftovers.iter().flatten().any(|one| one.refused)
    }

    fn of(&self, actions: &[Action]) -> impl Iterator<Item = &Decision> {
        self.done.iter().filter(|done| actions.contains(&done.action)).map(|done| &done.decision)
    }

    fn freed_mb(&self) -> f64 {
        self.of(&[Action::Terminated, Action::Killed, Action::Exited]).map(memory_mb).fold(0.0, |sum, one| sum + one)
    }

    /// One line, the shape of the contract.
    ///
    /// # Errors
    /// When it cannot be serialised, which no process can bring about.
    pub fn json(&self) -> serde_json::Result<String> {
        let view = ReportView {
            dry_run: self.dry_run,
            processes: self.done.iter().map(ProcessView::from).collect(),
            freed_mb: one_decimal(self.freed_mb()),
            survivors: self.survivors().collect(),
            leftovers: self.leftovers.as_ref().map(|all| all.iter().map(LeftoverView::from).collect()),
        };
        serde_json::to_string(&view)
    }

    pub(super) fn print_json(&self) -> Result<(), Error> {
        put(&format!("{}\n", style::harmless_json(&self.json().map_err(Error::failed)?)))
    }

    pub(super) fn print_table(&self) -> Result<(), Error> {
        // What runs as it should is `status`'s to tell.
        let shown = |done: &&Done| !(done.decision.kind == Kind::Managed && done.action == Action::LeftAlone);
        let rows: Vec<&Done> = self.done.iter().filter(shown).collect();
        if !rows.is_empty() {
            put(&format!("{}\n", table(&rows).trim_fmt()))?;
        }
        if let Some(table) = self.leftovers.as_deref().and_then(leftovers::table) {
            put(&format!("{}\n", table.trim_fmt()))?;
        }
        style::say(&self.summary());
        if let Some(all) = &self.leftovers {
            style::say(&leftovers::summary(all));
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let ended = self.of(&[Action::Terminated, Action::Killed, Action::Exited]).count();
        let planned: Vec<&Decision> = self.of(&[Action::WouldTerminate]).collect();
        let mut words = match (ended, planned.len()) {
            (0, 0) => "Nothing to clean up.\n".to_owned(),
            (0, count) => format!("Would end {} ({:.0} MB).\n", processes(count), planned.into_iter().map(memory_mb).sum::<f64>()),
            (count, _) => format!("Ended {}, {:.0} MB freed.\n", processes(count), self.freed_mb()),
        };
        let survivors: Vec<String> = self.survivors().map(|pid| pid.to_string()).collect();
        if !survivors.is_empty() {
            words = if ended == 0 { String::new() } else { words };
            words.push_str(&format!("{} these outlived SIGKILL: pid {}\n", style::error("error:"), survivors.join(", ")));
        }
        if self.of(&[Action::LeftAlone]).any(|one| one.kind == Kind::Manual) {
            words.push_str(&format!("{} copies on a terminal are left alone; end them too with --include-manual\n", style::hint("hint:")));
        }
        words
    }
}

impl<'a> From<&'a Done> for ProcessView<'a> {
    fn from(done: &'a Done) -> Self {
        let Decision { process, kind, role, service, run_id, evidence, reason, .. } = &done.decision;
        Self {
            pid: process.id.pid,
            ppid: process.ppid,
            start_ticks: process.id.start_ticks,
            age_seconds: one_decimal(process.age.as_secs_f64()),
            memory_mb: one_decimal(memory_mb(&done.decision)),
            command: process.command(),
            kind: *kind,
            role: *role,
            service: service.as_ref(),
            run_id: *run_id,
            evidence,
            action: done.action,
            reason,
        }
    }
}

/// Without lines, as wide as the terminal.
pub(super) fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let stdout = console::Term::stdout();
    if stdout.is_term() {
        table.set_width(stdout.size().1);
    }
    table
}

fn table(rows: &[&Done]) -> Table {
    let mut table = plain_table();
    table.set_header(["PID", "SERVICE", "KIND", "ROLE", "AGE", "MEM", "ACTION", "WHY", "COMMAND"]);
    for done in rows {
        let one = &done.decision;
        table.add_row([
            one.process.id.pid.to_string(),
            one.service.as_ref().map_or("-", ServiceName::as_str).to_owned(),
            one.kind.word().replace('_', "-"),
            one.role.word().replace('_', " "),
            age(one.process.age),
            format!("{:.0} MB", memory_mb(one)),
            done.action.word().replace('_', " "),
            style::visible(&why(one)),
            one_line(&style::visible(&one.process.command())),
        ]);
    }
    table
}

fn why(one: &Decision) -> String {
    if one.evidence.is_empty() {
        return one.reason.clone();
    }
    let evidence: Vec<String> = one.evidence.iter().map(|word| word.word().replace('_', " ")).collect();
    format!("{} (by {})", one.reason, evidence.join(", "))
}

/// A row stays a row whatever a process calls itself.
pub(super) fn one_line(text: &str) -> String {
    const LONGEST: usize = 100;
    let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match flat.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", &flat[..cut]),
        None => flat,
    }
}

/// Two units at most: `3d 1h`, `5m 10s`.
pub(super) fn age(age: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(age.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ").replace("days", "d").replace("day", "d")
}

fn processes(count: usize) -> String {
    if count == 1 { "1 process".to_owned() } else { format!("{count} processes") }
}

fn memory_mb(one: &Decision) -> f64 {
    one.process.memory_bytes as f64 / f64::from(1 << 20)
}

pub(super) fn one_decimal(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// A reader that left early has what it wanted; any other failure loses data.
fn put(text: &str) -> Result<(), Error> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::failed(format!("cannot write: {error}"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleanup::testing::{a_python, spawn_child};

    fn done(action: Action) -> Done {
        let process = spawn_child(21044);
        let service = ServiceName::new("mtproto").ok();
        let evidence = vec![Evidence::LogFile, Evidence::Cookie];
        let reason = "its worker (pid 20987) is gone".to_owned();
        let (kind, role, run_id) = (Kind::Orphan, Role::PoolWorker, "7f3a-9".parse().ok());
        Done { decision: Decision { process, kind, role, service, run_id, evidence, action_planned: action, reason }, action }
    }

    #[test]
    fn the_json_has_exactly_the_contracts_shape() {
        let report = Report { dry_run: false, done: vec![done(Action::Terminated), done(Action::Survived)], leftovers: None };
        let value: serde_json::Value = serde_json::from_str(&report.json().expect("json")).expect("json");
        assert_eq!(value["freed_mb"], 1.0);
        assert_eq!(value["survivors"], serde_json::json!([21044]));
        assert_eq!(
            value["processes"][0],
            serde_json::json!({"pid":21044,"ppid":1,"start_ticks":2104400,"age_seconds":3600.0,"memory_mb":1.0,
                "command":spawn_child(21044).command(),"kind":"orphan","role":"pool_worker","service":"mtproto","run_id":"7f3a-9",
                "evidence":["log_file","cookie"],"action":"terminated","reason":"its worker (pid 20987) is gone"})
        );
    }

    #[test]
    fn a_hostile_command_line_stays_one_row_without_control_characters() {
        let mut hostile = done(Action::Terminated);
        hostile.decision.process = a_python(7, "x");
        hostile.decision.process.argv = vec![b"py\x1b[2J\nfake row\x7f\xff".to_vec()];
        let text = table(&[&hostile]).to_string();
        assert!(!text.contains('\x1b') && text.contains("py\\x1b[2J fake row"), "{text}");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn ages_are_short() {
        assert_eq!(age(Duration::from_secs(264_000)), "3d 1h");
        assert_eq!(age(Duration::from_millis(5500)), "5s");
    }
}
