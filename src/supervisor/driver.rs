use crate::engine::{Act, Action, Event, Report, Stack};
use crate::model::{Service, ServiceName};
use crate::sys::Os;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The loop between decision and deed: events into the stack, its actions onto the operating system.
///
/// Guards one order: processes are created first but held at their gates, then the ledger is saved, and only then is
/// anything released, signalled or announced. Whenever devstack dies, the ledger knows every program that runs.
pub struct Driver<O> {
    stack: Stack,
    os: O,
    /// Why the ledger could not be saved last time.
    degraded: Option<String>,
}

impl<O: Os> Driver<O> {
    pub fn new(stack: Stack, os: O) -> Self {
        Self { stack, os, degraded: None }
    }

    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    pub fn os(&self) -> &O {
        &self.os
    }

    pub fn os_mut(&mut self) -> &mut O {
        &mut self.os
    }

    pub fn degraded(&self) -> Option<&str> {
        self.degraded.as_deref()
    }

    /// Takes over a configuration.
    pub fn configure(&mut self, services: &BTreeMap<ServiceName, Arc<Service>>) {
        let mut actions = Vec::new();
        self.stack.configure(services, self.os.now(), &mut actions);
        self.perform(VecDeque::new(), actions);
    }

    /// Takes over a configuration, and what an earlier devstack has left running.
    pub fn recover(&mut self, services: &BTreeMap<ServiceName, Arc<Service>>) {
        let mut actions = Vec::new();
        let survey = self.os.survey();
        self.stack.recover(&survey, services, self.os.now(), &mut actions);
        self.perform(VecDeque::new(), actions);
    }

    /// Looks for runs of those that are at rest as far as is known: a devstack in the foreground may have been killed.
    pub fn look_for(&mut self, services: &[ServiceName]) {
        let is_at_rest = |service| self.stack.slot(service).is_some_and(|slot| slot.state.run().is_none() && !slot.spec.external);
        if services.iter().any(is_at_rest) {
            let found = self.os.survey();
            self.handle([Event::Found(found)]);
        }
    }

    /// For each run that another supervisor left: what its processes say still comes.
    pub fn still_heard(&self) -> Vec<Event> {
        let heard =
            |(name, slot): (&ServiceName, &crate::engine::Slot)| Some(Event::Report(name.clone(), slot.state.run()?, Report::StillHeard));
        self.stack.slots().iter().filter_map(heard).collect()
    }

    /// Handles what happened, and everything that follows from it at once.
    pub fn handle(&mut self, events: impl IntoIterator<Item = Event>) {
        self.perform(events.into_iter().collect(), Vec::new());
    }

    fn perform(&mut self, mut events: VecDeque<Event>, mut actions: Vec<Action>) {
        let mut after_save = Vec::new();
        loop {
            events.extend(self.os.take_due());
            while let Some(event) = events.pop_front() {
                self.stack.step(event, self.os.now(), &mut actions);
            }
            for Action { service, act } in actions.drain(..) {
                match (act, self.spec(&service)) {
                    (Act::Spawn { run }, Some(spec)) => {
                        let report = self.os.spawn(run, &spec);
                        events.push_back(Event::Report(service, run, report));
                    }
                    (act, _) => after_save.push(Action { service, act }),
                }
            }
            if !events.is_empty() {
                continue;
            }
            // What could not be saved is tried again with whatever happens next.
            if self.stack.take_changed() || self.degraded.is_some() {
                let _ = self.save();
            }
            if after_save.is_empty() {
                return;
            }
            for action in after_save.drain(..) {
                self.carry_out(action);
            }
        }
    }

    /// Also what did not change: somebody may have removed it.
    ///
    /// # Errors
    /// When the ledger cannot be saved now.
    pub fn save(&mut self) -> Result<(), String> {
        self.degraded = self.os.save(&self.stack).err().map(|error| error.to_string());
        self.degraded.clone().map_or(Ok(()), Err)
    }

    fn carry_out(&mut self, Action { service, act }: Action) {
        // A service that left the configuration may be forgotten by now; words about it may still be due.
        match (act, self.spec(&service)) {
            (Act::Announce(notice), _) => self.os.announce(&service, notice),
            (Act::Reap { run }, _) => self.os.reap(run),
            (Act::SetUp { run }, Some(spec)) => self.os.set_up(run, &spec),
            (Act::Clear { run, replace }, Some(spec)) => self.os.clear(run, &spec, replace),
            (Act::Hook { run, hook }, Some(spec)) => self.os.hook(run, &spec, hook),
            (Act::Release { run }, Some(spec)) => self.os.release(run, &spec),
            (Act::Adopt { run, process, ready }, Some(spec)) => self.os.adopt(run, &spec, &process, ready),
            (Act::Follow { run, process }, _) => self.os.follow(run, &process),
            (Act::Signal { run, signal }, Some(spec)) => self.os.signal(run, &spec, signal),
            (Act::AskStack { run }, Some(spec)) => self.os.ask_stack(run, &spec),
            (Act::Sweep { run, give_up_at }, Some(spec)) => self.os.sweep(run, &spec, give_up_at),
            (Act::Watch { run }, Some(spec)) => self.os.watch(run, &spec),
            (_, None) | (Act::Spawn { .. }, _) => {}
        }
    }

    fn spec(&self, service: &ServiceName) -> Option<Arc<Service>> {
        self.stack.slot(service).map(|slot| slot.spec.clone())
    }
}
