//! Where the logs of any number of services come out as one stream.

use super::escape::shown;
use super::filter::{Filter, Said, Wanted};
use super::follow::News;
use super::level::Level;
use super::lines::{End, Lines};
use super::span::Runs;
use crate::cli::output::Output;
use crate::cli::{Error, style};
use crate::model::ServiceName;
use jiff::Timestamp;
use serde::Serialize;
use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd};

/// So that a flood of short lines is not a flood of system calls.
const BUFFER: usize = 64 * 1024;
const GOES_ON: &[u8] = " […line goes on]".as_bytes();

/// Several services get aligned, coloured names in front; one service into a pipe is passed on verbatim.
#[derive(Debug)]
pub struct Printer {
    prefixes: Vec<String>,
    lines: Vec<Lines>,
    is_terminal: bool,
    colors: bool,
    /// Of each log. None: everything is shown.
    filters: Vec<Filter>,
    /// Of each log: the runs by their places. Lines are objects of JSON then.
    json: Option<Vec<Runs>>,
    names: Vec<ServiceName>,
    buffer: Vec<u8>,
    output: Output,
}

/// A line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    service: &'a ServiceName,
    /// `null`: written before the journal knows of a run.
    run: Option<&'a str>,
    /// That the line tells, or the one that it belongs to.
    time: Option<Timestamp>,
    level: Option<&'static str>,
    /// Without its newline; what is no UTF-8 is replaced.
    line: Cow<'a, str>,
    /// It goes on in the next object.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

impl Printer {
    pub fn stdout(names: &[ServiceName]) -> Result<Self, Error> {
        Ok(Self::new(names, Output::stdout()?, console::Term::stdout().is_term(), console::colors_enabled()))
    }

    /// As [`Self::stdout`], for a person who reads to the end.
    pub fn paged(names: &[ServiceName]) -> Result<Self, Error> {
        Ok(Self::new(names, Output::paged()?, console::Term::stdout().is_term(), console::colors_enabled()))
    }

    fn new(names: &[ServiceName], output: Output, is_terminal: bool, colors: bool) -> Self {
        let width = names.iter().map(|name| name.as_str().len()).max().unwrap_or(0);
        let prefix = |(index, name): (usize, &ServiceName)| {
            let color = style::of_service(index).force_styling(colors);
            if names.len() == 1 { String::new() } else { format!("{} ", color.apply_to(format!("{name:<width$} |"))) }
        };
        let prefixes: Vec<_> = names.iter().enumerate().map(prefix).collect();
        let lines = names.iter().map(|_| Lines::default()).collect();
        Self { prefixes, lines, is_terminal, colors, filters: Vec::new(), json: None, names: names.to_vec(), buffer: Vec::new(), output }
    }

    /// Shows these lines only.
    pub fn only(self, wanted: &Wanted) -> Self {
        let filters = if wanted.is_everything() && self.json.is_none() {
            Vec::new()
        } else {
            self.names.iter().map(|_| Filter::new(wanted.clone())).collect()
        };
        Self { filters, ..self }
    }

    /// Shows them as objects of JSON, with the run that each belongs to.
    pub fn in_json(self) -> Self {
        Self { json: Some(self.names.iter().map(|_| Runs::default()).collect()), ..self }
    }

    /// The runs of a log, as they are known by now.
    pub fn know_runs(&mut self, index: usize, runs: Runs) {
        if let Some(place) = self.json.as_mut().and_then(|all| all.get_mut(index)) {
            *place = runs;
        }
    }

    /// Whether bytes come out as they came in.
    pub fn is_verbatim(&self) -> bool {
        self.prefixes.len() == 1 && !self.is_terminal && self.filters.is_empty()
    }

    /// What the service at `index` of the names wrote.
    pub fn take(&mut self, index: usize, news: News<'_>) -> Result<(), Error> {
        match news {
            News::Bytes(bytes) if self.is_verbatim() => self.write(bytes),
            News::Bytes(bytes) => {
                let mut lines = std::mem::take(&mut self.lines[index]);
                let taken = lines.push(bytes, &mut |piece, end| self.piece(index, piece, end, None));
                self.lines[index] = lines;
                taken
            }
            News::Restarted => self.finish_line(index, End::Newline),
        }
    }

    /// `place`: where it begins in its log, if that is known.
    pub(super) fn piece(&mut self, index: usize, bytes: &[u8], end: End, place: Option<u64>) -> Result<(), Error> {
        if end == End::Open {
            return self.take(index, News::Bytes(bytes));
        }
        let said = match self.filters.get_mut(index).map(|filter| filter.look(bytes)) {
            Some(None) => return Ok(()),
            Some(Some(said)) => said,
            None => Said::default(),
        };
        if let Some(runs) = &self.json {
            let (service, run, cut) = (&self.names[index], runs[index].at(place), end == End::Cut);
            let line =
                Line { service, run, time: said.time, level: said.level.map(Level::name), line: String::from_utf8_lossy(bytes), cut };
            let mut text = serde_json::to_vec(&line).unwrap_or_default();
            text.push(b'\n');
            return self.write(&text);
        }
        self.buffer.extend_from_slice(self.prefixes[index].as_bytes());
        match self.is_terminal {
            true => self.buffer.extend_from_slice(shown(bytes, self.colors).as_bytes()),
            false => self.buffer.extend_from_slice(bytes),
        }
        if end == End::Cut {
            self.buffer.extend_from_slice(GOES_ON);
        }
        self.write(b"\n")
    }

    /// Whether words of devstack may stand between the lines: nobody parses them then, and none is left out.
    pub fn may_mark(&self) -> bool {
        self.is_terminal && self.filters.is_empty()
    }

    pub fn mark(&mut self, index: usize, text: &str) -> Result<(), Error> {
        self.buffer.extend_from_slice(self.prefixes[index].as_bytes());
        let words = console::Style::new().dim().force_styling(self.colors).apply_to(format!("── {}", style::visible(text)));
        self.write(format!("{words}\n").as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn finish_line(&mut self, index: usize, end: End) -> Result<(), Error> {
        match self.lines[index].take_partial() {
            Some(partial) => self.piece(index, &partial, end, None),
            None => Ok(()),
        }
    }

    /// Whether lines are held back whose end has not come yet.
    pub fn holds_back(&self) -> bool {
        self.lines.iter().any(|lines| !lines.is_empty())
    }

    /// Shows what is held back: a prompt, or the last words of a worker that hangs in the middle of a line.
    pub fn release(&mut self) -> Result<(), Error> {
        (0..self.lines.len()).try_for_each(|index| self.finish_line(index, End::Cut))?;
        self.flush()
    }

    pub fn flush(&mut self) -> Result<(), Error> {
        let written = self.output.write(&self.buffer);
        self.buffer.clear();
        written
    }

    /// With the lines whose end never came.
    pub fn finish(&mut self) -> Result<(), Error> {
        (0..self.lines.len()).try_for_each(|index| self.finish_line(index, End::Newline))?;
        self.flush()
    }
}

impl AsFd for Printer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::OwnedFd;

    /// What `print` makes a printer for these services write.
    pub fn printed(names: &[&str], is_terminal: bool, colors: bool, print: impl FnOnce(&mut Printer)) -> String {
        let names: Vec<_> = names.iter().map(|name| ServiceName::new(name).expect("a name")).collect();
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let mut printer = Printer::new(&names, Output::from(File::from(OwnedFd::from(writer))), is_terminal, colors);
        print(&mut printer);
        printer.finish().expect("written");
        drop(printer);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).expect("read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn two_services(printer: &mut Printer) {
        for (index, bytes) in [(0, &b"one\ntw"[..]), (1, b"\x1b[2Jthree\r\n"), (0, b"o\n"), (0, b"open")] {
            printer.take(index, News::Bytes(bytes)).expect("written");
        }
    }

    #[test]
    fn several_services_get_aligned_names_and_whole_lines() {
        let text = printed(&["bot", "mtproto"], true, false, two_services);
        assert_eq!(text, "bot     | one\nmtproto | \\x1b[2Jthree\nbot     | two\nbot     | open\n");
        let piped = printed(&["bot", "mtproto"], false, false, two_services);
        assert_eq!(piped, "bot     | one\nmtproto | \x1b[2Jthree\r\nbot     | two\nbot     | open\n");
        let coloured = printed(&["bot", "mtproto"], true, true, two_services);
        assert!(coloured.starts_with("\x1b[36mbot     |\x1b[0m one\n\x1b[33mmtproto |\x1b[0m "), "{coloured:?}");
    }

    #[test]
    fn one_service_in_a_pipe_is_verbatim() {
        let text = printed(&["bot"], false, false, |printer| printer.take(0, News::Bytes(b"\x1b[2J\r\0open")).expect("written"));
        assert_eq!(text, "\x1b[2J\r\0open");
    }
}
