//! `logs`: what the workers wrote, read from their plain files; no supervisor is asked.
//!
//! One service into a pipe or a file is copied byte for byte. Everything else is cut into lines, and on a terminal made harmless.

pub(crate) mod escape;
mod follow;
pub(crate) mod lines;
mod merge;
mod printer;
mod span;
pub(crate) mod tail;
mod vigil;

pub use escape::shown;
pub use follow::{Follower, News};
pub use printer::Printer;
pub use tail::tail;
pub use vigil::{Vigil, Woken};

use super::{Error, context::Context, events, exit_code, style};
use crate::journal::Record;
use crate::model::{FileId, ServiceName};
use crate::sys::logfile;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use merge::Stretch;
use regex::bytes::Regex;
use span::Which;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Show what the workers wrote
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Services or groups; default: every service
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Go on with what is written from now on, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// How many lines of each log to begin with [default: 100, or all that --since, --until, --run and --grep leave]
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
    /// From then on: 10m ago, 10:30 today, 2025-11-19 10:30:00, or with an offset. By the times that lines begin with
    #[arg(long, value_name = "TIME", value_parser = span::moment)]
    pub since: Option<Timestamp>,
    /// Up to then, written as for --since
    #[arg(long, value_name = "TIME", value_parser = span::moment, conflicts_with = "follow")]
    pub until: Option<Timestamp>,
    /// What one run wrote: `last`, 2 for the one before it, or a run id
    #[arg(long, value_name = "RUN", value_parser = span::which)]
    pub run: Option<Which>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "RE", value_parser = expression)]
    pub grep: Option<Regex>,
}

const LAST_LINES: usize = 100;

fn expression(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| error.to_string())
}

/// An unfinished line is shown as it is after so long.
const UNFINISHED: Duration = Duration::from_millis(500);

/// A log that is there, and where it ended when it was looked at.
struct Log {
    index: usize,
    file: File,
    id: FileId,
    end: u64,
    /// What is meant of it.
    span: (u64, u64),
}

/// # Errors
/// When a log cannot be read, or standard output takes no more.
pub fn run(args: &Args, context: &Context) -> Result<(), Error> {
    let services = context.services(&args.services)?;
    let log = |name: ServiceName| Some((name.clone(), context.project.services.get(&name)?.log_file.clone()));
    let needs_journal = args.run.is_some() || args.since.is_some() || args.until.is_some();
    let records = if needs_journal { events::records(context)? } else { Vec::new() };
    show(args, &records, services.into_iter().filter_map(log).collect())
}

/// Shows the last lines of `files`, and with `--follow` what comes after them. A log that is not there yet is no failure.
///
/// # Errors
/// [`Error::interrupted`] after Ctrl-C; when a log is no plain file or cannot be read; when standard output takes no more.
fn show(args: &Args, records: &[Record], files: Vec<(ServiceName, PathBuf)>) -> Result<(), Error> {
    let (names, paths): (Vec<_>, Vec<_>) = files.into_iter().unzip();
    let mut printer = Printer::stdout(&names)?.only(args.grep.clone());
    let mut logs = Vec::new();
    let mut refused = false;
    for (index, path) in paths.iter().enumerate() {
        match open(index, path) {
            Ok(Some(log)) => logs.extend(narrow(log, args, &span::runs(records, &names[index]), &names[index], &path_error(path))?),
            Ok(None) => style::say(&format!("no log yet: {}\n", style::visible(&near(path)))),
            Err(error) if args.follow || paths.len() == 1 => return Err(error),
            Err(error) => {
                error.print();
                refused = true;
            }
        }
    }
    show_last(args, &logs, &paths, &mut printer)?;
    if args.follow {
        let mut follower = Follower::new(&paths);
        for log in logs {
            follower.resume(log.index, log.file, log.id, log.end);
        }
        return follow(&mut follower, &mut printer);
    }
    printer.finish()?;
    if refused { Err(Error::told(exit_code::FAILED)) } else { Ok(()) }
}

fn open(index: usize, path: &Path) -> Result<Option<Log>, Error> {
    let opened = logfile::open(path)
        .and_then(|(file, id)| file.metadata().map(|metadata| Log { index, file, id, end: metadata.len(), span: (0, metadata.len()) }));
    match opened {
        Ok(log) => Ok(Some(log)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidInput => Error::failed(format!("the log {} {error}", near(path))),
        _ => Error::failed(format!("cannot read the log {}: {error}", near(path))),
    }
}

/// As a person in this folder would write it.
fn near(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

fn path_error(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |error| unreadable(&path, &error)
}

/// The part of a log that is asked for; `None`: there is no such run.
fn narrow(
    mut log: Log,
    args: &Args,
    runs: &[span::Begun],
    name: &ServiceName,
    failed: &dyn Fn(io::Error) -> Error,
) -> Result<Option<Log>, Error> {
    if let Some(which) = &args.run {
        let Some(found) = span::of_run(runs, which, log.end) else {
            style::say(&format!("no such run of {name} is recorded\n"));
            return Ok(None);
        };
        log.span = found;
    }
    let zone = TimeZone::system();
    let place = |wanted: Timestamp, otherwise: u64| -> Result<u64, Error> {
        let (from, to) = log.span;
        match span::first_since(&log.file, from, to, wanted, &zone).map_err(failed)? {
            Some(place) => Ok(place),
            None => {
                style::say(&format!("the lines of {name} tell no time; shown by its runs\n"));
                Ok(runs.iter().rev().find(|begun| begun.at <= wanted).map_or(otherwise, |begun| begun.offset.clamp(from, to)))
            }
        }
    };
    let from = args.since.map(|since| place(since, 0)).transpose()?;
    // Up to that moment and with it.
    let to = args.until.map(|until| place(until.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(until), u64::MAX)).transpose()?;
    log.span = (from.unwrap_or(log.span.0), to.unwrap_or(log.span.1).min(log.span.1));
    Ok(Some(log))
}

fn show_last(args: &Args, logs: &[Log], paths: &[PathBuf], printer: &mut Printer) -> Result<(), Error> {
    let mut stretches = Vec::new();
    for log in logs {
        let failed = |error: io::Error| unreadable(&paths[log.index], &error);
        let longest = (!printer.is_verbatim()).then_some(lines::LONGEST);
        let (from, to) = log.span;
        let is_narrowed = args.since.is_some() || args.until.is_some() || args.run.is_some();
        let start = match (&args.grep, args.lines) {
            (Some(grep), Some(count)) => tail::start_of_last_match(&log.file, from, to, count, grep).map_err(failed)?,
            (None, None) if !is_narrowed => tail::start_of_last(&log.file, from, to, LAST_LINES, longest).map_err(failed)?,
            (None, Some(count)) => tail::start_of_last(&log.file, from, to, count, longest).map_err(failed)?,
            (_, None) => from,
        };
        stretches.push(Stretch::new(log.index, &log.file, start, to));
    }
    merge::show(stretches, printer, |index, error| unreadable(&paths[index], &error))?;
    printer.flush()
}

fn follow(follower: &mut Follower, printer: &mut Printer) -> Result<(), Error> {
    let mut vigil = Vigil::begin()?;
    loop {
        follower.read(&mut |index, news| printer.take(index, news))?;
        printer.flush()?;
        match vigil.wait(follower, printer.as_fd(), printer.holds_back().then_some(UNFINISHED))? {
            Woken::ByNews => {}
            Woken::ByTime => printer.release()?,
            Woken::ToEnd(error) => {
                printer.finish()?;
                return Err(error);
            }
        }
    }
}
