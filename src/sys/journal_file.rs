//! A file of lines that is only ever added to, bounded: a full one is renamed and the oldest goes.
//!
//! Opened anew for each write, so that whoever deletes or moves it stops nothing. Lines of several writers do not mix: each write
//! is whole lines, and the kernel adds them in one piece. A line that a full disk cut short is closed before the next.

use super::failpoint::{self, Failpoint};
use crate::model::FileId;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of one file, give or take a write.
const FULL: u64 = 1 << 20;

/// Full ones that are kept: `NAME.1` is the newest.
const KEPT: u32 = 4;

/// For adding to it.
pub struct JournalFile {
    path: PathBuf,
    full: u64,
    /// What is known of the last byte; a crash or a full disk may have cut a line short.
    ends_a_line: bool,
}

impl JournalFile {
    pub fn new(path: PathBuf) -> Self {
        Self { path, full: FULL, ends_a_line: false }
    }

    /// Adds whole lines. Where something stands in the way of renaming, the file outgrows its bound.
    ///
    /// # Errors
    /// When they could not be written; none of them has been then, unless somebody else wrote at that very moment.
    pub fn add(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut file = open_to_add(&self.path)?;
        let mut length = file.metadata()?.len();
        if !std::mem::replace(&mut self.ends_a_line, false) && length > 0 {
            let mut last = [0];
            file.read_exact_at(&mut last, length - 1)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                length += 1;
            }
        }
        write_or_undo(&mut file, length, lines)?;
        self.ends_a_line = true;
        failpoint::reach(Failpoint::JournalWritten);
        if length + lines.len() as u64 >= self.full {
            // The lines are written, and whoever hears of an error would write them again. It is tried with the next.
            let _ = self.rotate();
        }
        Ok(())
    }

    /// Oldest first, so that a crash in between leaves a gap in the names and nothing is lost.
    fn rotate(&self) -> io::Result<()> {
        for number in (0..KEPT).rev() {
            match std::fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A disk that is full takes the first part and refuses the rest; whoever tries again later would write that part twice.
fn write_or_undo(file: &mut File, length: u64, lines: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < lines.len() {
        match file.write(&lines[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                if file.metadata()?.len() == length + written as u64 {
                    file.set_len(length)?;
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Readable too, for a look at its end; never through a link, never a FIFO.
fn open_to_add(path: &Path) -> io::Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file")) }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{number}"));
    path.with_file_name(name)
}

/// What the files hold.
#[derive(Debug, Default)]
pub struct Content {
    /// Oldest first; the last line may be one that is being written.
    pub lines: Vec<u8>,
    /// The file that is added to, and how much of it is in `lines`; `None` when there is none.
    pub newest: Option<(File, FileId, u64)>,
}

/// Everything that is kept.
///
/// # Errors
/// When the newest file is there and cannot be read.
pub fn read_all(path: &Path) -> io::Result<Content> {
    // Opened before any is read, newest first: one that is renamed meanwhile is found twice rather than missed, and known again.
    let mut files: Vec<(u32, File, FileId)> = Vec::new();
    for number in 0..=KEPT {
        match super::logfile::open(&numbered(path, number)) {
            Ok((file, id)) if files.iter().all(|(.., seen)| *seen != id) => files.push((number, file, id)),
            // What stands in the place of an old one hides no others.
            Err(error) if number == 0 && error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let mut content = Content::default();
    for (number, mut file, id) in files.into_iter().rev() {
        // A line that was cut short before a rotation.
        if content.lines.last().is_some_and(|&byte| byte != b'\n') {
            content.lines.push(b'\n');
        }
        let length = file.read_to_end(&mut content.lines)? as u64;
        if number == 0 {
            content.newest = Some((file, id, length));
        }
    }
    Ok(content)
}

/// The newest bytes, at most `reach` of them, beginning with a line; nothing when there is no such file.
pub fn read_end(path: &Path, reach: u64) -> Vec<u8> {
    let Ok((start, mut content)) = super::logfile::read_end(path, 0, reach) else { return Vec::new() };
    let first = if start == 0 { 0 } else { content.iter().position(|&byte| byte == b'\n').map_or(content.len(), |at| at + 1) };
    content.split_off(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> (tempfile::TempDir, JournalFile) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = JournalFile::new(folder.path().join("events.jsonl"));
        file.full = 100;
        (folder, file)
    }

    fn text(file: &JournalFile) -> String {
        String::from_utf8(read_all(&file.path).expect("readable").lines).expect("text")
    }

    #[test]
    fn lines_come_back_in_order_over_every_rotation_and_the_oldest_are_gone_at_last() {
        let (folder, mut file) = journal();
        for number in 0..200 {
            file.add(format!("{{\"number\":{number:05}}}\n").as_bytes()).expect("written");
        }
        let lines = text(&file);
        let numbers: Vec<u32> = lines.lines().map(|line| line[10..15].parse().expect("a number")).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1) && numbers.last() == Some(&199), "{numbers:?}");
        assert!((20..=40).contains(&numbers.len()), "bounded: {}", numbers.len());
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1 + KEPT as usize);
    }

    #[test]
    fn what_stands_in_the_way_of_a_rotation_makes_no_line_be_written_twice_and_hides_none() {
        let (folder, mut file) = journal();
        std::fs::create_dir_all(folder.path().join("events.jsonl.4/in the way")).expect("a folder");
        std::fs::create_dir(folder.path().join("events.jsonl.2")).expect("a folder");
        let lines: Vec<String> = (0..40).map(|number| format!("{{\"number\":{number:05}}}\n")).collect();
        for line in &lines {
            file.add(line.as_bytes()).expect("written");
        }
        assert_eq!(text(&file), lines.concat());
    }

    #[test]
    fn a_line_that_was_cut_short_spoils_no_other() {
        let (_folder, mut file) = journal();
        std::fs::write(&file.path, "one\ntw").expect("a file");
        file.add(b"three\n").expect("written");
        file.add(b"four\n").expect("written");
        assert_eq!(text(&file), "one\ntw\nthree\nfour\n");
        assert_eq!(read_end(&file.path, 10), b"four\n");
        assert_eq!(read_end(&file.path, 1000), text(&file).as_bytes());
    }

    #[test]
    fn somebody_may_delete_it_and_nobody_may_lead_it_elsewhere() {
        let (folder, mut file) = journal();
        file.add(b"one\n").expect("written");
        std::fs::remove_file(&file.path).expect("deleted");
        file.add(b"two\n").expect("written");
        assert_eq!(text(&file), "two\n");
        std::fs::remove_file(&file.path).expect("deleted");
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "untouched").expect("a file");
        std::os::unix::fs::symlink(&victim, &file.path).expect("a link");
        assert!(file.add(b"three\n").is_err());
        assert_eq!(std::fs::read(&victim).expect("there"), b"untouched");
        std::fs::remove_file(&file.path).expect("deleted");
        nix::unistd::mkfifo(&file.path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        assert!(file.add(b"four\n").is_err() && read_all(&file.path).is_err());
    }
}
