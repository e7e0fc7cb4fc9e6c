use super::*;
use crate::sys::rotation::{Outcome, Rule, rotate};
use std::io::Write;
use std::os::unix::fs::MetadataExt;

const RULE: Rule = Rule { size: 32 << 10, keep: 100, compress: false };

fn text_of(source: &Source) -> String {
    let (mut at, end) = (source.start(), source.end().expect("asked"));
    let mut bytes = vec![0; (end - at) as usize];
    let mut filled = 0;
    while at < end {
        let count = source.read_at(&mut bytes[filled..], at).expect("read");
        assert!(count > 0);
        at += count as u64;
        filled += count;
    }
    String::from_utf8(bytes).expect("text")
}

fn lines(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|number| format!("{number} {}\n", "x".repeat(number * 7 % 90))).collect()
}

fn append(path: &Path, text: &str) {
    let mut file = File::options().append(true).create(true).open(path).expect("opened");
    file.write_all(text.as_bytes()).expect("written");
}

#[test]
fn a_log_and_its_old_ones_are_one_text_on_every_file_system() {
    for (folder, compress) in [
        (tempfile::tempdir().expect("a folder"), false),
        (tempfile::tempdir().expect("a folder"), true),
        (tempfile::tempdir_in("/dev/shm").expect("a folder"), false),
        (tempfile::tempdir_in("/dev/shm").expect("a folder"), true),
    ] {
        let log = folder.path().join("worker.log");
        let mut rotations = 0;
        for first in (0..10_000).step_by(500) {
            append(&log, &lines(first..first + 500));
            rotations += usize::from(matches!(rotate(folder.path(), &log, &Rule { compress, ..RULE }).expect("ok"), Outcome::Rotated(_)));
        }
        assert!(rotations > 3);
        let source = Source::open(&log).expect("opened");
        assert!(text_of(&source) == lines(0..10_000));
        assert_eq!(source.start(), 0, "nothing was removed, so the first byte is that of the file's creation");
    }
}

#[test]
fn what_a_rotation_moves_while_it_is_read_is_neither_missed_nor_doubled() {
    for folder in [tempfile::tempdir().expect("a folder"), tempfile::tempdir_in("/dev/shm").expect("a folder")] {
        let log = folder.path().join("worker.log");
        append(&log, &lines(0..3000));
        let source = Source::open(&log).expect("opened");
        let (mut at, end) = (source.start(), source.end().expect("asked"));
        let mut read = Vec::new();
        let mut piece = vec![0; 5000];
        while at < end {
            let wanted = piece.len().min((end - at) as usize);
            let count = source.read_at(&mut piece[..wanted], at).expect("read");
            read.extend_from_slice(&piece[..count]);
            at += count as u64;
            append(&log, &lines(3000..3400));
            rotate(folder.path(), &log, &RULE).expect("rotated");
        }
        assert!(String::from_utf8(read).expect("text") == lines(0..3000));
        assert!(rotation::old_logs(&log).expect("listed").len() > 2);
    }
}

#[test]
fn a_copy_that_was_not_placed_counts_only_once_its_log_has_been_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("worker.log");
    append(&log, &lines(0..1000));
    let inode = std::fs::metadata(&log).expect("known").ino();
    let copied = lines(0..500);
    std::fs::write(folder.path().join(format!("worker.log.0-{inode}-{}", copied.len())), &copied).expect("written");
    assert_eq!(text_of(&Source::open(&log).expect("opened")), lines(0..1000));
    let file = File::options().write(true).open(&log).expect("opened");
    let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&file, flags, 0, copied.len() as u64).expect("punched");
    assert_eq!(text_of(&Source::open(&log).expect("opened")), lines(0..1000));
}

#[test]
fn old_logs_of_a_file_that_was_replaced_come_before_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("worker.log");
    std::fs::write(folder.path().join("worker.log.1"), "older\n".repeat(100)).expect("written");
    append(&log, "newer\n");
    let source = Source::open(&log).expect("opened");
    assert_eq!(text_of(&source), "older\n".repeat(100) + "newer\n");
    assert_eq!(source.place(0), 600);
    assert_eq!(source.offset_in_file(source.end().expect("asked")), 6);
}
