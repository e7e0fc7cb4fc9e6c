//! What must hold for any bytes at all, one property a reader of what others write.
//!
//! `fuzz/` hands each of them whatever libFuzzer comes up with; the tests below hand them what is kept of that in the repository.
//! Compiled for tests and for fuzzing only.
#![expect(clippy::expect_used, reason = "a broken property is told by a panic")]

use crate::cleanup::argv::{self, Candidate, Pattern};
use crate::cli::logs::escape::shown;
use crate::cli::logs::lines::{LONGEST, Lines};
use crate::cli::logs::tail;
use crate::cli::why::story;
use crate::config::{self, Location, Trust};
use crate::control::protocol::{Hello, Reply, Request};
use crate::engine::{Ledger, Now, Said, Survey, parse_notification};
use crate::journal::{LastWords, Record, Records, ends};
use crate::model::{BootTime, is_obeyed_by_terminals, quantity};
use crate::sys::procfs::net::Listener;
use crate::sys::procfs::{Stat, status, text};
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

pub type Target = fn(&[u8]);

/// By the names of their folders in `fuzz/corpus` and `fuzz/crashers`.
pub const TARGETS: [(&str, Target); 11] = [
    ("config", config),
    ("env_file", env_file),
    ("quantity", quantities),
    ("request", request),
    ("reply", reply),
    ("notification", notification),
    ("procfs", procfs),
    ("argv", arguments),
    ("log", log),
    ("ledger", ledger),
    ("journal", journal),
];

/// A folder in memory for what is read from files.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let base = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        let folder = base.join(format!("devstack-fuzzing-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    })
}

fn is_safe_to_show(text: &str) -> bool {
    !text.contains(|c: char| is_obeyed_by_terminals(c) && !matches!(c, '\n' | '\t'))
}

/// A project, or mistakes that lie inside the file and can be shown.
pub fn config(bytes: &[u8]) {
    let file = folder().join("devstack.toml");
    std::fs::write(&file, bytes).expect("a file");
    match config::load(&Location { config_file: file, root: folder().to_owned() }, Trust::Everybody) {
        Ok(project) => {
            assert!(!project.services.is_empty());
            assert!(is_safe_to_show(&config::show(&project)));
        }
        Err(problems) => {
            assert!(problems.all_inside_the_files());
            let (plain, styled) = (problems.render(false), problems.render(true));
            assert!(plain.starts_with("error: ") && is_safe_to_show(&plain), "{plain:?}");
            assert!(styled.len() >= plain.len());
        }
    }
}

/// Variables that an environment can hold, or a mistake that repeats nothing of a value.
pub fn env_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for (name, value) in config::environment::variables(text, Path::new("/.env")).iter().flatten() {
        assert!(!name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0'));
    }
}

/// A quantity within its bounds, or words for who wrote it.
pub fn quantities(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(duration) = quantity::duration(text) {
        let written = humantime::format_duration(duration).to_string();
        assert_eq!(quantity::duration(&written), Ok(duration), "{written}");
    }
    let _ = quantity::size(text);
    if let Ok(percent) = quantity::percent(text) {
        assert!(percent.is_finite() && percent >= 0.0);
    }
}

/// What is understood is understood the same when it is said again.
fn reads_back<T: serde::Serialize + serde::de::DeserializeOwned>(bytes: &[u8]) {
    let Ok(first) = serde_json::from_slice::<T>(bytes) else { return };
    let written = serde_json::to_string(&first).expect("what was JSON is JSON");
    assert!(!written.contains('\n'), "one line a message");
    let again = serde_json::from_str::<T>(&written).expect("it reads back");
    assert_eq!(serde_json::to_string(&again).expect("JSON"), written);
}

pub fn request(bytes: &[u8]) {
    reads_back::<Hello>(bytes);
    reads_back::<Request>(bytes);
    let _ = crate::control::upgrade::is_asked(bytes);
}

pub fn reply(bytes: &[u8]) {
    reads_back::<Reply>(bytes);
}

/// What a worker says over its notify socket, of which only what is known counts.
pub fn notification(bytes: &[u8]) {
    let said = parse_notification(bytes);
    assert!(said.len() <= bytes.split(|&byte| byte == b'\n').count());
    for one in said {
        if let Said::Status(text) = one {
            assert!(text.chars().count() <= 200);
        }
    }
}

/// No name or environment that a process chooses makes it somebody else, and nothing is read that was not written.
pub fn procfs(bytes: &[u8]) {
    if let Some(stat) = Stat::parse(bytes) {
        let name = bytes.iter().position(|&byte| byte == b'(').zip(bytes.iter().rposition(|&byte| byte == b')'));
        let (from, to) = name.expect("it has a name");
        assert_eq!(stat.comm, bytes[from + 1..to]);
        let _ = (stat.id(), stat.is_dead(), stat.rss_bytes());
    }
    let _ = Listener::parse(bytes).map(|listener| listener.port);
    let words = text::words(bytes);
    assert!(words.iter().map(|word| word.len() + 1).sum::<usize>() <= bytes.len() + 1);
    let _ = text::mark(bytes);
    for name in [&b"Uid:"[..], b"SigIgn:", b"SigCgt:"] {
        assert!(status::field(bytes, name).is_none_or(|word| !word.is_empty() && !word.contains(char::is_whitespace)));
    }
    let [run, root] = text::values(bytes, [b"DEVSTACK_RUN", b"DEVSTACK_ROOT"]);
    for value in [run, root].iter().flatten() {
        assert!(!value.contains(&0) && (value.is_empty() || bytes.windows(value.len()).any(|part| part == &value[..])));
    }
}

/// Only what begins like the service is a copy of it, whatever the arguments are.
pub fn arguments(bytes: &[u8]) {
    let argv = text::words(bytes);
    let exe = Some(Path::new("/usr/bin/python3.11"));
    let part = argv::pool_part(&argv, exe);
    assert!(part.is_none() || argv::could_be_python(&argv), "{argv:?}");
    let wanted = ["python", "-m", "apps.mtproto.worker"].map(|word| word.as_bytes().to_vec());
    let pattern = Pattern { argv: wanted.to_vec(), cwd: Path::new("/p"), root: Path::new("/p"), venv: None };
    if pattern.is_copy(Candidate { argv: &argv, exe, cwd: Some(Path::new("/p")) }) {
        assert!(
            argv.iter().any(|word| word.ends_with(b"worker") || word.ends_with(b"worker.py") || word.ends_with(b"__main__.py")),
            "{argv:?}"
        );
        assert!(pattern.could_be(&argv), "{argv:?}");
    }
    let _ = pattern.is_mentioned_by(&argv);
}

/// No byte is lost between the pieces, no piece is too long, chunks do not matter, and no terminal obeys what is shown.
pub fn log(bytes: &[u8]) {
    let pieces = |size: usize| {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for chunk in bytes.chunks(size) {
            let taken = lines.push(chunk, &mut |piece, end| {
                seen.push((piece.to_vec(), end));
                Ok(())
            });
            assert!(taken.is_ok());
        }
        (seen, lines.take_partial().unwrap_or_default())
    };
    let (whole, rest) = pieces(bytes.len().max(1));
    let mut joined: Vec<u8> = Vec::new();
    for (piece, end) in &whole {
        assert!(piece.len() <= LONGEST && !piece.contains(&b'\n'));
        joined.extend(piece);
        if *end == crate::cli::logs::lines::End::Newline {
            joined.push(b'\n');
        }
        assert!(is_safe_to_show(&shown(piece, false)));
    }
    joined.extend(&rest);
    assert_eq!(joined, bytes);
    assert_eq!(pieces(7), (whole, rest));

    let file = folder().join("log");
    std::fs::write(&file, bytes).expect("a file");
    let count = bytes.first().map_or(1, |byte| usize::from(*byte % 8));
    let expected: Vec<&[u8]> = bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|&byte| byte == b'\n').collect();
    let last = tail::tail(&file, 0, count).expect("it is there");
    assert!(last.len() <= count && last.iter().all(|line| is_safe_to_show(line)));
    // Zeros at the head are what a rotation punches out.
    if !bytes.is_empty() && bytes[0] != 0 {
        let expected: Vec<String> = expected[expected.len().saturating_sub(count)..].iter().map(|line| shown(line, false)).collect();
        assert_eq!(last, expected);
    }
}

/// What is understood is understood the same when it is written again, and a supervisor can begin with it.
pub fn ledger(bytes: &[u8]) {
    let Ok(ledger) = Ledger::from_json(bytes) else { return };
    let written = ledger.to_json().expect("what was JSON is JSON");
    let mut again = Ledger::from_json(&written).expect("it reads back");
    assert_eq!(again.to_json().expect("JSON"), written);
    let services = again.stack.slots().iter().map(|(name, slot)| (name.clone(), slot.spec.clone())).collect();
    let now = Now { boot: BootTime::from_nanos(1 << 40), wall: Timestamp::UNIX_EPOCH, asleep: Duration::ZERO };
    let mut actions = Vec::new();
    again.stack.recover(&Survey::default(), &services, now, &mut actions);
    again.stack.step(crate::engine::Event::Tick, now, &mut actions);
}

/// What is read was written: it reads back, a story can be told of it, and no terminal obeys that. And whatever a log holds, its
/// last words are bounded.
pub fn journal(bytes: &[u8]) {
    let read = Records::read(bytes);
    let lines = bytes.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n") && line.len() > 1).count();
    assert_eq!(read.records.len() + read.passed_over, lines);
    let written: Vec<u8> = read.records.iter().flat_map(Record::to_line).collect();
    let again = Records::read(&written);
    assert_eq!((again.records.len(), again.passed_over), (read.records.len(), 0));
    assert_eq!(again.records.iter().flat_map(Record::to_line).collect::<Vec<u8>>(), written);
    for service in read.records.iter().filter_map(|record| record.service.as_ref()) {
        let told = story::tell(service, None, &ends(&read.records, service), Timestamp::UNIX_EPOCH, false);
        assert!(is_safe_to_show(&told), "{told:?}");
    }
    for record in &read.records {
        assert!(is_safe_to_show(&crate::cli::events::line(record)));
    }
    let words = LastWords::of(None, bytes, true);
    let longest = words.last_lines.iter().chain(words.traceback.iter().flatten()).map(|line| line.chars().count()).max();
    assert!(words.last_lines.len() <= 20 && words.traceback.is_none_or(|lines| lines.len() <= 51) && longest.unwrap_or(0) <= 501);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What libFuzzer found worth keeping, and what once broke a property.
    fn kept(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let folders = ["corpus", "crashers"].map(|kind| fuzz.join(kind).join(target));
        let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
        files.map(|file| file.expect("an entry").path()).map(|path| (path.clone(), std::fs::read(path).expect("readable"))).collect()
    }

    #[test]
    fn what_fuzzing_found_holds_for_every_reader() {
        for (name, target) in TARGETS {
            let kept = kept(name);
            assert!(kept.len() >= 5, "fuzz/corpus/{name} holds {} files", kept.len());
            for (path, bytes) in kept {
                println!("{}", path.display());
                target(&bytes);
            }
        }
        std::fs::remove_dir_all(folder()).expect("it was used");
    }

    #[test]
    fn every_reader_has_a_program_for_libfuzzer() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("fuzz/Cargo.toml");
        for (name, _) in TARGETS {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            let program = std::fs::read_to_string(fuzz.join(format!("targets/{name}.rs"))).expect("a program");
            assert!(program.contains("devstack::fuzzing::"), "{name}");
        }
    }
}
