//! `status`: what a snapshot says, as a table, as trees of processes, as JSON, or refreshed in place.
//!
//! A snapshot comes from the supervisor, or from the ledger when there is none; how it is shown does not depend on that.

mod history;
mod live;
mod table;
mod tree;
pub(super) mod words;

use self::history::History;
use super::client::{Client, persist};
use super::{Error, context::Context, exit_code, offline, output, style};
use crate::control::protocol::{Reply, Request};
use crate::control::{ServiceView, Snapshot, StateWord};
use crate::model::ServiceName;
use jiff::Timestamp;
use std::time::Duration;

/// Show every service's state, health, resources and restarts
///
/// Exit status 3 when a target is not running or not healthy.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Services or groups; default: every service
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Refresh in place, until q or Ctrl-C
    #[arg(short, long, conflicts_with = "json")]
    pub watch: bool,
    /// One JSON document, for programs
    #[arg(long)]
    pub json: bool,
    /// Show every process
    #[arg(long)]
    pub tree: bool,
}

/// # Errors
/// As [`run_with`].
pub fn run(args: &Args, context: &Context) -> Result<(), Error> {
    let services = context.services(&args.targets)?;
    // Where programs read, or the screen is drawn again and again, there is no place for words beside the data.
    let mut tells = !args.json && !args.watch && !context.quiet;
    run_with(args, || persist(|| fetch(context, &services, args.tree, std::mem::take(&mut tells))))
}

/// From the supervisor, or without one from what it left.
pub(super) fn fetch(context: &Context, services: &[ServiceName], tree: bool, tells: bool) -> Result<Snapshot, Error> {
    let mut snapshot = match Client::connect(context)? {
        Some(client) => ask(client, context, services, tree, tells)?,
        None => offline::snapshot(context, services, tree),
    };
    for seen in &mut snapshot.services {
        if (snapshot.supervisor.is_none() || !seen.state.has_run())
            && let Some(client) = Client::of_foreground(context, &seen.name)?
        {
            *seen = ask_foreground(client, &seen.name, tree).unwrap_or_else(|| seen.clone());
        }
    }
    Ok(snapshot)
}

/// Whoever runs one service in the foreground knows best how it is.
fn ask_foreground(mut client: Client, service: &ServiceName, tree: bool) -> Option<ServiceView> {
    client.send(&Request::Status { services: vec![service.clone()], tree }).ok()?;
    let Ok(Reply::Snapshot(snapshot)) = client.reply() else { return None };
    snapshot.services.into_iter().next()
}

fn ask(mut client: Client, context: &Context, services: &[ServiceName], tree: bool, tells: bool) -> Result<Snapshot, Error> {
    if tells {
        client.note_difference();
    }
    // A service that was added since is not known there yet.
    client.send(&Request::Status { services: Vec::new(), tree })?;
    let Reply::Snapshot(mut snapshot) = client.reply()? else { return Err(Error::failed("the supervisor's answer makes no sense")) };
    snapshot.services.retain(|service| services.contains(&service.name));
    let missing: Vec<ServiceName> =
        services.iter().filter(|name| snapshot.services.iter().all(|seen| seen.name != **name)).cloned().collect();
    if !missing.is_empty() {
        snapshot.services.extend(offline::snapshot(context, &missing, tree).services);
    }
    Ok(*snapshot)
}

const REFRESH: Duration = Duration::from_secs(1);

/// How to lay a snapshot out, apart from what it says.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// Columns of the terminal; `None`: not a terminal, nothing is left out.
    width: Option<usize>,
    colors: bool,
    now: Timestamp,
}

impl Layout {
    fn of_stdout() -> Self {
        let terminal = console::Term::stdout();
        let width = terminal.is_term().then(|| usize::from(terminal.size().1));
        Self { width, colors: console::colors_enabled(), now: Timestamp::now() }
    }

    fn paint(&self, style: &console::Style, text: &str) -> String {
        if self.colors { style.clone().force_styling(true).apply_to(text).to_string() } else { text.to_owned() }
    }

    /// Cut to the terminal; a line that wrapped would break every column below it.
    fn cut(&self, line: &str) -> String {
        match self.width {
            Some(width) => console::truncate_str(line, width, "…").into_owned(),
            None => line.to_owned(),
        }
    }
}

/// Shows what `fetch` answers, for the targets it was made for; with the tree when `args` asks for it.
///
/// # Errors
/// [`Error::told`] with status 3 when a target is not running or not healthy, and whatever `fetch` or standard output fail with.
fn run_with(args: &Args, mut fetch: impl FnMut() -> Result<Snapshot, Error>) -> Result<(), Error> {
    if args.watch {
        return live::run(fetch, |snapshot, layout, history| text(args, snapshot, layout, Some(history)), REFRESH);
    }
    let snapshot = fetch()?;
    if let Some(why) = snapshot.supervisor.as_ref().and_then(|supervisor| supervisor.degraded.as_deref()) {
        style::say(&style::visible(&format!("warning: degraded, the ledger cannot be saved: {why}\n")));
    }
    if let Some(trouble) = snapshot.supervisor.as_ref().and_then(|supervisor| supervisor.trouble.as_deref()) {
        style::say(&style::visible(&format!("warning: {trouble}\n")));
    }
    if args.json {
        output::print(&json(&snapshot)?)?;
    } else {
        output::print(&text(args, &snapshot, Layout::of_stdout(), None))?;
    }
    match exit_code(&snapshot) {
        exit_code::DONE => Ok(()),
        code => Err(Error::told(code)),
    }
}

/// 0: every service runs and is healthy, or is there without devstack. One that is still starting is not there yet.
pub fn exit_code(snapshot: &Snapshot) -> u8 {
    if snapshot.services.iter().all(is_fine) { exit_code::DONE } else { exit_code::NOT_HEALTHY }
}

/// A worker that sleeps between two cycles on purpose is as healthy as one at work.
fn is_fine(service: &ServiceView) -> bool {
    let healthy = matches!(service.health.status.as_str(), "healthy" | "asleep");
    if service.external { healthy || service.ready } else { healthy && service.state == StateWord::Running }
}

fn text(args: &Args, snapshot: &Snapshot, layout: Layout, history: Option<&History>) -> String {
    if args.tree { tree::render(snapshot, layout) } else { table::render(snapshot, layout, history) }
}

fn json(snapshot: &Snapshot) -> Result<String, Error> {
    let json = serde_json::to_string_pretty(snapshot).map_err(|error| Error::failed(format!("the status is no JSON: {error}")))?;
    Ok(style::harmless_json(&json) + "\n")
}

/// Untrusted text on one line.
fn one_line(text: &str) -> String {
    style::visible(text).replace('\n', "\\x0a").replace('\t', " ")
}

#[cfg(test)]
mod fixture;

#[cfg(test)]
mod tests {
    use super::fixture::{service, snapshot};
    use super::*;

    #[test]
    fn only_running_and_healthy_services_are_fine() {
        for (state, health, external, expected) in [
            (StateWord::Running, "healthy", false, 0),
            (StateWord::Running, "asleep", false, 0),
            (StateWord::Running, "hung", false, 3),
            (StateWord::Running, "starting", false, 3),
            (StateWord::Starting, "healthy", false, 3),
            (StateWord::Stopped, "stopped", false, 3),
            (StateWord::Stopped, "healthy", true, 0),
            (StateWord::Stopped, "dead", true, 3),
        ] {
            let mut one = service("mtproto", state);
            one.health.status = health.to_owned();
            one.external = external;
            one.ready = false;
            let all = snapshot(vec![service("bot", StateWord::Running), one]);
            assert_eq!(exit_code(&all), expected, "{state:?} {health} external: {external}");
        }
        assert_eq!(exit_code(&snapshot(vec![])), 0);
    }

    #[test]
    fn json_is_one_document_that_reads_back() {
        let all = snapshot(vec![service("bot", StateWord::Running)]);
        let text = json(&all).expect("json");
        assert!(text.ends_with("}\n"));
        assert_eq!(serde_json::from_str::<Snapshot>(&text).expect("reads back"), all);
    }
}
