//! Workers that do not look like what they are: dead ones that stay, living ones that look dead, names that forge.

use crate::support::{DEVSTACK, TestStack, kill, pid_in, proc_id, send};
use crate::world::{is_alive, wait_until};
use devstack::model::Signal;
use devstack::sys::procfs;
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Its main thread ends at once, another one goes on; the kernel then shows it as `Z`, without arguments or environment.
const HALF_DEAD: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *work(void *unused) {
    (void)unused;
    for (;;) { puts("at work"); fflush(stdout); usleep(20000); }
    return 0;
}
int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, 0, work, 0)) return 1;
    puts("started"); fflush(stdout);
    pthread_exit(0);
}
"#;

fn half_dead() -> &'static PathBuf {
    static BUILT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, program) = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let (source, program) = (folder.path().join("half_dead.c"), folder.path().join("half_dead"));
        std::fs::write(&source, HALF_DEAD).expect("a file");
        let built = Command::new("cc").args(["-O1", "-pthread", "-o"]).arg(&program).arg(&source).status().expect("a C compiler");
        assert!(built.success());
        (folder, program)
    });
    program
}

#[test]
fn a_worker_whose_main_thread_has_ended_runs_until_it_is_stopped() {
    let stack = TestStack::empty();
    stack.configure(&format!("[services.web]\ncommand = ['{}']\nmatch = ['half_dead']", half_dead().display()));
    stack.run("start").ends_with(0);
    let worker = stack.pid("web");
    wait_until("its main thread has ended", || procfs::stat(worker.pid).is_ok_and(|stat| stat.state == b'Z'));
    assert_eq!(stack.service("web")["state"], "running");
    stack.run("start").ends_with(0).says(&format!("already running (pid {}), untouched", worker.pid));

    let (keeper, supervisor) = (stack.keeper(), stack.supervisor());
    send(keeper, Signal::STOP);
    kill(supervisor);
    kill(keeper);
    assert_eq!((&stack.service("web")["state"], &stack.service("web")["pid"]), (&"running".into(), &worker.pid.into()));
    stack.run("start").ends_with(0).says("untouched");
    assert_eq!(stack.pid("web"), worker);
    stack.run("stop").ends_with(0);
    assert!(!is_alive(worker));
    assert_eq!(stack.service("web")["state"], "stopped");
}

/// Adopts the workers of a devstack that was killed, and never collects them.
const NEGLIGENT: &str = "
import ctypes, os, subprocess, sys, time
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
subprocess.run([sys.argv[1], 'start'], check=True)
open('adopted', 'w').close()
time.sleep(600)
";

#[test]
fn a_dead_worker_that_nobody_collects_is_dead() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    stack.write("negligent.py", NEGLIGENT);
    let parent = stack.start_beside("python3", &["negligent.py", DEVSTACK]);
    wait_until("it is started", || stack.root.join("adopted").exists());
    let (keeper, supervisor, worker) = (stack.keeper(), stack.supervisor(), stack.pid("web"));
    send(keeper, Signal::STOP);
    kill(supervisor);
    kill(keeper);
    wait_until("it is adopted", || procfs::stat(worker.pid).is_ok_and(|stat| stat.ppid == parent.pid));
    kill(worker);
    assert_eq!(procfs::stat(worker.pid).expect("it was not collected").state, b'Z');
    let web = stack.service("web");
    assert_eq!((&web["state"], &web["pid"], &web["health"]["status"]), (&"failed".into(), &Value::Null, &"dead".into()));
    stack.run("start").ends_with(0);
    assert_ne!(stack.pid("web").pid, worker.pid);
    stack.run("stop").ends_with(0);
    assert_eq!(procfs::stat(worker.pid).expect("not ours to collect").state, b'Z');
}

const TRANSFORMER: &str = r#"
import os, signal, sys, time
print("started" if len(sys.argv) == 1 else "transformed", flush=True)
while len(sys.argv) == 1 and not os.path.exists("go"):
    time.sleep(0.01)
if len(sys.argv) == 1:
    os.execv(sys.executable, [sys.executable, "transformer.py", "again"])
while True:
    signal.pause()
"#;

#[test]
fn a_worker_that_executes_another_program_in_its_place_keeps_its_run() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 transformer.py'\nrestart = 'always'");
    stack.write("transformer.py", TRANSFORMER);
    stack.run("start").ends_with(0);
    let (worker, run) = (stack.pid("web"), stack.service("web")["run_id"].clone());
    stack.write("go", "");
    wait_until("it is transformed", || stack.log("web").contains("transformed"));
    let web = stack.service("web");
    assert_eq!((&web["run_id"], &web["restarts"], stack.pid("web")), (&run, &0.into(), worker));
    let supervisor = stack.supervisor();
    kill(supervisor);
    wait_until("another supervisor", || pid_in(&stack.status()["supervisor"]["pid"]).is_some_and(|pid| pid != supervisor.pid));
    assert_eq!((stack.pid("web"), &stack.service("web")["run_id"]), (worker, &run));
    stack.run("stop").ends_with(0);
    assert!(!is_alive(worker));
}

const FORGER: &str = r#"
import ctypes, os, signal, subprocess, sys
ctypes.CDLL(None).prctl(15, b") Z 1 (\n\x1b[2J", 0, 0, 0)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()", "\x1b]52;c;Zm9v\x07\x9b2J\u202e" + "x" * 100_000])
open("child", "w").write(str(child.pid))
print("started", flush=True)
signal.pause()
"#;

#[test]
fn a_name_that_forges_fields_and_an_argument_without_end_are_read_and_shown_escaped() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 forger.py'");
    stack.write("forger.py", FORGER);
    stack.run("start").ends_with(0);
    let worker = stack.pid("web");
    assert!(procfs::stat(worker.pid).expect("it lives").comm.starts_with(b") Z 1 (\n\x1b"));
    let child = proc_id(std::fs::read_to_string(stack.root.join("child")).expect("noted").parse().expect("a pid"));
    wait_until("its child says its words", || procfs::argv(child.pid).is_ok_and(|argv| argv.len() == 4 && argv[3].len() > 100_000));
    let web = stack.service("web");
    assert_eq!((&web["state"], &web["processes"]), (&"running".into(), &2.into()));
    for line in ["status --tree", "status --tree --color always", "cleanup-workers --dry-run --managed"] {
        let done = stack.run(line);
        let shown = done.stdout.replace("\x1b[0m", "").replace("\x1b]8;", "");
        let raw = shown.chars().find(|c| (c.is_control() && *c != '\n' && *c != '\x1b') || *c == '\u{202e}');
        assert_eq!(raw, None, "{line}: {shown:.500}");
        assert!(!shown.contains("\x1b]52") && !shown.contains("\x1b[2J"), "{line}");
    }
    stack.run("stop").ends_with(0);
    assert!(!is_alive(worker) && !is_alive(child));
}
