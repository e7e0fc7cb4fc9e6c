//! Every test on ext4, or whatever holds the temporary folder, and on tmpfs.

use super::*;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

const RULE: Rule = Rule { size: 64 << 10, keep: 1000, compress: false };

fn folders() -> [tempfile::TempDir; 2] {
    [tempfile::tempdir().expect("a folder"), tempfile::tempdir_in("/dev/shm").expect("a folder on tmpfs")]
}

fn append(log: &Path) -> File {
    File::options().create(true).append(true).open(log).expect("opened")
}

/// All that was ever written, as a person reads it: old logs first, and of holes nothing.
fn whole(log: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for old in old_logs(log).expect("listed") {
        assert_eq!(old.unplaced, None);
        all.extend(std::fs::read(old.path).expect("read"));
    }
    let live = File::open(log).expect("opened");
    let length = live.metadata().expect("known").len();
    let start = start(&live).expect("read");
    let mut rest = vec![0; (length - start) as usize];
    live.read_exact_at(&mut rest, start).expect("read");
    all.extend(rest);
    all
}

/// Lines of different lengths that tell their numbers.
fn lines(numbers: std::ops::Range<usize>) -> Vec<u8> {
    numbers.flat_map(|number| format!("{number} {}\n", "x".repeat(number * 7 % 90)).into_bytes()).collect()
}

fn assert_numbered(text: &[u8], count: usize) {
    let expected = lines(0..count);
    let differs = text.iter().zip(&expected).position(|(one, other)| one != other);
    assert_eq!((differs, text.len()), (None, expected.len()));
}

#[test]
fn under_a_writer_at_full_speed_every_line_comes_once_and_in_order() {
    const COUNT: usize = 400_000;
    for folder in folders() {
        let log = folder.path().join("worker.log");
        let mut writer = append(&log);
        let is_done = AtomicBool::new(false);
        let mut rotations = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for first in (0..COUNT).step_by(100) {
                    writer.write_all(&lines(first..first + 100)).expect("written");
                }
                is_done.store(true, Relaxed);
            });
            while !is_done.load(Relaxed) {
                if matches!(rotate(folder.path(), &log, &RULE).expect("rotated"), Outcome::Rotated(_)) {
                    rotations += 1;
                }
            }
        });
        assert!(rotations > 5, "{rotations}");
        let collapses = place::can_collapse(&writer);
        for old in old_logs(&log).expect("listed") {
            assert_eq!(std::fs::read(&old.path).expect("read").last(), Some(&b'\n'), "lines are whole in every file");
        }
        let live = File::open(&log).expect("opened");
        let taken = live.metadata().expect("known").blocks() * 512;
        println!("{rotations} rotations, {taken} bytes left, shift {}", shift(&live));
        if collapses {
            assert!(shift(&live) > 0 && logfile::data_start(&live) == 0);
        }
        assert_numbered(&whole(&log), COUNT);
    }
}

#[test]
fn what_was_cut_short_after_any_step_is_finished_and_nothing_is_lost_or_doubled() {
    for folder in folders() {
        let (root, log) = (folder.path(), folder.path().join("worker.log"));
        append(&log).write_all(&lines(0..3000)).expect("written");
        let names = Names::new(beneath::base(root).expect("a folder"), "worker.log".as_ref());
        let state = |step: u32| {
            let opened = Log::open(&names).expect("opened").expect("free");
            let length = opened.file.metadata().expect("known").len();
            let start = start(&opened.file).expect("read");
            let end = place::to_cut(&opened.file, start, length, 16 << 10).expect("read").expect("a place");
            opened.copy(&names, start, end).expect("copied");
            if step > 0 {
                let whole = names.declare_whole(opened.inode, end).expect("renamed");
                if step > 1 {
                    opened.punch(end).expect("punched");
                }
                if step > 2 {
                    names.place(&whole, 1000).expect("placed");
                }
                if step > 3 {
                    Noted { shift: shift(&opened.file), begun: end / place::BLOCK * place::BLOCK, blanks: 0 }.note(&opened.file);
                }
            }
        };
        let mut written = 3000;
        for step in 0..5 {
            state(step);
            assert_eq!(is_unfinished(&log), step < 3);
            assert_eq!(unfinished(&[&log, &root.join("other.log")]).len(), usize::from(step < 3));
            append(&log).write_all(&lines(written..written + 1000)).expect("written");
            written += 1000;
            assert_eq!(rotate(root, &log, &Rule { size: 1 << 30, ..RULE }).expect("finished"), Outcome::NotYet);
            assert!(!is_unfinished(&log));
            assert_numbered(&whole(&log), written);
        }
        assert_eq!(old_logs(&log).expect("listed").len(), 4);
    }
}

#[test]
fn a_copy_of_a_log_that_was_deleted_or_emptied_since_cuts_nothing_off_the_new_one() {
    for folder in folders() {
        let (root, log) = (folder.path(), folder.path().join("worker.log"));
        for is_deleted in [false, true] {
            std::fs::write(&log, lines(0..1000)).expect("written");
            let inode = std::fs::metadata(&log).expect("known").ino();
            let copied = lines(0..500);
            std::fs::write(root.join(format!("worker.log.0-{inode}-{}", copied.len())), &copied).expect("written");
            if is_deleted {
                std::fs::remove_file(&log).expect("deleted");
            }
            let other = "something else\n".repeat(2000);
            std::fs::write(&log, &other).expect("written");
            rotate(root, &log, &Rule { size: 1 << 30, ..RULE }).expect("finished");
            assert_eq!(std::fs::read_to_string(&log).expect("read"), other);
            assert_eq!(std::fs::read(root.join("worker.log.1")).expect("read"), copied);
        }
    }
}

#[test]
fn old_logs_move_up_the_oldest_goes_and_they_are_compressed_from_the_second_on() {
    for folder in folders() {
        let (root, log) = (folder.path(), folder.path().join("worker.log"));
        let rule = Rule { size: 16 << 10, keep: 3, compress: true };
        let mut written = 0;
        let mut rotations = 0;
        while rotations < 6 {
            append(&log).write_all(&lines(written..written + 300)).expect("written");
            written += 300;
            rotations += usize::from(matches!(rotate(root, &log, &rule).expect("rotated"), Outcome::Rotated(_)));
        }
        let names: Vec<String> = old_logs(&log).expect("listed").into_iter().map(|old| name_of(&old.path)).collect();
        assert_eq!(names, ["worker.log.3.gz", "worker.log.2.gz", "worker.log.1"]);
        let mut unpacked = String::new();
        let packed = File::open(root.join("worker.log.2.gz")).expect("opened");
        flate2::read::GzDecoder::new(packed).read_to_string(&mut unpacked).expect("unpacked");
        assert!(unpacked.lines().count() > 100 && unpacked.ends_with('\n'));
        // Fewer are wanted from now on.
        append(&log).write_all(&lines(0..3000)).expect("written");
        assert!(matches!(rotate(root, &log, &Rule { keep: 1, ..rule }).expect("rotated"), Outcome::Rotated(_)));
        let names: Vec<String> = old_logs(&log).expect("listed").into_iter().map(|old| name_of(&old.path)).collect();
        assert_eq!(names, ["worker.log.1"]);
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

#[test]
fn only_a_plain_file_of_ours_inside_of_the_project_is_rotated() {
    let folder = tempfile::tempdir().expect("a folder");
    let (root, elsewhere) = (folder.path().join("project"), folder.path().join("elsewhere"));
    std::fs::create_dir_all(&root).expect("a folder");
    std::fs::create_dir_all(&elsewhere).expect("a folder");
    let victim: PathBuf = elsewhere.join("victim");
    std::fs::write(&victim, lines(0..3000)).expect("written");
    std::os::unix::fs::symlink(&victim, root.join("link.log")).expect("a link");
    std::os::unix::fs::symlink(&elsewhere, root.join("linked")).expect("a link");
    std::fs::hard_link(&victim, root.join("hard.log")).expect("a link");
    nix::unistd::mkfifo(&root.join("fifo.log"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let rule = Rule { size: 1024, ..RULE };
    for log in ["link.log", "linked/victim", "hard.log", "fifo.log", "../elsewhere/victim", "missing.log"] {
        assert!(rotate(&root, &root.join(log), &rule).is_err(), "{log}");
    }
    assert_eq!(std::fs::read(&victim).expect("read"), lines(0..3000));
    // What stands in the way of the copy is not followed either.
    let log = root.join("worker.log");
    std::fs::write(&log, lines(0..3000)).expect("written");
    std::os::unix::fs::symlink(&victim, root.join("worker.log.copying")).expect("a link");
    assert!(matches!(rotate(&root, &log, &rule).expect("rotated"), Outcome::Rotated(_)));
    assert_eq!(std::fs::read(&victim).expect("read"), lines(0..3000));
}

#[test]
fn two_at_once_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("worker.log");
    append(&log).write_all(&lines(0..3000)).expect("written");
    let names = Names::new(beneath::base(folder.path()).expect("a folder"), "worker.log".as_ref());
    let held = Log::open(&names).expect("opened").expect("free");
    assert_eq!(rotate(folder.path(), &log, &RULE).expect("asked"), Outcome::Busy);
    drop(held);
    assert!(matches!(rotate(folder.path(), &log, &RULE).expect("rotated"), Outcome::Rotated(_)));
}

#[test]
fn the_end_of_a_log_reaches_into_what_was_just_set_aside_and_not_before_its_run() {
    for folder in folders() {
        let log = folder.path().join("worker.log");
        append(&log).write_all(&lines(0..3000)).expect("written");
        assert!(matches!(rotate(folder.path(), &log, &RULE).expect("rotated"), Outcome::Rotated(_)));
        let all = lines(0..3000);
        for (from, reach) in [(0, 500), (0, 100_000), (all.len() as u64 - 300, 100_000), (50_000, 1 << 20)] {
            let (begin, end) = read_end(&log, from, reach).expect("read");
            assert_eq!(begin, from.max(all.len() as u64 - reach.min(all.len() as u64)));
            assert!(all[begin as usize..] == end, "{from} {reach}");
        }
    }
}
