//! Numbers that belong to somebody else by now, and processes that do not look like what they are.

use crate::support::{DEVSTACK, TestStack, kill, pid_in, proc_id, send};
use crate::world::{is_alive, wait_until};
use devstack::model::{ProcId, Signal};
use devstack::sys::{pidfd, procfs};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

const WEB: &str = "[services.web]\ncommand = ['sleep', '600']\nready = { delay = '0s' }\n";
const BOT: &str = "[services.bot]\ncommand = ['sleep', '601']\nready = { delay = '0s' }\n";

/// Nothing of it says that it is ours: neither folder nor arguments nor environment.
fn canary(stack: &TestStack) -> ProcId {
    let canary = stack.start_beside("env", &["-C", "/", "sleep", "6000"]);
    wait_until("it sleeps", || procfs::argv(canary.pid).is_ok_and(|argv| argv[0] == b"sleep"));
    canary
}

fn kill_the_pair(stack: &TestStack) {
    let (keeper, supervisor) = (stack.keeper(), stack.supervisor());
    send(keeper, Signal::STOP);
    kill(supervisor);
    kill(keeper);
}

/// The ledger of a run that was alive when everything was killed.
fn ledger_after_a_crash(stack: &TestStack) -> Value {
    stack.run("start").ends_with(0);
    let worker = stack.pid("web");
    kill_the_pair(stack);
    kill(worker);
    serde_json::from_slice(&fs::read(stack.state_file("ledger.json")).expect("a ledger")).expect("JSON")
}

fn plant(stack: &TestStack, ledger: &Value) {
    fs::write(stack.state_file("ledger.json"), ledger.to_string()).expect("a ledger");
}

fn process<'a>(ledger: &'a mut Value, service: &str) -> &'a mut Value {
    &mut ledger["stack"]["slots"][service]["process"]
}

/// What a ledger may say of somebody who was never ours, and why that is not enough.
fn impostors(canary: ProcId) -> Vec<(&'static str, Value)> {
    let inode = |pid| json!(pidfd::inode(pid));
    let one = procfs::id(1).expect("there is a first process");
    let us = proc_id(std::process::id().cast_signed());
    let of = |pid: i64, ticks: u64, inode: Value| json!({"main": {"pid": pid, "start_ticks": ticks}, "inode": inode});
    let mut cases = vec![
        ("other start ticks", of(canary.pid.into(), canary.start_ticks + 1, inode(canary.pid))),
        ("no kernel number, as in an older ledger", of(canary.pid.into(), canary.start_ticks, Value::Null)),
        ("the first process", of(1, one.start_ticks, inode(1))),
        ("nobody", of(0, 0, Value::Null)),
        ("everybody", of(-1, 0, Value::Null)),
        ("more than a pid can be", of(1 << 31, 0, Value::Null)),
        ("whoever runs the command", of(us.pid.into(), us.start_ticks, Value::Null)),
    ];
    match pidfd::inode(canary.pid) {
        Some(number) => cases.push(("another kernel number", of(canary.pid.into(), canary.start_ticks, json!(number + 1)))),
        None => eprintln!("this kernel gives processes no number of their own: that part is not tested"),
    }
    cases
}

#[test]
fn whoever_has_the_number_of_a_dead_worker_is_never_signalled() {
    let stack = TestStack::new(WEB);
    let template = ledger_after_a_crash(&stack);
    let canary = canary(&stack);
    for (case, planted) in impostors(canary) {
        for command in ["start", "stop", "restart", "cleanup-workers all --managed", "stop --supervisor"] {
            let mut ledger = template.clone();
            for key in ["main", "inode"] {
                process(&mut ledger, "web")[key] = planted[key].clone();
            }
            plant(&stack, &ledger);
            let done = stack.run("status --json").ends_with(3);
            let status: Value = serde_json::from_str(&done.stdout).expect("JSON");
            assert_eq!(status["services"][0]["pid"], Value::Null, "{case}");
            stack.run(command).ends_with(0);
            let running = stack.service("web")["pid"].clone();
            assert!(pid_in(&running).is_none_or(|pid| pid > 1 && pid != canary.pid), "{case}: {running}");
            stack.run("stop --supervisor").ends_with(0);
            assert!(is_alive(canary), "{case}, {command}");
            assert_eq!(stack.processes(), [], "{case}, {command}");
        }
    }
}

#[test]
fn a_number_that_changed_hands_is_told_as_an_end_that_nobody_saw() {
    let stack = TestStack::new(WEB);
    let mut ledger = ledger_after_a_crash(&stack);
    let canary = canary(&stack);
    process(&mut ledger, "web")["main"] = json!({"pid": canary.pid, "start_ticks": canary.start_ticks});
    plant(&stack, &ledger);
    let table = stack.run("status").ends_with(3);
    assert!(table.stdout.contains("it ended while no supervisor was there to see it"), "{table:?}");
    // Something else brings the supervisor up: the run is over, and says so.
    stack.run("start").ends_with(0);
    let web = stack.service("web");
    assert_eq!(web["last_exit"]["by"], "unknown", "{web:#}");
    assert!(is_alive(canary) && stack.pid("web") != canary);
}

#[test]
fn a_run_of_another_service_is_not_ended_in_place_of_ours() {
    let stack = TestStack::new(&[WEB, BOT].concat());
    let mut ledger = ledger_after_a_crash(&stack);
    let bot = process(&mut ledger, "bot").clone();
    *process(&mut ledger, "web") = bot.clone();
    plant(&stack, &ledger);
    let bot = proc_id(pid_in(&bot["main"]["pid"]).expect("a pid"));
    stack.run("stop web").ends_with(0);
    assert!(is_alive(bot));
    assert_eq!((stack.pid("bot"), &stack.service("web")["state"]), (bot, &"stopped".into()));
}

#[test]
fn after_a_reboot_nothing_of_before_is_signalled_and_services_come_up_as_new() {
    let stack = TestStack::new(WEB);
    let template = ledger_after_a_crash(&stack);
    let canary = canary(&stack);
    let edits: [(&str, Value); 3] =
        [("boot_id", json!("00000000-0000-0000-0000-000000000000")), ("pid_namespace", json!(1)), ("time_namespace", json!(1))];
    for (key, other) in edits {
        for command in ["start", "stop", "restart", "stop --supervisor"] {
            let mut ledger = template.clone();
            assert!(ledger[key].is_string() || ledger[key].is_u64(), "{key} is recorded");
            ledger[key] = other.clone();
            process(&mut ledger, "web")["main"] = json!({"pid": canary.pid, "start_ticks": canary.start_ticks});
            process(&mut ledger, "web")["inode"] = json!(pidfd::inode(canary.pid));
            plant(&stack, &ledger);
            let web = stack.service("web");
            assert_eq!((&web["state"], &web["pid"], &web["last_exit"]), (&json!("stopped"), &Value::Null, &Value::Null), "{key}");
            stack.run(command).ends_with(0);
            let web = stack.service("web");
            assert!(web["restarts"] == 0 && pid_in(&web["pid"]) != Some(canary.pid), "{web:#}");
            stack.run("stop --supervisor").ends_with(0);
            assert!(is_alive(canary), "{key}, {command}");
        }
    }
}

/// Runs as the first process of a pid namespace, so that its end is that of everything in it. Kills the pair and the worker, has
/// another process take the worker's number, and tells what each command did to it.
const RECYCLE: &str = r#"
import json, os, signal, subprocess, sys

devstack, ledger_path = sys.argv[1], sys.argv[2]
run = lambda *words: subprocess.run([devstack, *words], capture_output=True, text=True)
alive = lambda pid: open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"

def end(pid):
    os.kill(pid, signal.SIGKILL)

def reap():
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        pass

def canary_with_number(number):
    for _ in range(200):
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write(str(number - 1))
        child = os.fork()
        if child == 0:
            os.chdir("/")
            os.execve("/bin/sleep", ["sleep", "6000"], {})
        if child == number:
            return child
        end(child)
        os.waitpid(child, 0)
    sys.exit(f"number {number} was never free")

for command in ["start", "stop", "restart", "stop --supervisor"]:
    for same_tick in [False, True]:
        run("start")
        status = json.loads(run("status", "--json").stdout)
        supervisor, worker = status["supervisor"]["pid"], status["services"][0]["pid"]
        keeper = int(open(f"/proc/{supervisor}/stat").read().rsplit(")", 1)[1].split()[1])
        os.kill(keeper, signal.SIGSTOP)
        doomed = [supervisor, keeper, worker]
        for pid in doomed:
            end(pid)
        while any(os.path.exists(f"/proc/{pid}") for pid in doomed):
            reap()
        canary = canary_with_number(worker)
        if same_tick:
            # As if it had started within the tick that the worker started in.
            ledger = json.load(open(ledger_path))
            ticks = int(open(f"/proc/{canary}/stat").read().rsplit(")", 1)[1].split()[19])
            ledger["stack"]["slots"]["web"]["process"]["main"]["start_ticks"] = ticks
            json.dump(ledger, open(ledger_path, "w"))
        shown = json.loads(run("status", "--json").stdout)["services"][0]["pid"]
        done = run(*command.split())
        print(json.dumps({"case": [command, same_tick], "shown": shown, "code": done.returncode, "alive": alive(canary), "said": done.stderr}))
        end(canary)
        os.waitpid(canary, 0)
        run("stop", "--supervisor")
        reap()
"#;

#[test]
fn whoever_really_gets_the_number_of_a_dead_worker_is_left_alone() {
    let stack = TestStack::new(WEB);
    stack.run("start").ends_with(0);
    stack.run("stop --supervisor").ends_with(0);
    let ledger = stack.state_file("ledger.json");
    stack.write("recycle.py", RECYCLE);
    let mut command = Command::new("unshare");
    stack.in_its_environment(&mut command).args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("not tested: only root may make a pid namespace with a /proc of its own");
    }
    command.args(["python3", "recycle.py", DEVSTACK]).arg(ledger);
    let done = stack.begin_command(command).end().ends_with(0);
    let cases: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(cases.len(), 8, "{done:?}");
    for case in cases {
        assert_eq!((&case["alive"], &case["shown"], &case["code"]), (&json!(true), &Value::Null, &json!(0)), "{case:#}");
    }
}
