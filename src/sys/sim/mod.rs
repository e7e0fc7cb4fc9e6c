//! The operating system's twin in tests: processes that follow a script, a clock that a test moves, and faults on demand.
//!
//! It keeps the truth apart from what devstack is told, and notes every deed that no supervisor may do.

mod behaviour;
mod os;
mod world;

pub use behaviour::{Behaviour, Child, Errand, Fork};
pub use world::{Process, Role, World};

use crate::engine::{Event, Notice, Report, Stack, State};
use crate::model::{BootTime, Exit, Reason, RunId, Service, ServiceName};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use world::Run;

#[derive(Debug, Default)]
pub struct SimOs {
    pub world: World,
    /// What the next spawns of a service are like; after these all is well.
    pub spawns: BTreeMap<ServiceName, VecDeque<Behaviour>>,
    pub set_ups: BTreeMap<ServiceName, VecDeque<Errand>>,
    pub clears: BTreeMap<ServiceName, VecDeque<Errand>>,
    pub hooks: BTreeMap<ServiceName, VecDeque<Errand>>,
    /// A run has begun, and the hook that belongs after it has not.
    pub owed: BTreeMap<ServiceName, RunId>,
    /// So many attempts to save find the disk full.
    pub full_disk: u32,
    /// Devstack dies before its n-th deed from now.
    pub dies_in: Option<u32>,
    pub dead: bool,
    /// The last ledger that could be written.
    pub saved: Option<Stack>,
    /// The state is not on disk as it is in memory.
    unsaved: bool,
    pub notices: Vec<(ServiceName, Notice)>,
    /// What was done, in order, for tests of an order.
    pub deeds: Vec<String>,
    pub violations: Vec<String>,
    /// Everything that was ever reported, to be repeated by mistake.
    pub told: Vec<Event>,
    /// Asked to stop or restart together: dependants first.
    pub leaving: BTreeSet<ServiceName>,
    signalled: BTreeSet<RunId>,
    last_end: BTreeMap<ServiceName, Reason>,
    automatic_starts: BTreeMap<ServiceName, Vec<BootTime>>,
}

impl SimOs {
    /// Devstack may die before any of its deeds; after that, nothing that it does has an effect.
    fn dies(&mut self) -> bool {
        match &mut self.dies_in {
            Some(0) => self.dead = true,
            Some(left) => *left -= 1,
            None => {}
        }
        self.dead
    }

    fn deed(&mut self, what: &str, service: &Service) {
        self.deeds.push(format!("{what} {}", service.name));
    }

    fn forbid(&mut self, wrong: bool, what: impl FnOnce() -> String) {
        if wrong {
            let at = self.world.now.as_nanos();
            self.violations.push(format!("{} at {at}", what()));
        }
    }

    /// The ledger as a successor would find it says this of a service.
    fn recorded(&self, service: &ServiceName) -> Option<&crate::engine::Slot> {
        self.saved.as_ref().and_then(|stack| stack.slot(service))
    }

    /// An intent has to be on disk before its effect, unless the disk refuses it.
    fn must_be_recorded(&mut self, what: &str, run: RunId, service: &Service) {
        let going_down = self.recorded(&service.name).is_some_and(|slot| {
            slot.state.run() != Some(run)
                || matches!(slot.state, State::Stopping { .. } | State::Killing { .. } | State::Draining { .. } | State::Stuck { .. })
        });
        let unsaved = self.unsaved;
        self.forbid(!unsaved && !going_down, || format!("{what} of {run} before it was recorded"));
        let reaped = self.world.runs.get(&run).is_some_and(|run| run.reaped);
        self.forbid(reaped, || format!("{what} to {run}, which is reaped"));
    }

    fn dependants_are_gone(&mut self, run: RunId, service: &Service) {
        let Some(stack) = self.saved.clone() else { return };
        let requested =
            |slot: &&crate::engine::Slot| matches!(slot.state, State::Stopping { run: it, why: Reason::Requested, .. } if it == run);
        if !self.leaving.contains(&service.name) || stack.slot(&service.name).filter(requested).is_none() {
            return;
        }
        for (name, other) in stack.slots() {
            let needs_it = other.latest().depends_on.contains(&service.name) && self.leaving.contains(name);
            let lives = other.state.run().is_some_and(|run| self.world.members(run).any(|it| !it.role.is_errand()));
            let stuck = matches!(other.state, State::Stuck { .. });
            self.forbid(needs_it && lives && !stuck, || format!("{} is signalled before its dependant {name}", service.name));
        }
    }

    /// Somebody asked for these to run: what happened before does not count.
    pub fn start_was_asked(&mut self, services: &[ServiceName]) {
        for service in services {
            self.automatic_starts.remove(service);
            self.last_end.remove(service);
        }
    }

    /// As far as anybody remembers, nothing was ever started.
    pub fn forget_starts(&mut self) {
        self.automatic_starts.clear();
        self.last_end.clear();
    }

    fn count_start(&mut self, service: &Service) {
        let planned = self.last_end.remove(&service.name).is_none_or(Reason::is_planned);
        if planned {
            return;
        }
        let now = self.world.now;
        let starts = self.automatic_starts.entry(service.name.clone()).or_default();
        starts.push(now);
        let burst = service.start_limit.burst as usize;
        let too_many = starts.iter().rev().nth(burst).is_some_and(|first| now.since(*first) < service.start_limit.interval);
        self.forbid(too_many, || format!("more than {burst} automatic starts of {} in its interval", service.name));
    }

    /// From here on something of a run may be left to undo, and that is done before another begins.
    fn begins(&mut self, run: RunId, service: &Service) {
        let owed = self.owed.get(&service.name).copied().filter(|it| *it != run);
        self.forbid(owed.is_some(), || format!("{run} of {} begins before the hook after {owed:?}", service.name));
        if service.hooks.post_stop.is_some() {
            self.owed.insert(service.name.clone(), run);
        }
    }

    fn errand(&mut self, role: Role, run: RunId, service: &Service, wait: Duration, report: Report) {
        if !wait.is_zero() {
            let process = self.world.new_process(&service.name, run, role, Some(Duration::ZERO));
            self.world.plan_end(process, wait, Exit::Code(0));
        }
        self.world.runs.insert(run, Run::default());
        self.world.tell(&service.name, run, wait, report);
    }
}

fn next<T: Default>(scripts: &mut BTreeMap<ServiceName, VecDeque<T>>, service: &Service) -> T {
    scripts.get_mut(&service.name).and_then(VecDeque::pop_front).unwrap_or_default()
}
