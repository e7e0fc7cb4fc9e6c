//! Log folders that are full, gone or not what they were: workers go on where the kernel lets them, and so does rotation afterwards.

use crate::running::Done;
use crate::support::{DEVSTACK, TestStack};
use crate::world::wait_until;
use devstack::sys::rotation;
use std::fs;
use std::process::Command;

/// Writes lines for ever; says once when the disk takes none.
const STUBBORN: &str = r#"
import os, time
os.write(1, b"started\n")
number = 0
while True:
    try:
        os.write(1, b"%d %s\n" % (number, b"x" * (number * 7 % 90)))
        number += 1
    except OSError as error:
        if not os.path.exists("refused"):
            open("refused.new", "w").write(error.strerror)
            os.rename("refused.new", "refused")
    if number % 50 == 0:
        time.sleep(0.01)
"#;

const SERVICE: &str = "[services.web]\ncommand = 'python3 stubborn.py'\nlog_rotate = { size = '100KB', keep = 3 }\n";

/// In a mount namespace of its own, with a file system of 4 MB for the logs, of which 196 kB are free.
const SCRIPT: &str = r#"
set -u
D=$1
say() { echo "$1=$2"; }
await() { for _ in $(seq 600); do if eval "$1"; then return; fi; sleep 0.05; done; say in_vain "$1"; }
own() { cat "$XDG_STATE_HOME"/devstack/*/supervisor.log; }
pid() { "$D" status --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["services"][0]["pid"])'; }
mkdir logs && mount -t tmpfs -o size=4m none logs || exit 77
head -c 3900k /dev/zero >logs/filler
"$D" start >/dev/null 2>&1; say started $?
before=$(pid)
await 'own 2>/dev/null | grep -q "cannot rotate"'
await '[ -e refused ]'
say said "$(own | grep -m1 -o "cannot rotate.*")"
say refused "$(cat refused)"
say left "$(ls logs | tr '\n' ' ')"
rm logs/filler
await '[ -e logs/dev_web.log.3 ]'
say same "$([ "$(pid)" = "$before" ] && echo yes)"
"$D" stop --supervisor >/dev/null 2>&1; say stopped $?
"#;

fn in_a_small_log_folder() -> Option<Done> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can mount a small file system");
        return None;
    }
    let stack = TestStack::new(SERVICE);
    stack.write("stubborn.py", STUBBORN);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.args(["sh", "-c", SCRIPT, "sh", DEVSTACK]);
    stack.in_its_environment(&mut command);
    let done = stack.begin_command(command).end();
    (done.code != Some(77)).then_some(done)
}

#[test]
fn on_a_full_disk_the_worker_runs_on_this_is_told_and_with_room_again_the_log_is_rotated() {
    let Some(done) = in_a_small_log_folder() else { return };
    for part in [
        "started=0\n",
        "No space left on device",
        "refused=No space left on device\n",
        "left=dev_web.log dev_web.log.1 filler \n",
        "same=yes\n",
        "stopped=0\n",
    ] {
        assert!(done.stdout.contains(part), "{part}: {done:?}");
    }
    assert!(!done.stdout.contains("in_vain"), "{done:?}");
}

#[test]
fn a_log_that_was_deleted_or_replaced_is_said_to_be_and_its_next_run_has_one_again() {
    for replace in ["rm -r logs", "rm logs/dev_web.log; ln -s /etc/passwd logs/dev_web.log", "rm logs/dev_web.log; mkfifo logs/dev_web.log"]
    {
        let stack = TestStack::new(SERVICE);
        stack.write("stubborn.py", STUBBORN);
        stack.run("start").ends_with(0);
        let worker = stack.pid("web");
        let status = Command::new("sh").args(["-c", replace]).current_dir(&stack.root).status().expect("sh");
        assert!(status.success());
        let said = || fs::read_to_string(stack.state_file("supervisor.log")).unwrap_or_default();
        wait_until(&format!("it is said after {replace}"), || said().contains("what web writes goes to the file that was there"));
        assert_eq!(stack.pid("web"), worker, "it runs on");
        let _ = fs::remove_file(stack.log_file("web"));
        stack.run("restart").ends_with(0);
        wait_until("it is rotated again", || rotation::old_logs(&stack.log_file("web")).is_ok_and(|old| !old.is_empty()));
        assert_eq!(said().matches("goes to the file that was there").count(), 1, "it is said once");
    }
}
