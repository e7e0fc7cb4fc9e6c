//! One row a service, as `kubectl get` lays it out; what does not fit is left out from the right, never wrapped.

use super::history::History;
use super::{Layout, one_line, words};
use crate::control::{ServiceView, Snapshot, StateWord};
use crate::model::Reason;
use console::{Color, Style};
use std::ops::Range;

/// Longer ones go below their row: one talkative reason must not push every other column off the screen.
const LONGEST_HEALTH: usize = 32;
const GAP: usize = 2;
const HEALTH: usize = 2;
const STRAYS: &str = "STRAYS";

/// With a `history`, which only somebody has who goes on watching, also how it developed.
pub fn render(snapshot: &Snapshot, layout: Layout, history: Option<&History>) -> String {
    if snapshot.services.is_empty() {
        return "no services\n".to_owned();
    }
    let mut columns = columns(snapshot, layout, history);
    let mut widths: Vec<usize> = columns.iter().map(Column::width).collect();
    let shown = how_many_fit(&widths, layout.width);
    let strays_hidden = columns.iter().skip(shown).any(|column| column.title == STRAYS);
    columns.truncate(shown);
    widths.truncate(shown);

    let mut lines = aligned(&columns).into_iter();
    let mut text = String::new();
    if let Some(header) = lines.next() {
        push(&mut text, &layout.paint(&Style::new().bold(), &layout.cut(header.trim_end())));
    }
    for (service, line) in snapshot.services.iter().zip(lines) {
        push(&mut text, &layout.cut(&colored(&line, &widths, service, layout)));
        if layout.width.is_some() {
            for note in notes(service, shown <= HEALTH, strays_hidden) {
                push(&mut text, &layout.paint(&Style::new().dim(), &layout.cut(&format!("  {note}"))));
            }
        }
    }
    text
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

struct Column {
    title: &'static str,
    cells: Vec<String>,
}

impl Column {
    fn width(&self) -> usize {
        self.cells.iter().map(|cell| console::measure_text_width(cell)).fold(self.title.len(), usize::max)
    }
}

/// Every column with something to say, all text already safe to show.
fn columns(snapshot: &Snapshot, layout: Layout, history: Option<&History>) -> Vec<Column> {
    let services = &snapshot.services;
    let column = |title, cell: &dyn Fn(&ServiceView) -> String| Column { title, cells: services.iter().map(cell).collect() };
    let mut columns = vec![
        column("SERVICE", &|s| s.name.to_string()),
        column("STATE", &|s| if s.external && s.state == StateWord::Running { "present" } else { s.state.word() }.to_owned()),
        column("HEALTH", &|s| health_cell(s, layout)),
        column("PID", &|s| words::or_dash(s.pid, |pid| pid.to_string())),
        column("UPTIME", &|s| words::or_dash(s.uptime_seconds, words::duration)),
        column("CPU", &|s| words::or_dash(s.cpu_percent, words::percent)),
        column("MEM", &|s| words::or_dash(s.memory_mb, |mb| memory_cell(mb, s, history.is_some()))),
        column("RESTARTS", &|s| s.restarts.to_string()),
        column("REMAINING", &|s| words::or_dash(s.remaining_seconds, words::duration)),
        column("PORTS", &|s| if s.ports.is_empty() { "-".to_owned() } else { ports(s) }),
    ];
    if let Some(history) = history {
        columns.push(column("CPU, 5 MIN", &|s| history.cpu(s)));
        columns.push(column("MEM, 5 MIN", &|s| history.memory(s)));
    }
    if services.iter().any(|s| s.strays > 0) {
        columns.push(column(STRAYS, &|s| s.strays.to_string()));
    }
    // That somebody stopped it is no news to anybody.
    let news = |s: &ServiceView| s.last_exit.clone().filter(|last| last.reason != Reason::Requested);
    if services.iter().any(|s| news(s).is_some()) {
        columns.push(column("LAST EXIT", &|s| words::or_dash(news(s).as_ref(), |last| words::last_exit(last, layout.now))));
    }
    if layout.width.is_none() && services.iter().any(|s| !details(s).is_empty()) {
        columns.push(column("DETAIL", &|s| words::or_dash(Some(details(s)).filter(|all| !all.is_empty()), |all| all.join("; "))));
    }
    columns
}

/// What devstack has to say of it, and what it says of itself.
fn details(service: &ServiceView) -> Vec<String> {
    let own = service.status_text.as_deref().map(|text| format!("says: {}", one_line(text)));
    service.detail.as_deref().map(one_line).into_iter().chain(own).collect()
}

/// With the share of the limit for somebody who watches it.
fn memory_cell(mb: f64, service: &ServiceView, watched: bool) -> String {
    let limit = service.limits.memory_limit_mb.filter(|limit| watched && *limit > 0.0);
    let share = limit.map(|limit| format!(" ({:.0}%)", mb / limit * 100.0)).unwrap_or_default();
    words::memory(mb) + &share
}

fn ports(service: &ServiceView) -> String {
    service.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}

fn health_cell(service: &ServiceView, layout: Layout) -> String {
    let whole = one_line(&words::health(&service.health));
    match layout.width {
        Some(_) => console::truncate_str(&whole, LONGEST_HEALTH, "…").into_owned(),
        None => whole,
    }
}

/// What the row itself could not say.
fn notes(service: &ServiceView, health_hidden: bool, strays_hidden: bool) -> Vec<String> {
    let health = one_line(&words::health(&service.health));
    let cut = health_hidden && !health.starts_with("healthy") && health != "-";
    let mut notes = Vec::new();
    if cut || console::measure_text_width(&health) > LONGEST_HEALTH {
        notes.push(health);
    }
    notes.extend(details(service));
    notes.extend(service.memory_trend.as_ref().and_then(words::growth));
    if strays_hidden && service.strays > 0 {
        let (processes, outlived) = if service.strays == 1 { ("process", "outlives its run") } else { ("processes", "outlive their run") };
        notes.push(format!("{} {processes} {outlived}: devstack cleanup-workers {}", service.strays, service.name));
    }
    notes
}

/// At least SERVICE and STATE, which are cut where even they do not fit.
fn how_many_fit(widths: &[usize], width: Option<usize>) -> usize {
    let Some(width) = width else { return widths.len() };
    let mut used = 0;
    let fitting = widths
        .iter()
        .take_while(|column| {
            used += *column + if used == 0 { 0 } else { GAP };
            used <= width
        })
        .count();
    fitting.max(2)
}

fn aligned(columns: &[Column]) -> Vec<String> {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| column.title));
    for row in 0..columns.first().map_or(0, |column| column.cells.len()) {
        table.add_row(columns.iter().map(|column| column.cells[row].as_str()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP as u16));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// The words of STATE and HEALTH in their colours: laid out first, so that no colour is counted as width.
fn colored(line: &str, widths: &[usize], service: &ServiceView, layout: Layout) -> String {
    // SERVICE and STATE are ASCII, so their columns count bytes as well.
    let state_at = widths[0] + GAP;
    let health_at = state_at + widths[1] + GAP;
    let state_end = line[state_at..].find(' ').map_or(line.len(), |length| state_at + length);
    let health_end = line.get(health_at..).and_then(|rest| rest.find([' ', ':', '…'])).map_or(line.len(), |length| health_at + length);
    let mut text = line.to_owned();
    if widths.len() > HEALTH {
        paint(&mut text, health_at..health_end, health_color(&service.health.status), layout);
    }
    paint(&mut text, state_at..state_end, state_color(service.state), layout);
    text
}

fn paint(text: &mut String, range: Range<usize>, color: Option<Color>, layout: Layout) {
    if let (Some(color), Some(word)) = (color, text.get(range.clone())) {
        let painted = layout.paint(&Style::new().fg(color), word);
        text.replace_range(range, &painted);
    }
}

fn state_color(state: StateWord) -> Option<Color> {
    match state {
        StateWord::Running => Some(Color::Green),
        StateWord::Waiting | StateWord::Starting | StateWord::Stopping | StateWord::Killing | StateWord::Backoff => Some(Color::Yellow),
        StateWord::Stuck | StateWord::Failed => Some(Color::Red),
        StateWord::Stopped | StateWord::Exited => None,
    }
}

fn health_color(status: &str) -> Option<Color> {
    match status {
        "healthy" | "asleep" => Some(Color::Green),
        "starting" | "slow" => Some(Color::Yellow),
        "hung" | "unhealthy" | "dead" => Some(Color::Red),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{now, service, snapshot};
    use super::*;
    use crate::control::LastExitView;
    use crate::model::{Actor, Reason, Signal};

    fn layout(width: Option<usize>) -> Layout {
        Layout { width, colors: false, now: now() }
    }

    fn stack() -> Snapshot {
        let mut bot = service("bot", StateWord::Backoff);
        bot.restarts = 4;
        bot.detail = Some("tried again in 8s".to_owned());
        bot.ports = vec![];
        bot.last_exit = Some(LastExitView {
            code: None,
            signal: Signal::from_number(9),
            reason: Reason::Crashed,
            by: Actor::Unknown,
            at: "2025-11-19T10:28:00Z".parse().expect("a timestamp"),
        });
        let mut api = service("api", StateWord::Running);
        api.strays = 2;
        snapshot(vec![service("mtproto", StateWord::Running), bot, api])
    }

    #[test]
    fn a_wide_terminal_shows_everything() {
        let expected = "\
SERVICE  STATE    HEALTH         PID   UPTIME  CPU    MEM     RESTARTS  REMAINING  PORTS  STRAYS  LAST EXIT
mtproto  running  healthy 1.2ms  4720  3h 12m  45.2%  856 MB  0         22h 59m    9091   0       -
bot      backoff  -              -     -       -      -       4         -          -      0       crashed (SIGKILL) 2m ago
  tried again in 8s
api      running  healthy 1.2ms  4720  3h 12m  45.2%  856 MB  0         22h 59m    9091   2       -
";
        assert_eq!(render(&stack(), layout(Some(160)), None), expected);
    }

    #[test]
    fn narrower_terminals_lose_columns_from_the_right_and_nothing_wraps() {
        let expected = "\
SERVICE  STATE    HEALTH         PID   UPTIME  CPU    MEM     RESTARTS
mtproto  running  healthy 1.2ms  4720  3h 12m  45.2%  856 MB  0
bot      backoff  -              -     -       -      -       4
  tried again in 8s
api      running  healthy 1.2ms  4720  3h 12m  45.2%  856 MB  0
  2 processes outlive their run: devstack cleanup-workers api
";
        assert_eq!(render(&stack(), layout(Some(80)), None), expected);
        for width in [40, 20, 10, 1] {
            let text = render(&stack(), layout(Some(width)), None);
            assert!(text.lines().all(|line| console::measure_text_width(line) <= width), "{width}:\n{text}");
        }
        assert!(render(&stack(), layout(Some(40)), None).starts_with("SERVICE  STATE    HEALTH         PID\n"));
    }

    #[test]
    fn a_pipe_gets_every_column_on_one_line_a_service() {
        let text = render(&stack(), layout(None), None);
        assert_eq!(text.lines().count(), 4);
        assert!(text.lines().next().is_some_and(|header| header.ends_with("LAST EXIT                 DETAIL")), "{text}");
        assert!(text.contains("crashed (SIGKILL) 2m ago  tried again in 8s\n"), "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal_or_break_the_rows() {
        let mut hostile = service("mtproto", StateWord::Running);
        hostile.health.status = "hung".to_owned();
        hostile.health.reason = "\x1b]52;c;x\x07\u{9b}2J 東京東京東京東京東京東京東京東京東京".to_owned();
        hostile.detail = Some("a\nb\r\u{202e}c".to_owned());
        for width in [None, Some(40), Some(80), Some(160)] {
            let text = render(&snapshot(vec![hostile.clone()]), layout(width), None);
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
            assert!(!text.contains('\u{202e}') && text.contains("\\x1b]52"), "{text:?}");
            assert!(width.is_none_or(|width| text.lines().all(|line| console::measure_text_width(line) <= width)), "{text}");
        }
        let coloured = render(&snapshot(vec![hostile]), Layout { colors: true, ..layout(Some(80)) }, None);
        assert!(coloured.contains("\x1b[32mrunning\x1b[0m") && coloured.contains("\x1b[31mhung\x1b[0m"), "{coloured:?}");
    }

    #[test]
    fn wide_characters_keep_the_columns_straight() {
        let mut wide = service("mtproto", StateWord::Running);
        wide.health.status = "asleep".to_owned();
        wide.health.reason = "東京".to_owned();
        let text = render(&snapshot(vec![wide, service("bot", StateWord::Running)]), layout(Some(160)), None);
        let pids: Vec<usize> = text
            .lines()
            .map(|line| line.find("PID").or(line.find("4720")).map_or(0, |at| console::measure_text_width(&line[..at])))
            .collect();
        assert!(pids.iter().all(|&at| at == pids[0] && at > 0), "{text}");
    }
}
