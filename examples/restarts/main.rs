//! A service restarted a thousand times, half by its own death and half by command, and what that leaves in devstack: its
//! descriptors by kind, threads, children and memory must be at the end what they were after the warm-up.
//!
//! `cargo build --release && cargo run --release --example restarts -- --count 1000`
//!
//! Exit status 1 when descriptors, threads or children are not flat, or memory grew by more than the tolerance.

#![expect(clippy::disallowed_methods, reason = "a program beside devstack: its homes for clocks and commands are not devstack's")]

#[path = "../harness/mod.rs"]
mod harness;

mod sample;

use clap::Parser;
use harness::interrupt::Interrupt;
use harness::process::{self, Id, Process};
use harness::project::Place;
use harness::{Failure, say};
use rustix::process::Signal;
use sample::Sample;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// What the memory of its own (the anonymous part of PSS) may grow by after the warm-up, per process of devstack: the
/// allocator's slack. The program's file is shared with every devstack on the machine, so that part of PSS says nothing.
const TOLERANCE_KB: u64 = 512;
const PATIENCE: Duration = Duration::from_secs(120);

/// A worker that leaves an orphan in a session of its own, which has to be found and ended each time.
const CONFIG: &str = "[defaults]
restart = 'always'
restart_delay = '0s'
start_limit = { burst = 1000000, interval = '1s' }
ready = { delay = '0s' }
stop_timeout = '5s'
[services.web]
command = ['sh', '-c', '(setsid sleep 86400 &); exec sleep 86400']
[services.beside]
command = ['sleep', '86400']
";

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 1000)]
    count: usize,
}

fn main() -> ExitCode {
    match restarts(Args::parse().count) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("restarts: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn restarts(count: usize) -> Result<bool, Failure> {
    let every = (count / 20).clamp(1, 50);
    let mut interrupt = Interrupt::watch()?;
    let mut place = Place::new()?;
    let root = place.project("restarts", CONFIG)?;
    let done = place.run(&root, "start")?;
    if done.code != Some(0) {
        return Err(format!("{done:#?}").into());
    }
    let mut main = main_of(&mut place, &root, None)?;
    let pair = pair(&root)?;
    // The first samples are the warm-up: buffers and tables reach their size.
    let warm = 2 * every;
    let mut first: Option<[Sample; 2]> = None;
    let mut last = None;
    say(&Sample::heading());
    for turn in 1..=count {
        if turn % 2 == 0 {
            let done = place.run(&root, "restart web")?;
            if done.code != Some(0) {
                return Err(format!("{done:#?}").into());
            }
        } else {
            process::send(main, Signal::KILL);
        }
        main = main_of(&mut place, &root, Some(main))?;
        if turn % every == 0 {
            let samples = settled(pair, first.as_ref())?;
            for (name, sample) in ["keeper", "supervisor"].iter().zip(&samples) {
                say(&sample.row(turn, name));
            }
            if turn >= warm && first.is_none() {
                first = Some(samples.clone());
            }
            last = Some(samples);
        }
        if interrupt.came() {
            say("interrupted");
            return Ok(false);
        }
    }
    let done = place.run(&root, "stop --supervisor")?;
    if done.code != Some(0) {
        return Err(format!("{done:#?}").into());
    }
    Ok(judged(first, last))
}

fn judged(first: Option<[Sample; 2]>, last: Option<[Sample; 2]>) -> bool {
    let (Some(first), Some(last)) = (first, last) else {
        say("too few restarts to say anything");
        return false;
    };
    let mut good = true;
    for (name, (first, last)) in ["keeper", "supervisor"].iter().zip(first.iter().zip(&last)) {
        let grown = last.anonymous_kb.saturating_sub(first.anonymous_kb);
        let flat = last.is_flat_to(first);
        good &= flat && grown <= TOLERANCE_KB;
        let flat = if flat { "flat" } else { "NOT FLAT" };
        let verdict = if grown <= TOLERANCE_KB { "within" } else { "ABOVE" };
        say(&format!(
            "{name}: descriptors, threads, children {flat}; its own memory grew by {grown} kB after the warm-up, {verdict} the tolerance of {TOLERANCE_KB} kB"
        ));
    }
    good
}

/// Another than `before`, running and ready by devstack's own word.
fn main_of(place: &mut Place, root: &Path, before: Option<Id>) -> Result<Id, Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        let (status, done) = place.status(root)?;
        let web = status["services"].as_array().and_then(|all| all.iter().find(|one| one["name"] == "web")).cloned().unwrap_or_default();
        let pid = web["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        let id = pid.and_then(Process::read).map(|it| it.id).filter(|id| Some(*id) != before && web["state"] == "running");
        if let Some(id) = id {
            return Ok(id);
        }
        if Instant::now() > end {
            return Err(format!("web does not come back: {done:#?}").into());
        }
        process::wait_for_one(&[], Duration::from_millis(1));
    }
}

/// Keeper and supervisor.
fn pair(root: &Path) -> Result<[Id; 2], Failure> {
    let root = root.to_str().ok_or("an odd folder")?;
    let all: Vec<Process> = process::all().into_iter().filter(|it| it.has_argument("supervise") && it.has_argument(root)).collect();
    let supervisor = all.iter().find(|it| all.iter().any(|other| other.id.pid == it.ppid)).ok_or("no supervisor")?;
    let keeper = all.iter().find(|it| it.id.pid == supervisor.ppid).ok_or("no keeper")?;
    Ok([keeper.id, supervisor.id])
}

/// A client may still be on its way out, and a dead orphan not collected yet: as soon as it is as it was, or as it is after a while.
fn settled(pair: [Id; 2], first: Option<&[Sample; 2]>) -> Result<[Sample; 2], Failure> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let [keeper, supervisor] = pair.map(Sample::take);
        let samples = [keeper.ok_or("the keeper is gone")?, supervisor.ok_or("the supervisor is gone")?];
        let same = first.is_none_or(|first| samples.iter().zip(first).all(|(now, then)| now.is_flat_to(then)));
        // Two workers, and the orphan of one of them.
        if same && samples[1].children == 3 || Instant::now() > end {
            return Ok(samples);
        }
        process::wait_for_one(&[], Duration::from_millis(20));
    }
}
