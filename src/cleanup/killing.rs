//! The order in which a set of processes ends, while it may still fork.
//!
//! Workers first, frozen before they are killed so that none is missed; a `multiprocessing` resource tracker last, and by
//! itself, because it unlinks the named semaphores of the dead on its way out. Knows no process beyond the scan it is given at
//! every step. Invariants: no tracker is signalled while a worker lives; `Empty` is said only of an empty scan in which nobody
//! was newly dead: what died while it was looked at may have left a child where the scan had been already.

use crate::model::{BootTime, ProcId, Signal};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a tracker has to see the end of its pipe, clean up and leave.
const TRACKER_GRACE: Duration = Duration::from_secs(1);

/// And how long at most while it is at it: on a busy machine it may hardly get to run.
const BUSY_TRACKER_GRACE: Duration = Duration::from_secs(5);

/// Between two looks at one that is.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// One process of the set, as the latest scan saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub proc: ProcId,
    pub tracker: bool,
    /// It runs, or waits for the disk: not for somebody else, as who holds the other end of its pipe. Looked at of trackers.
    pub busy: bool,
    /// Ended, whether reaped or not: its pidfd is readable. State `Z` alone does not say so.
    pub zombie: bool,
}

/// What to do now, and when to come back with a fresh scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// In this order.
    pub signals: Vec<(ProcId, Signal)>,
    /// Where the kernel can hold the whole set still, it does so until a step says otherwise: a scan then misses nobody.
    pub hold: bool,
    pub then: Then,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// At once.
    Rescan,
    /// When any of `on` ends, at the latest at `until`.
    Wait { until: BootTime, on: Vec<ProcId> },
    /// Nothing of the set is left.
    Empty,
    /// These outlived SIGKILL.
    Stuck(Vec<ProcId>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Asked to leave; `None`: not yet.
    Asking {
        until: Option<BootTime>,
    },
    Freezing,
    /// Only trackers are left.
    Trackers {
        until: BootTime,
        at_the_latest: BootTime,
    },
}

/// The ending of one set.
#[derive(Debug, Clone)]
pub struct Killing {
    phase: Phase,
    term_grace: Option<Duration>,
    give_up_at: BootTime,
    frozen: BTreeSet<ProcId>,
    /// Seen dead, and not collected yet.
    dead: BTreeSet<ProcId>,
    /// The last of SIGTERM and SIGKILL that each was sent.
    sent: BTreeMap<ProcId, Signal>,
}

impl Killing {
    /// `term_grace`: how long they may take to leave on SIGTERM; `None`: they are not asked.
    pub fn new(term_grace: Option<Duration>, give_up_at: BootTime) -> Self {
        let phase = if term_grace.is_some() { Phase::Asking { until: None } } else { Phase::Freezing };
        Self { phase, term_grace, give_up_at, frozen: BTreeSet::new(), dead: BTreeSet::new(), sent: BTreeMap::new() }
    }

    /// SIGTERM or SIGKILL, the last one sent to it; `None`: what ends, ended by itself.
    pub fn sent_to(&self, proc: ProcId) -> Option<Signal> {
        self.sent.get(&proc).copied()
    }

    /// One step; `members` is a scan made after the last step's signals.
    pub fn next(&mut self, now: BootTime, members: &[Member]) -> Next {
        let alive = || members.iter().filter(|member| !member.zombie);
        let workers: Vec<ProcId> = alive().filter(|member| !member.tracker).map(|member| member.proc).collect();
        let trackers: Vec<ProcId> = alive().filter(|member| member.tracker).map(|member| member.proc).collect();
        let dead: BTreeSet<ProcId> = members.iter().filter(|member| member.zombie).map(|member| member.proc).collect();
        let just_died: Vec<ProcId> = dead.difference(&self.dead).copied().collect();
        self.dead = dead;
        if workers.is_empty() && trackers.is_empty() {
            let then = match just_died.is_empty() {
                true => Then::Empty,
                false if now < self.give_up_at => Then::Rescan,
                false => Then::Stuck(just_died),
            };
            return Next { signals: Vec::new(), hold: false, then };
        }
        if now >= self.give_up_at {
            return self.give_up(workers, trackers);
        }
        if workers.is_empty() {
            let busy = alive().any(|member| member.tracker && member.busy);
            return self.end_trackers(now, trackers, busy);
        }
        match self.phase {
            Phase::Asking { until } => self.ask(now, until, workers),
            Phase::Freezing => self.freeze_and_kill(now, workers),
            // A tracker's set grew a worker again: a fork that the last scan could not see.
            Phase::Trackers { .. } => {
                self.phase = Phase::Freezing;
                self.freeze_and_kill(now, workers)
            }
        }
    }

    fn ask(&mut self, now: BootTime, until: Option<BootTime>, workers: Vec<ProcId>) -> Next {
        let until = until.unwrap_or_else(|| now.after(self.term_grace.unwrap_or_default()).min(self.give_up_at));
        if now >= until {
            self.phase = Phase::Freezing;
            return self.freeze_and_kill(now, workers);
        }
        self.phase = Phase::Asking { until: Some(until) };
        let mut signals = Vec::new();
        for &proc in workers.iter().filter(|proc| !self.sent.contains_key(proc)) {
            // A stopped process would keep SIGTERM pending for ever.
            signals.extend([(proc, Signal::TERM), (proc, Signal::CONT)]);
        }
        self.note(&signals);
        Next { signals, hold: false, then: Then::Wait { until, on: workers } }
    }

    /// Stops whatever is new until a scan finds nothing new, then kills all of it: a stopped process cannot fork.
    fn freeze_and_kill(&mut self, now: BootTime, workers: Vec<ProcId>) -> Next {
        let fresh: Vec<ProcId> = workers.iter().copied().filter(|proc| self.frozen.insert(*proc)).collect();
        if !fresh.is_empty() {
            let signals = fresh.into_iter().map(|proc| (proc, Signal::STOP)).collect();
            return Next { signals, hold: true, then: Then::Rescan };
        }
        let signals = self.kills(&workers);
        debug_assert!(now < self.give_up_at, "giving up comes first");
        Next { signals, hold: false, then: Then::Wait { until: self.give_up_at, on: workers } }
    }

    fn end_trackers(&mut self, now: BootTime, trackers: Vec<ProcId>, busy: bool) -> Next {
        let wait = |signals, until| Next { signals, hold: false, then: Then::Wait { until, on: trackers.clone() } };
        let Phase::Trackers { until, at_the_latest } = self.phase else {
            let [until, at_the_latest] = [TRACKER_GRACE, BUSY_TRACKER_GRACE].map(|grace| now.after(grace).min(self.give_up_at));
            self.phase = Phase::Trackers { until, at_the_latest };
            // A stopped one would never see the end of its pipe.
            return wait(trackers.iter().map(|&proc| (proc, Signal::CONT)).collect(), until);
        };
        if now < until {
            return wait(Vec::new(), until);
        }
        if busy && now < at_the_latest {
            let until = now.after(LOOK_AGAIN).min(at_the_latest);
            self.phase = Phase::Trackers { until, at_the_latest };
            return wait(Vec::new(), until);
        }
        Next { signals: self.kills(&trackers), hold: false, then: Then::Wait { until: self.give_up_at, on: trackers } }
    }

    /// The deadline passed: what was never killed gets its SIGKILL, and everything left is named.
    fn give_up(&mut self, workers: Vec<ProcId>, trackers: Vec<ProcId>) -> Next {
        let signals = if workers.is_empty() { self.kills(&trackers) } else { self.kills(&workers) };
        Next { signals, hold: false, then: Then::Stuck([workers, trackers].concat()) }
    }

    fn kills(&mut self, procs: &[ProcId]) -> Vec<(ProcId, Signal)> {
        let unkilled = procs.iter().filter(|proc| self.sent_to(**proc) != Some(Signal::KILL));
        let signals: Vec<(ProcId, Signal)> = unkilled.map(|&proc| (proc, Signal::KILL)).collect();
        self.note(&signals);
        signals
    }

    fn note(&mut self, signals: &[(ProcId, Signal)]) {
        let ending = signals.iter().filter(|(_, signal)| *signal == Signal::TERM || *signal == Signal::KILL);
        self.sent.extend(ending.copied());
    }
}

#[cfg(test)]
mod tests;
