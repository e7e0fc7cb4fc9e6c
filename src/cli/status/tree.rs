//! Every process of every service, children below their parents.

use super::{Layout, one_line, words};
use crate::control::{ProcessView, ServiceView, Snapshot};
use crate::model::Pid;
use console::Style;
use std::collections::{BTreeMap, BTreeSet};

pub fn render(snapshot: &Snapshot, layout: Layout) -> String {
    if snapshot.services.is_empty() {
        return "no services\n".to_owned();
    }
    let mut text = String::new();
    for service in &snapshot.services {
        let heading = layout.paint(&Style::new().bold(), service.name.as_str());
        push(&mut text, &layout.cut(&format!("{heading}  {}", summary(service))));
        if let Some(detail) = &service.detail {
            push(&mut text, &layout.paint(&Style::new().dim(), &layout.cut(&format!("  {}", one_line(detail)))));
        }
        for branch in branches(&service.tree) {
            push(&mut text, &layout.cut(&branch));
        }
    }
    text
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn summary(service: &ServiceView) -> String {
    let mut parts = vec![service.state.word().to_owned()];
    let health = one_line(&words::health(&service.health));
    if health != "-" {
        parts.push(health);
    }
    if service.processes > 0 {
        parts.push(format!("{} {}", service.processes, if service.processes == 1 { "process" } else { "processes" }));
    }
    parts.extend(service.memory_mb.map(words::memory));
    parts.join("  ")
}

/// One line a process: its place in the tree, then its figures in columns, the command last because it is the longest.
fn branches(tree: &[ProcessView]) -> Vec<String> {
    let rows: Vec<(String, &ProcessView)> = placed(tree);
    let cells: Vec<[String; 4]> = rows
        .iter()
        .map(|(branch, p)| [format!("{branch}{}", p.pid), one_line(&p.role), words::memory(p.memory_mb), words::duration(p.uptime_seconds)])
        .collect();
    let width = |column: usize| cells.iter().map(|row| console::measure_text_width(&row[column])).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    let padded = |row: &[String; 4]| {
        let columns =
            row.iter().zip(widths).map(|(cell, width)| console::pad_str(cell, width, console::Alignment::Left, None).into_owned());
        columns.collect::<Vec<_>>().join("  ")
    };
    cells.iter().zip(rows).map(|(row, (_, process))| format!("{}  {}", padded(row), one_line(&process.command))).collect()
}

/// Depth first, without recursion: a fork bomb is as deep as it likes. Each with its `├─` in front.
fn placed(tree: &[ProcessView]) -> Vec<(String, &ProcessView)> {
    let known: BTreeSet<Pid> = tree.iter().map(|process| process.pid).collect();
    let mut children: BTreeMap<Pid, Vec<&ProcessView>> = BTreeMap::new();
    let mut roots = Vec::new();
    for process in tree {
        match process.ppid {
            parent if parent != process.pid && known.contains(&parent) => children.entry(parent).or_default().push(process),
            _ => roots.push(process),
        }
    }
    let mut rows = Vec::new();
    let mut waiting = level(roots, "");
    while let Some((lead, is_last, process)) = waiting.pop() {
        rows.push((format!("{lead}{}", if is_last { "└─ " } else { "├─ " }), process));
        let below = children.remove(&process.pid).unwrap_or_default();
        waiting.extend(level(below, &format!("{lead}{}", if is_last { "   " } else { "│  " })));
    }
    // Pids recycled while they were read can make a loop that no root leads to; hiding it would hide processes.
    rows.extend(children.into_values().flatten().map(|process| ("?─ ".to_owned(), process)));
    rows
}

/// Reversed: what is pushed last is shown first.
fn level<'a>(siblings: Vec<&'a ProcessView>, lead: &str) -> Vec<(String, bool, &'a ProcessView)> {
    siblings.into_iter().rev().enumerate().map(|(from_end, process)| (lead.to_owned(), from_end == 0, process)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{now, service, snapshot};
    use super::*;
    use crate::control::StateWord;

    fn process(pid: Pid, ppid: Pid, role: &str, command: &str) -> ProcessView {
        ProcessView { pid, ppid, role: role.to_owned(), command: command.to_owned(), memory_mb: 120.0, uptime_seconds: 45.0 }
    }

    fn pool() -> Snapshot {
        let mut worker = service("mtproto", StateWord::Running);
        worker.processes = 4;
        worker.tree = vec![
            process(4720, 1, "main", "python -m apps.mtproto.worker --interval 10"),
            process(4721, 4720, "resource_tracker", "python -c from multiprocessing.resource_tracker \x1b[2J"),
            process(4722, 4720, "pool_worker", "python -c spawn_main"),
            process(4723, 4722, "child", "sh"),
        ];
        snapshot(vec![worker, service("bot", StateWord::Stopped)])
    }

    #[test]
    fn children_stand_below_their_parents() {
        let expected = "\
mtproto  running  healthy 1.2ms  4 processes  856 MB
└─ 4720        main              120 MB  45s  python -m apps.mtproto.worker --interval 10
   ├─ 4721     resource_tracker  120 MB  45s  python -c from multiprocessing.resource_tracker \\x1b[2J
   └─ 4722     pool_worker       120 MB  45s  python -c spawn_main
      └─ 4723  child             120 MB  45s  sh
bot  stopped
";
        assert_eq!(render(&pool(), Layout { width: None, colors: false, now: now() }), expected);
        let narrow = render(&pool(), Layout { width: Some(50), colors: false, now: now() });
        assert!(narrow.contains("└─ 4720        main              120 MB  45s  pyt…\n"), "{narrow}");
    }

    #[test]
    fn a_loop_of_parents_ends_and_is_shown() {
        let mut looped = service("mtproto", StateWord::Running);
        looped.tree = vec![process(1, 1, "main", "a"), process(2, 3, "child", "b"), process(3, 2, "child", "c")];
        let text = render(&snapshot(vec![looped]), Layout { width: None, colors: false, now: now() });
        assert!(text.contains("└─ 1") && text.contains("?─ 2") && text.contains("?─ 3"), "{text}");
    }
}
