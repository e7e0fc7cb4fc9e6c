//! Which part of a log is meant: since when, until when, of which run.
//!
//! A moment is found by the times that the lines themselves tell, and by halving: a log of 10 GB costs some dozen reads. Of a log
//! that tells none, the runs say what they can: the journal knows when each began, and where in its log.

use super::merge::time_of;
use super::source::Source;
use crate::cli::events::words;
use crate::journal::{Happened, Record};
use crate::model::{ServiceName, quantity};
use crate::sys::clock;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::io;

const BLOCK: u64 = 64 * 1024;

/// A line with a time is looked for this far, in bytes: a traceback may be long.
const REACH: u64 = 4 << 20;

/// What `--run` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// 1 is the last one, 2 the one before it.
    FromLast(usize),
    Named(String),
}

/// # Errors
/// What is expected, when it is neither `last`, nor a number from 1 on, nor a run's id.
pub fn which(text: &str) -> Result<Which, String> {
    match text.parse() {
        _ if text == "last" => Ok(Which::FromLast(1)),
        Ok(0) => Err("runs are counted from 1, the last one".to_owned()),
        Ok(number) => Ok(Which::FromLast(number)),
        Err(_) if text.contains('-') => Ok(Which::Named(text.to_owned())),
        Err(_) => Err("expected `last`, 2 for the one before it, or a run id as `devstack why` shows it".to_owned()),
    }
}

/// `10m` ago, `10:30` today, `2025-11-19 10:30:00` here, or with an offset.
///
/// # Errors
/// What is expected, when it is none of these.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    let zone = TimeZone::system();
    let now = clock::both().wall;
    if let Ok(ago) = quantity::duration(text) {
        return SignedDuration::try_from(ago).ok().and_then(|ago| now.checked_sub(ago).ok()).ok_or_else(|| "too long ago".to_owned());
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let here = |at: DateTime| zone.to_timestamp(at).map_err(|error| error.to_string());
    // A time is what jiff also reads of a whole date, so that comes first.
    if let Ok(at) = text.parse::<DateTime>() {
        return here(at);
    }
    let today = |time| here(now.to_zoned_datetime(zone.clone()).date().to_datetime(time));
    text.parse::<Time>().map_or_else(|_| Err("expected 10m, 10:30, 2025-11-19 10:30:00 or 2025-11-19T10:30:00Z".to_owned()), today)
}

/// Where a run began in its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    pub run: String,
    pub at: Timestamp,
    pub offset: u64,
}

/// The runs of a service that the journal remembers with their places, oldest first.
pub fn runs(records: &[Record], service: &ServiceName, place: impl Fn(u64) -> u64) -> Vec<Begun> {
    let begun = |record: &Record| match record.happened {
        Happened::Starting { log_offset: Some(offset), .. } if record.service.as_ref() == Some(service) => {
            Some(Begun { run: record.run_id?.to_string(), at: record.at, offset: place(offset) })
        }
        _ => None,
    };
    records.iter().filter_map(begun).collect()
}

/// Where its runs began and ended, as words for whoever reads the log.
pub fn marks(records: &[Record], service: &ServiceName, end: u64, place: impl Fn(u64) -> u64) -> Vec<(u64, String)> {
    let zone = TimeZone::system();
    let mut marks: Vec<(Option<u64>, String)> = Vec::new();
    for record in records.iter().filter(|record| record.service.as_ref() == Some(service)) {
        let at = record.at.to_zoned_datetime(zone.clone()).strftime("%F %T").to_string();
        let run = record.run_id.map(|run| run.to_string()).unwrap_or_default();
        match &record.happened {
            Happened::Starting { log_offset: Some(offset), pid } => {
                let begin = place(*offset);
                // What ended before it ended where it begins.
                marks.iter_mut().filter(|(place, _)| place.is_none()).for_each(|(place, _)| *place = Some(begin));
                marks.push((Some(begin), format!("{at} run {run} began (pid {pid})")));
            }
            Happened::Ended(_) => marks.push((None, format!("{at} run {run} {}", words::of(&record.happened)))),
            _ => {}
        }
    }
    marks.into_iter().map(|(place, text)| (place.unwrap_or(end), text)).collect()
}

/// The runs of one log.
#[derive(Debug, Clone, Default)]
pub struct Runs(Vec<Begun>);

impl Runs {
    pub fn new(begun: Vec<Begun>) -> Self {
        Self(begun)
    }

    /// Which one wrote there; of a place that is not known, the last one.
    pub fn at(&self, place: Option<u64>) -> Option<&str> {
        let begun = self.0.iter().rev().find(|begun| place.is_none_or(|place| begun.offset <= place))?;
        Some(&begun.run)
    }
}

/// The bytes of one run; `None`: the journal does not know it. What was written before a file was emptied is no longer there.
pub fn of_run(runs: &[Begun], which: &Which, (start, end): (u64, u64)) -> Option<(u64, u64)> {
    let place = match which {
        Which::FromLast(number) => runs.len().checked_sub(*number)?,
        Which::Named(id) => runs.iter().position(|begun| begun.run == *id)?,
    };
    let from = runs[place].offset;
    let to = runs.get(place + 1).map(|next| next.offset).filter(|next| *next >= from).unwrap_or(end);
    Some(if from > end { (start, end) } else { (from.max(start), to.clamp(start, end)) })
}

/// Where the first line of `from..end` begins whose time is at or after `wanted`; `None`: no line tells a time.
///
/// # Errors
/// When the file cannot be read.
pub fn first_since(source: &Source, from: u64, end: u64, wanted: Timestamp, zone: &TimeZone) -> io::Result<Option<u64>> {
    if next_timed(source, from, end, zone)?.is_none() {
        return Ok(None);
    }
    let (mut before, mut after) = (from, end);
    while after - before > BLOCK {
        let middle = before + (after - before) / 2;
        match next_timed(source, middle, after, zone)? {
            Some((place, time)) if time < wanted => before = place,
            _ => after = middle,
        }
    }
    let mut at = before;
    while let Some((place, time)) = next_timed(source, at, end, zone)? {
        if time >= wanted {
            return Ok(Some(place));
        }
        at = place + 1;
    }
    Ok(Some(end))
}

/// The first line with a time that begins in `from..end`, as far as it is looked for; at the beginning of the file or after a newline.
fn next_timed(source: &Source, from: u64, end: u64, zone: &TimeZone) -> io::Result<Option<(u64, Timestamp)>> {
    // With the byte before, which may be the newline.
    let mut at = from.saturating_sub(1);
    let limit = end.min(from.saturating_add(REACH));
    let mut block = vec![0; FIRST_READ];
    while at < limit {
        let count = source.read_at(&mut block, at)?;
        if count == 0 {
            return Ok(None);
        }
        let bytes = &block[..count];
        let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place + 1);
        for start in (at == 0 && from == 0).then_some(0).into_iter().chain(starts) {
            let place = at + start as u64;
            if place < from || place >= end {
                continue;
            }
            if let Some(time) = time_of(&bytes[start..], zone) {
                return Ok(Some((place, time)));
            }
        }
        // A line that began in the last bytes of the block is looked at again.
        at += (count as u64).saturating_sub(LONGEST_TIME).max(1);
        block.resize((block.len() * 4).min(BLOCK as usize), 0);
    }
    Ok(None)
}

/// Most lines tell their time; reads grow where they do not.
const FIRST_READ: usize = 4096;

/// Of what `time_of` reads of a line, in bytes.
const LONGEST_TIME: u64 = 64;

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    fn log(lines: &[String]) -> ((tempfile::TempDir, Source), u64) {
        let text = lines.concat();
        (source::of_content(text.as_bytes()), text.len() as u64)
    }

    fn line_at(source: &Source, place: u64) -> String {
        let mut bytes = [0; 40];
        let count = source.read_at(&mut bytes, place).expect("read");
        String::from_utf8_lossy(&bytes[..count]).lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_moment_is_found_by_halving_and_tracebacks_stay_with_their_line() {
        let second = |second: i64| Timestamp::from_second(1_700_000_000 + second).expect("a time");
        let line = |number: i64| {
            format!("{} line {number}\n{}", second(number * 10), if number % 7 == 0 { "  File x\n".repeat(50) } else { String::new() })
        };
        let lines: Vec<String> = (0..20_000).map(line).collect();
        let ((_folder, file), end) = log(&lines);
        for (wanted, found) in
            [(second(-5), 0), (second(0), 0), (second(1), 1), (second(99_990), 9999), (second(123_455), 12_346), (second(199_990), 19_999)]
        {
            let place = first_since(&file, 0, end, wanted, &TimeZone::UTC).expect("read").expect("times");
            assert_eq!(
                line_at(&file, place),
                lines[found].lines().next().expect("a line").chars().take(40).collect::<String>(),
                "{wanted}"
            );
        }
        assert_eq!(first_since(&file, 0, end, second(200_000), &TimeZone::UTC).expect("read"), Some(end));
        let ((_folder, silent), end) = log(&["no time\n".repeat(10)]);
        assert_eq!(first_since(&silent, 0, end, second(0), &TimeZone::UTC).expect("read"), None);
    }

    #[test]
    fn a_run_ends_where_the_next_begins_and_after_a_truncation_all_is_left_of_it() {
        let begun = |run: &str, offset| Begun { run: run.to_owned(), at: Timestamp::UNIX_EPOCH, offset };
        let runs = [begun("1-1", 0), begun("1-2", 100), begun("1-3", 250)];
        assert_eq!(of_run(&runs, &Which::FromLast(1), (0, 300)), Some((250, 300)));
        assert_eq!(of_run(&runs, &Which::FromLast(2), (0, 300)), Some((100, 250)));
        assert_eq!(of_run(&runs, &Which::Named("1-1".to_owned()), (0, 300)), Some((0, 100)));
        assert_eq!(of_run(&runs, &Which::FromLast(1), (0, 40)), Some((0, 40)), "emptied since");
        assert_eq!((of_run(&runs, &Which::FromLast(4), (0, 300)), of_run(&runs, &Which::Named("9-9".to_owned()), (0, 300))), (None, None));
    }

    #[test]
    fn moments_are_written_as_people_write_them() {
        let now = Timestamp::now();
        let ago = moment("10m").expect("a moment");
        assert!((now.duration_since(ago).as_secs() - 600).abs() < 5);
        assert_eq!(moment("2025-11-19T10:30:00Z").map(|at| at.to_string()).as_deref(), Ok("2025-11-19T10:30:00Z"));
        assert!(moment("10:30").is_ok() && moment("2025-11-19 10:30:00").is_ok() && moment("yesterday-ish").is_err());
        assert_eq!(
            (which("last"), which("2"), which("7f3a-12")),
            (Ok(Which::FromLast(1)), Ok(Which::FromLast(2)), Ok(Which::Named("7f3a-12".to_owned())))
        );
        assert!(which("0").is_err() && which("first").is_err());
    }
}
