//! Ten real Python pools under devstack, and whatever can happen to either, at random: SIGKILL, SIGSTOP, commands, commands
//! killed half-way. After each blow the stack has to settle, and `/proc` is searched for every promise that devstack makes.
//!
//! `cargo build --release && cargo run --release --example chaos -- --minutes 10`
//!
//! Exit status 1, with the seed, the blow and what there is to see, at the first promise that was not kept. Everything that was
//! started ends with it. Where the kernel allows it, shared memory is a world of its own: then the leftovers are counted, too.

#![expect(clippy::disallowed_methods, reason = "a program beside devstack: its homes for clocks and commands are not devstack's")]

#[path = "../harness/mod.rs"]
mod harness;

mod blow;
mod check;
mod random;
mod stack;
mod story;
mod tally;

use blow::Blow;
use check::{Checks, Violation};
use clap::Parser;
use harness::interrupt::Interrupt;
use harness::{Failure, say};
use random::Random;
use stack::{Look, SERVICES, Stack};
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use story::Story;
use tally::Tally;

/// Set in the world of its own.
const OWN_MEMORY: &str = "CHAOS_OWN_MEMORY";

#[derive(Parser)]
struct Args {
    /// How long blows go on [default: 1 minute]
    #[arg(long, conflicts_with = "seconds")]
    minutes: Option<u64>,
    #[arg(long)]
    seconds: Option<u64>,
    /// The same seed deals the same blows, as far as the machine lets it
    #[arg(long)]
    seed: Option<u64>,
    /// Tell each blow
    #[arg(long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let own_memory = std::env::var_os(OWN_MEMORY).is_some();
    if !own_memory && let Some(mut command) = with_own_memory() {
        let error = command.exec();
        say(&format!("chaos: {error}"));
        return ExitCode::FAILURE;
    }
    let seed = args.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ Instant::now().elapsed().subsec_nanos() as u64 ^ clock());
    match chaos(&args, seed, own_memory) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(130),
        Err(error) => {
            say(&format!("chaos: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn clock() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// This program again, where nobody else has anything in /dev/shm. `None` where the kernel does not let this user.
fn with_own_memory() -> Option<Command> {
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["sh", "-c", "mount -t tmpfs tmpfs /dev/shm && exec \"$@\"", "sh"]);
    let mut possible = Command::new("unshare");
    possible.args(command.get_args()).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
    possible.status().is_ok_and(|status| status.success()).then_some(())?;
    command.arg(std::env::current_exe().ok()?).args(std::env::args_os().skip(1)).env(OWN_MEMORY, "1");
    Some(command)
}

/// `false`: interrupted.
fn chaos(args: &Args, seed: u64, own_memory: bool) -> Result<bool, Failure> {
    let length = args.seconds.map(Duration::from_secs).or(args.minutes.map(|minutes| Duration::from_secs(60 * minutes)));
    let length = length.unwrap_or(Duration::from_secs(60));
    let mut interrupt = Interrupt::watch()?;
    say(&format!("chaos: {length:?}, seed {seed}, {SERVICES} pools, shared memory of {} own", if own_memory { "its" } else { "not its" }));
    let stack = Stack::start()?;
    let mut story = Story {
        stack,
        random: Random::of(seed),
        checks: Checks::default(),
        wanted: [Some(true); SERVICES],
        trackerless: BTreeSet::new(),
        deeds: Vec::new(),
        hit: BTreeSet::new(),
        own_memory,
    };
    let mut tally = Tally::default();
    let began = Instant::now();
    let mut before = story.checks.settle(&mut story.stack, &story.wanted, &Look::default(), &BTreeSet::new())?.look;
    let mut interrupted = false;
    while began.elapsed() < length && !interrupted {
        let blow = Blow::any(&mut story.random);
        story.deeds.clear();
        story.hit.clear();
        let struck = Instant::now();
        let result = story.strike(blow, &before).and_then(|()| {
            let ended = struck.elapsed();
            let settled = story.checks.settle(&mut story.stack, &story.wanted, &before, &story.hit)?;
            story.checks.no_semaphore_of_the_gone(&story.stack, &settled.look, &story.trackerless)?;
            Ok((settled, ended))
        });
        let settled = match result {
            Ok((settled, _)) => settled,
            Err(error) => {
                interrupted = interrupt.came();
                if interrupted {
                    break;
                }
                let kind = if error.is::<Violation>() { "a promise was not kept" } else { "could not go on" };
                let (number, deeds) = (tally.blows() + 1, story.deeds.join(", "));
                say(&tally.table(story.checks.count, 1));
                return Err(format!("{kind}: seed {seed}, blow {number} {blow:?} ({deeds}): {error}").into());
            }
        };
        if args.verbose {
            say(&format!(
                "{:>4} {blow:?} settled after {:.3} s: {}",
                tally.blows() + 1,
                settled.took.as_secs_f64(),
                story.deeds.join(", ")
            ));
        }
        tally.add(blow, settled.took);
        before = settled.look;
        interrupted = interrupt.came();
    }
    if interrupted {
        say("interrupted");
        story.stack.clear();
        return Ok(false);
    }
    let left = story.end(&before).map_err(|error| format!("seed {seed}, at the end: {error}"))?;
    say(&tally.table(story.checks.count, 0));
    say(&format!(
        "at the end nothing was left but {left} semaphores whose trackers were killed{}",
        if own_memory { "; cleanup-workers --leftovers removed them" } else { "" }
    ));
    Ok(true)
}
