//! Carries a plan out: every process is held by a pidfd before it is signalled, and every step begins with a fresh scan.
//!
//! Invariant: what was not planned to end in the first look, or proven ours in a later one, is never signalled.

use crate::cleanup::killing::{Killing, Member, Then};
use crate::cleanup::{Action, Choice, Decision, Interest, Kind, LedgerFacts, Role, plan};
use crate::model::{BootTime, ProcId, Project};
use crate::sys::pidfd::{PidFd, allow_many, wait_any};
use crate::sys::{clock, procfs, scan};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// How long an orphan or a stale copy may take to leave by itself.
const GRACE: Duration = Duration::from_secs(5);
/// How long SIGKILL may take before a process is called a survivor.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// Processes of one set tend to end together; scanning after each of them would cost more than waiting for its neighbours.
const SETTLE: Duration = Duration::from_millis(10);

/// One process and what became of it.
#[derive(Debug, Clone)]
pub struct Done {
    pub decision: Decision,
    pub action: Action,
}

impl Done {
    pub fn planned(decision: Decision) -> Self {
        Self { action: decision.action_planned, decision }
    }
}

/// One scan and its plan.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn look(project: &Project, ledger: &LedgerFacts, choice: &Choice) -> io::Result<Vec<Decision>> {
    let me = scan::me()?;
    let ledger = with_log_files(project, ledger);
    let interest = Interest::new(project, &ledger);
    let processes = scan::processes(&me, &project.id, &|it| interest.is_worth_a_look(it))?;
    Ok(plan(&processes, project, &ledger, &me, choice))
}

/// Ends what `seen` plans to end, with whatever it forks meanwhile.
///
/// # Errors
/// When `/proc` cannot be read or descriptors have run out.
pub fn end(project: &Project, ledger: &LedgerFacts, choice: &Choice, seen: Vec<Decision>) -> io::Result<Vec<Done>> {
    allow_many();
    let now = clock::now();
    let mut killing = Killing::new(Some(GRACE), now.after(GRACE + KILL_TIMEOUT));
    let mut victims = Victims::default();
    let (to_end, spared): (Vec<_>, Vec<_>) = seen.into_iter().partition(|one| one.action_planned == Action::WouldTerminate);
    for decision in to_end {
        victims.hold(decision)?;
    }
    loop {
        let next = killing.next(clock::now(), &victims.members()?);
        for (proc, signal) in next.signals {
            // Not ours to signal after all: it stays, and is reported as a survivor.
            let _ = victims.held.get(&proc).map(|held| held.signal(signal));
        }
        match next.then {
            Then::Rescan => {}
            Then::Wait { until, on } => victims.wait(&on, until)?,
            Then::Empty | Then::Stuck(_) => break,
        }
        // From the first signal on there is no way back: what was frozen must not stay so because one scan failed.
        for decision in latecomers(project, ledger, choice) {
            let _ = victims.hold(decision);
        }
    }
    let mut done = victims.outcome(&killing)?;
    let new = |one: &Decision| !done.iter().any(|done| done.decision.process.id == one.process.id);
    let spared: Vec<Done> = spared.into_iter().filter(new).map(Done::planned).collect();
    done.extend(spared);
    Ok(done)
}

/// What a fresh look proves to be ours and ending. An unproven process is ended because a person pointed at it; nobody pointed
/// at a new one.
fn latecomers(project: &Project, ledger: &LedgerFacts, choice: &Choice) -> impl Iterator<Item = Decision> {
    let seen = look(project, ledger, &Choice { include_unproven: false, ..choice.clone() }).unwrap_or_default();
    seen.into_iter().filter(|one| one.action_planned == Action::WouldTerminate && one.kind != Kind::LookAlike)
}

/// The processes to end, in the order they were found.
#[derive(Default)]
struct Victims {
    decisions: Vec<Decision>,
    held: BTreeMap<ProcId, PidFd>,
}

impl Victims {
    /// What is gone already was nobody's work.
    fn hold(&mut self, decision: Decision) -> io::Result<()> {
        let id = decision.process.id;
        if self.decisions.iter().any(|known| known.process.id == id) {
            return Ok(());
        }
        if let Some(held) = PidFd::open(id)? {
            self.held.insert(id, held);
        }
        self.decisions.push(decision);
        Ok(())
    }

    fn is_alive(&self, id: ProcId) -> io::Result<bool> {
        self.held.get(&id).map_or(Ok(false), PidFd::is_alive)
    }

    fn members(&self) -> io::Result<Vec<Member>> {
        let member = |one: &Decision| {
            let (proc, tracker) = (one.process.id, one.role == Role::ResourceTracker);
            Ok(Member { proc, tracker, busy: tracker && procfs::is_busy(proc.pid), zombie: !self.is_alive(proc)? })
        };
        self.decisions.iter().map(member).collect()
    }

    /// Until one of `on` has ended and its neighbours had a moment to follow.
    fn wait(&mut self, on: &[ProcId], until: BootTime) -> io::Result<()> {
        // Polling wants them side by side; they go back where they were.
        let mut waiting: Vec<PidFd> = on.iter().filter_map(|id| self.held.remove(id)).collect();
        let mut until = until;
        let result = loop {
            if waiting.is_empty() {
                break Ok(());
            }
            let ended = match wait_any(&waiting, Some(until.since(clock::now()))) {
                Ok(ended) if ended.is_empty() => break Ok(()),
                Ok(ended) => ended,
                Err(error) => break Err(error),
            };
            for index in ended.into_iter().rev() {
                let one = waiting.swap_remove(index);
                self.held.insert(one.id(), one);
            }
            until = until.min(clock::now().after(SETTLE));
        };
        self.held.extend(waiting.into_iter().map(|held| (held.id(), held)));
        result
    }

    fn outcome(&self, killing: &Killing) -> io::Result<Vec<Done>> {
        let fate = |decision: &Decision| {
            let id = decision.process.id;
            let action = match killing.sent_to(id) {
                _ if self.is_alive(id)? => Action::Survived,
                Some(crate::model::Signal::KILL) => Action::Killed,
                Some(_) => Action::Terminated,
                None => Action::Exited,
            };
            Ok(Done { decision: decision.clone(), action })
        };
        self.decisions.iter().map(fate).collect()
    }
}

fn with_log_files(project: &Project, ledger: &LedgerFacts) -> LedgerFacts {
    LedgerFacts { log_files: scan::log_files(project), ..ledger.clone() }
}
