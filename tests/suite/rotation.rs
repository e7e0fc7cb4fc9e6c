//! Logs are rotated under their workers, whatever happens to devstack meanwhile: every line is there once, in order.

use crate::crash::kill_both;
use crate::support::{TestStack, kill};
use crate::world::wait_until;
use devstack::sys::failpoint::{Failpoint, VARIABLE};
use devstack::sys::rotation;
use std::fs;
use std::path::Path;

pub const ROTATION: [Failpoint; 6] = [
    Failpoint::LogCopied,
    Failpoint::LogCopyWhole,
    Failpoint::LogPunched,
    Failpoint::LogPlaced,
    Failpoint::LogCollapsing,
    Failpoint::LogCollapsed,
];

/// Writes numbered lines until it is asked to stop, at full speed or with a pause after each write; says how many.
const FLOOD: &str = r#"
import os, signal, sys, time
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
os.write(1, b"started\n")
number = 0
while not stopped:
    os.write(1, "".join(f"{n} {'x' * (n * 7 % 90)}\n" for n in range(number, number + 200)).encode())
    number += 200
    time.sleep(float(sys.argv[1]))
open("count", "w").write(str(number))
"#;

const FULL_SPEED: f64 = 0.0;
/// Some megabytes a second: other tests run beside it.
const GENTLE: f64 = 0.002;

fn flood(place: &Path, pause: f64, rotate: &str) -> TestStack {
    let stack = TestStack::at(place, "e2e").with(&format!("[services.flood]\ncommand = 'python3 flood.py {pause}'\nlog_rotate = {rotate}"));
    stack.write("flood.py", FLOOD);
    stack
}

/// The file systems that the two ways of rotation are for.
fn places() -> [&'static Path; 2] {
    [Path::new("/tmp"), Path::new("/dev/shm")]
}

fn old_logs(stack: &TestStack) -> usize {
    rotation::old_logs(&stack.log_file("flood")).expect("listed").len()
}

/// What a person reads who joins the files, oldest first, and passes over holes.
fn joined(stack: &TestStack) -> String {
    let mut all = Vec::new();
    for old in rotation::old_logs(&stack.log_file("flood")).expect("listed") {
        assert_eq!(old.unplaced, None, "it was finished");
        let text = fs::read(&old.path).expect("read");
        assert_eq!(text.last(), Some(&b'\n'), "lines are whole in {}", old.path.display());
        all.extend(text);
    }
    all.extend(fs::read(stack.log_file("flood")).expect("read"));
    String::from_utf8(all).expect("text").replace('\0', "")
}

fn assert_every_line_once(text: &str, count: usize) {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("started"));
    let mut number = 0;
    for line in lines {
        // Where no line ended with a block, there are blanks before the first line of a file.
        let expected = format!("{number} {}", "x".repeat(number * 7 % 90));
        assert_eq!(line.trim_start(), expected);
        number += 1;
    }
    assert_eq!(number, count);
}

fn count(stack: &TestStack) -> usize {
    fs::read_to_string(stack.root.join("count")).expect("it said").parse().expect("a number")
}

#[test]
fn every_line_is_there_once_and_in_order_while_supervisor_and_keeper_are_killed() {
    for place in places() {
        let stack = flood(place, FULL_SPEED, "{ size = '200KB', keep = 5000 }");
        stack.run("start").ends_with(0);
        let worker = stack.pid("flood");
        let mut seen = 0;
        for round in 0..6 {
            // Somewhere in the middle of whatever it is doing.
            wait_until(&format!("it goes on in round {round} on {}", place.display()), || old_logs(&stack) >= seen + 3);
            seen = old_logs(&stack);
            match round % 3 {
                0 => kill(stack.supervisor()),
                1 => kill(stack.keeper()),
                _ => kill_both(stack.keeper(), stack.supervisor()),
            }
            stack.run("start").ends_with(0).says("untouched");
        }
        wait_until("at least 50 rotations", || old_logs(&stack) >= 50);
        assert_eq!(stack.pid("flood"), worker);
        stack.run("stop").ends_with(0);
        wait_until("no rotation is under way", || !rotation::is_unfinished(&stack.log_file("flood")));
        stack.run("stop --supervisor").ends_with(0);
        assert_every_line_once(&joined(&stack), count(&stack));
        assert_eq!(stack.processes(), []);
    }
}

#[test]
fn a_rotation_that_is_killed_at_any_step_is_finished_by_the_next() {
    for place in places() {
        for step in ROTATION {
            let stack = flood(place, GENTLE, "{ size = '100KB', keep = 5000 }");
            let fuse = stack.new_output("fuse");
            fs::write(&fuse, "").expect("a file");
            stack.set(VARIABLE, format!("{}:1:{}", step.name(), fuse.display()));
            stack.run("start").ends_with(0);
            let collapses = place == Path::new("/tmp");
            if !collapses && matches!(step, Failpoint::LogCollapsing | Failpoint::LogCollapsed) {
                stack.run("stop --supervisor").ends_with(0);
                continue;
            }
            wait_until(&format!("killed at {}", step.name()), || !fuse.exists());
            // All of devstack goes too, so that it is another one that finds what was begun.
            kill_both(stack.keeper(), stack.supervisor());
            stack.run("start").ends_with(0).says("untouched");
            let seen = old_logs(&stack);
            wait_until("it goes on", || old_logs(&stack) >= seen + 2);
            stack.run("stop --supervisor").ends_with(0);
            stack.run("start").ends_with(0);
            stack.run("stop").ends_with(0);
            // A supervisor that leaves ends the rotation that is under way, for the next one to finish.
            wait_until("no rotation is under way", || !rotation::is_unfinished(&stack.log_file("flood")));
            stack.run("stop --supervisor").ends_with(0);
            let text = joined(&stack);
            let second = text.rfind("started\n").expect("two runs");
            let first: Vec<&str> = text[..second].lines().collect();
            assert_every_line_once(&text[..second], first.len() - 1);
        }
    }
}

#[test]
fn logs_shows_what_was_rotated_as_if_it_had_never_been() {
    for place in places() {
        for compress in [false, true] {
            let stack = flood(place, GENTLE, &format!("{{ size = '200KB', keep = 5000, compress = {compress} }}"));
            stack.run("start").ends_with(0);
            wait_until("some rotations", || old_logs(&stack) >= 3);
            stack.run("stop").ends_with(0);
            let count = count(&stack);
            assert_every_line_once(&stack.run("logs flood -n 9999999").ends_with(0).stdout, count);
            assert_every_line_once(&stack.run("logs flood --run last").ends_with(0).stdout, count);
            let last = stack.run("logs flood -n 3").ends_with(0).stdout;
            assert!(last.starts_with(&format!("{} ", count - 3)) && last.lines().count() == 3, "{last}");
            let found = stack.run("logs flood --grep ^17\\s").ends_with(0).stdout;
            assert_eq!(found, format!("17 {}\n", "x".repeat(17 * 7 % 90)), "it is in the oldest file");
        }
    }
}

#[test]
fn by_default_nothing_is_rotated_that_is_small_and_zero_is_never() {
    for (rotate, rotated) in [("{ size = '100KB', keep = 2 }", true), ("{ size = 0 }", false)] {
        let stack = flood(Path::new("/tmp"), GENTLE, rotate);
        stack.run("start").ends_with(0);
        let is_long = || fs::metadata(stack.log_file("flood")).is_ok_and(|log| log.len() > 4 << 20);
        wait_until("it has written", || if rotated { old_logs(&stack) == 2 } else { is_long() });
        stack.run("stop").ends_with(0);
        assert_eq!(old_logs(&stack) == 2, rotated);
    }
}

#[test]
fn a_project_keeps_within_its_limit_and_says_so_before_it_bites() {
    let stack = TestStack::at(Path::new("/tmp"), "e2e");
    stack.write("flood.py", FLOOD);
    let services =
        "[services.flood]\ncommand = 'python3 flood.py 0.002'\nlog_rotate = { size = '200KB', keep = 5000 }\nready = { log = 'started' }";
    stack.write("devstack.toml", &format!("[project]\nname = 'shop'\nlog_limit = '3MB'\n{services}"));
    stack.run("start").ends_with(0);
    let said = || fs::read_to_string(stack.state_file("supervisor.log")).unwrap_or_default();
    wait_until("it bites", || said().contains("is removed: the logs take more than log_limit"));
    assert!(said().find("the logs take").is_some_and(|near| said().find("is removed").is_some_and(|bite| near < bite)), "{}", said());
    stack.run("stop").ends_with(0);
    let old = rotation::old_logs(&stack.log_file("flood")).expect("listed");
    assert!(old.len() < 20, "{}", old.len());
}

#[test]
fn following_misses_nothing_over_any_number_of_rotations() {
    for place in places() {
        let stack = flood(place, GENTLE, "{ size = '200KB', keep = 5000 }");
        let follow = stack.begin("logs -f flood");
        stack.run("start").ends_with(0);
        wait_until("some rotations", || old_logs(&stack) >= 8);
        stack.run("stop").ends_with(0);
        let count = count(&stack);
        let last = format!("{} {}\n", count - 1, "x".repeat((count - 1) * 7 % 90));
        wait_until("the last line is shown", || follow.stdout().ends_with(&last));
        assert_every_line_once(&follow.stdout(), count);
    }
}

#[test]
fn the_time_index_finds_a_moment_in_a_log_whose_lines_tell_none() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web started await go say later'");
    stack.run("start").ends_with(0);
    let entries = || fs::metadata(stack.state_file("times/web")).map_or(0, |index| index.len() / 16);
    wait_until("it is noted how long the log is", || entries() >= 1);
    let seen = entries();
    // Truncated to milliseconds, as the index is.
    let moment = jiff::Timestamp::from_millisecond(jiff::Timestamp::now().as_millisecond() + 1).expect("a time");
    wait_until("that moment is over", || jiff::Timestamp::now() > moment);
    stack.write("go", "");
    wait_until("it is noted that the log has grown", || entries() > seen);
    let shown = stack.run(&format!("logs web --since {moment}")).ends_with(0);
    assert_eq!(shown.stdout, "later\n");
    assert!(shown.stderr.contains("tell no time"), "{}", shown.stderr);
}
