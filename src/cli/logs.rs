//! `logs`: what the workers wrote, read from their plain files; no supervisor is asked.
//!
//! One service into a pipe or a file is copied byte for byte. Everything else is cut into lines, and on a terminal made harmless.

pub(crate) mod escape;
mod follow;
pub(crate) mod lines;
mod merge;
mod printer;
pub(crate) mod tail;
mod vigil;

pub use escape::shown;
pub use follow::{Follower, News};
pub use printer::Printer;
pub use tail::tail;
pub use vigil::{Vigil, Woken};

use super::{Error, context::Context, exit_code, style};
use crate::model::{FileId, ServiceName};
use crate::sys::logfile;
use merge::Stretch;
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
    /// How many lines of each log to begin with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub lines: usize,
}

/// An unfinished line is shown as it is after so long.
const UNFINISHED: Duration = Duration::from_millis(500);

/// A log that is there, and where it ended when it was looked at.
struct Log {
    index: usize,
    file: File,
    id: FileId,
    end: u64,
}

/// # Errors
/// When a log cannot be read, or standard output takes no more.
pub fn run(args: &Args, context: &Context) -> Result<(), Error> {
    let services = context.services(&args.services)?;
    let log = |name: ServiceName| Some((name.clone(), context.project.services.get(&name)?.log_file.clone()));
    show(args, services.into_iter().filter_map(log).collect())
}

/// Shows the last lines of `files`, and with `--follow` what comes after them. A log that is not there yet is no failure.
///
/// # Errors
/// [`Error::interrupted`] after Ctrl-C; when a log is no plain file or cannot be read; when standard output takes no more.
fn show(args: &Args, files: Vec<(ServiceName, PathBuf)>) -> Result<(), Error> {
    let (names, paths): (Vec<_>, Vec<_>) = files.into_iter().unzip();
    let mut printer = Printer::stdout(&names)?;
    let mut logs = Vec::new();
    let mut refused = false;
    for (index, path) in paths.iter().enumerate() {
        match open(index, path) {
            Ok(Some(log)) => logs.push(log),
            Ok(None) => style::say(&format!("no log yet: {}\n", style::visible(&near(path)))),
            Err(error) if args.follow || paths.len() == 1 => return Err(error),
            Err(error) => {
                error.print();
                refused = true;
            }
        }
    }
    show_last(args.lines, &logs, &paths, &mut printer)?;
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
    let opened = logfile::open(path).and_then(|(file, id)| file.metadata().map(|metadata| Log { index, file, id, end: metadata.len() }));
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

fn show_last(count: usize, logs: &[Log], paths: &[PathBuf], printer: &mut Printer) -> Result<(), Error> {
    let mut stretches = Vec::new();
    for log in logs {
        let failed = |error: io::Error| unreadable(&paths[log.index], &error);
        let longest = (!printer.is_verbatim()).then_some(lines::LONGEST);
        let start = tail::start_of_last(&log.file, 0, log.end, count, longest).map_err(failed)?;
        stretches.push(Stretch::new(log.index, &log.file, start, log.end));
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
