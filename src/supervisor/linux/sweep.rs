//! Emptying the set of a run, step by step: each begins with a fresh look, and is told to go on when something of the set ends.

use super::LinuxOs;
use crate::cleanup::Evidence;
use crate::cleanup::killing::{Killing, Next, Then};
use crate::engine::{Event, Notice, Report, Swept};
use crate::model::{ProcId, RunId, Signal};
use crate::supervisor::chase;
use crate::supervisor::clear::{self, wait_for_one};
use crate::supervisor::message::Message;
use crate::supervisor::run::Run;
use crate::supervisor::set::{self, Belonging};
use crate::sys::failpoint::{self, Failpoint};
use crate::sys::pidfd::PidFd;
use crate::sys::scheduler::First;
use crate::sys::{Os, clock, procfs};
use std::time::Duration;

/// After giving up on a set, it is looked at again as soon as one of it ends, and given this long.
const SECOND_PATIENCE: Duration = Duration::from_secs(10);

/// So long a sweep keeps everything else waiting.
const AT_A_STRETCH: Duration = Duration::from_millis(20);

/// What is stuck is looked at again at least this often.
const LONG: Duration = Duration::from_secs(3600);

impl LinuxOs {
    /// One more step of emptying a run's set.
    pub fn advance_sweep(&mut self, id: RunId) {
        let (_first, begun) = (First::now(), clock::now());
        loop {
            let household = self.household();
            let Some(run) = self.runs.get_mut(&id) else { return };
            let Some(sweep) = &mut run.sweep else { return };
            let found = set::belongings(&run.traits, &household);
            let next = sweep.next(clock::now(), &set::members(&found));
            perform(run, &next, &found);
            if next.hold && run.traits.group.is_none() {
                chase::stop_the_youngest(&run.traits, &household, AT_A_STRETCH);
            }
            failpoint::reach(Failpoint::SweepBegun);
            let (on, until) = match next.then {
                // Others are heard in between: who forks and flees can keep this up for long.
                Then::Rescan if clock::now().since(begun) > AT_A_STRETCH && self.inbox.try_send(Message::SweepDue(id)).is_ok() => return,
                Then::Rescan => {
                    // The dead of the last scan only slow down the next.
                    self.collect_orphans();
                    self.household = None;
                    continue;
                }
                Then::Empty => {
                    run.sweep = None;
                    let swept = std::mem::take(&mut run.swept);
                    failpoint::reach(Failpoint::Swept);
                    let service = run.service.name.clone();
                    if !swept.is_empty() {
                        self.announce(&service, Notice::Swept { run: id, processes: swept });
                    }
                    return self.due.push(Event::Report(service, id, Report::SetEmpty));
                }
                Then::Wait { until, on } => (on, Some(until)),
                Then::Stuck(left) => {
                    let survivors = left.iter().map(|proc| (proc.pid, procfs::what_it_does(proc.pid))).collect();
                    self.due.push(Event::Report(run.service.name.clone(), id, Report::Survivors(survivors)));
                    run.sweep = Some(Killing::new(None, clock::now().after(SECOND_PATIENCE)));
                    (left, None)
                }
            };
            let (inbox, patience) = (self.inbox.clone(), until.map_or(LONG, |until| until.since(clock::now())));
            let task = tokio::task::spawn_local(async move {
                wait_for_one(&on, patience).await;
                let _ = inbox.send(Message::SweepDue(id)).await;
            });
            return run.keep(task.abort_handle());
        }
    }
}

/// Signals what the step says, and has the kernel hold or end the whole group where there is one.
fn perform(run: &mut Run, next: &Next, found: &[Belonging]) {
    let group = run.traits.group.as_ref();
    if let Some(group) = group.filter(|_| next.hold) {
        group.freeze(true);
    }
    let mut killed = Vec::new();
    for &(proc, signal) in &next.signals {
        if signal == Signal::KILL {
            run.swept.extend(found.iter().find(|one| one.stray && one.stat.id() == proc).map(explain));
            killed.push(proc);
        }
        // A process of another user stays; it is named at the end.
        if let Ok(Some(process)) = PidFd::open(proc) {
            // Who forks before the signal arrives has children that we can keep up with.
            if signal == Signal::STOP {
                process.put_last();
            }
            let _ = process.signal(signal);
        }
    }
    let Some(group) = group.filter(|_| !next.hold && !next.signals.is_empty()) else { return };
    // Nobody else is in there: what one of them forked at the last moment goes with them.
    let doomed = |pid| killed.iter().any(|proc: &ProcId| proc.pid == pid);
    if !killed.is_empty() && group.members().into_iter().all(doomed) {
        let _ = group.kill();
    }
    group.freeze(false);
}

fn explain(one: &Belonging) -> Swept {
    let evidence = if one.by == Evidence::Descendant { "descendant of such a process" } else { one.by.word() };
    Swept { pid: one.stat.pid, command: clear::command_line(one.stat.pid), evidence: evidence.to_owned() }
}
