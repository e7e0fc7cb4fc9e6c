//! `watch`: a service is started again when its files change, and by nothing else.

use crate::support::{TestStack, pid_in};
use crate::terminal::watch_that;
use crate::world::wait_until;
use devstack::model::Pid;
use std::fs;
use std::time::Duration;

const WATCHED: &str = "[services.web]\ncommand = 'python3 worker.py web'\nwatch = ['apps/**/*.py', 'settings.toml']";

/// Longer than files have to be quiet.
const A_WHILE: Duration = Duration::from_millis(800);

fn started(services: &str) -> TestStack {
    let stack = TestStack::empty();
    fs::create_dir_all(stack.root.join("apps/web")).expect("folders");
    stack.write("apps/web/main.py", "one = 1\n");
    let stack = stack.with(services);
    stack.run("start").ends_with(0);
    stack
}

fn pid(stack: &TestStack) -> Option<Pid> {
    let web = stack.service("web");
    pid_in(&web["pid"]).filter(|_| web["state"] == "running")
}

/// What a change does to the service: another process, ended for that reason.
fn restarts(stack: &TestStack, what: &str, change: impl FnOnce()) {
    let before = pid(stack).expect("it runs");
    change();
    wait_until(&format!("{what}: it runs anew"), || pid(stack).is_some_and(|now| now != before));
    let web = stack.service("web");
    assert_eq!((&web["last_exit"]["reason"], &web["restarts"]), (&"files_changed".into(), &0.into()), "{what}");
}

fn leaves_alone(stack: &TestStack, what: &str, change: impl FnOnce()) {
    let before = stack.service("web")["pid"].clone();
    change();
    watch_that(&format!("{what}: it runs on"), A_WHILE, || stack.service("web")["pid"] == before);
}

#[test]
fn a_saved_file_restarts_however_it_is_saved() {
    let stack = started(WATCHED);
    restarts(&stack, "written in place", || stack.write("apps/web/main.py", "two = 2\n"));
    restarts(&stack, "a new file", || stack.write("apps/web/new.py", ""));
    restarts(&stack, "replaced, as editors do", || {
        stack.write("apps/web/.main.tmp", "three = 3\n");
        fs::rename(stack.root.join("apps/web/.main.tmp"), stack.root.join("apps/web/main.py")).expect("renamed");
    });
    restarts(&stack, "kept as a backup and written anew", || {
        fs::rename(stack.root.join("apps/web/main.py"), stack.root.join("apps/web/main.py~")).expect("renamed");
        stack.write("apps/web/main.py", "four = 4\n");
    });
    restarts(&stack, "deleted", || fs::remove_file(stack.root.join("apps/web/new.py")).expect("deleted"));
    restarts(&stack, "not below any folder", || stack.write("settings.toml", "a = 1\n"));
}

#[test]
fn folders_come_and_go() {
    let stack = started(WATCHED);
    restarts(&stack, "a folder with a file in it", || {
        fs::create_dir_all(stack.root.join("apps/web/deep/er")).expect("folders");
        stack.write("apps/web/deep/er/x.py", "");
    });
    restarts(&stack, "a file in that folder", || stack.write("apps/web/deep/er/x.py", "1\n"));
    restarts(&stack, "all of them", || fs::remove_dir_all(stack.root.join("apps")).expect("deleted"));
    restarts(&stack, "and back", || {
        fs::create_dir_all(stack.root.join("elsewhere/web")).expect("folders");
        stack.write("elsewhere/web/main.py", "");
        fs::rename(stack.root.join("elsewhere"), stack.root.join("apps")).expect("renamed");
    });
    restarts(&stack, "and gone under another name", || {
        fs::rename(stack.root.join("apps"), stack.root.join("elsewhere")).expect("renamed");
    });
    leaves_alone(&stack, "what is there now", || stack.write("elsewhere/web/main.py", "1\n"));
}

#[test]
fn what_is_ignored_made_by_tools_or_only_read_restarts_nothing() {
    let stack = started(&WATCHED.replace("'apps/**/*.py'", "'apps', 'logs'"));
    fs::create_dir(stack.root.join("apps/cache")).expect("a folder");
    restarts(&stack, "the rules themselves", || stack.write("apps/.gitignore", "generated.py\n/cache/\n"));
    leaves_alone(&stack, "all of these", || {
        for folder in ["apps/__pycache__", "apps/cache", "apps/web/__pycache__"] {
            fs::create_dir_all(stack.root.join(folder)).expect("a folder");
            stack.write(&format!("{folder}/main.py"), "");
        }
        stack.write("apps/generated.py", "");
        stack.write("apps/main.pyc", "");
        stack.write("apps/.#main.py", "");
        stack.write("elsewhere.py", "");
        // Its own log, and what devstack itself writes.
        stack.run("status").ends_with(0);
        for _ in 0..100 {
            fs::read(stack.root.join("apps/web/main.py")).expect("readable");
        }
    });
    restarts(&stack, "other rules", || stack.write("apps/.gitignore", "generated.py\n"));
    restarts(&stack, "what they let in", || stack.write("apps/cache/main.py", "1\n"));
}

#[test]
fn a_burst_of_changes_is_one_restart() {
    let stack = started(WATCHED);
    restarts(&stack, "a checkout of many files", || {
        for number in 0..3000 {
            let folder = format!("apps/pack{}", number % 300);
            fs::create_dir_all(stack.root.join(&folder)).expect("a folder");
            stack.write(&format!("{folder}/m{number}.py"), "");
        }
    });
    leaves_alone(&stack, "that was all", || ());
    assert_eq!(stack.times("web", "started").len(), 2, "{}", stack.log("web"));
}

#[test]
fn a_service_that_failed_over_a_mistake_is_started_once_it_is_corrected() {
    let stack = TestStack::empty();
    stack.write("web.py", "def broken(:\n");
    let stack = stack.with("[services.web]\ncommand = 'python3 web.py'\nwatch = ['*.py']\nready = { delay = '200ms' }");
    stack.run("start").ends_with(1).says("SyntaxError");
    assert_eq!(stack.service("web")["state"], "exited");
    stack.write("web.py", "import time\ntime.sleep(600)\n");
    stack.wait_for_state("web", "running");
}

/// How many of its descriptors are for being told of changes.
fn watches(stack: &TestStack) -> usize {
    let fds = fs::read_dir(format!("/proc/{}/fdinfo", stack.supervisor().pid)).expect("it lives");
    fds.flatten().map(|fd| fs::read_to_string(fd.path()).unwrap_or_default().matches("inotify wd:").count()).sum()
}

#[test]
fn nothing_is_watched_for_what_is_stopped_and_nothing_wakes_up_while_nothing_changes() {
    let stack = started(WATCHED);
    assert!(watches(&stack) > 0);
    let supervisor = stack.supervisor().pid;
    let woken = || {
        fs::read_to_string(format!("/proc/{supervisor}/status"))
            .expect("it lives")
            .lines()
            .find(|line| line.starts_with("voluntary"))
            .map(str::to_owned)
    };
    let mut last = woken();
    wait_until("it rests", || std::mem::replace(&mut last, woken()) == woken());
    let before = woken();
    watch_that("it sleeps", A_WHILE, || {
        fs::read(stack.root.join("apps/web/main.py")).expect("readable");
        woken() == before
    });
    stack.run("stop").ends_with(0);
    assert_eq!(watches(&stack), 0);
    stack.write("apps/web/main.py", "two = 2\n");
    watch_that("it stays stopped", A_WHILE, || stack.service("web")["state"] == "stopped");
    stack.run("start").ends_with(0);
    restarts(&stack, "after it was started again", || stack.write("apps/web/main.py", "three = 3\n"));
}

#[test]
fn a_service_that_writes_what_it_watches_does_not_restart_for_ever() {
    let stack = started(
        &WATCHED.replace("worker.py web", "worker.py web sh \"date +%N >apps/state.py\" started sh \"sleep 0.2; date +%N >apps/state.py\""),
    );
    wait_until("it is given up", || fs::read_to_string(stack.state_file("supervisor.log")).is_ok_and(|log| log.contains("apps/state.py")));
    let web = stack.wait_for_state("web", "running");
    let starts = stack.times("web", "started").len();
    watch_that("it runs on", 2 * A_WHILE, || stack.service("web")["pid"] == web["pid"]);
    assert!((2..=6).contains(&starts), "{starts}");
    restarts(&stack, "another file", || stack.write("apps/web/main.py", "two = 2\n"));
}

#[test]
fn a_supervisor_that_comes_back_watches_on_and_restarts_nobody() {
    let stack = started(WATCHED);
    leaves_alone(&stack, "another supervisor", || crate::support::kill(stack.supervisor()));
    restarts(&stack, "by its successor", || stack.write("apps/web/main.py", "two = 2\n"));
}

#[test]
fn where_the_kernel_grants_no_watch_this_is_told_and_the_service_runs() {
    let stack = TestStack::empty();
    fs::create_dir_all(stack.root.join("apps")).expect("folders");
    let stack = stack.with(WATCHED);
    let mut start = std::process::Command::new("unshare");
    let line = format!("echo 0 >/proc/sys/user/max_inotify_watches && exec {} start", crate::support::DEVSTACK);
    stack.in_its_environment(&mut start).args(["--user", "--map-root-user", "sh", "-c", &line]);
    stack.begin_command(start).end().ends_with(0);
    assert_eq!(stack.service("web")["state"], "running");
    let log = fs::read_to_string(stack.state_file("supervisor.log")).expect("a log");
    assert_eq!(log.matches("web: not every file of `watch` can be watched").count(), 1, "{log}");
    assert!(log.contains("fs.inotify.max_user_watches"), "{log}");
}
