//! `cleanup-workers --leftovers` against what real CPython pools leave, each test on a machine of its own: nobody else's
//! processes and shared memory are there, and nothing of it stays.

use crate::support::{DEVSTACK, TestStack};
use nix::unistd::Uid;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

const WEB: &str = "[services.web]\ncommand = 'python3 worker.py web'\n";

/// In which a script has processes, shared memory and a folder for temporary files to itself.
struct Machine {
    stack: TestStack,
    script: String,
    own_memory: bool,
}

impl Machine {
    fn new() -> Self {
        let stack = TestStack::new(WEB);
        let stub = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/stub/pools.py");
        fs::copy(stub, stack.root.join("pools.py")).expect("the stub");
        fs::create_dir(stack.root.join("temp")).expect("a folder");
        Self { stack, script: String::new(), own_memory: true }
    }

    fn sharing_memory() -> Self {
        Self { own_memory: false, ..Self::new() }
    }

    fn then(mut self, line: &str) -> Self {
        self.script.push_str(line);
        self.script.push('\n');
        self
    }

    /// `devstack cleanup-workers --leftovers`; what it prints goes to a file of that name, what it says to one in `.said`.
    fn clean(self, options: &str, file: &str) -> Self {
        self.then(&format!("{DEVSTACK} cleanup-workers --leftovers {options} >{file} 2>{file}.said"))
    }

    /// Something that goes on living, once it has told its paths.
    fn with(self, what: &str, file: &str) -> Self {
        self.then(&format!("python3 pools.py {what} {file} >{file}.pid &\nuntil [ -s {file}.pid ]; do sleep 0.02; done"))
    }

    /// `None`, with a word about it, where the kernel does not let this user have such a machine.
    fn run(&self) -> Option<&Self> {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--mount", "--fork", "--mount-proc", "--kill-child"]);
        command.args(self.own_memory.then_some("--ipc"));
        command.args((!Uid::effective().is_root()).then_some("--map-root-user"));
        let possible = Command::new("unshare").args(command.get_args()).arg("true").output().expect("unshare");
        if !possible.status.success() {
            println!("not tried: no namespaces here: {}", String::from_utf8_lossy(&possible.stderr).trim());
            return None;
        }
        let script = format!("set -eu\nmount -t tmpfs tmpfs /dev/shm\n{}\nls /dev/shm >shm\n ls temp >temps\n", self.script);
        command.args(["sh", "-c", &script]);
        self.stack.in_its_environment(&mut command).env("TMPDIR", self.stack.root.join("temp"));
        self.stack.begin_command(command).end().ends_with(0);
        Some(self)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.stack.root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn lines(&self, file: &str) -> Vec<String> {
        self.read(file).lines().map(str::to_owned).collect()
    }

    fn json(&self, file: &str) -> Value {
        serde_json::from_str(&self.read(file))
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.read(file), self.read(&format!("{file}.said"))))
    }

    fn leftovers(&self, file: &str) -> Vec<Leftover> {
        self.json(file)["leftovers"].as_array().expect("a list").iter().map(Leftover::from).collect()
    }

    /// Of everything that is there at the end.
    fn left(&self) -> Vec<String> {
        [self.lines("shm"), self.lines("temps")].concat()
    }

    /// devstack, too, is in a pid namespace here, and so believes that a folder is nobody else's only where its own root is.
    fn keeps_its_folders(&self) -> bool {
        let device = |path: &std::path::Path| fs::metadata(path).expect("a folder").dev();
        let same = device(&self.stack.root) == device("/".as_ref());
        if !same {
            println!("not tried with temp folders: they are on another file system than / here");
        }
        same
    }
}

#[derive(Debug, PartialEq)]
struct Leftover {
    path: String,
    kind: String,
    action: String,
    reason: String,
    size: u64,
    age: Option<f64>,
}

impl From<&Value> for Leftover {
    fn from(value: &Value) -> Self {
        let word = |key: &str| value[key].as_str().unwrap_or_else(|| panic!("no {key}: {value}")).to_owned();
        let (size, age) = (value["size_bytes"].as_u64().expect("a number"), value["age_seconds"].as_f64());
        Self { path: word("path"), kind: word("kind"), action: word("action"), reason: word("reason"), size, age }
    }
}

fn paths(all: &[Leftover]) -> Vec<String> {
    let mut paths: Vec<String> = all.iter().map(|one| one.path.clone()).collect();
    paths.sort();
    paths
}

fn count(all: &[Leftover], kind: &str) -> usize {
    all.iter().filter(|one| one.kind == kind).count()
}

#[test]
fn what_a_pool_left_that_was_killed_as_a_whole_goes_and_each_is_told() {
    let machine = Machine::new().then("python3 pools.py leave made").clean("--dry-run --json", "plan").then("ls /dev/shm >before");
    let machine = machine.clean("--json", "done").clean("--json", "again");
    let Some(machine) = machine.run() else { return };
    if !machine.keeps_its_folders() {
        return;
    }
    let (plan, done) = (machine.leftovers("plan"), machine.leftovers("done"));
    assert_eq!((paths(&plan), paths(&done)), (machine.lines("made"), machine.lines("made")), "{done:#?}");
    assert!(count(&done, "semaphore") >= 3 && count(&done, "shared_memory") == 1 && count(&done, "temp_folder") >= 1, "{done:#?}");
    assert!(plan.iter().all(|one| one.action == "would_remove") && machine.lines("before").len() >= 4, "{plan:#?}");
    assert!(done.iter().all(|one| one.action == "removed" && one.age.is_some_and(|age| (0.0..600.0).contains(&age))), "{done:#?}");
    assert!(done.iter().any(|one| one.kind == "shared_memory" && one.size >= 300_000), "{done:#?}");
    assert_eq!((machine.left(), machine.json("again")["leftovers"].clone()), (vec![], Value::Array(vec![])));
    assert_eq!(machine.json("done")["processes"], Value::Array(vec![]));
}

#[test]
fn without_being_asked_for_nothing_of_it_is_touched() {
    let machine = Machine::new().then("python3 pools.py leave made").then(&format!("{DEVSTACK} cleanup-workers --json >done"));
    let Some(machine) = machine.run() else { return };
    assert_eq!(machine.json("done").get("leftovers"), None);
    assert_eq!(machine.left().len(), machine.lines("made").len());
}

#[test]
fn a_person_is_told_what_went_and_what_is_in_use_is_only_counted() {
    let machine = Machine::new().then("python3 pools.py leave made").with("live", "all").clean("", "first").clean("", "second");
    let Some(machine) = machine.run() else { return };
    let (told, said) = (machine.read("first"), machine.read("first.said"));
    assert!(told.contains("/dev/shm/sem.mp-") && told.contains("removed") && told.contains("no process uses it"), "{told}");
    assert!(said.contains("Removed ") && said.contains(" leftovers, ") && said.contains("are in use by living processes"), "{said}");
    assert!(machine.read("second.said").contains("No leftovers to remove."), "{}", machine.read("second.said"));
}

#[test]
fn a_living_pool_of_anybody_keeps_everything_it_uses() {
    let machine = Machine::new().with("live", "living").clean("--json", "done");
    let Some(machine) = machine.run() else { return };
    let done = machine.leftovers("done");
    assert_eq!(paths(&done), machine.lines("living"));
    for one in &done {
        assert_eq!((one.action.as_str(), one.reason.starts_with("in use by pid ")), ("left_alone", true), "{one:?}");
    }
    assert_eq!(machine.left().len(), done.len());
}

#[test]
fn what_a_living_process_knows_by_name_alone_stays_with_it() {
    let machine = Machine::new().with("close", "known").clean("--json", "done");
    let Some(machine) = machine.run() else { return };
    let done = machine.leftovers("done");
    assert_eq!((paths(&done), machine.left().len()), (machine.lines("known"), 2));
    let reason = "may know its name: a Python that is about as old, or older";
    let kept = |one: &Leftover| one.action == "left_alone" && (one.reason.ends_with(reason) || one.reason.starts_with("cannot be told: "));
    assert!(done.iter().all(kept), "{done:#?}");
}

#[test]
fn what_the_processes_held_that_were_just_ended_goes_too() {
    let machine = Machine::new().then("python3 pools.py orphan made").clean("--json", "done");
    let Some(machine) = machine.run() else { return };
    let (document, done) = (machine.json("done"), machine.leftovers("done"));
    assert!(document["processes"].as_array().expect("a list").len() >= 2, "{document:#}");
    assert!(
        count(&done, "semaphore") >= 3 && done.iter().filter(|one| one.kind == "semaphore").all(|one| one.action == "removed"),
        "{done:#?}"
    );
    assert!(!machine.left().iter().any(|name| name.starts_with("sem.")), "{:?}", machine.left());
}

#[test]
fn what_hides_behind_such_a_name_is_not_followed_and_what_others_put_there_stays() {
    let planted = "
        echo precious >precious; mkdir folder; echo precious >folder/listener-aaaaaaaa
        ln -s $PWD/precious /dev/shm/sem.mp-aaaaaaaa; ln -s $PWD/nowhere /dev/shm/psm_00000000
        mkdir /dev/shm/psm_11111111; mkfifo /dev/shm/pym-1-aaaaaaaa
        ln -s $PWD/folder temp/pymp-aaaaaaaa
        mkdir temp/pymp-bbbbbbbb temp/pymp-cccccccc temp/pymp-dddddddd; ln -s $PWD/precious temp/pymp-bbbbbbbb/listener-aaaaaaaa
        echo mine >temp/pymp-cccccccc/notes.txt; mkdir temp/pymp-dddddddd/listener-bbbbbbbb
        echo mine >/dev/shm/sem.mine; echo mine >/dev/shm/psm_model; mkdir temp/pymp-x";
    let machine = Machine::new().then(planted).clean("--json", "done");
    let Some(machine) = machine.run() else { return };
    let done = machine.leftovers("done");
    assert_eq!((done.len(), machine.left().len()), (8, 11), "{done:#?}");
    assert!(done.iter().all(|one| one.action == "left_alone" && one.reason.starts_with("not as Python makes it: it ")), "{done:#?}");
    assert_eq!((machine.read("precious"), machine.read("folder/listener-aaaaaaaa")), ("precious\n".to_owned(), "precious\n".to_owned()));
    assert!(machine.stack.root.join("temp/pymp-cccccccc/notes.txt").exists() && machine.stack.root.join("temp/pymp-bbbbbbbb").exists());
}

#[test]
fn another_users_files_are_not_even_looked_at_by_root() {
    if !Uid::effective().is_root() {
        println!("not tried: only root can give a file away");
        return;
    }
    let planted = "
        echo theirs >/dev/shm/sem.mp-aaaaaaaa; echo theirs >/dev/shm/psm_00000000; mkdir temp/pymp-aaaaaaaa
        chown 65534 /dev/shm/sem.mp-aaaaaaaa /dev/shm/psm_00000000 temp/pymp-aaaaaaaa
        mkdir temp/pymp-bbbbbbbb; echo theirs >temp/pymp-bbbbbbbb/pym-1-aaaaaaaa; chown 65534 temp/pymp-bbbbbbbb/pym-1-aaaaaaaa";
    let machine = Machine::new().then(planted).clean("--json", "done");
    let Some(machine) = machine.run() else { return };
    let done = machine.leftovers("done");
    assert_eq!(done.len(), 1, "{done:#?}");
    assert_eq!((done[0].action.as_str(), done[0].path.ends_with("pymp-bbbbbbbb")), ("left_alone", true), "{done:#?}");
    assert_eq!(machine.left().len(), 4);
}

#[test]
fn what_is_younger_than_asked_for_stays() {
    let made = "echo x >/dev/shm/sem.mp-aaaaaaaa";
    let machine = Machine::new().then(made).clean("--json --older-than 1d", "young").clean("--json --older-than 0s", "old");
    let Some(machine) = machine.run() else { return };
    let young = &machine.leftovers("young")[0];
    assert_eq!((young.action.as_str(), young.reason.as_str()), ("left_alone", "younger than 1day"));
    assert_eq!((machine.leftovers("old")[0].action.as_str(), machine.left().len()), ("removed", 0));
}

#[test]
fn a_container_that_shares_memory_with_others_does_not_believe_that_it_sees_all_of_them() {
    let made = "echo x >/dev/shm/sem.mp-aaaaaaaa; echo x >/dev/shm/psm_00000000";
    let machine = Machine::sharing_memory().then(made).clean("--json", "done");
    let Some(machine) = machine.run() else { return };
    let done = machine.leftovers("done");
    let reason = "cannot be told: this container shares memory with processes that cannot be seen from here";
    assert_eq!((done[0].kind.as_str(), done[0].action.as_str(), done[0].reason.as_str()), ("shared_memory", "left_alone", reason));
    assert_eq!((done[1].kind.as_str(), done[1].action.as_str()), ("semaphore", "removed"), "its use is known to the kernel");
}

#[test]
fn leftovers_of_one_service_are_a_mistake_that_is_explained() {
    let stack = TestStack::new(WEB);
    let done = stack.run("cleanup-workers web --leftovers --dry-run").ends_with(2);
    done.says("--leftovers cannot be limited to services").says("hint: leave the services out");
    stack.run("cleanup-workers all --leftovers --dry-run").ends_with(0);
}
