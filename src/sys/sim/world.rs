use super::Behaviour;
use crate::engine::{Event, Finding, Now, Remains, Report, Running, Survey};
use crate::model::{BootTime, Exit, Measured, Pid, ProcId, RunId, ServiceName, Signal};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The truth: which processes there are, and what will happen to them whether or not anybody looks.
#[derive(Debug, Default)]
pub struct World {
    pub now: BootTime,
    /// How much of that the machine slept.
    pub asleep: Duration,
    pub processes: Vec<Process>,
    pub runs: BTreeMap<RunId, Run>,
    agenda: BTreeMap<(BootTime, u64), Happening>,
    planned: u64,
    /// What devstack has not been told yet.
    pub due: Vec<Event>,
    /// The end of a main process becomes known a moment after its set is seen empty.
    pub ends_are_told_late: bool,
}

#[derive(Debug, Clone)]
pub struct Process {
    pub id: ProcId,
    pub run: RunId,
    pub service: ServiceName,
    pub role: Role,
    pub ends_on_kill: Option<Duration>,
    /// Nobody's business any more: `kill_mode = "process"` left it alone.
    pub left_alone: bool,
    /// Devstack died without having been able to write it down.
    pub lost: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Main,
    Child,
    /// A set-up command or what clears the way.
    Errand,
    /// What devstack waits for by itself, and what is over with it.
    Wait,
}

impl Role {
    pub fn is_errand(self) -> bool {
        matches!(self, Self::Errand | Self::Wait)
    }
}

#[derive(Debug, Default)]
pub struct Run {
    pub main: Option<ProcId>,
    pub behaviour: Behaviour,
    /// `Some` while the main process is a zombie.
    pub zombie: Option<Exit>,
    pub released: Option<BootTime>,
    pub ready: bool,
    pub reaped: bool,
    pub watched: bool,
    pub probed: bool,
    pub sweeping: bool,
}

#[derive(Debug)]
enum Happening {
    Ends(ProcId, Exit),
    BecomesReady(ServiceName, RunId),
    // The rest happens in devstack, and dies with it.
    Tell(Event),
    Probe(ServiceName, RunId, Duration),
    GiveUp(ServiceName, RunId),
}

impl World {
    pub fn time(&self) -> Now {
        let wall = Timestamp::from_second(1_700_000_000).unwrap_or_default() + Duration::from_nanos(self.now.as_nanos());
        Now { boot: self.now, asleep: self.asleep, wall }
    }

    /// The lowest number that no process has: recycled as soon as it can be.
    pub fn new_process(&mut self, service: &ServiceName, run: RunId, role: Role, ends_on_kill: Option<Duration>) -> ProcId {
        let taken = |pid: Pid| {
            let zombie = |run: &Run| run.zombie.is_some() && run.main.is_some_and(|main| main.pid == pid);
            self.processes.iter().any(|process| process.id.pid == pid) || self.runs.values().any(zombie)
        };
        let pid = (100..).find(|pid| !taken(*pid)).unwrap_or_default();
        self.planned += 1;
        let id = ProcId { pid, start_ticks: self.planned };
        let process = Process { id, run, service: service.clone(), role, ends_on_kill, left_alone: false, lost: false };
        self.processes.push(process);
        id
    }

    pub fn members(&self, run: RunId) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(move |process| process.run == run && !process.left_alone && !process.lost)
    }

    /// A run is held while there is a process of it, or one to collect.
    pub fn holds(&self, run: RunId) -> bool {
        self.members(run).next().is_some() || self.runs.get(&run).is_some_and(|run| run.zombie.is_some())
    }

    pub fn next(&self) -> Option<BootTime> {
        if self.due.is_empty() { self.agenda.keys().next().map(|(at, _)| *at) } else { Some(self.now) }
    }

    fn plan(&mut self, wait: Duration, happening: Happening) {
        self.planned += 1;
        self.agenda.insert((self.now.after(wait), self.planned), happening);
    }

    pub fn plan_end(&mut self, process: ProcId, wait: Duration, exit: Exit) {
        self.plan(wait, Happening::Ends(process, exit));
    }

    pub fn plan_ready(&mut self, service: &ServiceName, run: RunId, wait: Duration) {
        self.plan(wait, Happening::BecomesReady(service.clone(), run));
    }

    pub fn plan_give_up(&mut self, service: &ServiceName, run: RunId, at: BootTime) {
        self.plan(at.since(self.now), Happening::GiveUp(service.clone(), run));
    }

    pub fn plan_probe(&mut self, service: &ServiceName, run: RunId, interval: Duration) {
        self.plan(interval, Happening::Probe(service.clone(), run, interval));
    }

    pub fn tell(&mut self, service: &ServiceName, run: RunId, wait: Duration, report: Report) {
        let event = Event::Report(service.clone(), run, report);
        if wait.is_zero() { self.due.push(event) } else { self.plan(wait, Happening::Tell(event)) }
    }

    /// SIGKILL to everything of a run.
    pub fn kill(&mut self, doomed: impl Fn(&Process) -> bool) {
        let found: Vec<Process> = self.processes.iter().filter(|process| doomed(process)).cloned().collect();
        for process in found {
            match process.ends_on_kill {
                Some(Duration::ZERO) => self.end(process.id, Exit::Signal(Signal::KILL)),
                Some(wait) => self.plan_end(process.id, wait, Exit::Signal(Signal::KILL)),
                None => {}
            }
        }
    }

    fn end(&mut self, id: ProcId, exit: Exit) {
        let Some(at) = self.processes.iter().position(|process| process.id == id) else { return };
        let process = self.processes.remove(at);
        if process.role == Role::Main && !process.lost {
            let late = self.ends_are_told_late;
            let Some(run) = self.runs.get_mut(&process.run) else { return };
            run.zombie = Some(exit.clone());
            if run.watched {
                let wait = if late { Duration::from_millis(1) } else { Duration::ZERO };
                self.tell(&process.service, process.run, wait, Report::Ended(exit));
            }
        }
        self.look_at_sweep(&process.service, process.run);
    }

    pub fn look_at_sweep(&mut self, service: &ServiceName, run: RunId) {
        if self.members(run).next().is_some() {
            return;
        }
        if let Some(known) = self.runs.get_mut(&run)
            && std::mem::take(&mut known.sweeping)
        {
            self.tell(service, run, Duration::ZERO, Report::SetEmpty);
        }
    }

    /// Everything that happens up to now.
    pub fn unfold(&mut self) {
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= self.now
        {
            match entry.remove() {
                Happening::Ends(process, exit) => self.end(process, exit),
                Happening::Tell(event) => self.due.push(event),
                Happening::BecomesReady(service, run) => self.become_ready(&service, run),
                Happening::Probe(service, run, interval) => self.probe(&service, run, interval),
                Happening::GiveUp(service, run) => {
                    let left: Vec<_> = self.members(run).map(|process| (process.id.pid, "state D".to_owned())).collect();
                    if !left.is_empty() && self.runs.get(&run).is_some_and(|run| run.sweeping) {
                        self.tell(&service, run, Duration::ZERO, Report::Survivors(left));
                    }
                }
            }
        }
    }

    fn lives(&self, run: RunId) -> bool {
        self.members(run).any(|process| process.role == Role::Main)
    }

    fn become_ready(&mut self, service: &ServiceName, id: RunId) {
        if !self.lives(id) {
            return;
        }
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.ready = true;
        if run.watched {
            self.tell(service, id, Duration::ZERO, Report::Ready);
        }
    }

    fn probe(&mut self, service: &ServiceName, id: RunId, interval: Duration) {
        let Some(run) = self.runs.get(&id).filter(|run| run.probed && self.lives(id) && !run.reaped) else { return };
        let age = self.now.since(run.released.unwrap_or_default());
        let passed = run.behaviour.unwell_after.is_none_or(|wait| age < wait);
        let reason = if passed { "healthy" } else { "503" }.to_owned();
        let probed =
            crate::engine::Probed { passed, timed_out: false, reason, latency: Duration::ZERO, at: self.time().wall, activity: None };
        self.tell(service, id, Duration::ZERO, Report::Probed(probed));
        self.plan_probe(service, id, interval);
    }

    pub fn plan_excess(&mut self, service: &ServiceName, run: RunId, wait: Duration, measured: Measured) {
        self.plan(wait, Happening::Tell(Event::Report(service.clone(), run, Report::Limit(Finding::Exceeded(measured)))));
    }

    /// What runs says whose it is.
    pub fn survey(&self) -> Survey {
        let carriers = self.processes.iter().filter(|process| !process.role.is_errand() && !process.left_alone);
        let (mains, others): (Vec<_>, Vec<_>) = carriers.partition(|process| process.role == Role::Main);
        let running = |process: &&Process| {
            let started_at = self.runs.get(&process.run)?.released?;
            Some(Running { service: process.service.clone(), run: process.run, main: process.id, started_at })
        };
        let running: Vec<Running> = mains.iter().filter_map(running).collect();
        let remains = others.iter().filter(|process| running.iter().all(|one| one.run != process.run));
        let remains = remains.map(|process| Remains { service: process.service.clone(), run: process.run });
        Survey { remains: remains.collect(), running }
    }

    /// With everything that carries its marks.
    pub fn find_again(&mut self, run: RunId) {
        self.processes.iter_mut().filter(|process| process.run == run).for_each(|process| process.lost = false);
    }

    /// Devstack is gone: nobody watches, nobody is told, what was held at its gate ends, zombies go to whoever collects them.
    pub fn lose_devstack(&mut self, recorded: &BTreeSet<RunId>, has_keeper: bool) {
        self.due.clear();
        self.agenda.retain(|_, happening| matches!(happening, Happening::Ends(..) | Happening::BecomesReady(..)));
        let held: Vec<RunId> = self.runs.iter().filter(|(_, run)| run.released.is_none()).map(|(id, _)| *id).collect();
        self.processes.retain(|process| match process.role {
            Role::Main => !held.contains(&process.run),
            Role::Wait => false,
            Role::Child | Role::Errand => true,
        });
        for process in &mut self.processes {
            process.lost |= !recorded.contains(&process.run);
        }
        for (id, run) in &mut self.runs {
            (run.watched, run.probed, run.sweeping) = (false, false, false);
            // A successor may only know an older ledger; what is gone by then is looked for by its identity, and not found.
            run.reaped = false;
            if !has_keeper || run.released.is_none() || !recorded.contains(id) {
                run.zombie = None;
            }
        }
    }
}
