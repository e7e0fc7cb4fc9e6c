//! A state folder that is full, or that can no longer be written to.

use crate::running::Done;
use crate::support::{DEVSTACK, TestStack};
use std::process::Command;

/// Runs in a mount namespace of its own, so that nothing it mounts outlives it. `S` is a small file system for the state folder; what
/// it says on standard output as `key=value` is what the test is about.
const PREAMBLE: &str = r#"
set -u
S=$XDG_STATE_HOME; D=$1
say() { echo "$1=$2"; }
run() { said=$("$D" "$@" 2>&1); code=$?; }
state() { "$D" status --json | python3 -c 'import json,sys; s=json.load(sys.stdin); v=s["supervisor"]; print(s["services"][0]["state"], (v or {}).get("degraded") or "well")'; }
# For whoever opens something from now on; what is open stays so.
write_protect() { mount --bind "$S" "$S" && mount -o remount,bind,ro "$S"; }
fill() { cat /dev/zero >"$S/filler" 2>/dev/null; }
mount -t tmpfs -o size=256k,mode=0700 none "$S" || exit 77
"#;

fn in_a_small_state_folder(script: &str) -> Option<(TestStack, Done)> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not tested: only root can mount a small file system");
        return None;
    }
    let stack = TestStack::new(
        "[services.web]\ncommand = ['sleep', '600']\nready = { delay = '0s' }\n[services.bot]\ncommand = ['sleep', '601']\nready = { delay = '0s' }\n",
    );
    let mut command = Command::new("unshare");
    // Also in a pid namespace, so that whatever it starts ends with it.
    command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.args(["sh", "-c", &format!("{PREAMBLE}{script}"), "sh", DEVSTACK]);
    stack.in_its_environment(&mut command);
    let done = stack.begin_command(command).end();
    (done.code != Some(77)).then_some((stack, done))
}

#[test]
fn nothing_starts_of_which_no_trace_could_be_kept() {
    let Some((_, done)) = in_a_small_state_folder(
        r#"
fill
run start; say code $code; say said "$(echo "$said" | tr '\n' ' ')"
say running "$(pgrep -x sleep | wc -l)"
say pair "$(pgrep -x devstack | wc -l)"
rm "$S/filler"
run start; say later $code
say then "$(state)"
say leftovers "$(find "$S" -name '*.new' | wc -l)"
run stop --supervisor; say stopped $code
"#,
    ) else {
        return;
    };
    let done = done.ends_with(0);
    for part in [
        "code=1\n",
        "No space left on device",
        "running=0\n",
        "pair=0\n",
        "later=0\n",
        "then=running well\n",
        "leftovers=0\n",
        "stopped=0\n",
    ] {
        assert!(done.stdout.contains(part), "{part}: {done:?}");
    }
}

#[test]
fn a_disk_that_fills_up_later_stops_nobody_is_told_and_recovers_by_itself() {
    let Some((_, done)) = in_a_small_state_folder(
        r#"
run start web; say first $code
before=$(cat "$S"/devstack/*/ledger.json)
fill
run start bot; say second $code
say full "$(state)"
for again in 1 2 3 4 5 6 7 8; do run restart bot; done
say whole "$([ "$before" = "$(cat "$S"/devstack/*/ledger.json)" ] && echo yes)"
say leftovers "$(find "$S" -name '*.new' | wc -l)"
rm "$S/filler"
say freed "$(state)"
say again "$(state)"
say recorded "$(grep -c '"pid"' "$S"/devstack/*/ledger.json)"
run stop --supervisor; say stopped $code
say doubled "$("$D" events --json -n 1000 | sort | uniq -d | wc -l)"
say starts "$("$D" events --json -n 1000 | grep -c '"event":"starting"')"
say torn "$("$D" events 2>&1 | grep -c 'could not be read')"
"#,
    ) else {
        return;
    };
    let done = done.ends_with(0);
    for part in [
        "first=0\n",
        "second=0\n",
        "doubled=0\n",
        "starts=10\n",
        "torn=0\n",
        "full=running ",
        "No space left",
        "whole=yes\n",
        "leftovers=0\n",
        "freed=running well\n",
        "again=running well\n",
        "stopped=0\n",
    ] {
        assert!(done.stdout.contains(part), "{part}: {done:?}");
    }
}

#[test]
fn a_disk_that_became_read_only_keeps_a_start_back_and_what_runs_going() {
    let Some((_, done)) = in_a_small_state_folder(
        r#"
run start bot; say first $code
write_protect
run restart bot; say restarted $code
say shown "$(state)"
umount "$S"
say writable "$(state)"
run stop --supervisor; say stopped $code
write_protect
run start; say refused $code; say said "$(echo "$said" | tr '\n' ' ')"
say running "$(pgrep -x sleep | wc -l)"
run status; say status $code
umount "$S"
echo '{"cut short' >"$(echo "$S"/devstack/*/)ledger.json.new"
run start bot; say later $code
say leftovers "$(find "$S" -name '*.new' | wc -l)"
run stop --supervisor
"#,
    ) else {
        return;
    };
    let done = done.ends_with(0);
    for part in [
        "first=0\n",
        "restarted=0\n",
        "shown=running ",
        "Read-only file system",
        "writable=running well\n",
        "stopped=0\n",
        "refused=1\n",
        "running=0\n",
        "status=3\n",
        "later=0\n",
        "leftovers=0\n",
    ] {
        assert!(done.stdout.contains(part), "{part}: {done:?}");
    }
}
