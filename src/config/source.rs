//! The text of the files: read without surprises, kept so that an error can show the line it is about.

use super::error::Problem;
use super::trust::Trust;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Bytes of [`Sources`], where the files lie one after the other: one range says both which file and where.
pub type Span = Range<usize>;

/// No project needs more, and a mistaken path (a log, a disk image) must not fill the memory.
const LARGEST: u64 = 1 << 20;

/// A file under the name that a person knows it by.
#[derive(Debug)]
struct Source {
    shown: String,
    text: String,
    start: usize,
}

/// Every file of one configuration, and the spans in them that must not be shown.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
    secrets: Vec<Span>,
}

/// One line of a source, ready to be shown.
pub struct Line<'a> {
    pub file: &'a str,
    pub number: usize,
    /// Counted in characters, from 1.
    pub column: usize,
    /// Environment values are starred out, character by character.
    pub text: String,
    /// The part of `text` that was asked for, cut at the end of the line.
    pub marked: Range<usize>,
}

impl Sources {
    /// Where the first byte of the file that is added next will be.
    pub fn end(&self) -> usize {
        self.files.last().map_or(0, |last| last.start + last.text.len() + 1)
    }

    pub fn add(&mut self, path: &Path, text: String) {
        self.files.push(Source { shown: shown(path), text, start: self.end() });
    }

    /// The bytes of `span` are never shown.
    pub fn hide(&mut self, span: Span) {
        self.secrets.push(span);
    }

    /// The name of the main file.
    pub fn main(&self) -> Option<&str> {
        self.files.first().map(|file| file.shown.as_str())
    }

    #[cfg(any(test, fuzzing))]
    pub fn holds(&self, span: &Span) -> bool {
        self.files.iter().any(|file| span.start >= file.start && span.end <= file.start + file.text.len())
    }

    pub fn line(&self, span: &Span) -> Option<Line<'_>> {
        let file = self.files.iter().rev().find(|file| file.start <= span.start)?;
        let at = floor(&file.text, span.start - file.start);
        let end = floor(&file.text, span.end.saturating_sub(file.start)).max(at);
        let first = file.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let last = file.text[at..].find('\n').map_or(file.text.len(), |newline| at + newline);
        let line = &file.text[first..last];
        let visible = line.trim_end_matches('\r');
        let column = file.text[first..at].chars().count() + 1;
        let shown = file.start + first..file.start + last;
        let hidden: Vec<&Span> = self.secrets.iter().filter(|secret| secret.start < shown.end && secret.end > shown.start).collect();
        let (mut text, mut marked) = (String::with_capacity(visible.len()), 0..0);
        for (offset, c) in visible.char_indices() {
            let here = first + offset;
            if here == at {
                marked.start = text.len();
            }
            let is_secret = hidden.iter().any(|secret| secret.contains(&(file.start + here)));
            text.push(if is_secret { '*' } else { c });
            if here < end {
                marked.end = text.len();
            }
        }
        if at >= first + visible.len() {
            marked = text.len()..text.len();
        }
        marked.end = marked.end.max(marked.start);
        let number = file.text[..first].matches('\n').count() + 1;
        Some(Line { file: &file.shown, number, column, text, marked })
    }
}

fn floor(text: &str, position: usize) -> usize {
    let mut at = position.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// As seen from the current folder when it lies below it, else in full.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let near = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    near.unwrap_or(path).display().to_string()
}

/// The text of a regular file, without a byte order mark.
///
/// # Errors
/// When it cannot be read, is no regular file, is too large, is not UTF-8, or is not to be trusted.
pub fn read(path: &Path, trust: Trust) -> Result<String, Problem> {
    let bytes = read_whole(path, trust)?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Problem::new("the file is encoded as UTF-16").place(shown(path)).hint("save it as UTF-8"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        let (line, column) = position(&valid);
        Problem::new("the file is not UTF-8 text").place(format!("{}:{line}:{column}", shown(path))).hint("save it as UTF-8")
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(bare) => bare.to_owned(),
        None => text,
    })
}

/// Line and column, from 1, just after `text`.
fn position(text: &str) -> (usize, usize) {
    let line = text.rsplit('\n').next().unwrap_or_default();
    (text.matches('\n').count() + 1, line.chars().count() + 1)
}

/// An editor may be writing: a file that changed while it was read is read again.
fn read_whole(path: &Path, trust: Trust) -> Result<Vec<u8>, Problem> {
    let cannot = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Problem::new("there is no such file").place(shown(path)),
        _ => Problem::new(format!("the file cannot be read: {}", cause(&error))).place(shown(path)),
    };
    let mut tries = 0;
    loop {
        let mut file = open(path).map_err(cannot)?;
        let before = file.metadata().map_err(cannot)?;
        if !before.is_file() {
            let kind = if before.is_dir() { "it is a folder" } else { "it is not a regular file" };
            return Err(Problem::new(format!("the file cannot be read: {kind}")).place(shown(path)));
        }
        trust.believe(path, &before)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(LARGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
        if bytes.len() as u64 > LARGEST {
            return Err(Problem::new("the file is larger than 1 MiB").place(shown(path)).hint("is this the file you meant?"));
        }
        let after = file.metadata().map_err(cannot)?;
        let settled = before.modified().ok() == after.modified().ok() && after.len() == bytes.len() as u64;
        tries += 1;
        if settled || tries == 3 {
            return Ok(bytes);
        }
    }
}

/// Non-blocking, because opening a FIFO would otherwise wait for its writer for ever.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// The system's words, without Rust's "(os error 13)".
pub fn cause(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}
