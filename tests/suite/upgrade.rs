//! The running supervisor becomes another program, in place: nothing of the workers changes, and nothing is left of the old one.

use crate::another_version::{NEWER, OURS, altered_copy, newer, open_descriptors, runs};
use crate::support::{DEVSTACK, TestStack, kill, proc_id, send};
use crate::world::{is_alive, wait_until};
use devstack::model::{ProcId, Signal};
use devstack::sys::procfs;
use std::fmt::Write as _;
use std::path::Path;

const WEB: &str = "[services.web]\ncommand = 'python3 worker.py web started await go say went exit 7'";

/// Keeper, supervisor and worker.
fn everyone(stack: &TestStack) -> [ProcId; 3] {
    [stack.keeper(), stack.supervisor(), stack.pid("web")]
}

fn wait_for_another_supervisor(stack: &TestStack, than: ProcId) -> ProcId {
    let mut new = than;
    wait_until("there is another supervisor", || {
        let pid = stack.status()["supervisor"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.filter(|pid| *pid != than.pid).inspect(|pid| new = proc_id(*pid)).is_some()
    });
    new
}

#[test]
fn an_upgrade_keeps_every_pid_and_later_exits_are_exact() {
    let stack = TestStack::new(WEB);
    let newer = newer(&stack);
    stack.run("start").ends_with(0);
    let before = everyone(&stack);
    let follower = stack.begin("logs -f web");
    wait_until("it follows", || follower.stdout().contains("started"));

    let done = stack.run_with(&newer, "upgrade").ends_with(0);
    let pid = before[1].pid;
    done.says(&format!("supervisor pid {pid}: devstack {OURS} -> {NEWER}, keeps 1 service running"));
    assert_eq!(everyone(&stack), before, "the same three processes");
    assert!(runs(pid, &newer) && runs(before[0].pid, Path::new(DEVSTACK)));
    let status = stack.status();
    assert_eq!(status["supervisor"]["version"], NEWER);
    let web = stack.service("web");
    assert_eq!((&web["state"], &web["restarts"], stack.times("web", "started").len()), (&"running".into(), &0.into(), 1));
    assert_eq!(std::fs::read_to_string(format!("/proc/{pid}/comm")).expect("it lives"), "devstack\n");

    stack.write("go", "");
    let last = &stack.wait_for_state("web", "exited")["last_exit"];
    assert_eq!((&last["code"], &last["reason"], &last["by"]), (&7.into(), &"crashed".into(), &"worker".into()));
    wait_until("the follower saw it", || follower.stdout().contains("went"));
    stack.run_with(&newer, "stop --supervisor").ends_with(0);
    assert_eq!(stack.processes().len(), 1, "only the follower is left");
}

#[test]
fn after_an_upgraded_supervisor_is_killed_both_are_the_new_program() {
    let stack = TestStack::new(WEB);
    let newer = newer(&stack);
    stack.run("start").ends_with(0);
    let [keeper, supervisor, worker] = everyone(&stack);
    stack.run_with(&newer, "upgrade").ends_with(0);
    kill(supervisor);
    let supervisor = wait_for_another_supervisor(&stack, supervisor);
    assert_eq!(everyone(&stack), [keeper, supervisor, worker], "the keeper stays who it is");
    assert!(runs(keeper.pid, &newer) && runs(supervisor.pid, &newer));
    // And is a keeper still.
    kill(supervisor);
    let supervisor = wait_for_another_supervisor(&stack, supervisor);
    assert!(runs(supervisor.pid, &newer));
    stack.write("go", "");
    assert_eq!(stack.wait_for_state("web", "exited")["last_exit"]["code"], 7);
    stack.run("stop --supervisor").ends_with(0);
    assert_eq!(stack.processes(), []);
}

#[test]
fn after_the_keeper_of_an_upgraded_supervisor_is_killed_both_are_the_new_program() {
    let stack = TestStack::new(WEB);
    let newer = newer(&stack);
    stack.run("start").ends_with(0);
    let [keeper, upgraded, worker] = everyone(&stack);
    stack.run_with(&newer, "upgrade").ends_with(0);
    kill(keeper);
    let supervisor = wait_for_another_supervisor(&stack, upgraded);
    assert_eq!(everyone(&stack), [upgraded, supervisor, worker], "the supervisor became the keeper");
    assert!(runs(upgraded.pid, &newer) && runs(supervisor.pid, &newer));
    stack.write("go", "");
    assert_eq!(stack.wait_for_state("web", "exited")["last_exit"]["code"], 7);
}

#[test]
fn an_upgrade_and_both_killed_leaves_what_the_next_start_adopts() {
    let stack = TestStack::new(WEB);
    let newer = newer(&stack);
    stack.run("start").ends_with(0);
    let [keeper, supervisor, worker] = everyone(&stack);
    stack.run_with(&newer, "upgrade").ends_with(0);
    send(keeper, Signal::STOP);
    kill(supervisor);
    kill(keeper);
    stack.run("start").ends_with(0).says("untouched");
    assert_eq!(stack.pid("web"), worker);
    assert!(runs(stack.supervisor().pid, Path::new(DEVSTACK)));
}

#[test]
fn twenty_upgrades_to_and_fro_leave_no_descriptor_and_no_process_behind() {
    let stack = TestStack::new(WEB);
    let newer = newer(&stack);
    stack.run("start").ends_with(0);
    let before = everyone(&stack);
    let count = || before.map(|id| open_descriptors(id.pid));
    let upgrade = |program: &Path| {
        stack.run_with(program, "upgrade").ends_with(0).says("keeps 1 service running");
        assert!(runs(before[1].pid, program));
        // It answers only once it has recovered and told its keeper.
        stack.status();
    };
    upgrade(&newer);
    upgrade(Path::new(DEVSTACK));
    let descriptors = count();
    for _ in 0..9 {
        upgrade(&newer);
        upgrade(Path::new(DEVSTACK));
    }
    assert_eq!((everyone(&stack), count()), (before, descriptors));
    let children = |id: ProcId| procfs::children(id.pid).expect("it lives");
    wait_until("only the worker is a child", || children(before[1]) == [before[2].pid] && children(before[0]) == [before[1].pid]);
    assert_eq!(stack.times("web", "started").len(), 1);
}

#[test]
fn an_upgrade_to_what_it_is_already_changes_nothing() {
    let stack = TestStack::new(WEB);
    stack.run("start").ends_with(0);
    let before = everyone(&stack);
    stack.run("upgrade").ends_with(0).says("is this devstack").says("already");
    assert_eq!(everyone(&stack), before);
}

#[test]
fn without_a_supervisor_there_is_nothing_to_upgrade() {
    let stack = TestStack::new(WEB);
    stack.run("upgrade").ends_with(0).says("no supervisor runs");
    assert_eq!(stack.processes(), []);
}

#[test]
fn an_upgrade_works_from_a_file_that_is_gone_by_then() {
    let stack = TestStack::new(&format!("{WEB}\n[services.slow]\ncommand = 'python3 worker.py slow await ready started'"));
    let newer = newer(&stack);
    stack.run("start web").ends_with(0);
    let [keeper, supervisor, worker] = everyone(&stack);
    let start = stack.begin("start slow");
    wait_until("it starts", || stack.service("slow")["state"] == "starting");
    let upgrade = stack.begin_with(&newer, "upgrade");
    wait_until("it waits", || upgrade.stderr().contains("waiting until nothing is under way: slow"));
    let id = procfs::file_id(&newer);
    std::fs::remove_file(&newer).expect("it is there");
    stack.write("ready", "");
    start.end().ends_with(0);
    upgrade.end().ends_with(0).says("keeps 2 services running");
    assert_eq!(everyone(&stack), [keeper, supervisor, worker]);
    assert_eq!(procfs::exe_id(supervisor.pid), id);
    kill(supervisor);
    wait_for_another_supervisor(&stack, supervisor);
    assert_eq!(procfs::exe_id(keeper.pid), id, "the keeper held it");
    stack.write("go", "");
    assert_eq!(stack.wait_for_state("web", "exited")["last_exit"]["code"], 7);
}

#[test]
fn an_upgrade_in_the_middle_of_a_start_of_twenty_waits_and_disturbs_nobody() {
    let mut services = String::new();
    for number in 0..20 {
        writeln!(services, "[services.s{number}]\ncommand = 'python3 worker.py s{number} await go{number} started'").expect("a string");
    }
    let stack = TestStack::new(&services);
    let newer = newer(&stack);
    let start = stack.begin("start");
    wait_until("all are starting", || stack.run("status --json").stdout.matches("\"state\": \"starting\"").count() == 20);
    let supervisor = stack.supervisor();
    let upgrade = stack.begin_with(&newer, "upgrade");
    wait_until("it waits", || upgrade.stderr().contains("waiting until nothing is under way: s0, s1"));
    (0..20).for_each(|number| stack.write(&format!("go{number}"), ""));
    start.end().ends_with(0);
    upgrade.end().ends_with(0).says("keeps 20 services running");
    assert_eq!(stack.supervisor(), supervisor);
    assert!(runs(supervisor.pid, &newer));
    for number in 0..20 {
        assert_eq!(stack.times(&format!("s{number}"), "started").len(), 1);
    }
    stack.run("start").ends_with(0).says("s7: already running");
}

#[test]
fn an_upgrade_waits_for_a_stop_and_ctrl_c_takes_it_back() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web slow-term 600'\nstop_timeout = '300s'");
    let newer = newer(&stack);
    stack.run("start").ends_with(0);
    let (supervisor, worker) = (stack.supervisor(), stack.pid("web"));
    let stop = stack.begin("stop");
    stack.wait_for_state("web", "stopping");
    let upgrade = stack.begin_with(&newer, "upgrade");
    wait_until("it waits", || upgrade.stderr().contains("waiting until nothing is under way: web"));
    send(upgrade.id(), Signal::INT);
    upgrade.end().ends_with(130);
    kill(worker);
    stop.end().ends_with(0);
    assert_eq!(stack.service("web")["state"], "stopped");
    assert!(runs(supervisor.pid, Path::new(DEVSTACK)) && stack.supervisor() == supervisor);
}

#[test]
fn a_new_program_that_cannot_recover_is_replaced_by_the_old_one() {
    let stack = TestStack::new(WEB);
    let broken = altered_copy(&stack, "devstack-broken", "/proc/sys/kernel/random/boot_id", "/proc/sys/kernel/random/no_such");
    stack.run("start").ends_with(0);
    let [keeper, supervisor, worker] = everyone(&stack);
    let done = stack.run_with(&broken, "upgrade").ends_with(1);
    assert!(done.stderr.contains("the supervisor did not become this devstack"), "{done:?}");
    let new = stack.supervisor();
    assert!(new != supervisor && runs(new.pid, Path::new(DEVSTACK)));
    assert_eq!(everyone(&stack), [keeper, new, worker]);
    stack.write("go", "");
    assert_eq!(stack.wait_for_state("web", "exited")["last_exit"]["code"], 7);
    assert_eq!(stack.times("web", "started").len(), 1);
}

#[test]
fn a_supervisor_that_cannot_save_its_ledger_stays_what_it_is() {
    let stack = TestStack::new(WEB);
    let newer = newer(&stack);
    stack.run("start").ends_with(0);
    let before = everyone(&stack);
    let in_the_way = stack.state_file("ledger.json.new");
    std::fs::create_dir(&in_the_way).expect("a folder");
    stack.run_with(&newer, "upgrade").ends_with(1).says("stays what it is: the ledger cannot be saved");
    assert!(runs(before[1].pid, Path::new(DEVSTACK)));
    std::fs::remove_dir(&in_the_way).expect("it is there");
    stack.run_with(&newer, "upgrade").ends_with(0);
    assert_eq!(everyone(&stack), before);
}

/// The supervisor raises its own limit; what it starts gets the one that devstack was started with.
#[test]
fn workers_that_start_after_an_upgrade_have_the_limits_of_those_before() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    let newer = newer(&stack);
    let files = |id: ProcId| {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", id.pid)).expect("it lives");
        limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit").to_owned()
    };
    let mut command = std::process::Command::new("sh");
    stack.in_its_environment(&mut command).args(["-c", "ulimit -Sn 200; exec \"$0\" start", DEVSTACK]);
    stack.begin_command(command).end().ends_with(0);
    let first = files(stack.pid("web"));
    assert!(first.split_whitespace().any(|word| word == "200"), "{first}");
    stack.run_with(&newer, "upgrade").ends_with(0);
    stack.run("restart").ends_with(0);
    assert_eq!(files(stack.pid("web")), first);
    kill(stack.keeper());
    wait_until("the pair is whole", || stack.processes().len() == 3);
    stack.run("restart").ends_with(0);
    assert_eq!(files(stack.pid("web")), first, "also once the supervisor is the keeper");
}

/// The new program has no handler yet: a signal must wait for it, and neither end it nor be lost.
#[test]
fn a_sigterm_in_the_middle_of_an_upgrade_ends_everything() {
    for _ in 0..5 {
        let stack = TestStack::new(WEB);
        let newer = newer(&stack);
        stack.run("start").ends_with(0);
        let [keeper, supervisor, worker] = everyone(&stack);
        let mut upgrade = stack.begin_with(&newer, "upgrade");
        while !runs(supervisor.pid, &newer) {
            // It may be over by now because the new program runs.
            assert!(!upgrade.is_over() || runs(supervisor.pid, &newer), "it ended: {}", upgrade.stderr());
        }
        send(supervisor, Signal::TERM);
        wait_until("all have ended", || ![keeper, supervisor, worker].into_iter().any(is_alive));
        upgrade.end();
        assert_eq!(stack.processes(), []);
        assert_eq!(stack.times("web", "stopped").len(), 1, "it was stopped, not killed");
    }
}

#[test]
fn commands_that_are_typed_during_upgrades_are_all_answered() {
    let stack = TestStack::new(WEB);
    let newer = newer(&stack);
    stack.run("start").ends_with(0);
    let before = everyone(&stack);
    for round in 0..6 {
        let program = if round % 2 == 0 { &newer } else { Path::new(DEVSTACK) };
        let commands: Vec<_> = (0..12)
            .map(|number| match number {
                4 | 8 => stack.begin_with(program, "upgrade"),
                number if number % 2 == 0 => stack.begin("status"),
                _ => stack.begin("start"),
            })
            .collect();
        for command in commands {
            command.end().ends_with(0);
        }
        assert!(runs(before[1].pid, program), "round {round}");
    }
    assert_eq!(everyone(&stack), before);
    assert_eq!(stack.times("web", "started").len(), 1);
}

/// A probe by command is a child of the supervisor that the next program would know nothing of.
#[test]
fn a_probe_that_runs_during_an_upgrade_is_ended_and_another_takes_its_turn() {
    let stack = TestStack::new(
        "[services.web]\ncommand = 'python3 worker.py web'
health = { exec = ['sh', '-c', 'echo $$ >probe.new; mv probe.new probe; exec sleep 600'], interval = '1s', timeout = '300s' }",
    );
    let newer = newer(&stack);
    stack.run("start").ends_with(0);
    let probe = |than: Option<ProcId>| {
        let mut found = None;
        wait_until("a probe runs", || {
            let noted = std::fs::read_to_string(stack.root.join("probe")).unwrap_or_default();
            let pid = noted.trim().parse().ok().filter(|pid| than.is_none_or(|than| than.pid != *pid));
            found = pid.and_then(|pid| procfs::id(pid).ok()).filter(|id| is_alive(*id));
            found.is_some()
        });
        found.expect("a probe")
    };
    let first = probe(None);
    let (supervisor, worker) = (stack.supervisor(), stack.pid("web"));
    stack.run_with(&newer, "upgrade").ends_with(0);
    wait_until("the first has ended and was collected", || procfs::id(first.pid).is_err());
    let second = probe(Some(first));
    let mut children = procfs::children(supervisor.pid).expect("it lives");
    children.sort_unstable();
    assert_eq!(children, [worker.pid.min(second.pid), worker.pid.max(second.pid)]);
    assert_eq!(stack.service("web")["strays"], 0);
}
