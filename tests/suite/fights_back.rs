//! Sets that do not want to die, with the kernel's groups and without them: the same results.

use crate::support::{TestStack, kill, send};
use crate::world::{is_alive, wait_until};
use devstack::model::{Pid, ProcId, Signal};
use devstack::sys::lock::Lock;
use devstack::sys::{cgroup, procfs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A second service that has nothing to do with it, and must not notice.
const BESIDE: &str = "[services.bot]\ncommand = 'python3 worker.py bot daemon'\n";

/// A machine has room for one of those who flee: several at once starve every other test.
fn only_one_that_flees() -> Lock {
    Lock::take(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("fleeing.lock")).expect("a lock")
}

/// With a group of the kernel for each run, and without.
fn both_ways(services: &str, story: impl Fn(&TestStack)) {
    for without in [false, true] {
        let stack = TestStack::new(&format!("{BESIDE}{services}"));
        if without {
            stack.set(cgroup::OFF, "1");
        }
        stack.run("start").ends_with(0);
        let bystander = [stack.pid("bot"), stack.noted_process("bot-daemon")];
        story(&stack);
        assert!(bystander.into_iter().all(is_alive), "the other service is untouched");
        stack.run("stop --supervisor").ends_with(0);
        let left: Vec<String> = stack.processes().iter().map(described).collect();
        assert_eq!(left, [""; 0], "without groups: {without}");
    }
}

/// What there is to see of a process that should not be there.
fn described(id: &ProcId) -> String {
    let stat = procfs::stat(id.pid).map(|stat| format!("{} {} ppid {} sid {}", stat.pid, char::from(stat.state), stat.ppid, stat.sid));
    let argv: Vec<String> = procfs::argv(id.pid).unwrap_or_default().iter().map(|word| String::from_utf8_lossy(word).into()).collect();
    let run = procfs::environ_value(id.pid, b"DEVSTACK_RUN").map(|run| String::from_utf8_lossy(&run).into_owned());
    format!("{stat:?} {argv:?} {run:?}")
}

fn group_of(pid: Pid) -> PathBuf {
    cgroup::own_group(pid).expect("a group")
}

#[test]
fn processes_that_fork_and_flee_into_sessions_of_their_own_are_all_gone() {
    let _alone = only_one_that_flees();
    both_ways("[services.web]\ncommand = 'python3 worker.py web hop 4 hop 4'", |stack| {
        stack.noted("web-hop");
        wait_until("one of them is seen", || stack.service("web")["processes"].as_u64() > Some(1));
        let began = Instant::now();
        stack.run("stop web").ends_with(0);
        assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
        let marked = |id: &ProcId| procfs::environ_value(id.pid, b"DEVSTACK_RUN").is_some_and(|run| run.starts_with(b"shop/web/"));
        assert_eq!(stack.processes().into_iter().filter(marked).collect::<Vec<_>>(), []);
    });
}

#[test]
fn a_crash_of_their_leader_ends_those_that_flee_too() {
    let _alone = only_one_that_flees();
    both_ways("[services.web]\ncommand = 'python3 worker.py web hop 4'", |stack| {
        stack.noted("web-hop");
        kill(stack.pid("web"));
        stack.wait_for_state("web", "exited");
        let marked = |id: &ProcId| procfs::environ_value(id.pid, b"DEVSTACK_RUN").is_some_and(|run| run.starts_with(b"shop/web/"));
        assert_eq!(stack.processes().into_iter().filter(marked).collect::<Vec<_>>(), []);
    });
}

#[test]
fn children_that_answer_a_stop_with_more_of_their_kind_are_gone() {
    let services = "[services.web]\ncommand = 'python3 worker.py web fork-when-told-to-stop ignore-term'
kill_mode = 'control-group'\nstop_timeout = '500ms'";
    both_ways(services, |stack| {
        stack.noted("web-forking");
        stack.run("stop web").ends_with(0).says("killing what did not stop in time");
    });
}

#[test]
fn a_stopped_child_and_one_that_heeds_no_sigterm_are_gone() {
    both_ways("[services.web]\ncommand = 'python3 worker.py web stopped-child daemon'", |stack| {
        let (stopped, daemon) = (stack.noted_process("web-stopped-child"), stack.noted_process("web-daemon"));
        stack.run("stop web").ends_with(0).says("that outlived it").says("known by");
        assert!(!is_alive(stopped) && !is_alive(daemon));
    });
}

#[test]
fn a_child_of_another_user_is_gone_where_we_may_signal_it() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("NOT RUN: only root may start a process of another user");
        return;
    }
    both_ways("[services.web]\ncommand = 'python3 worker.py web other-user'", |stack| {
        let other = stack.noted_process("web-other-user");
        kill(stack.pid("web"));
        stack.wait_for_state("web", "exited");
        assert!(!is_alive(other));
    });
}

#[test]
fn a_run_has_a_group_where_the_kernel_lets_us_and_it_goes_with_the_run() {
    let stack = TestStack::new(BESIDE);
    stack.run("start").ends_with(0);
    let group = group_of(stack.pid("bot").pid);
    if !group.to_string_lossy().contains("devstack-") {
        assert!(!std::path::Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() || !nix::unistd::geteuid().is_root());
        eprintln!("NOT RUN: no cgroup v2 where a group can be made");
        return;
    }
    assert_eq!(group_of(stack.noted_process("bot-daemon").pid), group);
    assert!(!group_of(stack.supervisor().pid).to_string_lossy().contains("devstack-"));
    let evidence = stack.run("cleanup-workers --managed --dry-run --json").ends_with(0).stdout;
    assert!(evidence.contains("\"cgroup\""), "{evidence}");
    stack.run("stop --supervisor").ends_with(0);
    let folder = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(|mount| PathBuf::from(format!("{mount}{}", group.display())));
    assert!(folder.iter().all(|folder| !folder.exists() && !folder.parent().expect("a folder").exists()));
}

/// The mark on the processes is all that is left of what they are.
#[test]
fn without_devstack_and_ledger_a_disguised_worker_goes_on_and_is_stopped_with_its_pool() {
    both_ways("[services.web]\ncommand = 'python3 worker.py web pool disguise untied'", |stack| {
        let (pool, semaphore) = stack.noted_pool("web");
        let (worker, untied) = (stack.pid("web"), stack.noted_process("web-untied"));
        assert_eq!(procfs::environ_value(worker.pid, b"DEVSTACK_RUN"), None);
        let (keeper, supervisor) = (stack.keeper(), stack.supervisor());
        send(keeper, Signal::STOP);
        kill(supervisor);
        kill(keeper);
        std::fs::remove_file(stack.state_file("ledger.json")).expect("a ledger");
        stack.run("status web").ends_with(0);
        stack.run("start web").ends_with(0).says(&format!("already running (pid {}), untouched", worker.pid));
        stack.run("stop web").ends_with(0);
        assert!(![vec![worker, untied], pool].concat().into_iter().any(is_alive));
        assert!(!semaphore.exists());
    });
}

#[test]
fn what_cut_every_tie_is_ended_by_cleanup_workers_after_everything_was_killed() {
    both_ways("[services.web]\ncommand = 'python3 worker.py web untied'", |stack| {
        let (worker, untied) = (stack.pid("web"), stack.noted_process("web-untied"));
        let (keeper, supervisor) = (stack.keeper(), stack.supervisor());
        send(keeper, Signal::STOP);
        kill(supervisor);
        kill(keeper);
        kill(worker);
        let done = stack.run("cleanup-workers --json").ends_with(0);
        assert!(done.stdout.contains("\"mark\""), "{done:?}");
        wait_until("it is gone", || !is_alive(untied));
    });
}

#[test]
fn a_service_that_puts_itself_into_the_background_leaves_nothing_there_and_is_told_why() {
    both_ways("[services.web]\ncommand = 'python3 worker.py web'", |stack| {
        stack.run("stop web").ends_with(0);
        stack.configure(&format!("{BESIDE}[services.web]\ncommand = 'python3 worker.py web background'"));
        let start = stack.run("start web").ends_with(1).says("web ended while starting: exit status 0").says("stays in the foreground");
        let background = stack.noted("web-background")[0].parse().expect("a pid");
        wait_until("it is swept", || stack.service("web")["state"] == "exited");
        assert!(procfs::start_ticks(background).is_err(), "{start:?}");
    });
}

/// A devstack that a worker starts inherits everything by which the worker's own children are known.
#[test]
fn a_devstack_of_another_project_that_a_worker_started_outlives_the_worker() {
    for without in [false, true] {
        let (outer, inner) = (TestStack::empty(), TestStack::new("[services.api]\ncommand = 'python3 worker.py api untied daemon'"));
        let start = format!("{} --project {} start", crate::support::DEVSTACK, inner.root.display());
        let outer = outer.with(&format!(
            "[services.web]\ncommand = [\"python3\", \"worker.py\", \"web\", \"sh\", \"{start}\"]\nenv = {}",
            inner.places()
        ));
        if without {
            outer.set(cgroup::OFF, "1");
        }
        outer.run("start").ends_with(0);
        let theirs =
            [inner.supervisor(), inner.keeper(), inner.pid("api"), inner.noted_process("api-untied"), inner.noted_process("api-daemon")];
        outer.run("cleanup-workers all").ends_with(0);
        kill(outer.pid("web"));
        outer.wait_for_state("web", "exited");
        outer.run("stop --supervisor").ends_with(0);
        outer.run("cleanup-workers all").ends_with(0);
        assert!(theirs.into_iter().all(is_alive));
        inner.run("stop --supervisor").ends_with(0);
        assert!(!theirs.into_iter().any(is_alive));
    }
}

/// A group of the old freezer (cgroup v1): what is in it ignores even SIGKILL until it is thawed.
struct Ice(PathBuf);

impl Ice {
    /// `None` where the kernel has no such freezer, or does not let us.
    fn new() -> Option<Self> {
        let folder = PathBuf::from(format!("/sys/fs/cgroup/freezer/devstack-test-{}", std::process::id()));
        std::fs::create_dir(&folder).ok().map(|()| Self(folder)).filter(|ice| ice.0.join("freezer.state").exists())
    }

    fn freeze(&self, id: ProcId) {
        std::fs::write(self.0.join("cgroup.procs"), id.pid.to_string()).expect("it moves");
        std::fs::write(self.0.join("freezer.state"), "FROZEN").expect("it freezes");
        wait_until("it is frozen", || std::fs::read_to_string(self.0.join("freezer.state")).is_ok_and(|state| state.trim() == "FROZEN"));
    }

    fn thaw(&self) {
        let _ = std::fs::write(self.0.join("freezer.state"), "THAWED");
    }
}

impl Drop for Ice {
    fn drop(&mut self) {
        self.thaw();
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn what_survives_sigkill_is_named_keeps_its_slot_and_rests_once_it_can_die() {
    let Some(ice) = Ice::new() else {
        eprintln!("NOT RUN: there is no freezer of cgroup v1 that we may use");
        return;
    };
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'\nstop_timeout = '100ms'");
    stack.run("start").ends_with(0);
    let worker = stack.pid("web");
    ice.freeze(worker);
    let stopped = stack.run("stop").ends_with(1);
    assert!(stopped.stderr.contains(&worker.pid.to_string()) && stopped.stderr.contains("state D"), "{stopped:?}");
    assert_eq!(stack.service("web")["state"], "stuck");
    stack.run("start").ends_with(1).says(&worker.pid.to_string());
    assert!(is_alive(worker) && stack.times("web", "started").len() == 1, "no second copy beside it");
    stack.run("stop").ends_with(1);
    ice.thaw();
    stack.wait_for_state("web", "stopped");
    assert!(!is_alive(worker));
    stack.run("start").ends_with(0);
}
