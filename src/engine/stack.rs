use super::slot::Turn;
use super::{Act, Action, Command, Event, Notice, Now, Report, Slot, StartMode, State, Survey, Wanted, graph};
use crate::model::{BootTime, Reason, RunId, Service, ServiceName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Every service of a project and how they hang together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    next_run: RunId,
    slots: BTreeMap<ServiceName, Slot>,
    /// Everything was told to stop for good.
    #[serde(default)]
    leaving: bool,
    /// Something worth keeping changed since [`Stack::take_changed`].
    #[serde(skip)]
    changed: bool,
}

impl Stack {
    /// `epoch` tells the runs of this stack from those of an earlier one whose ledger was lost.
    pub fn new(epoch: u64) -> Self {
        Self { next_run: RunId { epoch, seq: 1 }, slots: BTreeMap::new(), leaving: false, changed: true }
    }

    pub fn slots(&self) -> &BTreeMap<ServiceName, Slot> {
        &self.slots
    }

    pub fn slot(&self, service: &ServiceName) -> Option<&Slot> {
        self.slots.get(service)
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Everything was told to stop for good, and is at rest.
    pub fn may_leave(&self) -> bool {
        self.leaving && self.slots.values().all(|slot| slot.state == State::Stopped)
    }

    /// Somebody brought devstack up again: an earlier farewell is over.
    pub fn stay(&mut self) {
        self.leaving = false;
    }

    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The moment at which a `Tick` is due.
    pub fn next_deadline(&self) -> Option<BootTime> {
        let recycled = graph::recycled_groups(&self.slots);
        self.slots.values().filter_map(|slot| slot.deadline(slot.is_held_back_by(&recycled))).min()
    }

    /// Takes over a configuration. What runs keeps its own until it is started again; what is no longer named is stopped.
    pub fn configure(&mut self, services: &BTreeMap<ServiceName, Arc<Service>>, now: Now, actions: &mut Vec<Action>) {
        self.changed = true;
        let mut turn = Turn { now, actions, next_run: &mut self.next_run };
        for (name, spec) in services {
            self.slots.entry(name.clone()).or_insert_with(|| Slot::new(spec.clone())).configure(spec, &mut turn);
        }
        for (name, slot) in &mut self.slots {
            if !services.contains_key(name) {
                slot.removed = true;
                slot.ask_stop(Reason::ConfigChanged, false, None, &mut turn);
            }
        }
        self.settle(now, actions);
    }

    /// What runs is the truth, and a ledger may be lost, damaged or older than that: whoever runs and is not in it is taken in,
    /// as long as the configuration knows the service.
    ///
    /// What is left of a run that no ledger knows is an end that nobody saw: it is swept, and what follows is for the restart policy.
    pub fn take_in(&mut self, survey: &Survey, services: &BTreeMap<ServiceName, Arc<Service>>, now: Now) {
        let Survey { running, remains } = survey;
        let given = self.next_run;
        let seen = running.iter().map(|one| one.run).chain(remains.iter().map(|one| one.run));
        // No number is given twice, whatever a full disk kept out of the ledger.
        self.next_run.seq = seen.filter(|run| run.epoch == given.epoch).map(|run| run.seq + 1).fold(given.seq, u64::max);
        for (name, spec) in services.iter().filter(|(_, spec)| !spec.external) {
            let of_it = || running.iter().filter(|one| one.service == *name);
            let process = self.slots.get(name).and_then(|slot| slot.process.as_ref());
            let known = process.map(|process| [Some(process.main), process.pin]);
            // What the ledger says is under way is later than a run of a smaller number.
            let under_way = self.slots.get(name).and_then(|slot| slot.state.run());
            let newest = of_it().max_by_key(|one| (one.started_at, one.run)).filter(|one| under_way.is_none_or(|run| run <= one.run));
            if let Some(one) = newest.filter(|_| !of_it().any(|one| known.is_some_and(|known| known.contains(&Some(one.main))))) {
                self.changed = true;
                self.slots.entry(name.clone()).or_insert_with(|| Slot::new(spec.clone())).take_in(one, now);
            }
            let left = remains.iter().filter(|one| one.service == *name && (one.run.epoch != given.epoch || one.run >= given));
            if let Some(newest) = left.map(|one| one.run).max() {
                self.changed = true;
                self.slots.entry(name.clone()).or_insert_with(|| Slot::new(spec.clone())).take_in_remains(newest, now);
            }
        }
    }

    /// As [`Self::recover`], of services at rest, in the middle of things.
    fn take_in_found(&mut self, survey: &Survey, now: Now, actions: &mut Vec<Action>) {
        let at_rest = self.slots.iter().filter(|(_, slot)| slot.state.run().is_none());
        let at_rest: BTreeMap<_, _> = at_rest.map(|(name, slot)| (name.clone(), slot.latest().clone())).collect();
        self.take_in(survey, &at_rest, now);
        for name in
            at_rest.keys().filter(|name| self.slots.get(*name).is_some_and(|slot| slot.state.run().is_some())).cloned().collect::<Vec<_>>()
        {
            self.with_slot(&name, now, actions, |slot, turn| slot.on_recovered(turn));
        }
    }

    /// Devstack itself was restarted: takes care of everything that runs or that the ledger says we own. One step with the
    /// configuration, so that nothing starts from a ledger that knows no environment, and nothing that starts now is taken for
    /// something older.
    pub fn recover(&mut self, survey: &Survey, services: &BTreeMap<ServiceName, Arc<Service>>, now: Now, actions: &mut Vec<Action>) {
        self.take_in(survey, services, now);
        let mut turn = Turn { now, actions, next_run: &mut self.next_run };
        for slot in self.slots.values_mut() {
            slot.on_recovered(&mut turn);
        }
        self.configure(services, now, actions);
    }

    pub fn step(&mut self, event: Event, now: Now, actions: &mut Vec<Action>) {
        match event {
            Event::Command(Command::Start { services, mode, replace }) => self.start(&services, mode, replace, now, actions),
            Event::Command(Command::Stop { services, kill, timeout }) => self.stop(&services, kill, timeout, now, actions),
            Event::Command(Command::Shutdown { kill, timeout }) => {
                self.leaving = true;
                let all: Vec<ServiceName> = self.slots.keys().cloned().collect();
                self.stop(&all, kill, timeout, now, actions);
                self.changed = true;
            }
            Event::Report(name, run, report) => {
                // The one place where words about another run are dropped.
                if self.slots.get(&name).and_then(|slot| slot.state.run()) != Some(run) {
                    return;
                }
                let heard = |stack: &Self| stack.slots.get(&name).map(|slot| slot.heard.kept());
                let (changed, kept) = (self.changed, heard(self));
                let may_keep_ledger = matches!(report, Report::Probed(_) | Report::Notified(_) | Report::StillHeard);
                self.with_slot(&name, now, actions, |slot, turn| slot.on_report(run, report, turn));
                if may_keep_ledger && actions.is_empty() && kept == heard(self) {
                    self.changed = changed;
                    return;
                }
            }
            Event::FilesChanged(name, paths, at) => {
                self.with_slot(&name, now, actions, |slot, turn| slot.on_files_changed(paths, at, turn));
            }
            Event::Found(survey) => self.take_in_found(&survey, now, actions),
            Event::Tick => {
                // What one deadline sets free may be due at once.
                while self.next_deadline().is_some_and(|deadline| deadline <= now.boot) {
                    let due = self.slots.iter().filter(|(_, slot)| slot.is_due(now.boot, false)).map(|(name, _)| name.clone());
                    for name in due.collect::<Vec<_>>() {
                        let recycled = graph::recycled_groups(&self.slots);
                        self.with_slot(&name, now, actions, |slot, turn| {
                            let held_back = slot.is_held_back_by(&recycled);
                            if slot.is_due(now.boot, held_back) {
                                slot.on_deadline(held_back, turn);
                            }
                        });
                    }
                    self.settle(now, actions);
                }
            }
        }
        self.settle(now, actions);
    }

    fn start(&mut self, services: &[ServiceName], mode: StartMode, replace: bool, now: Now, actions: &mut Vec<Action>) {
        for name in graph::with_dependencies(&self.slots, services) {
            let named = services.contains(&name);
            let (mode, replace) = if named { (mode, replace) } else { (StartMode::Ensure, false) };
            self.with_slot(&name, now, actions, |slot, turn| {
                if !slot.removed {
                    slot.ask_start(mode, replace, turn);
                }
            });
        }
        for name in services {
            let Some(slot) = self.slots.get(name) else { continue };
            let blockers = graph::not_ready(&self.slots, slot);
            if slot.state == State::Waiting && !blockers.is_empty() {
                actions.push(Action { service: name.clone(), act: Act::Announce(Notice::WaitingFor(blockers)) });
            }
        }
    }

    fn stop(&mut self, services: &[ServiceName], kill: bool, timeout: Option<Duration>, now: Now, actions: &mut Vec<Action>) {
        for name in services {
            self.with_slot(name, now, actions, |slot, turn| slot.ask_stop(Reason::Requested, kill, timeout, turn));
        }
    }

    /// Whom a service waits for, if it waits.
    pub fn blockers(&self, service: &ServiceName) -> Vec<ServiceName> {
        self.slots
            .get(service)
            .filter(|slot| slot.state == State::Waiting)
            .map(|slot| graph::not_ready(&self.slots, slot))
            .unwrap_or_default()
    }

    /// What is named, with everything that it needs.
    pub fn with_dependencies(&self, services: &[ServiceName]) -> Vec<ServiceName> {
        graph::with_dependencies(&self.slots, services).into_iter().collect()
    }

    fn with_slot(&mut self, name: &ServiceName, now: Now, actions: &mut Vec<Action>, change: impl FnOnce(&mut Slot, &mut Turn)) {
        if let Some(slot) = self.slots.get_mut(name) {
            self.changed = true;
            change(slot, &mut Turn { now, actions, next_run: &mut self.next_run });
        }
    }

    /// Lets go on whoever waited for others: up once its dependencies are ready, down once its dependants are gone.
    fn settle(&mut self, now: Now, actions: &mut Vec<Action>) {
        loop {
            let free: Vec<ServiceName> = self
                .slots
                .iter()
                .filter(|(name, slot)| match (&slot.state, &slot.pending_stop) {
                    (State::Waiting, _) => slot.wanted == Wanted::Up && graph::not_ready(&self.slots, slot).is_empty(),
                    (_, Some(_)) => !graph::has_stopping_dependant(&self.slots, name),
                    (_, None) => false,
                })
                .map(|(name, _)| name.clone())
                .collect();
            if free.is_empty() {
                break;
            }
            for name in free {
                self.with_slot(&name, now, actions, |slot, turn| match slot.state {
                    State::Waiting => slot.begin_clearing(turn),
                    _ => slot.begin_pending_stop(turn),
                });
            }
        }
        self.slots.retain(|_, slot| !(slot.removed && slot.state == State::Stopped));
    }
}
