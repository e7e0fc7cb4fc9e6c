//! `--leftovers`: what dead pools left in the file system goes, and each is explained.
//!
//! Decides wording only; what may go is `cleanup::leftovers`'s to say.

use crate::cleanup::leftovers::{Finding, Judgement, Leftover, LeftoverAction, LeftoverKind, judge};
use crate::cli::style;
use crate::sys::leftovers::{Places, find, living_pythons, remove};
use comfy_table::Table;
use serde::Serialize;
use std::io;
use std::time::Duration;

/// One of them and what became of it.
#[derive(Debug, Clone)]
pub struct Handled {
    pub leftover: Leftover,
    pub judgement: Judgement,
    /// The system refused to remove it.
    pub refused: bool,
}

/// The contract's shape; fields may be added, never changed.
#[derive(Serialize)]
pub struct LeftoverView<'a> {
    path: String,
    kind: LeftoverKind,
    age_seconds: Option<f64>,
    size_bytes: u64,
    action: LeftoverAction,
    reason: &'a str,
}

/// # Errors
/// When the process table or a folder cannot be read.
pub fn clear(older_than: Option<Duration>, dry_run: bool) -> io::Result<Vec<Handled>> {
    let found = find(&Places::of(|name| std::env::var_os(name)))?;
    // After them: who could have made one of those had to be there first.
    let living = if found.is_empty() { Vec::new() } else { living_pythons()? };
    let handle = |leftover: Leftover| {
        let judgement = judge(&leftover, &living, older_than);
        if dry_run || judgement.action != LeftoverAction::WouldRemove {
            return Handled { leftover, judgement, refused: false };
        }
        taken_away(leftover, judgement)
    };
    Ok(found.into_iter().map(handle).collect())
}

fn taken_away(mut leftover: Leftover, mut judgement: Judgement) -> Handled {
    let mut refused = false;
    match remove(&leftover) {
        Ok(Finding::Unused) => judgement.action = LeftoverAction::Removed,
        Ok(changed) => {
            leftover.finding = changed;
            judgement = judge(&leftover, &[], None);
        }
        // It went by itself, as what a resource tracker looks after does.
        Err(error) if error.kind() == io::ErrorKind::NotFound => judgement.action = LeftoverAction::Removed,
        Err(error) => {
            refused = true;
            judgement = Judgement { action: LeftoverAction::LeftAlone, reason: format!("cannot be removed: {error}"), in_use: false };
        }
    }
    Handled { leftover, judgement, refused }
}

impl<'a> From<&'a Handled> for LeftoverView<'a> {
    fn from(one: &'a Handled) -> Self {
        Self {
            path: one.leftover.path.to_string_lossy().into_owned(),
            kind: one.leftover.kind,
            age_seconds: one.leftover.age.map(|age| super::report::one_decimal(age.as_secs_f64())),
            size_bytes: one.leftover.size_bytes,
            action: one.judgement.action,
            reason: &one.judgement.reason,
        }
    }
}

/// What a living pool uses is only counted: there may be dozens.
pub fn table(all: &[Handled]) -> Option<Table> {
    let shown: Vec<&Handled> = all.iter().filter(|one| !one.judgement.in_use).collect();
    if shown.is_empty() {
        return None;
    }
    let mut table = super::report::plain_table();
    table.set_header(["LEFTOVER", "KIND", "AGE", "SIZE", "ACTION", "WHY"]);
    for one in shown {
        table.add_row([
            super::report::one_line(&style::visible(&one.leftover.path.to_string_lossy())),
            one.leftover.kind.word().to_owned(),
            one.leftover.age.map_or_else(|| "-".to_owned(), super::report::age),
            size(one.leftover.size_bytes),
            action(one.judgement.action).to_owned(),
            super::report::one_line(&style::visible(&one.judgement.reason)),
        ]);
    }
    Some(table)
}

pub fn summary(all: &[Handled]) -> String {
    let of = |action| all.iter().filter(move |one| one.judgement.action == action);
    let told = |verb: &str, action| {
        let count = of(action).count();
        let sum = of(action).map(|one| one.leftover.size_bytes).sum();
        (count > 0).then(|| format!("{verb} {}, {}.\n", leftovers(count), size(sum)))
    };
    let mut words = told("Removed", LeftoverAction::Removed).or_else(|| told("Would remove", LeftoverAction::WouldRemove));
    let words = words.get_or_insert_with(|| "No leftovers to remove.\n".to_owned());
    let in_use = all.iter().filter(|one| one.judgement.in_use).count();
    if in_use > 0 {
        let verb = if in_use == 1 { "is" } else { "are" };
        words.push_str(&format!("{in_use} more {verb} in use by living processes; --json names them.\n"));
    }
    words.clone()
}

fn action(action: LeftoverAction) -> &'static str {
    match action {
        LeftoverAction::Removed => "removed",
        LeftoverAction::WouldRemove => "would remove",
        LeftoverAction::LeftAlone => "left alone",
    }
}

fn leftovers(count: usize) -> String {
    if count == 1 { "1 leftover".to_owned() } else { format!("{count} leftovers") }
}

fn size(bytes: u64) -> String {
    const MEGABYTE: f64 = 1024.0 * 1024.0;
    let bytes = bytes as f64;
    if bytes < MEGABYTE / 10.0 { format!("{:.0} kB", bytes / 1024.0) } else { format!("{:.1} MB", bytes / MEGABYTE) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FileId;

    fn handled(path: &str, action: LeftoverAction, reason: &str, in_use: bool) -> Handled {
        let leftover = Leftover {
            path: path.into(),
            kind: LeftoverKind::SharedMemory,
            file: FileId { dev: 1, ino: 2 },
            age: Some(Duration::from_millis(90_040)),
            size_bytes: 640 * 1024,
            finding: Finding::Unused,
            users: Vec::new(),
        };
        Handled { leftover, judgement: Judgement { action, reason: reason.to_owned(), in_use }, refused: false }
    }

    #[test]
    fn the_json_has_exactly_the_contracts_shape() {
        let one = handled("/dev/shm/psm_420cc9a4", LeftoverAction::WouldRemove, "no process uses it", false);
        assert_eq!(
            serde_json::to_value(LeftoverView::from(&one)).expect("json"),
            serde_json::json!({"path": "/dev/shm/psm_420cc9a4", "kind": "shared_memory", "age_seconds": 90.0, "size_bytes": 655_360,
                "action": "would_remove", "reason": "no process uses it"})
        );
    }

    #[test]
    fn the_summary_counts_what_went_and_what_lives() {
        let removed = handled("/a", LeftoverAction::Removed, "x", false);
        let used = handled("/b", LeftoverAction::LeftAlone, "in use by pid 7", true);
        assert_eq!(summary(&[]), "No leftovers to remove.\n");
        assert_eq!(summary(std::slice::from_ref(&removed)), "Removed 1 leftover, 0.6 MB.\n");
        let all = [removed.clone(), removed, used.clone()];
        assert_eq!(summary(&all), "Removed 2 leftovers, 1.2 MB.\n1 more is in use by living processes; --json names them.\n");
        assert!(table(&[used]).is_none());
    }

    #[test]
    fn a_hostile_path_stays_one_row_without_control_characters() {
        let one = handled("/tmp/\x1b[2J\nfake/pymp-abcdefgh", LeftoverAction::LeftAlone, "it holds `\x1b[31m`", false);
        let text = table(&[one]).expect("a table").to_string();
        assert!(!text.contains('\x1b') && text.lines().count() == 2, "{text}");
    }
}
