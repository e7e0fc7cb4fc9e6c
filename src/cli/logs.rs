//! `logs`: what the workers wrote, read from their plain files; no supervisor is asked.
//!
//! One service into a pipe or a file is copied byte for byte. Everything else is cut into lines, and on a terminal made harmless.

pub(crate) mod escape;
mod filter;
mod follow;
mod level;
pub(crate) mod lines;
mod merge;
mod printer;
mod source;
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
use crate::model::ServiceName;
use crate::sys::time_index;
use filter::{Filter, Wanted};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use level::Level;
use merge::Stretch;
use regex::bytes::Regex;
use source::Source;
use span::{Runs, Which};
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
    /// Only lines at least as grave; a traceback has the level of its line. What names none counts as info
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub level: Option<Level>,
    /// An object a line: service, run, time, level, line
    #[arg(long)]
    pub json: bool,
    /// Straight to the terminal, without $DEVSTACK_PAGER, $PAGER or less
    #[arg(long)]
    pub no_pager: bool,
}

impl Args {
    fn wanted(&self) -> Wanted {
        Wanted { grep: self.grep.clone(), level: self.level }
    }

    fn printer(&self, names: &[ServiceName]) -> Result<Printer, Error> {
        let printer = if self.follow || self.no_pager || self.json { Printer::stdout(names)? } else { Printer::paged(names)? };
        Ok(if self.json { printer.in_json() } else { printer }.only(&self.wanted()))
    }
}

const LAST_LINES: usize = 100;

fn expression(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| error.to_string())
}

/// An unfinished line is shown as it is after so long.
const UNFINISHED: Duration = Duration::from_millis(500);

/// What devstack knows of the logs beside what is in them.
struct Known<'a> {
    context: &'a Context,
    records: Vec<Record>,
    /// Where the time indexes are.
    times: PathBuf,
}

/// A log that is there, and where it ended when it was looked at.
struct Log {
    index: usize,
    source: Source,
    end: u64,
    /// What is meant of it.
    span: (u64, u64),
}

/// # Errors
/// When a log cannot be read, or standard output takes no more.
pub fn run(args: &Args, context: &Context) -> Result<(), Error> {
    let services = context.services(&args.services)?;
    let log = |name: ServiceName| Some((name.clone(), context.project.services.get(&name)?.log_file.clone()));
    let is_read_by_a_person = console::Term::stdout().is_term();
    let needs_journal = is_read_by_a_person || args.json || args.run.is_some() || args.since.is_some() || args.until.is_some();
    let records = if needs_journal { events::records(context)? } else { Vec::new() };
    show(args, Known { context, records, times: context.folders.times() }, services.into_iter().filter_map(log).collect())
}

/// Shows the last lines of `files`, and with `--follow` what comes after them. A log that is not there yet is no failure.
///
/// # Errors
/// [`Error::interrupted`] after Ctrl-C; when a log is no plain file or cannot be read; when standard output takes no more.
fn show(args: &Args, mut known: Known<'_>, files: Vec<(ServiceName, PathBuf)>) -> Result<(), Error> {
    let (names, paths): (Vec<_>, Vec<_>) = files.into_iter().unzip();
    let mut printer = args.printer(&names)?;
    let mut logs = Vec::new();
    let mut refused = false;
    for (index, path) in paths.iter().enumerate() {
        match open(index, path) {
            Ok(Some(log)) => {
                printer.know_runs(index, runs_of(&known, &names[index], &log.source));
                logs.extend(narrow(log, args, &known, &names[index], &path_error(path))?);
            }
            Ok(None) => style::say(&format!("no log yet: {}\n", style::visible(&near(path)))),
            Err(error) if args.follow || paths.len() == 1 => return Err(error),
            Err(error) => {
                error.print();
                refused = true;
            }
        }
    }
    show_last(args, &known, &names, &logs, &paths, &mut printer)?;
    if args.follow {
        let mut follower = Follower::new(&paths);
        for log in logs {
            let offset = log.source.offset_in_file(log.end);
            let (file, id) = log.source.into_live();
            follower.resume(log.index, file, id, offset);
        }
        return follow(&mut follower, &mut printer, &names, args.json.then_some(&mut known));
    }
    printer.finish()?;
    if refused { Err(Error::told(exit_code::FAILED)) } else { Ok(()) }
}

fn open(index: usize, path: &Path) -> Result<Option<Log>, Error> {
    let opened = Source::open(path).and_then(|source| {
        let (start, end) = (source.start(), source.end()?);
        Ok(Log { index, source, end, span: (start, end) })
    });
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
    known: &Known<'_>,
    name: &ServiceName,
    failed: &dyn Fn(io::Error) -> Error,
) -> Result<Option<Log>, Error> {
    let runs = span::runs(&known.records, name, |offset| log.source.place(offset));
    if let Some(which) = &args.run {
        let Some(found) = span::of_run(&runs, which, log.span) else {
            style::say(&format!("no such run of {name} is recorded\n"));
            return Ok(None);
        };
        log.span = found;
    }
    let zone = TimeZone::system();
    let place = |wanted: Timestamp, is_begin: bool| -> Result<u64, Error> {
        let (from, to) = log.span;
        match span::first_since(&log.source, from, to, wanted, &zone).map_err(failed)? {
            Some(place) => Ok(place),
            None => {
                style::say(&format!("the lines of {name} tell no time; shown by when they were written, as far as that is known\n"));
                let noted = time_index::around(&known.times.join(name.as_str()), wanted);
                let runs = runs.iter();
                let found = if is_begin {
                    let begun = runs.rev().find(|begun| begun.at <= wanted).map(|begun| begun.offset);
                    noted.from.map(|offset| log.source.place(offset)).max(begun).unwrap_or(from)
                } else {
                    let begun = runs.clone().find(|begun| begun.at > wanted).map(|begun| begun.offset);
                    [noted.to.map(|offset| log.source.place(offset)), begun].into_iter().flatten().min().unwrap_or(to)
                };
                Ok(line_begin(&log.source, found.clamp(from, to)).map_err(failed)?)
            }
        }
    };
    let from = args.since.map(|since| place(since, true)).transpose()?;
    // Up to that moment and with it.
    let to = args.until.map(|until| place(until.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(until), false)).transpose()?;
    log.span = (from.unwrap_or(log.span.0), to.unwrap_or(log.span.1).min(log.span.1));
    Ok(Some(log))
}

fn runs_of(known: &Known<'_>, name: &ServiceName, source: &Source) -> Runs {
    Runs::new(span::runs(&known.records, name, |offset| source.place(offset)))
}

/// Of the line that this place is in.
fn line_begin(source: &Source, place: u64) -> io::Result<u64> {
    tail::start_of_last(source, source.start(), place, 1, Some(lines::LONGEST)).map(|begin| {
        let mut before = [0];
        let ends_a_line =
            place > source.start() && source.read_at(&mut before, place - 1).is_ok_and(|count| count == 1 && before == *b"\n");
        if ends_a_line { place } else { begin }
    })
}

fn show_last(
    args: &Args,
    known: &Known<'_>,
    names: &[ServiceName],
    logs: &[Log],
    paths: &[PathBuf],
    printer: &mut Printer,
) -> Result<(), Error> {
    let mut stretches = Vec::new();
    for log in logs {
        let failed = |error: io::Error| unreadable(&paths[log.index], &error);
        let longest = (!printer.is_verbatim()).then_some(lines::LONGEST);
        let (from, to) = log.span;
        let is_narrowed = args.since.is_some() || args.until.is_some() || args.run.is_some();
        let is_all = args.wanted().is_everything();
        let count = args.lines.or((is_all && !is_narrowed).then_some(LAST_LINES));
        let start = match count {
            None => from,
            Some(count) if is_all => tail::start_of_last(&log.source, from, to, count, longest).map_err(failed)?,
            Some(count) => {
                let filter = Filter::new(args.wanted());
                tail::start_of_last_match(&log.source, from, to, count, filter).map_err(failed)?
            }
        };
        let (name, place) = (&names[log.index], |offset| log.source.place(offset));
        // One log alone is in order, whatever the time.
        let noted = if logs.len() > 1 { time_index::entries(&known.times.join(name.as_str())) } else { Vec::new() };
        let index = noted.into_iter().map(|(at, end)| (at, place(end))).collect();
        let marks = if printer.may_mark() { span::marks(&known.records, name, log.end, place) } else { Vec::new() };
        stretches.push(Stretch::new(log.index, &log.source, start, to).with_index(index).with_marks(marks));
    }
    merge::show(stretches, printer, |index, error| unreadable(&paths[index], &error))?;
    printer.flush()
}

/// `known`: whose run each line is, which the journal tells as it goes on.
fn follow(follower: &mut Follower, printer: &mut Printer, names: &[ServiceName], mut known: Option<&mut Known<'_>>) -> Result<(), Error> {
    let mut vigil = Vigil::begin()?;
    let mut told = 0;
    loop {
        if let Some(known) = &mut known {
            let length = known.context.folders.journal().metadata().map_or(0, |found| found.len());
            if std::mem::replace(&mut told, length) != length {
                known.records = events::records(known.context)?;
                for (index, name) in names.iter().enumerate() {
                    printer.know_runs(index, Runs::new(span::runs(&known.records, name, |offset| offset)));
                }
            }
        }
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
