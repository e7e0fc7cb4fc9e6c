//! What has to hold once the stack is settled, judged by `/proc` and held against what devstack says.

use crate::harness::Failure;
use crate::harness::process::{self, Process};
use crate::stack::{Look, SERVICES, Stack, Worker, name, replaces_its_members};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The machine may be doing a lot besides.
const PATIENCE: Duration = Duration::from_secs(120);

/// A promise that was not kept, with what there is to see.
#[derive(Debug)]
pub struct Violation {
    pub what: String,
    pub evidence: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}\n{}", self.what, self.evidence)
    }
}

impl std::error::Error for Violation {}

/// What is to be once it is settled; `None`: it was asked by somebody who was killed before the answer.
pub type Wanted = [Option<bool>; SERVICES];

pub struct Settled {
    pub look: Look,
    pub took: Duration,
}

pub fn violated(stack: &Stack, look: &Look, what: impl Into<String>, status: &str) -> Failure {
    let tail = |path: Option<PathBuf>, lines: usize| {
        let text = path.and_then(|path| fs::read(path).ok()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n  ")
    };
    let own_log = tail(stack.place.state_file(&stack.root, "supervisor.log"), 20);
    let mut evidence = format!("processes:\n{}status: {status}\nsupervisor.log:\n  {own_log}\n", look.lines());
    for service in (0..SERVICES).map(name) {
        let log = tail(Some(stack.root.join(format!("logs/dev_{service}.log"))), 5);
        evidence.push_str(&format!("log of {service}:\n  {log}\n"));
    }
    Box::new(Violation { what: what.into(), evidence })
}

/// Counts what was checked.
#[derive(Default)]
pub struct Checks {
    pub count: u64,
}

impl Checks {
    fn that(&mut self, holds: bool, what: impl FnOnce() -> String, problems: &mut Vec<String>) {
        self.count += 1;
        if !holds {
            problems.push(what());
        }
    }

    /// Never two main processes of one service, and nobody who stands by is touched: at every look.
    pub fn at_any_time(&mut self, stack: &Stack, look: &Look) -> Result<(), Failure> {
        let mut problems = Vec::new();
        for service in 0..SERVICES {
            let mains = look.mains_of(service);
            self.that(mains.len() <= 1, || format!("{} has two main processes", name(service)), &mut problems);
        }
        for (id, what) in &stack.decoys {
            let it = Process::read(id.pid).filter(|it| it.id == *id && !it.is_zombie());
            self.that(it.is_some(), || format!("somebody who stands by was ended: {what}"), &mut problems);
            self.that(it.is_none_or(|it| !it.is_stopped()), || format!("somebody who stands by was stopped: {what}"), &mut problems);
        }
        if problems.is_empty() { Ok(()) } else { Err(violated(stack, look, problems.join("; "), "")) }
    }

    /// Waits until everything is as it has to be; what is not so within the time is a violation.
    pub fn settle(&mut self, stack: &mut Stack, wanted: &Wanted, before: &Look, hit: &BTreeSet<usize>) -> Result<Settled, Failure> {
        let began = Instant::now();
        loop {
            let (status, done) = stack.place.status(&stack.root)?;
            let look = stack.look();
            self.at_any_time(stack, &look)?;
            let mut problems = Vec::new();
            self.that(matches!(done.code, Some(0 | 3)), || format!("status failed: {done:?}"), &mut problems);
            self.devstack(&look, &status, &mut problems);
            for (service, wanted) in wanted.iter().enumerate() {
                self.service(service, *wanted, &look, &status, &mut problems);
            }
            self.nothing_else(&look, &mut problems);
            if problems.is_empty() {
                self.nothing_lost(stack, before, &look, hit, &done.stdout)?;
                self.every_end_is_told(stack, before, &look)?;
                return Ok(Settled { look, took: began.elapsed() });
            }
            if began.elapsed() > PATIENCE {
                return Err(violated(stack, &look, format!("not settled after {PATIENCE:?}: {}", problems.join("; ")), &done.stdout));
            }
            let watched = look.devstack.iter().chain(look.workers.iter().map(|it| &it.process));
            let held: Vec<_> = watched.filter_map(|it| process::open(it.id)).collect();
            process::wait_for_one(&held, Duration::from_millis(20));
        }
    }

    fn devstack(&mut self, look: &Look, status: &Value, problems: &mut Vec<String>) {
        let said = status["supervisor"]["pid"].as_i64();
        let pair = look.pair();
        self.that(look.devstack.len() == 2 && pair.is_some(), || "there is not one keeper with one supervisor".to_owned(), problems);
        let same = said.is_some() && said == pair.map(|(_, supervisor)| i64::from(supervisor.pid));
        self.that(same, || format!("status names supervisor {said:?}, there is {pair:?}"), problems);
        for it in &look.zombies {
            self.that(false, || format!("never collected: {}", it.line()), problems);
        }
    }

    fn service(&mut self, service: usize, wanted: Option<bool>, look: &Look, status: &Value, problems: &mut Vec<String>) {
        let (name, mains) = (name(service), look.mains_of(service));
        let view = status["services"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name.as_str()));
        let Some(view) = view else { return problems.push(format!("status does not know {name}")) };
        let (state, ready) = (view["state"].as_str().unwrap_or_default(), view["ready"] == true);
        let (up, down) = (state == "running" && ready, state == "stopped");
        let as_wanted = wanted.map_or(up || down, |wanted| if wanted { up } else { down });
        self.that(as_wanted, || format!("{name} is {state} (ready: {ready}), wanted: {wanted:?}"), problems);
        let main = mains.first().map(|main| i64::from(main.process.id.pid));
        self.that(view["pid"].as_i64() == main, || format!("{name}: status says pid {}, there is {main:?}", view["pid"]), problems);
        let run = look.run_of(service);
        let pids: BTreeSet<i64> = run.iter().map(|it| i64::from(it.process.id.pid)).collect();
        let tree: BTreeSet<i64> = view["tree"].as_array().into_iter().flatten().filter_map(|it| it["pid"].as_i64()).collect();
        self.that(tree == pids, || format!("{name}: status shows {tree:?}, there is {pids:?}"), problems);
        let members = run.iter().filter(|it| !it.is_main && !it.process.is_tracker()).count();
        // A pool that lost a member replaces it, or ends at the next task that it is given.
        let whole = run.is_empty() || !replaces_its_members(service) || members >= 2;
        self.that(whole, || format!("{name} has {members} members"), problems);
        let strays = run.iter().filter(|it| !it.is_main && !pids.contains(&i64::from(it.process.ppid))).count() as u64;
        self.that(view["strays"].as_u64() == Some(strays), || format!("{name}: strays {}, there are {strays}", view["strays"]), problems);
    }

    fn nothing_else(&mut self, look: &Look, problems: &mut Vec<String>) {
        let living: BTreeSet<Option<u64>> = look.mains().map(|main| main.mark).collect();
        for it in &look.workers {
            let of_living = it.mark.is_some() && living.contains(&it.mark);
            self.that(of_living, || format!("survived its run: {}", it.process.line()), problems);
            self.that(!it.process.is_stopped(), || format!("left stopped: {}", it.process.line()), problems);
        }
    }

    /// What was not hit goes on as the same process.
    fn nothing_lost(&mut self, stack: &Stack, before: &Look, after: &Look, hit: &BTreeSet<usize>, status: &str) -> Result<(), Failure> {
        let mut problems = Vec::new();
        for service in (0..SERVICES).filter(|service| !hit.contains(service)) {
            for it in before.run_of(service) {
                let id = it.process.id;
                let goes_on = after.workers.iter().any(|other| other.process.id == id);
                self.that(goes_on, || format!("{} was not hit and lost {}", name(service), it.process.line()), &mut problems);
            }
        }
        let what = || format!("{}\nbefore:\n{}", problems.join("; "), before.lines());
        if problems.is_empty() { Ok(()) } else { Err(violated(stack, after, what(), status)) }
    }

    /// Of each run that was there and is gone the journal tells one end.
    fn every_end_is_told(&mut self, stack: &Stack, before: &Look, after: &Look) -> Result<(), Failure> {
        let run_of = |main: &Worker| main.run.as_deref().and_then(|run| run.rsplit('/').next()).map(str::to_owned);
        let living: BTreeSet<String> = after.mains().filter_map(run_of).collect();
        let gone: Vec<String> = before.mains().filter_map(run_of).filter(|run| !living.contains(run)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        let mut problems = Vec::new();
        let told = ends_in_the_journal(stack);
        for run in gone {
            let count = told.iter().filter(|one| **one == run).count();
            self.that(count == 1, || format!("the journal tells {count} ends of run {run}"), &mut problems);
        }
        if problems.is_empty() { Ok(()) } else { Err(violated(stack, after, problems.join("; "), "")) }
    }

    /// Right after a `stop` of these services that succeeded.
    pub fn nothing_of(&mut self, stack: &Stack, services: &[usize], before: &Look) -> Result<(), Failure> {
        let look = stack.look();
        let named: Vec<String> = services.iter().map(|service| name(*service)).collect();
        let of_service = |it: &&Worker| it.service().is_some_and(|service| named.iter().any(|name| name == service));
        let marks: BTreeSet<u64> = before.workers.iter().filter(of_service).filter_map(|it| it.mark).collect();
        let of_it = |it: &&Worker| of_service(it) || it.mark.is_some_and(|mark| marks.contains(&mark));
        let left: Vec<String> = look.workers.iter().filter(of_it).map(|it| it.process.line()).collect();
        self.count += 1;
        if left.is_empty() {
            return Ok(());
        }
        Err(violated(stack, &look, format!("stop succeeded, and there is still: {}", left.join("; ")), ""))
    }

    /// What the tracker of a run would have removed is gone with the run. `explained`: runs whose tracker was killed.
    pub fn no_semaphore_of_the_gone(&mut self, stack: &Stack, look: &Look, explained: &BTreeSet<String>) -> Result<(), Failure> {
        let living: BTreeSet<&str> = look.mains().filter_map(|main| main.run.as_deref()).collect();
        let mut problems = Vec::new();
        for (file, _, run) in stack.semaphores() {
            let why = living.contains(run.as_str()) || explained.contains(&run) || !stack.was_ready(&run);
            self.that(why, || format!("{} of {run} is still there, whose tracker nobody killed", file.display()), &mut problems);
        }
        if problems.is_empty() { Ok(()) } else { Err(violated(stack, look, problems.join("; "), "")) }
    }

    /// After `stop --supervisor`. `explained`: runs whose semaphores nobody was left to remove.
    pub fn nothing_at_all(&mut self, stack: &mut Stack, explained: &BTreeSet<String>, own_memory: bool) -> Result<usize, Failure> {
        let look = stack.look();
        let mut problems = Vec::new();
        for it in &look.workers {
            self.that(false, || format!("still there: {}", it.process.line()), &mut problems);
        }
        self.that(look.devstack.is_empty(), || "devstack itself is still there".to_owned(), &mut problems);
        let name = stack.place.state_file(&stack.root, "").ok_or("no state folder")?;
        let id = name.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let socket = stack.place.base.join("runtime/devstack").join(&id).join("control.sock");
        self.that(!socket.exists(), || format!("{} is still there", socket.display()), &mut problems);
        let group = process::group(std::process::id().cast_signed()).map(|own| own.join(format!("devstack-{id}")));
        self.that(group.as_ref().is_none_or(|group| !group.exists()), || format!("{group:?} is still there"), &mut problems);
        let left = stack.semaphores();
        for (file, _, run) in &left {
            let why = explained.contains(run) || !stack.was_ready(run);
            self.that(why, || format!("{} of {run} is still there, whose tracker nobody killed", file.display()), &mut problems);
        }
        if own_memory {
            let done = stack.place.run(&stack.root.clone(), "cleanup-workers --leftovers")?;
            self.that(done.code == Some(0), || format!("{done:?}"), &mut problems);
            for (file, _, _) in stack.semaphores() {
                self.that(false, || format!("{} outlived cleanup-workers --leftovers: {}", file.display(), done.stdout), &mut problems);
            }
        }
        left.iter().for_each(|(_, note, _)| drop(fs::remove_file(note)));
        self.at_any_time(stack, &look)?;
        if problems.is_empty() { Ok(left.len()) } else { Err(violated(stack, &look, problems.join("; "), "")) }
    }
}

/// The runs whose ends it tells, as far as its two newest files reach.
fn ends_in_the_journal(stack: &Stack) -> Vec<String> {
    let mut ends = Vec::new();
    for name in ["events.jsonl.1", "events.jsonl"] {
        let text = stack.place.state_file(&stack.root, name).and_then(|path| fs::read(path).ok()).unwrap_or_default();
        let records = String::from_utf8_lossy(&text).into_owned();
        let records = records.lines().filter(|line| line.contains("\"ended\"")).filter_map(|line| serde_json::from_str::<Value>(line).ok());
        ends.extend(records.filter(|it| it["event"] == "ended").filter_map(|it| it["run_id"].as_str().map(str::to_owned)));
    }
    ends
}
