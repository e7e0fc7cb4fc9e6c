//! `devstack logs`: plain files, told apart, followed whatever happens to them, harmless on a terminal.

use crate::running::Running;
use crate::support::{DEVSTACK, TestStack, send};
use crate::terminal::{CTRL_C, Terminal};
use crate::world::wait_until;
use devstack::model::Signal;
use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

const TWO: &str = "[services.web]\ncommand = 'python3 worker.py web'\n[services.bot]\ncommand = 'python3 worker.py bot'";

/// With a log of these lines each, that no worker wrote: `logs` asks nobody but the files.
fn with_logs(services: &str, logs: &[(&str, &str)]) -> TestStack {
    let stack = TestStack::new(services);
    fs::create_dir(stack.root.join("logs")).expect("a folder");
    for (name, text) in logs {
        fs::write(stack.log_file(name), text).expect("a log");
    }
    stack
}

fn append(stack: &TestStack, name: &str, text: &str) {
    let mut file = File::options().append(true).create(true).open(stack.log_file(name)).expect("a log");
    file.write_all(text.as_bytes()).expect("written");
}

fn wait_for_line(running: &Running<'_>, line: &str) {
    wait_until(&format!("{line} is shown"), || running.stdout().lines().any(|shown| shown == line));
}

#[test]
fn several_services_are_told_apart_and_one_is_passed_on_as_it_is() {
    let stack = with_logs(TWO, &[("web", "w1\nw2\n"), ("bot", "b1\n")]);
    let both = stack.run("logs").ends_with(0);
    let mut lines: Vec<&str> = both.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["bot | b1", "web | w1", "web | w2"]);
    assert_eq!(stack.run("logs web").ends_with(0).stdout, "w1\nw2\n");
}

#[test]
fn lines_with_times_of_several_services_interleave() {
    let at = |second: u32, text: &str| format!("2025-11-19 10:30:{second:02} {text}\n");
    let web = [at(1, "one"), at(3, "three")].concat();
    let bot = [at(2, "two"), at(4, "four")].concat();
    let stack = with_logs(TWO, &[("web", &web), ("bot", &bot)]);
    let words: Vec<String> = stack.run("logs").stdout.lines().filter_map(|line| line.rsplit(' ').next().map(str::to_owned)).collect();
    assert_eq!(words, ["one", "two", "three", "four"]);
}

#[test]
fn the_last_lines_are_as_many_as_asked_for() {
    let many: String = (1..=500).map(|number| format!("line {number}\n")).collect();
    let stack = with_logs(TWO, &[("web", &many)]);
    assert_eq!(stack.run("logs web -n 2").ends_with(0).stdout, "line 499\nline 500\n");
    assert_eq!(stack.run("logs web -n 0").ends_with(0).stdout, "");
    assert_eq!(stack.run("logs web").ends_with(0).stdout.lines().count(), 100);
    assert_eq!(stack.run("logs web -n 9999").ends_with(0).stdout, many);
}

#[test]
fn what_was_never_started_has_no_log_yet() {
    let stack = TestStack::new(TWO);
    let done = stack.run("logs web").ends_with(0).says("no log yet: logs/dev_web.log");
    assert_eq!(done.stdout, "");
}

#[test]
fn what_a_worker_writes_is_followed_across_its_restart() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web say hello'");
    let follow = stack.begin("logs -f web");
    stack.run("start").ends_with(0);
    wait_for_line(&follow, "hello");
    stack.run("restart").ends_with(0);
    wait_until("the second run is shown, as it is in the log", || {
        let shown = follow.stdout();
        shown.matches("hello\n").count() == 2 && shown == stack.log("web")
    });
    send(follow.id(), Signal::INT);
    follow.end().ends_with(130);
}

#[test]
fn following_survives_a_truncation_and_loses_and_repeats_nothing() {
    let stack = with_logs(TWO, &[("web", "old 1\nold 2\n")]);
    let follow = stack.begin("logs -f web");
    wait_for_line(&follow, "old 2");
    append(&stack, "web", "old 3\n");
    wait_for_line(&follow, "old 3");
    File::options().write(true).truncate(true).open(stack.log_file("web")).expect("a log");
    append(&stack, "web", "new 1\n");
    wait_for_line(&follow, "new 1");
    append(&stack, "web", "new 2\n");
    wait_for_line(&follow, "new 2");
    assert_eq!(follow.stdout(), "old 1\nold 2\nold 3\nnew 1\nnew 2\n");
}

#[test]
fn following_survives_a_rotation_by_renaming_and_reads_the_old_file_to_its_end() {
    let stack = with_logs(TWO, &[("web", "old 1\n")]);
    let follow = stack.begin("logs -f web");
    wait_for_line(&follow, "old 1");
    for round in 1..=3 {
        let mut old = File::options().append(true).open(stack.log_file("web")).expect("a log");
        fs::rename(stack.log_file("web"), stack.root.join(format!("logs/dev_web.log.{round}"))).expect("renamed");
        old.write_all(format!("late {round}\n").as_bytes()).expect("written");
        append(&stack, "web", &format!("new {round}\n"));
        wait_for_line(&follow, &format!("new {round}"));
    }
    assert_eq!(follow.stdout(), "old 1\nlate 1\nnew 1\nlate 2\nnew 2\nlate 3\nnew 3\n");
}

#[test]
fn following_begins_before_the_log_is_there() {
    let stack = TestStack::new(TWO);
    let follow = stack.begin("logs -f web bot");
    wait_until("it waits", || follow.stderr().contains("no log yet: logs/dev_bot.log"));
    fs::create_dir(stack.root.join("logs")).expect("a folder");
    append(&stack, "bot", "at last\n");
    wait_for_line(&follow, "bot | at last");
}

/// Clears the screen, sets the title, types an answer back, rings; colours are harmless.
const HOSTILE: &str = "\x1b[2Ja\x1b]0;title\x07b\x1b[6nc\x08\x1b[31mred\x1b[0m\u{9b}2Jd\n";

#[test]
fn control_characters_are_made_visible_on_a_terminal() {
    let stack = with_logs(TWO, &[("web", HOSTILE)]);
    for line in ["logs web", "logs"] {
        let (code, drawn) = Terminal::devstack(&stack, line).end();
        assert_eq!(code, 0);
        assert!(drawn.contains("\\x1b[2Ja\\x1b]0;title\\x07b\\x1b[6nc\\x08"), "{drawn:?}");
        for harm in ["\x1b[2J", "\x1b]0", "\x07", "\x1b[6n", "\x08", "\u{9b}"] {
            assert!(!drawn.contains(harm), "{harm:?} in {drawn:?}");
        }
        assert!(drawn.contains("\x1b[31mred\x1b[0m"), "{drawn:?}");
    }
}

#[test]
fn bytes_come_out_of_a_pipe_as_they_went_in() {
    let stack = TestStack::new(TWO);
    fs::create_dir(stack.root.join("logs")).expect("a folder");
    let bytes: Vec<u8> = [HOSTILE.as_bytes(), &[0xff, 0, 0xfe, b'\r', b'\n'], b"no newline at the end"].concat();
    fs::write(stack.log_file("web"), &bytes).expect("a log");
    stack.run("start bot").ends_with(0);
    let output = stack.command("logs web").output().expect("it runs");
    assert!(output.status.success() && output.stdout == bytes);
}

#[test]
fn a_reader_that_has_enough_ends_the_command() {
    let stack = with_logs(TWO, &[("web", "one\ntwo\n")]);
    for line in ["logs -f web", "logs -f", "logs"] {
        let mut shell = Command::new("bash");
        stack.in_its_environment(shell.args(["-c", &format!("{DEVSTACK} {line} | head -1; echo \"${{PIPESTATUS[0]}}\"")]));
        let done = stack.begin_command(shell).end().ends_with(0);
        assert!(done.stdout.contains("one\n") && done.stdout.ends_with("\n0\n"), "{line}: {done:?}");
        assert_eq!(done.stderr.replace("no log yet: logs/dev_bot.log\n", ""), "", "{line}");
    }
}

#[test]
fn following_on_a_terminal_ends_with_an_interrupt() {
    let stack = with_logs(TWO, &[("web", "one\n")]);
    let mut follow = Terminal::devstack(&stack, "logs -f web");
    follow.wait_for("one");
    append(&stack, "web", "unfinished");
    follow.wait_for("unfinished");
    follow.type_keys(CTRL_C);
    assert_eq!(follow.end().0, 130);
}

#[test]
fn a_log_that_leads_elsewhere_is_not_shown() {
    let stack = with_logs(TWO, &[]);
    stack.write("secret", "do not show\n");
    std::os::unix::fs::symlink(stack.root.join("secret"), stack.log_file("web")).expect("a link");
    let done = stack.run("logs web").ends_with(1);
    assert!(!done.stdout.contains("do not show"), "{done:?}");
}

#[test]
fn a_stretch_of_time_is_shown_with_its_tracebacks_and_nothing_else() {
    let log = "2025-11-19 10:00:00 one\n2025-11-19 10:10:00 two\nTraceback\n  line\n2025-11-19 10:20:00 three\n";
    let stack = with_logs(TWO, &[("web", log), ("bot", "2025-11-19 10:15:00 beside\nno time of its own\n2025-11-19 10:30:00 late\n")]);
    let shown = |options: &str| stack.run(&format!("logs {options}")).ends_with(0).stdout;
    assert_eq!(shown("web --since 2025-11-19T10:05:00 --until 2025-11-19T10:10:00"), "2025-11-19 10:10:00 two\nTraceback\n  line\n");
    assert_eq!(shown("web --since 2025-11-19T10:20:00"), "2025-11-19 10:20:00 three\n");
    assert_eq!(shown("web --since 10m"), "");
    assert_eq!(
        shown("--since 2025-11-19T10:10:00 --until 2025-11-19T10:20:00"),
        "web | 2025-11-19 10:10:00 two\nweb | Traceback\nweb |   line\nbot | 2025-11-19 10:15:00 beside\nbot | no time of its own\nweb | 2025-11-19 10:20:00 three\n"
    );
    stack.run("logs --since yesterday-ish").ends_with(2).says("expected 10m, 10:30");
    stack.run("logs -f --until 10m").ends_with(2);
}

#[test]
fn only_lines_that_match_are_shown_also_of_what_is_still_to_come() {
    let stack = with_logs(TWO, &[("web", "INFO a\nERROR b\nINFO c\nERROR d\nerror e")]);
    let shown = |options: &str| stack.run(&format!("logs web {options}")).ends_with(0).stdout;
    assert_eq!(shown("--grep ERROR"), "ERROR b\nERROR d\n");
    assert_eq!(shown("--grep (?i)error -n 2"), "ERROR d\nerror e\n");
    assert_eq!(shown("--grep ERROR -n 0"), "");
    stack.run("logs web --grep (").ends_with(2);
    let follow = stack.begin("logs web -f --grep ERROR");
    wait_for_line(&follow, "ERROR d");
    append(&stack, "web", "\nINFO f\nERROR g\n");
    wait_for_line(&follow, "ERROR g");
    assert_eq!(follow.stdout(), "ERROR b\nERROR d\nERROR g\n");
}

#[test]
fn one_run_is_shown_by_its_place_or_its_name_and_by_time_where_lines_tell_none() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    let mut runs = Vec::new();
    for _ in 0..3 {
        stack.run("start").ends_with(0);
        runs.push(stack.service("web")["run_id"].as_str().expect("a run").to_owned());
        stack.run("stop").ends_with(0);
    }
    let whole = stack.log("web");
    let shown = |options: &str| stack.run(&format!("logs web {options}")).ends_with(0).stdout;
    let each: Vec<String> = ["3", "2", "last"].iter().map(|which| shown(&format!("--run {which}"))).collect();
    assert_eq!(each.concat(), whole, "all of it, and nothing twice");
    assert!(each.iter().all(|text| text.matches("web started").count() == 1), "{each:?}");
    assert_eq!(shown(&format!("--run {}", runs[1])), each[1]);
    assert_eq!(shown("--run last -n 1 --grep stopped").lines().count(), 1);
    let none = stack.run("logs web --run 9").ends_with(0).says("no such run of web is recorded");
    assert!(none.stdout.is_empty());
    let since = stack.run("logs web --since 1h").ends_with(0).says("the lines of web tell no time; shown by when they were written");
    assert_eq!(since.stdout, whole);
}

#[test]
fn only_lines_of_a_level_are_shown_with_their_tracebacks() {
    let text = "2025-11-19 10:30:00 INFO well\n2025-11-19 10:30:01 ERROR failed\nTraceback (most recent call last):\n  File \"x.py\"\n\
                2025-11-19 10:30:02 INFO well again\n2025-11-19 10:30:03 WARNING slow\nplain words\n";
    let stack = with_logs(TWO, &[("web", text)]);
    let shown = |line: &str| stack.run(line).ends_with(0).stdout;
    assert_eq!(shown("logs web --level error"), "2025-11-19 10:30:01 ERROR failed\nTraceback (most recent call last):\n  File \"x.py\"\n");
    assert_eq!(shown("logs web --level warn -n 2"), "2025-11-19 10:30:03 WARNING slow\nplain words\n");
    assert_eq!(shown("logs web --level warn --grep failed"), "2025-11-19 10:30:01 ERROR failed\n");
    stack.run("logs web --level loud").ends_with(2).says("critical");
}

#[test]
fn json_lines_tell_service_run_time_and_level() {
    let stack =
        TestStack::new("[services.web]\ncommand = ['python3', 'worker.py', 'web', 'started', 'say', '2025-11-19T10:30:00Z ERROR failed']");
    stack.run("start").ends_with(0);
    stack.run("restart").ends_with(0);
    let lines = || {
        let shown = stack.run("logs web --json").ends_with(0).stdout;
        shown.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")).collect::<Vec<_>>()
    };
    wait_until("both runs have written", || {
        lines().iter().filter(|line| line["line"].as_str().is_some_and(|text| text.ends_with("ERROR failed"))).count() == 2
    });
    let lines = lines();
    let runs: std::collections::BTreeSet<&str> = lines.iter().map(|line| line["run"].as_str().expect("a run")).collect();
    assert_eq!((runs.len(), &lines[0]["service"]), (2, &"web".into()));
    assert!(lines[0]["line"].as_str().is_some_and(|text| text.starts_with("web started ")), "{}", lines[0]);
    let graver = lines.iter().find(|line| line["level"] == "error").expect("one");
    assert_eq!(graver["time"], "2025-11-19T10:30:00Z");
    assert_eq!(graver.as_object().expect("an object").keys().collect::<Vec<_>>(), ["level", "line", "run", "service", "time"]);
    let last = stack.run("logs web --json --run last").ends_with(0).stdout;
    assert!(
        last.lines().count() >= 2 && last.lines().all(|line| line.contains(stack.service("web")["run_id"].as_str().unwrap_or("\"run\"")))
    );
}

#[test]
fn on_a_terminal_a_pager_shows_them_and_in_a_pipe_none() {
    let stack = with_logs(TWO, &[("web", "w1\n")]);
    stack.write("pager", "#!/bin/sh\nsed 's/^/paged: /'\n");
    let path = stack.root.join("pager");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("allowed");
    let on_terminal = |line: &str| Terminal::open(&stack, &format!("PAGER='{}' {DEVSTACK} {line}", path.display())).end().1;
    assert!(on_terminal("logs web").contains("paged: w1"));
    assert!(!on_terminal("logs web --no-pager").contains("paged"));
    assert_eq!(stack.run("logs web").ends_with(0).stdout, "w1\n");
}

#[test]
fn on_a_terminal_it_is_said_between_the_lines_where_runs_began_and_how_they_ended() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web started await go exit 3'");
    stack.run("start").ends_with(0);
    stack.write("go", "");
    stack.wait_for_state("web", "exited");
    fs::remove_file(stack.root.join("go")).expect("a file");
    stack.run("start").ends_with(0);
    let shown = Terminal::devstack(&stack, "logs --no-pager").end().1;
    let places: Vec<usize> = ["-1 began ", "web started", "-1 ended", "exit status 3", "-2 began ", "web started"]
        .iter()
        .scan(0, |from, part| {
            *from += shown[*from..].find(part).unwrap_or_else(|| panic!("{part} after {from}: {shown}"));
            Some(*from)
        })
        .collect();
    assert!(places.is_sorted(), "{shown}");
    assert!(!stack.run("logs").ends_with(0).stdout.contains("began"), "others parse what comes through a pipe");
    assert!(!Terminal::devstack(&stack, "logs --no-pager --grep web").end().1.contains("began"));
}

#[test]
fn logs_whose_lines_tell_no_time_interleave_by_when_they_were_written() {
    let one =
        "['python3', 'worker.py', 'NAME', 'started', 'await', 'first-NAME', 'say', 'NAME-1', 'await', 'second-NAME', 'say', 'NAME-2']";
    let service = |name: &str| format!("[services.{name}]\ncommand = {}\n", one.replace("NAME", name));
    let stack = TestStack::new(&(service("web") + &service("bot")));
    stack.run("start").ends_with(0);
    let entries = |name: &str| fs::metadata(stack.state_file(&format!("times/{name}"))).map_or(0, |index| index.len());
    for (name, go) in [("web", "first-web"), ("bot", "first-bot"), ("web", "second-web"), ("bot", "second-bot")] {
        let before = entries(name);
        stack.write(go, "");
        wait_until("it is noted", || entries(name) > before);
    }
    let shown = stack.run("logs").ends_with(0).stdout;
    let said: Vec<&str> = shown.lines().filter_map(|line| line.rsplit("| ").next().filter(|text| text.contains('-'))).collect();
    assert_eq!(said, ["web-1", "bot-1", "web-2", "bot-2"], "{shown}");
}
