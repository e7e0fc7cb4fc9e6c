//! The ends of several logs as one: by time where every log tells it, else one log after the other.
//!
//! A line without a time of its own, as in a traceback, belongs to the line before it.

use super::lines::{End, LONGEST, Lines};
use super::source::Source;
use super::{Error, Printer};
use crate::cli::logs::follow::News;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use std::collections::VecDeque;
use std::io;

/// A part of one log, read piece by piece.
pub struct Stretch<'file> {
    log: usize,
    source: &'file Source,
    at: u64,
    end: u64,
    lines: Lines,
    pieces: VecDeque<(Vec<u8>, End)>,
    /// Where the first piece that is left begins.
    place: u64,
    /// Of the first piece that is left, or of the last one before it that had any.
    time: Option<Timestamp>,
    /// By which moment what had been written, where lines tell no time themselves.
    index: Vec<(Timestamp, u64)>,
    /// What is said between the lines, and where.
    marks: VecDeque<(u64, String)>,
}

impl<'file> Stretch<'file> {
    pub fn new(log: usize, source: &'file Source, at: u64, end: u64) -> Self {
        Self {
            log,
            source,
            at,
            end,
            lines: Lines::default(),
            pieces: VecDeque::new(),
            place: at,
            time: None,
            index: Vec::new(),
            marks: VecDeque::new(),
        }
    }

    pub fn with_index(self, index: Vec<(Timestamp, u64)>) -> Self {
        Self { index, ..self }
    }

    /// Those that lie in it.
    pub fn with_marks(self, marks: Vec<(u64, String)>) -> Self {
        let marks = marks.into_iter().filter(|(place, _)| (self.at..=self.end).contains(place)).collect();
        Self { marks, ..self }
    }

    /// Says what is to be said before the next piece; at the end, all that is left.
    fn say_marks(&mut self, printer: &mut Printer) -> Result<(), Error> {
        let is_over = self.pieces.is_empty();
        while self.marks.front().is_some_and(|(place, _)| is_over || *place <= self.place) {
            let Some((_, text)) = self.marks.pop_front() else { break };
            printer.mark(self.log, &text)?;
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; LONGEST.min((self.end - self.at) as usize)];
        let count = self.source.read_at(&mut bytes, self.at)?;
        bytes.truncate(count);
        // A file that was truncated meanwhile has no more.
        self.at = if count == 0 { self.end } else { self.at + count as u64 };
        Ok(bytes)
    }

    /// Makes sure that the next piece is at hand, unless there is none.
    fn fill(&mut self) -> io::Result<()> {
        while self.pieces.is_empty() && self.at < self.end {
            let bytes = self.read()?;
            let (lines, pieces) = (&mut self.lines, &mut self.pieces);
            let taken = lines.push(&bytes, &mut |piece, end| {
                pieces.push_back((piece.to_vec(), end));
                Ok(())
            });
            debug_assert!(taken.is_ok(), "nothing above fails");
            if self.at == self.end {
                self.pieces.extend(self.lines.take_partial().map(|partial| (partial, End::Open)));
            }
        }
        Ok(())
    }

    fn look_at_time(&mut self, zone: &TimeZone) {
        let noted = || self.index.get(self.index.partition_point(|(_, end)| *end <= self.place)).map(|(at, _)| *at);
        self.time = self.pieces.front().and_then(|(piece, _)| time_of(piece, zone)).or_else(noted).or(self.time);
    }
}

pub fn show(mut stretches: Vec<Stretch<'_>>, printer: &mut Printer, failed: impl Fn(usize, io::Error) -> Error) -> Result<(), Error> {
    if printer.is_verbatim() {
        return stretches.iter_mut().try_for_each(|stretch| copy(stretch, printer, &failed));
    }
    for stretch in &mut stretches {
        stretch.fill().map_err(|error| failed(stretch.log, error))?;
    }
    stretches.retain(|stretch| !stretch.pieces.is_empty());
    let zone = TimeZone::system();
    let tells_time = |stretch: &Stretch<'_>| stretch.pieces.iter().any(|(piece, _)| time_of(piece, &zone).is_some());
    for stretch in stretches.iter_mut().filter(|stretch| tells_time(stretch)) {
        stretch.index.clear();
    }
    let by_time = stretches.len() > 1 && stretches.iter().all(|stretch| !stretch.index.is_empty() || tells_time(stretch));
    if by_time {
        stretches.iter_mut().for_each(|stretch| stretch.look_at_time(&zone));
    }
    let mut last = usize::MAX;
    // The one shown last goes first among equals: a traceback is not torn by a line of the same moment.
    let order = |stretch: &Stretch<'_>, last: usize| (stretch.time, stretch.log != last, stretch.log);
    while let Some(place) = (0..stretches.len()).min_by_key(|&place| order(&stretches[place], if by_time { last } else { usize::MAX })) {
        let stretch = &mut stretches[place];
        stretch.say_marks(printer)?;
        if let Some((piece, end)) = stretch.pieces.pop_front() {
            printer.piece(stretch.log, &piece, end, Some(stretch.place))?;
            stretch.place += piece.len() as u64 + u64::from(end == End::Newline);
        }
        last = stretch.log;
        stretch.fill().map_err(|error| failed(stretch.log, error))?;
        if by_time {
            stretch.look_at_time(&zone);
        }
        if stretch.pieces.is_empty() {
            stretch.say_marks(printer)?;
            stretches.remove(place);
        }
    }
    Ok(())
}

fn copy(stretch: &mut Stretch<'_>, printer: &mut Printer, failed: impl Fn(usize, io::Error) -> Error) -> Result<(), Error> {
    while stretch.at < stretch.end {
        let bytes = stretch.read().map_err(|error| failed(stretch.log, error))?;
        printer.take(stretch.log, News::Bytes(&bytes))?;
    }
    Ok(())
}

/// `2025-11-19 10:30:00,123`, with `T`, a fraction, `Z` or an offset, and in brackets, as loggers begin their lines. Without an
/// offset it is a time of this machine.
pub(super) fn time_of(line: &[u8], zone: &TimeZone) -> Option<Timestamp> {
    const SECONDS: usize = "2025-11-19T10:30:00".len();
    let line = line.strip_prefix(b"[").unwrap_or(line);
    let head = line.get(..SECONDS)?;
    if !head[0].is_ascii_digit() || !matches!(head[10], b'T' | b' ') {
        return None;
    }
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let fraction = match line.get(SECONDS) {
        Some(b'.' | b',') => digits(&line[SECONDS + 1..]).min(9) + 1,
        _ => 0,
    };
    let text = std::str::from_utf8(&line[..SECONDS + fraction]).ok()?;
    let civil: DateTime = text.trim_end_matches(['.', ',']).parse().ok()?;
    match offset(&line[SECONDS + fraction..]) {
        Some(offset) => offset.to_timestamp(civil).ok(),
        None => zone.to_timestamp(civil).ok(),
    }
}

/// `Z`, `+02:00`, `+0200`, or as gunicorn has it ` +0200`.
fn offset(rest: &[u8]) -> Option<Offset> {
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let (sign, rest) = match rest.split_first()? {
        (b'Z', _) => return Some(Offset::UTC),
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let number =
        |bytes: &[u8]| std::str::from_utf8(bytes).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?.parse::<i64>().ok();
    let hours = number(rest.get(..2)?)?;
    let minutes = rest[2..].strip_prefix(b":").unwrap_or(&rest[2..]);
    let minutes = number(minutes.get(..2)?)?;
    Offset::from_seconds(i32::try_from(sign * SignedDuration::from_mins(hours * 60 + minutes).as_secs()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::printer::tests::printed;
    use super::super::source::of_content;
    use super::*;

    fn shown(logs: &[&str]) -> String {
        let files: Vec<_> = logs.iter().map(|log| of_content(log.as_bytes())).collect();
        printed(&["a", "b"][..logs.len()], true, false, |printer| {
            let stretches =
                files.iter().zip(logs).enumerate().map(|(index, ((_, source), log))| Stretch::new(index, source, 0, log.len() as u64));
            show(stretches.collect(), printer, |_, error| Error::failed(error)).expect("shown");
        })
    }

    #[test]
    fn logs_that_tell_the_time_are_interleaved_and_tracebacks_stay_whole() {
        let a = "2025-11-19 10:30:00,100 one\nTraceback\n  line\n2025-11-19 10:30:02,000 three\n";
        let b = "2025-11-19 10:30:00,100 same moment\n2025-11-19 10:30:01 two\n2025-11-19 10:30:03 four";
        let expected = "\
a | 2025-11-19 10:30:00,100 one
a | Traceback
a |   line
b | 2025-11-19 10:30:00,100 same moment
b | 2025-11-19 10:30:01 two
a | 2025-11-19 10:30:02,000 three
b | 2025-11-19 10:30:03 four
";
        assert_eq!(shown(&[a, b]), expected);
    }

    #[test]
    fn without_times_one_log_follows_the_other() {
        assert_eq!(shown(&["x\ny\n", "2025-11-19 10:30:00 z\n"]), "a | x\na | y\nb | 2025-11-19 10:30:00 z\n");
        assert_eq!(shown(&["", "z\n"]), "b | z\n");
    }

    #[test]
    fn times_are_read_as_loggers_write_them() {
        let zone = TimeZone::UTC;
        let at = |line: &str| time_of(line.as_bytes(), &zone).map(|time| time.to_string());
        for (line, expected) in [
            ("2025-11-19 10:30:00 INFO", Some("2025-11-19T10:30:00Z")),
            ("2025-11-19T10:30:00.250Z x", Some("2025-11-19T10:30:00.25Z")),
            ("2025-11-19 10:30:00,250 INFO", Some("2025-11-19T10:30:00.25Z")),
            ("2025-11-19T10:30:00+02:00", Some("2025-11-19T08:30:00Z")),
            ("[2025-11-19 10:30:00 +0200] [7] [INFO]", Some("2025-11-19T08:30:00Z")),
            ("2025-13-19 10:30:00 no month", None),
            ("INFO:     Started", None),
            ("", None),
        ] {
            assert_eq!(at(line).as_deref(), expected, "{line}");
        }
    }
}
