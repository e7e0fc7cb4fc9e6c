//! `events`: the journal, one line a transition; read from its files, no supervisor is asked.

pub(super) mod words;

use super::context::{Context, mean_all};
use super::logs::{Follower, News, Vigil, Woken};
use super::output::Output;
use super::{Error, style};
use crate::journal::{Record, Records};
use crate::model::ServiceName;
use crate::sys::journal_file::{self, Content};
use jiff::tz::TimeZone;
use std::os::fd::AsFd;

/// Show what happened: every start, end, restart and kill, and why
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Services or groups; default: every service, and devstack itself
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Go on with what happens from now on, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// How many to begin with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub lines: usize,
    /// One JSON object a line, for programs
    #[arg(long)]
    pub json: bool,
}

/// # Errors
/// [`Error::interrupted`] after Ctrl-C; when a target is unknown, the journal cannot be read, or standard output takes no more.
pub fn run(args: &Args, context: &Context) -> Result<(), Error> {
    let services = if mean_all(&args.targets) { None } else { Some(context.services(&args.targets)?) };
    let Content { lines, newest } = read(context)?;
    let mut shown = Shown::new(services, args.json)?;
    let Records { records, passed_over } = Records::read(&lines);
    let mine: Vec<Record> = records.into_iter().filter(|record| shown.means(record)).collect();
    if passed_over > 0 {
        style::say(&format!("warning: {passed_over} lines of the journal could not be read, and are left out\n"));
    }
    if mine.is_empty() && !args.json && !args.follow && !context.quiet {
        style::say("nothing is recorded yet\n");
    }
    shown.print(&mine[mine.len().saturating_sub(args.lines)..])?;
    if !args.follow {
        return Ok(());
    }
    // What is being written now is read again once it is whole.
    let unfinished = lines.iter().rev().take_while(|&&byte| byte != b'\n').count() as u64;
    let path = context.folders.journal();
    let mut follower = Follower::new(std::slice::from_ref(&path));
    if let Some((file, id, length)) = newest {
        follower.resume(0, file, id, length.saturating_sub(unfinished));
    }
    follow(&mut follower, &mut shown)
}

/// The journal of a project, whole.
///
/// # Errors
/// When it is there and cannot be read.
pub(super) fn records(context: &Context) -> Result<Vec<Record>, Error> {
    Ok(Records::read(&read(context)?.lines).records)
}

pub(super) fn read(context: &Context) -> Result<Content, Error> {
    let path = context.folders.journal();
    journal_file::read_all(&path).map_err(|error| Error::failed(format!("cannot read the journal {}: {error}", path.display())))
}

fn follow(follower: &mut Follower, shown: &mut Shown) -> Result<(), Error> {
    let mut vigil = Vigil::begin()?;
    let mut line = Vec::new();
    loop {
        let mut news = Records::default();
        follower.read(&mut |_, some| {
            match some {
                News::Bytes(bytes) => {
                    for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
                        line.extend_from_slice(piece);
                        if piece.ends_with(b"\n") {
                            news.read_line(&std::mem::take(&mut line));
                        }
                    }
                }
                News::Restarted => line.clear(),
            }
            Ok(())
        })?;
        news.records.retain(|record| shown.means(record));
        shown.print(&news.records)?;
        match vigil.wait(follower, shown.output.as_fd(), None)? {
            Woken::ByNews | Woken::ByTime => {}
            Woken::ToEnd(error) => return Err(error),
        }
    }
}

/// Which records are shown, and how.
struct Shown {
    /// `None`: all.
    services: Option<Vec<ServiceName>>,
    /// In the order in which they were seen: each keeps its colour.
    seen: Vec<ServiceName>,
    json: bool,
    colors: bool,
    zone: TimeZone,
    output: Output,
}

impl Shown {
    fn new(services: Option<Vec<ServiceName>>, json: bool) -> Result<Self, Error> {
        let (colors, output) = (console::colors_enabled(), Output::stdout()?);
        Ok(Self { services, seen: Vec::new(), json, colors, zone: TimeZone::system(), output })
    }

    fn means(&self, record: &Record) -> bool {
        self.services.as_ref().is_none_or(|services| record.service.as_ref().is_some_and(|service| services.contains(service)))
    }

    fn print(&mut self, records: &[Record]) -> Result<(), Error> {
        let mut text = String::new();
        for record in records {
            text += &if self.json { json(record)? } else { self.line(record) };
            text.push('\n');
        }
        self.output.write(text.as_bytes())
    }

    fn line(&mut self, record: &Record) -> String {
        let time = record.at.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
        let (name, color) = match &record.service {
            Some(service) => {
                let index = self.seen.iter().position(|seen| seen == service).unwrap_or_else(|| {
                    self.seen.push(service.clone());
                    self.seen.len() - 1
                });
                (service.as_str(), style::of_service(index))
            }
            None => ("devstack", console::Style::new().dim()),
        };
        let name = color.force_styling(self.colors).apply_to(format!("{name:<12}"));
        format!("{time}  {name} {}", line(record))
    }
}

/// What happened, on one line that no terminal obeys.
pub(crate) fn line(record: &Record) -> String {
    style::one_line(&words::of(&record.happened))
}

fn json(record: &Record) -> Result<String, Error> {
    let json = serde_json::to_string(record).map_err(|error| Error::failed(format!("a record is no JSON: {error}")))?;
    Ok(style::harmless_json(&json))
}
