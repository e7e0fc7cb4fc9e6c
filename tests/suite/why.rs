//! `why` and `events`: who ended what, when and how, from the journal alone.

use crate::support::{TestStack, kill, send};
use crate::terminal::Terminal;
use crate::world::{is_alive, wait_until};
use devstack::model::Signal;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;

fn why(stack: &TestStack, service: &str) -> Value {
    let done = stack.run(&format!("why {service} --json")).ends_with(0);
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

fn events(stack: &TestStack, line: &str) -> Vec<Value> {
    let done = stack.run(&format!("events --json {line}")).ends_with(0);
    done.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn words(events: &[Value], service: &str) -> Vec<String> {
    let of_it = events.iter().filter(|event| event["service"] == service);
    of_it.map(|event| event["event"].as_str().expect("a word").to_owned()).collect()
}

const CRASHES: &str = "
import os, sys, time
print('started', flush=True)
while not os.path.exists('go'): time.sleep(0.01)
for number in range(30): print('line', number)
def divide(by): return 1 / by
try: divide(0)
except ZeroDivisionError as error: raise RuntimeError('no result') from error
";

#[test]
fn a_crash_is_explained_with_its_exit_its_last_lines_and_the_traceback_that_led_to_it() {
    let stack = TestStack::new("[services.web]\ncommand = ['python3', 'program.py']");
    stack.write("program.py", CRASHES);
    stack.run("start").ends_with(0);
    let run = stack.service("web")["run_id"].clone();
    stack.write("go", "");
    stack.wait_for_state("web", "exited");
    let story = why(&stack, "web");
    let end = &story["ends"][0];
    assert_eq!((&end["run_id"], &end["code"], &end["signal"]), (&run, &1.into(), &Value::Null), "{end:#}");
    assert_eq!((&end["reason"], &end["by"], &end["then"]["what"]), (&"crashed".into(), &"worker".into(), &"exited".into()), "{end:#}");
    assert!(end["peak_memory_mb"].as_f64().is_some_and(|peak| (4.0..200.0).contains(&peak)), "{end:#}");
    assert_eq!(end["last_lines"].as_array().map(Vec::len), Some(20));
    let traceback: Vec<&str> = end["traceback"].as_array().expect("there is one").iter().filter_map(Value::as_str).collect();
    assert_eq!((traceback[0], traceback[traceback.len() - 1]), ("Traceback (most recent call last):", "RuntimeError: no result"));
    assert!(traceback.contains(&"ZeroDivisionError: division by zero"), "{traceback:?}");
    let told = stack.run("why web").ends_with(0);
    for part in
        ["crashed, ", "who      the worker itself", "exit     exit status 1", "| RuntimeError: no result", "then     not started again"]
    {
        assert!(told.stdout.contains(part), "{part}: {}", told.stdout);
    }
    assert_eq!(words(&events(&stack, "web"), "web"), ["starting", "ready", "ended", "exited"]);
}

#[test]
fn a_stop_names_who_asked_and_a_kill_from_outside_says_that_it_was_none_of_ours() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'\nrestart = 'always'\nrestart_delay = '10ms'");
    stack.run("start").ends_with(0);
    let first = stack.pid("web");
    kill(first);
    wait_until("another one runs", || stack.service("web")["pid"].as_i64().is_some_and(|pid| pid != i64::from(first.pid)));
    stack.wait_for_state("web", "running");
    stack.run("stop web").ends_with(0);
    let story = why(&stack, "web");
    let [stopped, killed] = [&story["ends"][0], &story["ends"][1]];
    assert_eq!((&stopped["reason"], &stopped["by"], &stopped["code"]), (&"requested".into(), &"user".into(), &0.into()), "{story:#}");
    assert!(stopped["asked_by"]["command"].as_str().is_some_and(|command| command.ends_with("devstack stop web")), "{stopped:#}");
    assert_eq!((&killed["by"], &killed["signal"], &killed["pid"]), (&"unknown".into(), &"SIGKILL".into(), &first.pid.into()), "{killed:#}");
    assert_eq!((&killed["then"]["what"], &stopped["then"]["what"]), (&"started".into(), &"stopped".into()));
    assert!(stack.run("why web").stdout.contains("not devstack: somebody, or the kernel for want of memory"));
    let told = stack.run("why web -n 1").ends_with(0);
    assert!(told.stdout.contains("devstack stop web (pid ") && !told.stdout.contains("crashed"), "{}", told.stdout);
}

#[test]
fn a_limit_a_kill_and_what_was_swept_are_told() {
    let program = "
import os, signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.run(['setsid', '-f', 'sleep', '3600'])
print('started', flush=True)
kept = b'x' * (150 << 20)
time.sleep(3600)
";
    let stack = TestStack::new("[services.web]\ncommand = ['python3', 'program.py']\nmemory_limit = '100MB'\nstop_timeout = '200ms'");
    stack.write("program.py", program);
    stack.run("start --no-wait").ends_with(0);
    stack.wait_for_state("web", "exited");
    let end = &why(&stack, "web")["ends"][0];
    assert_eq!(
        (&end["reason"], &end["by"], &end["killed"]),
        (&"memory_limit_exceeded".into(), &"devstack".into(), &true.into()),
        "{end:#}"
    );
    assert_eq!((&end["limit"]["of"], &end["limit"]["limit"]), (&"memory".into(), &100.0.into()), "{end:#}");
    assert!(end["limit"]["used"].as_f64().is_some_and(|used| used > 100.0), "{end:#}");
    assert!(end["swept"].as_array().is_some_and(|swept| swept.iter().any(|one| one["command"] == "sleep 3600")), "{end:#}");
    assert!(end["peak_memory_mb"].as_f64().is_some_and(|peak| peak > 140.0), "{end:#}");
    let told = stack.run("why web").ends_with(0).stdout;
    assert!(told.contains("who      devstack: it used 1") && told.contains("and killed ") && told.contains("with it"), "{told}");
}

#[test]
fn a_restart_because_of_a_file_names_it() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'\nwatch = ['*.conf']");
    stack.run("start").ends_with(0);
    let first = stack.service("web")["run_id"].clone();
    stack.write("some.conf", "changed");
    wait_until("another one runs", || stack.service("web")["run_id"] != first && stack.service("web")["state"] == "running");
    let end = &why(&stack, "web")["ends"][0];
    assert_eq!((&end["run_id"], &end["reason"], &end["detail"]), (&first, &"files_changed".into(), &"some.conf".into()), "{end:#}");
    assert!(stack.run("why web").stdout.contains("somebody changed a file: some.conf"));
}

#[test]
fn a_start_that_came_to_nothing_is_explained_too() {
    let stack = TestStack::new("[services.web]\ncommand = ['no-such-program']");
    stack.run("start").ends_with(1);
    let told = stack.run("why web").ends_with(0).stdout;
    assert!(told.contains("not started, ") && told.contains("why      there is no `no-such-program` in PATH"), "{told}");
    assert_eq!(why(&stack, "web")["ends"].as_array().map(Vec::len), Some(1));
}

#[test]
fn without_an_end_without_a_supervisor_and_of_who_is_not_there() {
    let stack = TestStack::new(
        "[services.web]\ncommand = 'python3 worker.py web'\n[services.bot]\ncommand = 'python3 worker.py bot'\n[groups]\nboth = ['web', 'bot']",
    );
    assert!(stack.run("why web").ends_with(0).stdout.contains("no end of web is recorded"));
    stack.run("events").ends_with(0).says("nothing is recorded yet");
    assert_eq!(events(&stack, ""), Vec::<Value>::new());
    stack.run("why nobody").ends_with(4);
    stack.run("events nobody").ends_with(4);
    stack.run("why both").ends_with(2).says("`both` is not one service");
    assert_eq!(std::fs::read_dir(stack.root.join("logs")).map(Iterator::count).unwrap_or_default(), 0, "asking starts nothing");
}

#[test]
fn events_are_followed_over_a_rotation_and_a_deletion_until_ctrl_c() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    let follow = stack.begin("events -f -n 0 --json web");
    let seen = |word: &str| follow.stdout().lines().filter(|line| line.contains(&format!("\"event\":\"{word}\""))).count();
    stack.run("restart").ends_with(0);
    wait_until("the restart is shown", || seen("ended") == 1 && seen("ready") == 1);
    let journal = stack.state_file("events.jsonl");
    std::fs::rename(&journal, journal.with_extension("jsonl.1")).expect("rotated");
    stack.run("restart").ends_with(0);
    wait_until("what is in the new file is shown", || seen("ended") == 2 && seen("ready") == 2);
    assert_eq!(words(&events(&stack, ""), "web").iter().filter(|word| *word == "ended").count(), 2, "both files are read");
    std::fs::remove_file(&journal).expect("deleted");
    stack.run("stop").ends_with(0);
    wait_until("it goes on after a deletion", || seen("stopped") == 1);
    crate::support::send(follow.id(), Signal::INT);
    follow.end().ends_with(130);
}

#[test]
fn a_journal_that_was_torn_is_read_around_and_is_for_its_owner_alone() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    let journal = stack.state_file("events.jsonl");
    assert_eq!(std::fs::metadata(&journal).expect("there").permissions().mode() & 0o777, 0o600);
    let mut content = std::fs::read(&journal).expect("readable");
    content.extend_from_slice(b"{\"at\":\"2026");
    std::fs::write(&journal, &content).expect("a file");
    kill(stack.supervisor());
    stack.run("stop").ends_with(0);
    let done = stack.run("events --json").ends_with(0).says("1 lines of the journal could not be read");
    assert!(done.stdout.contains("\"event\":\"stopped\""), "{done:?}");
}

#[test]
fn what_a_worker_wrote_is_harmless_on_a_terminal() {
    let stack = TestStack::new("[services.web]\ncommand = ['python3', 'program.py']");
    stack.write("program.py", "print('started \\x1b]0;owned\\x07 \\x1b[2J', flush=True)\nraise RuntimeError('\\x1b[2J\\x9b2J')\n");
    stack.run("start --no-wait").ends_with(0);
    stack.wait_for_state("web", "exited");
    for line in ["why web", "events", "why web --json", "events --json"] {
        let (code, drawn) = Terminal::devstack(&stack, line).end();
        assert!(code == 0 && !drawn.contains("\u{1b}[2J") && !drawn.contains("\u{1b}]0") && !drawn.contains('\u{9b}'), "{line}: {drawn:?}");
    }
}

#[test]
fn what_cleanup_workers_ended_is_in_the_journal() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    stack.run("stop --supervisor").ends_with(0);
    let copy = stack.start_beside("python3", &["worker.py", "web"]);
    wait_until("the copy is found", || stack.run("cleanup-workers --dry-run --json").stdout.contains(&copy.pid.to_string()));
    stack.run("cleanup-workers").ends_with(0);
    let events = events(&stack, "web");
    let cleaned: Vec<&Value> = events.iter().filter(|event| event["event"] == "cleaned").collect();
    assert_eq!((cleaned.len(), &cleaned[0]["pid"], &cleaned[0]["kind"]), (1, &copy.pid.into(), &"stale".into()), "{cleaned:?}");
}

#[test]
fn a_signal_to_devstack_itself_is_told_as_what_stopped_everything() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    for (who, signal) in [("keeper", Signal::TERM), ("supervisor", Signal::INT)] {
        stack.run("start").ends_with(0);
        let supervisor = stack.supervisor();
        send(if who == "keeper" { stack.keeper() } else { supervisor }, signal);
        wait_until("devstack has left", || !is_alive(supervisor));
        let end = &why(&stack, "web")["ends"][0];
        assert_eq!((&end["reason"], &end["by"], &end["asked_by"]), (&"requested".into(), &"user".into(), &Value::Null), "{end:#}");
        assert_eq!(end["detail"], format!("devstack was sent {signal}"), "{end:#}");
        let told = stack.run("why web -n 1").ends_with(0);
        assert!(told.stdout.contains(&format!("somebody asked devstack for it: devstack was sent {signal}")), "{}", told.stdout);
    }
    assert!(stack.run("events").ends_with(0).stdout.contains("devstack was sent SIGTERM: stopping everything"));
}

#[test]
fn a_service_that_left_the_configuration_is_stopped_because_of_that_and_start_says_so() {
    let stack = TestStack::new("[services.old]\ncommand = 'python3 worker.py old'\n[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    let old = stack.pid("old");
    stack.configure("[services.web]\ncommand = 'python3 worker.py web'");
    let done = stack.run("start").ends_with(0);
    assert!(done.stderr.contains("old: no longer in devstack.toml: stopping\n") && done.stderr.contains("old: stopped ("), "{done:?}");
    assert!(done.stderr.contains("web: already running"), "{done:?}");
    assert!(!is_alive(old));
    let told = events(&stack, "");
    let end = told.iter().find(|event| event["event"] == "ended").expect("it is told");
    assert_eq!((&end["service"], &end["reason"], &end["by"]), (&"old".into(), &"config_changed".into(), &"user".into()), "{end:#}");
}

#[test]
fn only_who_lives_is_told_to_be_adopted() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'\n[services.bot]\ncommand = 'python3 worker.py bot'");
    stack.run("start").ends_with(0);
    let web = stack.pid("web");
    crate::crash::kill_both(stack.keeper(), stack.supervisor());
    kill(web);
    wait_until("it is gone", || !is_alive(web));
    stack.run("start").ends_with(0);
    let told = events(&stack, "");
    let adopted: Vec<&Value> = told.iter().filter(|event| event["event"] == "adopted").map(|event| &event["service"]).collect();
    assert_eq!(adopted, ["bot"]);
}
