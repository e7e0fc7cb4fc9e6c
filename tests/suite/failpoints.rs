//! Devstack killed at every place where it may be in the middle of something: each time the next command makes it whole again.

use crate::another_version::{newer, runs};
use crate::rotation::ROTATION;
use crate::running::Done;
use crate::support::{DEVSTACK, TestStack, kill};
use crate::world::{is_alive, wait_until};
use devstack::model::ProcId;
use devstack::sys::failpoint::{Failpoint, VARIABLE};
use devstack::sys::procfs;
use std::path::{Path, PathBuf};

const SERVICES: &str = "
[services.bot]
command = 'python3 worker.py bot'
[services.web]
command = 'python3 worker.py web'
depends_on = ['bot']
restart = 'always'
restart_delay = '10ms'
";

/// Of the last service.
const HOOKED: &str = "hooks = { pre_start = ['true'], post_stop = ['true'] }";

/// A place is reached this often at the most within one life; the walk ends earlier where it is reached less often.
const OFTEN: u32 = 40;

struct Life {
    /// Supervisor and keeper are killed from outside, too.
    upheaval: bool,
    stack: TestStack,
    fuse: PathBuf,
    place: String,
}

impl Life {
    fn new(place: Failpoint, count: u32, upheaval: bool) -> Self {
        let hooks = if HOOKS.contains(&place) { HOOKED } else { "" };
        let stack = TestStack::new(&format!("{SERVICES}{hooks}"));
        let fuse = stack.new_output("fuse");
        std::fs::write(&fuse, "").expect("a file");
        stack.set(VARIABLE, format!("{}:{count}:{}", place.name(), fuse.display()));
        Self { upheaval, stack, fuse, place: format!("{} {count}", place.name()) }
    }

    fn was_killed(&self) -> bool {
        !self.fuse.exists()
    }

    /// Whoever asked a devstack that was killed is told so, and asks again.
    fn ask(&self, line: &str) -> Done {
        let before = self.was_killed();
        let done = self.stack.run(line);
        if done.code == Some(0) {
            return done;
        }
        assert!(self.was_killed() && !before, "{}: {done:?}", self.place);
        self.stack.run(line).ends_with(0)
    }

    /// The main processes that run, by what they carry.
    fn mains(&self, service: &str) -> Vec<ProcId> {
        let is_main = |id: &ProcId| {
            let value = |name: &[u8]| procfs::environ_value(id.pid, name).and_then(|value| String::from_utf8(value).ok());
            value(b"DEVSTACK_PID").is_some_and(|pid| pid == id.pid.to_string())
                && value(b"DEVSTACK_RUN").is_some_and(|run| run.starts_with(&format!("shop/{service}/")))
        };
        self.stack.processes().into_iter().filter(is_main).collect()
    }

    /// What status says, and the process table too: one of each.
    fn both_run(&self) -> [ProcId; 2] {
        ["bot", "web"].map(|service| {
            wait_until(&format!("{}: {service} runs", self.place), || {
                let said = self.stack.service(service);
                assert!(self.mains(service).len() <= 1, "{}: two of {service}: {said:#}", self.place);
                said["state"] == "running" && said["pid"].as_i64() == self.mains(service).first().map(|id| i64::from(id.pid))
            });
            self.mains(service)[0]
        })
    }

    /// What comes after is the same, and the workers too.
    fn disturb(&self, web: ProcId) {
        if !self.upheaval {
            return;
        }
        for half in [TestStack::supervisor, TestStack::keeper] {
            kill(half(&self.stack));
            self.ask("start");
            assert_eq!(self.both_run()[1], web, "{}: a worker is not devstack", self.place);
        }
    }

    /// Start, crash of a worker, restart of another, stop, farewell.
    fn live(&self) {
        self.ask("start");
        let [bot, web] = self.both_run();
        self.disturb(web);
        kill(web);
        wait_until(&format!("{}: web is replaced", self.place), || self.mains("web").first().is_some_and(|id| *id != web));
        let [same, replaced] = self.both_run();
        assert_eq!(same, bot, "{}: bot was not asked for anything", self.place);
        self.ask("restart web");
        let [same, restarted] = self.both_run();
        assert!(same == bot && restarted != replaced && !is_alive(replaced), "{}", self.place);
        self.ask("stop web");
        assert_eq!((self.mains("web"), self.mains("bot")), (vec![], vec![bot]), "{}", self.place);
        assert_eq!(self.stack.service("web")["state"], "stopped", "{}", self.place);
        self.ask("stop --supervisor");
        assert_eq!(self.stack.processes(), [], "{}", self.place);
        assert_eq!(self.stack.times("bot", "started").len(), 1, "{}: bot ran once", self.place);
        self.every_end_is_told_once();
        // Its asked-for restart may have been asked for twice.
        assert!((3..=4).contains(&self.stack.times("web", "started").len()), "{}: {}", self.place, self.stack.log("web"));
    }
}

impl Life {
    fn every_end_is_told_once(&self) {
        let told = self.stack.run("events --json -n 1000").ends_with(0);
        let records = told.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        let ends: Vec<_> = records.filter(|record| record["event"] == "ended").collect();
        let runs: std::collections::BTreeSet<String> = ends.iter().map(|end| end["run_id"].to_string()).collect();
        assert_eq!(runs.len(), ends.len(), "{}: {}", self.place, told.stdout);
        for service in ["bot", "web"] {
            let count = ends.iter().filter(|end| end["service"] == service).count();
            assert!(count >= self.stack.times(service, "started").len(), "{}: {}", self.place, told.stdout);
        }
    }
}

/// How often the place was reached before it was no longer reached in the whole of a life.
fn walk(place: Failpoint, upheaval: bool) -> u32 {
    for count in 1..=OFTEN {
        let life = Life::new(place, count, upheaval);
        life.live();
        if !life.was_killed() {
            return count - 1;
        }
    }
    panic!("{} is reached more than {OFTEN} times", place.name());
}

fn survives(upheaval: bool, places: &[Failpoint]) {
    for place in places {
        assert!(walk(*place, upheaval) > 0, "{} is never reached", place.name());
    }
}

const COMING_UP: [Failpoint; 4] = [Failpoint::SocketBound, Failpoint::BeforeSupervisor, Failpoint::LedgerLoaded, Failpoint::Recovered];
const SPAWN: [Failpoint; 3] = [Failpoint::BeforeSpawn, Failpoint::Spawned, Failpoint::Released];
const LEDGER: [Failpoint; 2] = [Failpoint::LedgerWritten, Failpoint::LedgerReplaced];
const JOURNAL: [Failpoint; 1] = [Failpoint::JournalWritten];
const SIGNAL: [Failpoint; 2] = [Failpoint::BeforeSignal, Failpoint::Signalled];
const SWEEP: [Failpoint; 4] = [Failpoint::SweepBegun, Failpoint::Swept, Failpoint::BeforeReap, Failpoint::Reaped];
const UPGRADE: [Failpoint; 4] = [Failpoint::Upgrading, Failpoint::GoingOn, Failpoint::Succeeding, Failpoint::Succeeded];
const LEAVING: [Failpoint; 1] = [Failpoint::Leaving];
const HOOKS: [Failpoint; 2] = [Failpoint::HelperBegun, Failpoint::HookEnded];
const COMING_BACK: [Failpoint; 2] = [Failpoint::Adopted, Failpoint::BecomingKeeper];

#[test]
fn killed_while_the_pair_comes_up() {
    survives(false, &COMING_UP);
}

#[test]
fn killed_around_a_hook() {
    survives(false, &HOOKS);
}

#[test]
fn killed_around_a_spawn() {
    survives(false, &SPAWN);
}

#[test]
fn killed_at_every_write_of_the_ledger() {
    survives(false, &LEDGER);
}

#[test]
fn killed_at_every_write_of_the_journal() {
    survives(false, &JOURNAL);
}

#[test]
fn killed_around_a_signal() {
    survives(false, &SIGNAL);
}

#[test]
fn killed_around_a_sweep_and_the_reaping() {
    survives(false, &SWEEP);
}

#[test]
fn killed_on_the_way_out() {
    survives(false, &LEAVING);
}

#[test]
fn killed_while_it_comes_back_from_an_earlier_kill() {
    survives(true, &COMING_BACK);
}

/// Until the keeper knows of the new program, the old one is what comes back.
#[test]
fn killed_in_the_middle_of_an_upgrade() {
    for place in UPGRADE {
        let life = Life::new(place, 1, false);
        let stack = &life.stack;
        let newer = newer(stack);
        life.ask("start");
        let (keeper, workers) = (stack.keeper(), life.both_run());
        // Where it came far enough before it was killed, this has seen it succeed.
        let _ = stack.run_with(&newer, "upgrade");
        wait_until(&format!("{}: it is killed", life.place), || life.was_killed());
        assert_eq!((stack.keeper(), life.both_run()), (keeper, workers), "{}", life.place);
        let program = if place == Failpoint::Succeeded { &newer } else { Path::new(DEVSTACK) };
        assert!(runs(stack.supervisor().pid, program) && runs(keeper.pid, program), "{}", life.place);
        stack.run_with(&newer, "upgrade").ends_with(0);
        assert_eq!(life.both_run(), workers, "{}", life.place);
        assert!(runs(stack.supervisor().pid, &newer), "{}", life.place);
        life.ask("stop --supervisor");
        assert_eq!(stack.processes(), [], "{}", life.place);
        assert_eq!((stack.times("bot", "started").len(), stack.times("web", "started").len()), (1, 1), "{}", life.place);
    }
}

#[test]
fn every_place_has_its_test() {
    let tested = [&COMING_UP[..], &HOOKS, &SPAWN, &LEDGER, &JOURNAL, &SIGNAL, &SWEEP, &LEAVING, &COMING_BACK, &UPGRADE, &ROTATION].concat();
    assert!(Failpoint::ALL.iter().all(|place| tested.contains(place)));
}
