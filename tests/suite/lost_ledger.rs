//! The ledger is lost, damaged, of another version or behind: what runs is the truth, and costs nobody his worker.

use crate::crash::{WEB, kill_both, started};
use crate::support::{TestStack, kill};
use crate::world::is_alive;
use devstack::model::ProcId;
use std::fs;

/// Every prefix would take long; these are the ends, the middle, and what no editor would leave.
fn damaged(whole: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let text = String::from_utf8(whole.to_vec()).expect("JSON");
    let mut flipped = whole.to_vec();
    flipped[whole.len() / 2] ^= 0x40;
    vec![
        ("empty", Vec::new()),
        ("its first byte", whole[..1].to_vec()),
        ("its first half", whole[..whole.len() / 2].to_vec()),
        ("all but its last byte", whole[..whole.len() - 1].to_vec()),
        ("a flipped bit", flipped),
        ("of zeros", vec![0; whole.len()]),
        ("of a newer version", text.replacen("\"version\":", "\"version\":9", 1).into_bytes()),
        ("of another boot", text.replacen("\"boot_id\":\"", "\"boot_id\":\"x", 1).into_bytes()),
        ("of another shape", b"[1, 2]".to_vec()),
    ]
}

#[test]
fn whatever_became_of_the_ledger_workers_go_on() {
    let stack = TestStack::new(&format!("{WEB}\n[services.bot]\ncommand = 'python3 worker.py bot pool daemon'"));
    let (_, _, worker) = started(&stack);
    let (pool, _) = stack.noted_pool("bot");
    let bot = [vec![stack.pid("bot"), stack.noted_process("bot-daemon")], pool].concat();
    let ledger = stack.state_file("ledger.json");
    let whole = fs::read(&ledger).expect("a ledger");
    let mut stories = damaged(&whole);
    stories.push(("gone", Vec::new()));
    stories.push(("a folder", Vec::new()));
    for (what, bytes) in stories {
        kill_both(stack.keeper(), stack.supervisor());
        fs::remove_file(&ledger).expect("a ledger");
        match what {
            "gone" => {}
            "a folder" => fs::create_dir(&ledger).expect("a folder"),
            _ => fs::write(&ledger, bytes).expect("a file"),
        }
        let status = stack.run("status").ends_with(0);
        assert!(status.stdout.contains(&worker.pid.to_string()), "{what}: {status:?}");
        let start = stack.run("start").ends_with(0);
        let untouched = |pid| start.stderr.contains(&format!("already running (pid {pid}), untouched"));
        assert!(untouched(worker.pid) && untouched(bot[0].pid), "{what}: {start:?}");
        assert!(bot.iter().all(|id| is_alive(*id)), "{what}");
    }
    stack.run("stop --supervisor").ends_with(0);
    assert_eq!(stack.processes(), []);
}

#[test]
fn a_stop_that_finds_the_ledger_damaged_asks_what_runs_to_stop() {
    let stack = TestStack::new(WEB);
    let (keeper, supervisor, worker) = started(&stack);
    kill_both(keeper, supervisor);
    std::fs::write(stack.state_file("ledger.json"), b"{\"version\":1,\"st").expect("a ledger");
    stack.run("status").ends_with(0).says("the ledger cannot be used");
    stack.run("stop").ends_with(0).says("web: stopped");
    assert!(!is_alive(worker));
    stack.run("stop --supervisor").ends_with(0);
    assert_eq!(stack.processes(), []);
}

#[test]
fn a_damaged_ledger_is_set_aside_with_a_message_and_rebuilt_from_what_runs() {
    let stack = TestStack::new(WEB);
    let (keeper, supervisor, worker) = started(&stack);
    kill_both(keeper, supervisor);
    let ledger = stack.state_file("ledger.json");
    std::fs::write(&ledger, b"{\"version\":1,\"st").expect("a ledger");
    stack.run("start").ends_with(0).says("the ledger could not be used").says(&format!("already running (pid {}), untouched", worker.pid));
    assert_eq!(stack.pid("web"), worker);
    assert!(stack.service("web")["uptime_seconds"].as_f64() > Some(0.0));
    let folder = std::fs::read_dir(ledger.parent().expect("a folder")).expect("a folder");
    let names: Vec<_> = folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    assert!(names.iter().any(|name| name.starts_with("ledger.json.damaged-")), "{names:?}");
    let said = std::fs::read_to_string(stack.state_file("supervisor.log")).expect("its log");
    assert!(said.contains("the ledger could not be used"), "{said}");
}

/// A process that only its mark still names, of a run that no ledger knows any more and whose worker is dead.
fn forgotten(stack: &TestStack) -> ProcId {
    let (keeper, supervisor, worker) = started(stack);
    let untied = stack.noted_process("web-untied");
    kill_both(keeper, supervisor);
    kill(worker);
    fs::remove_file(stack.state_file("ledger.json")).expect("a ledger");
    assert!(is_alive(untied));
    untied
}

const UNTIED: &str = "[services.web]\ncommand = 'python3 worker.py web untied'\n[services.bot]\ncommand = 'python3 worker.py bot'";

#[test]
fn what_only_its_mark_still_names_goes_before_the_next_start() {
    let stack = TestStack::new(UNTIED);
    let untied = forgotten(&stack);
    stack.run("start web").ends_with(0);
    assert!(!is_alive(untied));
}

#[test]
fn what_only_its_mark_still_names_is_gone_after_stop_whether_anything_else_runs_or_not() {
    for bot_runs in [true, false] {
        let stack = TestStack::new(UNTIED);
        let untied = forgotten(&stack);
        let bot = stack.pid("bot");
        if !bot_runs {
            kill(bot);
        }
        stack.run("stop web").ends_with(0);
        assert!(!is_alive(untied) && is_alive(bot) == bot_runs);
    }
}
