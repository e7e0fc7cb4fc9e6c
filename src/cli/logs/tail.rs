//! The last lines of a file, found from its end: the length of the file does not matter.

use super::escape::shown;
use super::filter::Filter;
use super::lines::{End, LONGEST, Lines};
use super::source::Source;
use std::collections::VecDeque;
use std::io;
use std::path::Path;

const BLOCK: u64 = 64 * 1024;

/// The last `count` lines between `from` and `end` begin here. With `longest`, lines count as long as that at most, so that
/// a file without newlines is not read whole; the answer may then lie inside a line.
pub fn start_of_last(source: &Source, from: u64, end: u64, count: usize, longest: Option<usize>) -> io::Result<u64> {
    if count == 0 {
        return Ok(end);
    }
    let first = written_from(source, from, end);
    let reach = longest.map(|longest| (count as u64).saturating_mul(longest as u64));
    let floor = reach.map_or(first, |reach| first.max(end.saturating_sub(reach)));
    let mut missing = count;
    let mut block = vec![0; BLOCK as usize];
    // The newline that ends the last line begins no other.
    let mut upper = end.saturating_sub(1);
    while upper > floor {
        let lower = floor.max(upper.saturating_sub(BLOCK));
        let part = &mut block[..(upper - lower) as usize];
        match source.read_exact_at(part, lower) {
            Ok(()) => {}
            // It was truncated meanwhile.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(first),
            Err(error) => return Err(error),
        }
        for at in (0..part.len()).rev().filter(|&at| part[at] == b'\n') {
            missing -= 1;
            if missing == 0 {
                return Ok(lower + at as u64 + 1);
            }
        }
        upper = lower;
    }
    Ok(floor)
}

/// As [`start_of_last`], of lines that are shown: a forward look at all of them.
pub fn start_of_last_match(source: &Source, from: u64, end: u64, count: usize, mut filter: Filter) -> io::Result<u64> {
    let mut at = written_from(source, from, end);
    let (mut line, mut starts) = (at, VecDeque::new());
    let (mut lines, mut block) = (Lines::default(), vec![0; BLOCK as usize]);
    while at < end && count > 0 {
        let wanted = block.len().min((end - at) as usize);
        let read = source.read_at(&mut block[..wanted], at)?;
        if read == 0 {
            break;
        }
        let _ = lines.push(&block[..read], &mut |piece, piece_end| {
            if filter.look(piece).is_some() {
                starts.push_back(line);
                starts.drain(..starts.len().saturating_sub(count));
            }
            line += piece.len() as u64 + u64::from(piece_end == End::Newline);
            Ok(())
        });
        at += read as u64;
    }
    let unfinished = lines.take_partial().filter(|rest| filter.look(rest).is_some()).map(|_| line);
    starts.extend(unfinished);
    Ok(starts
        .len()
        .checked_sub(count)
        .filter(|_| count > 0)
        .and_then(|place| starts.get(place))
        .or(starts.front().filter(|_| count > 0))
        .copied()
        .unwrap_or(end))
}

fn written_from(source: &Source, from: u64, end: u64) -> u64 {
    source.start().max(from).min(end)
}

/// The last lines that were written at or after `from_offset`, counted from the file's creation, safe to show.
///
/// # Errors
/// When the log is missing, no plain file, or cannot be read.
pub fn tail(path: &Path, from_offset: u64, max_lines: usize) -> io::Result<Vec<String>> {
    let source = Source::open(path)?;
    let (end, from) = (source.end()?, source.place(from_offset));
    // Shorter than it was: emptied, and everything in it is newer.
    let from = if from > end { source.place(0) } else { from };
    let mut at = start_of_last(&source, from, end, max_lines, Some(LONGEST))?;
    let mut lines = Lines::default();
    let mut last = VecDeque::new();
    let mut keep = |piece: &[u8]| {
        last.push_back(shown(piece, false));
        if last.len() > max_lines {
            last.pop_front();
        }
    };
    let mut block = vec![0; BLOCK as usize];
    while at < end {
        let wanted = block.len().min((end - at) as usize);
        let count = source.read_at(&mut block[..wanted], at)?;
        if count == 0 {
            break;
        }
        at += count as u64;
        let taken = lines.push(&block[..count], &mut |piece, _| {
            keep(piece);
            Ok(())
        });
        debug_assert!(taken.is_ok(), "nothing above fails");
    }
    if let Some(partial) = lines.take_partial() {
        keep(&partial);
    }
    Ok(last.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::logs::source::of_content;
    use std::io::{Seek, Write};

    fn file_with(content: &[u8]) -> (tempfile::NamedTempFile, u64) {
        let mut file = tempfile::NamedTempFile::new().expect("temp file");
        file.write_all(content).expect("write");
        (file, content.len() as u64)
    }

    #[test]
    fn the_last_lines_are_found_whatever_the_end_looks_like() {
        for (content, count, expected) in [
            (&b"a\nb\nc\n"[..], 2, &b"b\nc\n"[..]),
            (b"a\nb\nc", 2, b"b\nc"),
            (b"a\nb\n\n", 2, b"b\n\n"),
            (b"a\nb\n", 9, b"a\nb\n"),
            (b"a\n", 0, b""),
            (b"", 3, b""),
            (b"\n", 1, b"\n"),
        ] {
            let (_folder, source) = of_content(content);
            let start = start_of_last(&source, 0, content.len() as u64, count, None).expect("read");
            assert_eq!(&content[start as usize..], expected, "{content:?} {count}");
        }
        let long: Vec<u8> = (0..100_000).flat_map(|line| format!("line {line}\n").into_bytes()).collect();
        let (_folder, source) = of_content(&long);
        let start = start_of_last(&source, 0, long.len() as u64, 50_000, None).expect("read");
        assert!(long[start as usize..].starts_with(b"line 50000\n"));
    }

    #[test]
    fn a_huge_sparse_file_and_a_line_without_end_are_answered_by_seeking() {
        let (mut file, _) = file_with(b"");
        file.as_file().set_len(10 << 30).expect("a hole of 10 GB");
        file.seek(io::SeekFrom::End(0)).expect("seek");
        file.write_all(b"\nlast one\nlast two\n").expect("write");
        assert_eq!(tail(file.path(), 0, 2).expect("read"), ["last one", "last two"]);
        let end = file.as_file().metadata().expect("stat").len();
        let source = Source::open(file.path()).expect("opened");
        let all = start_of_last(&source, 0, end, 1_000_000, None).expect("read");
        assert!(end - all < 100, "the hole is skipped, {} bytes shown", end - all);

        let (_folder, source) = of_content(&vec![b'x'; 3 << 20]);
        assert_eq!(start_of_last(&source, 0, 3 << 20, 2, Some(LONGEST)).expect("read"), (3 << 20) - 2 * LONGEST as u64);
    }

    #[test]
    fn the_tail_of_a_run_leaves_out_earlier_runs_and_is_safe_to_show() {
        let (file, _) = file_with(b"earlier\nfirst\x1b[2J\r\nsecond\nthird");
        assert_eq!(tail(file.path(), 8, 10).expect("read"), ["first\\x1b[2J", "second", "third"]);
        assert_eq!(tail(file.path(), 8, 1).expect("read"), ["third"]);
        assert_eq!(tail(file.path(), 9_999, 1).expect("read"), ["third"]);
    }
}
