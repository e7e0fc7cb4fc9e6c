//! Kill -9 any process of devstack, or of a worker: nothing is lost, doubled or left behind.

use crate::support::{TestStack, kill, proc_id, send};
use crate::terminal::watch_that;
use crate::world::{is_alive, wait_until};
use devstack::model::{ProcId, Signal};
use devstack::sys::{cgroup, procfs};
use std::time::{Duration, Instant};

pub const WEB: &str = "[services.web]\ncommand = 'python3 worker.py web started await go exit 7'";

/// Keeper, supervisor and worker of a started stack.
pub fn started(stack: &TestStack) -> (ProcId, ProcId, ProcId) {
    stack.run("start").ends_with(0);
    (stack.keeper(), stack.supervisor(), stack.pid("web"))
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
fn a_killed_supervisor_comes_back_by_itself_and_later_exits_are_exact() {
    let stack = TestStack::new(WEB);
    let (keeper, supervisor, worker) = started(&stack);
    kill(supervisor);
    wait_for_another_supervisor(&stack, supervisor);
    assert_eq!((stack.keeper(), stack.pid("web")), (keeper, worker));
    assert_eq!(stack.service("web")["state"], "running");
    stack.run("start").ends_with(0).says("untouched");
    stack.write("go", "");
    let web = stack.wait_for_state("web", "exited");
    let last = &web["last_exit"];
    assert_eq!((&last["code"], &last["signal"], &last["reason"]), (&7.into(), &serde_json::Value::Null, &"crashed".into()));
    assert_eq!(last["by"], "worker");
    assert_eq!(stack.times("web", "started").len(), 1);
}

#[test]
fn a_worker_that_ends_while_the_supervisor_is_dead_is_not_unobserved() {
    let stack = TestStack::new(WEB);
    let (keeper, supervisor, worker) = started(&stack);
    // A stopped keeper cannot bring the supervisor back until it may go on.
    send(keeper, Signal::STOP);
    kill(supervisor);
    stack.write("go", "");
    wait_until("the worker has ended", || !is_alive(worker));
    send(keeper, Signal::CONT);
    let web = stack.wait_for_state("web", "exited");
    assert_eq!(web["last_exit"]["code"], 7);
}

#[test]
fn a_killed_keeper_is_replaced_and_workers_are_untouched() {
    let stack = TestStack::new(WEB);
    let (keeper, supervisor, worker) = started(&stack);
    kill(keeper);
    let new = wait_for_another_supervisor(&stack, supervisor);
    wait_until("the pair is whole", || stack.processes().len() == 3);
    assert_eq!(stack.pid("web"), worker);
    assert_eq!(procfs::stat(new.pid).expect("alive").ppid, supervisor.pid, "the old supervisor is the keeper now");
    stack.write("go", "");
    assert_eq!(stack.wait_for_state("web", "exited")["last_exit"]["code"], 7);
    stack.run("stop --supervisor").ends_with(0);
    assert_eq!(stack.processes(), []);
}

#[test]
fn a_pair_that_loses_either_half_again_and_again_stays_a_pair() {
    let stack = TestStack::new(WEB);
    let (_, mut supervisor, worker) = started(&stack);
    for round in 0..6 {
        kill(if round % 2 == 0 { supervisor } else { stack.keeper() });
        supervisor = wait_for_another_supervisor(&stack, supervisor);
    }
    wait_until("one pair and one worker", || stack.processes().len() == 3);
    assert_eq!(stack.pid("web"), worker);
}

#[test]
fn after_both_are_killed_status_is_truthful_and_the_next_start_adopts() {
    let stack = TestStack::new(WEB);
    let (keeper, supervisor, worker) = started(&stack);
    kill_both(keeper, supervisor);
    let status = stack.run("status --json").ends_with(0);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("json");
    assert_eq!((&status["supervisor"], &status["services"][0]["pid"]), (&serde_json::Value::Null, &worker.pid.into()));
    assert_eq!(status["services"][0]["state"], "running");

    stack.run("start").ends_with(0).says(&format!("already running (pid {}), untouched", worker.pid));
    assert_eq!(stack.pid("web"), worker);
    assert_eq!((stack.processes().len(), stack.times("web", "started").len()), (3, 1));
    stack.run("stop --supervisor").ends_with(0);
    assert_eq!(stack.processes(), []);
}

pub fn kill_both(keeper: ProcId, supervisor: ProcId) {
    send(keeper, Signal::STOP);
    kill(supervisor);
    kill(keeper);
}

#[test]
fn after_both_are_killed_stop_still_stops_everything() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web daemon wiped pool'");
    let (keeper, supervisor, worker) = started(&stack);
    let (pool, semaphore) = stack.noted_pool("web");
    let strays = [stack.noted_process("web-daemon"), stack.noted_process("web-wiped")];
    kill_both(keeper, supervisor);
    stack.run("stop --supervisor").ends_with(0);
    assert!(![vec![worker], pool, strays.to_vec()].concat().into_iter().any(is_alive));
    assert!(!semaphore.exists());
    assert_eq!(stack.processes(), []);
}

#[test]
fn a_supervisor_that_comes_back_during_a_start_takes_no_earlier_line_for_readiness() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web await go started'");
    stack.write("go", "");
    stack.run("start").ends_with(0);
    stack.run("stop").ends_with(0);
    std::fs::remove_file(stack.root.join("go")).expect("a file");
    stack.run("start --no-wait").ends_with(0);
    stack.wait_for_state("web", "starting");
    let supervisor = stack.supervisor();
    kill(supervisor);
    wait_for_another_supervisor(&stack, supervisor);
    watch_that("it is not called ready", Duration::from_millis(300), || stack.service("web")["state"] == "starting");
    stack.write("go", "");
    stack.wait_for_state("web", "running");
}

#[test]
fn a_process_of_another_checkout_survives_even_if_its_run_has_the_same_number() {
    let stack = TestStack::new(WEB);
    let (keeper, supervisor, worker) = started(&stack);
    let mark = procfs::environ_value(worker.pid, b"DEVSTACK_RUN").expect("marked");
    let mark = format!("DEVSTACK_RUN={}", String::from_utf8(mark).expect("text"));
    let other = stack.start_beside("env", &["-C", "/", &mark, "DEVSTACK_ROOT=/another/checkout", "sleep", "600"]);
    wait_until("it is marked", || procfs::environ_value(other.pid, b"DEVSTACK_RUN").is_some());
    kill_both(keeper, supervisor);
    stack.run("stop --supervisor").ends_with(0);
    assert!(!is_alive(worker) && is_alive(other));
}

#[test]
fn a_worker_that_ended_while_all_of_devstack_was_dead_is_said_to_be_dead() {
    let stack = TestStack::new(WEB);
    let (keeper, supervisor, worker) = started(&stack);
    kill_both(keeper, supervisor);
    kill(worker);
    let done = stack.run("status --json").ends_with(3);
    let status: serde_json::Value = serde_json::from_str(&done.stdout).expect("json");
    let web = &status["services"][0];
    assert_eq!((&web["state"], &web["health"]["status"], &web["pid"]), (&"failed".into(), &"dead".into(), &serde_json::Value::Null));
    stack.run("start").ends_with(0);
    assert_eq!(stack.times("web", "started").len(), 2);
}

#[test]
fn within_a_second_of_a_workers_death_its_pool_is_gone_and_a_new_one_is_ready() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web pool'\nrestart = 'always'\nrestart_delay = '50ms'");
    let (_, _, worker) = started(&stack);
    let (pool, semaphore) = stack.noted_pool("web");
    let began = Instant::now();
    kill(worker);
    wait_until("the old pool is gone", || !pool.iter().any(|id| is_alive(*id)));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let web = stack.wait_for_state("web", "running");
    let (new, _) = stack.noted_pool("web");
    assert!(new.into_iter().all(is_alive) && !semaphore.exists());
    let last = &web["last_exit"];
    assert_eq!((&web["restarts"], &last["signal"], &last["reason"]), (&1.into(), &"SIGKILL".into(), &"crashed".into()));
    assert_eq!((&last["code"], &last["by"]), (&serde_json::Value::Null, &"unknown".into()));
    stack.run("cleanup-workers").ends_with(0).says("Nothing to clean up.");
}

#[test]
fn a_worker_that_ends_too_often_is_given_up() {
    let stack = TestStack::new(
        "[services.web]\ncommand = 'python3 worker.py web started exit 1'\nrestart = 'always'\nrestart_delay = '10ms'
start_limit = { burst = 3, interval = '60s' }",
    );
    stack.run("start");
    let web = stack.wait_for_state("web", "failed");
    assert_eq!((&web["restarts"], stack.times("web", "started").len()), (&3.into(), 4));
    watch_that("it stays failed", Duration::from_millis(200), || stack.times("web", "started").len() == 4);
}

#[test]
fn on_failure_restarts_after_a_failure_and_not_after_success() {
    let service = |name: &str, code: i32| {
        format!(
            "[services.{name}]\ncommand = 'python3 worker.py {name} started await go exit {code}'\nrestart = 'on-failure'\nrestart_delay = '30s'\n"
        )
    };
    let stack = TestStack::new(&[service("well", 0), service("badly", 2)].concat());
    stack.run("start").ends_with(0);
    stack.write("go", "");
    assert_eq!(stack.wait_for_state("well", "exited")["last_exit"]["reason"], "exited");
    let badly = stack.wait_for_state("badly", "backoff");
    assert_eq!((&badly["last_exit"]["code"], &badly["last_exit"]["reason"]), (&2.into(), &"crashed".into()));
}

#[test]
fn a_stopped_supervisor_is_said_to_be_so_within_seconds() {
    let stack = TestStack::new(WEB);
    let (_, supervisor, worker) = started(&stack);
    send(supervisor, Signal::STOP);
    let began = Instant::now();
    let all: Vec<_> = ["status", "start", "stop", "restart", "upgrade", "stop --supervisor"].map(|verb| stack.begin(verb)).into();
    for done in all {
        let done = done.end().ends_with(1);
        assert!(done.stderr.contains(&format!("supervisor pid {} not responding (state T)", supervisor.pid)), "{done:?}");
        assert!(done.stderr.contains(&format!("kill -CONT {}", supervisor.pid)), "{done:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(8));
    send(supervisor, Signal::CONT);
    assert_eq!(stack.pid("web"), worker);
}

#[test]
fn the_command_after_everything_was_killed_succeeds_again_and_again() {
    let stack = TestStack::new(WEB);
    let (_, _, worker) = started(&stack);
    for round in 0..10 {
        let (keeper, supervisor) = (stack.keeper(), stack.supervisor());
        for id in if round % 2 == 0 { [keeper, supervisor] } else { [supervisor, keeper] } {
            send(id, Signal::KILL);
        }
        stack.run("start").ends_with(0);
        assert_eq!((stack.pid("web"), stack.times("web", "started").len()), (worker, 1), "round {round}");
    }
}

#[test]
fn a_process_with_no_tie_left_is_gone_also_after_everything_was_killed() {
    let stack =
        TestStack::new("[services.web]\ncommand = 'python3 worker.py web untied'\n[services.bot]\ncommand = 'python3 worker.py bot'");
    stack.run("start").ends_with(0);
    let untied = stack.noted_process("web-untied");
    kill_both(stack.keeper(), stack.supervisor());
    stack.run("stop web").ends_with(0);
    assert!(!is_alive(untied));
}

/// Supervisor, keeper and then the worker are killed: nobody of devstack is there to see it, or to adopt its pool.
fn pool_without_anybody(stack: &TestStack) -> Vec<ProcId> {
    let (keeper, supervisor, worker) = started(stack);
    let (pool, _) = stack.noted_pool("web");
    let all = [pool, vec![stack.noted_process("web-daemon"), stack.noted_process("web-wiped")]].concat();
    kill_both(keeper, supervisor);
    kill(worker);
    assert!(all.iter().any(|id| is_alive(*id)), "a pool outlives its worker");
    all
}

const POOL: &str = "[services.web]\ncommand = 'python3 worker.py web daemon wiped pool'\n[services.bot]\ncommand = 'python3 worker.py bot'";

#[test]
fn what_a_worker_left_that_died_when_all_of_devstack_was_dead_is_gone_after_stop() {
    for without_groups in [false, true] {
        let stack = TestStack::new(POOL);
        if without_groups {
            stack.set(cgroup::OFF, "1");
        }
        let left = pool_without_anybody(&stack);
        stack.run("stop web").ends_with(0);
        assert!(!left.into_iter().any(is_alive));
        assert_eq!(stack.service("bot")["state"], "running");
    }
}

#[test]
fn what_a_worker_left_that_died_when_all_of_devstack_was_dead_is_gone_before_another_runs() {
    let stack = TestStack::new(POOL);
    let left = pool_without_anybody(&stack);
    stack.run("start").ends_with(0);
    assert!(!left.into_iter().any(is_alive));
    assert_eq!(stack.times("web", "started").len(), 2);
}

#[test]
fn two_workers_that_died_when_all_of_devstack_was_dead_leave_nothing_beside_their_successors() {
    let service =
        |name: &str| format!("[services.{name}]\ncommand = 'python3 worker.py {name} pool'\nrestart = 'always'\nrestart_delay = '0s'\n");
    let stack = TestStack::new(&[service("web"), service("bot")].concat());
    let (keeper, supervisor, worker) = started(&stack);
    let left = [stack.noted_pool("web").0, stack.noted_pool("bot").0].concat();
    let other = stack.pid("bot");
    kill_both(keeper, supervisor);
    kill(worker);
    kill(other);
    stack.run("start").ends_with(0);
    assert!(!left.into_iter().any(is_alive));
}

/// The group of its run, held still by the kernel; `None` where there is none.
fn freeze(pid: i32) -> Option<()> {
    let group = cgroup::own_group(pid)?;
    let folder = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(|mount| format!("{mount}{}", group.display()));
    let folder = folder.into_iter().find(|folder| folder.contains("/devstack-") && std::path::Path::new(folder).exists())?;
    std::fs::write(format!("{folder}/cgroup.freeze"), "1").ok()
}

#[test]
fn a_sweep_that_was_killed_in_the_middle_leaves_no_tracker_frozen_and_no_semaphore() {
    for command in ["stop", "start", "cleanup-workers"] {
        let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web pool'");
        let (keeper, supervisor, worker) = started(&stack);
        let (pool, semaphore) = stack.noted_pool("web");
        if freeze(pool[0].pid).is_none() {
            assert!(std::env::var_os("CI").is_none(), "no groups of the kernel here");
            return println!("SKIPPED: no groups of the kernel (cgroup v2) can be made here");
        }
        kill_both(keeper, supervisor);
        kill(worker);
        wait_until("nobody has it any more", || procfs::stat(worker.pid).is_err());
        stack.run(command).ends_with(0);
        assert!(!pool.into_iter().any(is_alive), "{command}");
        assert!(!semaphore.exists(), "{command}: the tracker could not remove it");
    }
}
