//! `devstack stop`: when it returns well, no process of the service is left, whatever that process did to hide.

use crate::support::{TestStack, free_port, send};
use crate::terminal::watch_that;
use crate::world::{is_alive, wait_until};
use devstack::model::Signal;
use std::time::{Duration, Instant};

#[test]
fn a_worker_is_asked_to_stop_and_given_the_time_to_do_it() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web slow-term 0.3'");
    stack.run("start").ends_with(0);
    let pid = stack.pid("web");
    stack.run("stop").ends_with(0).says("web: stopping").says("web: stopped (exit status 0)");
    assert!(!is_alive(pid));
    assert_eq!(stack.times("web", "stopped").len(), 1, "it was not killed meanwhile");
    let web = stack.service("web");
    assert_eq!(
        (&web["state"], &web["last_exit"]["reason"], &web["last_exit"]["code"]),
        (&"stopped".into(), &"requested".into(), &0.into())
    );
}

#[test]
fn a_worker_that_ignores_the_request_is_killed_after_its_grace() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web ignore-term'\nstop_timeout = '400ms'");
    stack.run("start").ends_with(0);
    let began = Instant::now();
    stack.run("stop").ends_with(0).says("web: killing what did not stop in time").says("web: stopped (killed by SIGKILL)");
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert_eq!(stack.service("web")["last_exit"]["signal"], "SIGKILL");
}

#[test]
fn the_grace_may_be_shortened_by_the_command() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web ignore-term'\nstop_timeout = '60s'");
    stack.run("start").ends_with(0);
    stack.run("stop --timeout 200ms").ends_with(0).says("stopped (killed by SIGKILL)");
}

#[test]
fn kill_does_not_ask() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web slow-term 60'\nstop_timeout = '60s'");
    stack.run("start").ends_with(0);
    stack.run("stop --kill").ends_with(0).says("stopped (killed by SIGKILL)");
    assert!(stack.times("web", "stopping").is_empty());
}

#[test]
fn a_daemon_of_the_worker_in_a_session_of_its_own_is_gone() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web daemon'");
    stack.run("start").ends_with(0);
    let daemon = stack.noted_process("web-daemon");
    stack.run("stop").ends_with(0);
    assert!(!is_alive(daemon));
}

#[test]
fn a_process_that_wiped_its_environment_is_gone_even_beside_another_service() {
    // Beside another service an orphan without a mark cannot be taken for whoever happens to be alone.
    let stack = TestStack::new(
        "[services.web]\ncommand = 'python3 worker.py web wiped daemon'\n[services.bot]\ncommand = 'python3 worker.py bot wiped daemon'",
    );
    stack.run("start").ends_with(0);
    let of = |name: &str| [stack.noted_process(&format!("{name}-wiped")), stack.noted_process(&format!("{name}-daemon"))];
    let (webs, bots) = (of("web"), of("bot"));
    stack.run("stop web").ends_with(0);
    assert!(!webs.into_iter().any(is_alive));
    assert!(bots.into_iter().all(is_alive) && stack.service("bot")["state"] == "running", "the other service is untouched");
    stack.run("stop bot").ends_with(0);
    assert!(!bots.into_iter().any(is_alive));
}

/// What the kernel hands down whatever a process does to itself still tells whose it is.
#[test]
fn a_process_with_no_tie_left_is_gone_even_beside_another_service() {
    let stack =
        TestStack::new("[services.web]\ncommand = 'python3 worker.py web untied'\n[services.bot]\ncommand = 'python3 worker.py bot'");
    stack.run("start").ends_with(0);
    let untied = stack.noted_process("web-untied");
    assert_eq!(stack.service("web")["strays"], 1);
    assert_eq!(stack.service("bot")["strays"], 0);
    stack.run("stop web").ends_with(0);
    assert!(!is_alive(untied));
    assert_eq!(stack.service("bot")["state"], "running");
}

#[test]
fn a_service_that_left_the_configuration_is_stopped_with_all() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'\n[services.bot]\ncommand = 'python3 worker.py bot'");
    stack.run("start").ends_with(0);
    let bot = stack.pid("bot");
    stack.configure("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("stop").ends_with(0);
    assert!(!is_alive(bot));
}

#[test]
fn dependants_are_gone_before_their_dependencies_are_asked() {
    let stack = TestStack::new(
        "[services.db]\ncommand = 'python3 worker.py db'
[services.app]\ncommand = 'python3 worker.py app slow-term 0.2'\ndepends_on = ['db']
[services.top]\ncommand = 'python3 worker.py top slow-term 0.2'\ndepends_on = ['app']",
    );
    stack.run("start").ends_with(0);
    stack.run("stop").ends_with(0);
    let at = |name: &str, word: &str| stack.times(name, word)[0];
    assert!(at("top", "stopped") <= at("app", "stopping") && at("app", "stopped") <= at("db", "stopping"));
}

#[test]
fn stopping_what_is_stopped_is_success() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("stop").ends_with(0).says("web: already stopped");
    assert_eq!(stack.processes(), [], "no supervisor was started for that");
    stack.run("start").ends_with(0);
    stack.run("stop").ends_with(0);
    stack.run("stop web").ends_with(0).says("web: already stopped");
    stack.run("stop --supervisor").ends_with(0);
    stack.run("stop --supervisor").ends_with(0);
}

#[test]
fn a_second_interrupt_during_a_slow_stop_kills_now() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web slow-term 60'\nstop_timeout = '60s'");
    stack.run("start").ends_with(0);
    let pid = stack.pid("web");
    let stop = stack.begin("stop");
    wait_until("it is asked to stop", || stack.times("web", "stopping").len() == 1);
    send(stop.id(), Signal::INT);
    wait_until("the first one is answered", || stop.stderr().contains("press Ctrl-C again to kill now"));
    watch_that("it has its grace", Duration::from_millis(100), || is_alive(pid));
    send(stop.id(), Signal::INT);
    stop.end().ends_with(0).says("web: stopped (killed by SIGKILL)");
    assert!(!is_alive(pid));
}

#[test]
fn stopping_the_supervisor_leaves_nothing_at_all() {
    let stack = TestStack::new(
        "[services.web]\ncommand = 'python3 worker.py web daemon'\n[services.bot]\ncommand = 'python3 worker.py bot pool'\ndepends_on = ['web']",
    );
    stack.run("start").ends_with(0);
    assert!(stack.processes().len() > 5);
    stack.run("stop --supervisor").ends_with(0);
    assert_eq!(stack.processes(), []);
    let status = stack.run("status --json").ends_with(3);
    assert!(status.stdout.contains("\"supervisor\": null"), "{status:?}");
}

#[test]
fn a_stopped_worker_is_woken_to_stop() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    send(stack.pid("web"), Signal::STOP);
    stack.run("stop").ends_with(0).says("web: stopped (exit status 0)");
}

#[test]
fn a_pool_goes_with_its_worker_and_leaves_no_semaphore() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web pool'\n[services.bot]\ncommand = 'python3 worker.py bot'");
    stack.run("start").ends_with(0);
    let (pool, semaphore) = stack.noted_pool("web");
    assert!(pool.iter().all(|id| is_alive(*id)) && semaphore.exists());
    stack.run("stop web").ends_with(0);
    assert!(!pool.into_iter().any(is_alive));
    assert!(!semaphore.exists());
}

#[test]
fn a_pool_whose_worker_is_killed_leaves_no_semaphore_either() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web pool'");
    stack.run("start").ends_with(0);
    let (pool, semaphore) = stack.noted_pool("web");
    stack.run("stop --kill").ends_with(0);
    assert!(!pool.into_iter().any(is_alive));
    assert!(!semaphore.exists());
}

#[test]
fn a_stop_during_the_start_is_obeyed_and_the_start_says_so() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web await never'");
    let start = stack.begin("start");
    stack.wait_for_state("web", "starting");
    stack.run("stop").ends_with(0);
    start.end().ends_with(1);
    assert_eq!(stack.service("web")["state"], "stopped");
}

#[test]
fn what_was_stopped_stays_stopped() {
    let port = free_port();
    let stack = TestStack::new(&format!(
        "[services.web]\ncommand = 'python3 worker.py web http {port}'\nrestart = 'always'\nrestart_delay = '10ms'\nports = [{port}]"
    ));
    stack.run("start").ends_with(0);
    stack.run("stop").ends_with(0);
    watch_that("it is stopped", Duration::from_millis(200), || stack.service("web")["state"] == "stopped");
    stack.run("start").ends_with(0);
}

#[test]
fn sigterm_to_the_keeper_stops_everything_in_order() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.run("start").ends_with(0);
    send(stack.keeper(), Signal::TERM);
    wait_until("nothing is left", || stack.processes().is_empty());
    assert_eq!(stack.times("web", "stopped").len(), 1, "it was asked, not killed");
}
