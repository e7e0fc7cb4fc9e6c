//! What the simulated machine does when it is asked as the operating system is.

use super::world::Run;
use super::{Fork, Process, Role, SimOs, next};
use crate::engine::{Cause, CauseKind, Event, Hook, Notice, Now, Report, Spawned, Stack, Survey};
use crate::model::{BootTime, Exit, KillMode, Reason, RunId, Service, ServiceName, Signal};
use crate::sys::Os;
use std::io;
use std::sync::Arc;
use std::time::Duration;

impl Os for SimOs {
    fn now(&self) -> Now {
        self.world.time()
    }

    fn survey(&mut self) -> Survey {
        if self.dies() {
            return Survey::default();
        }
        self.world.survey()
    }

    fn set_up(&mut self, run: RunId, service: &Arc<Service>) {
        if self.dies() {
            return;
        }
        self.deed("set-up", service);
        self.leaving.remove(&service.name);
        let errand = next(&mut self.set_ups, service);
        let refusal = Cause::new(CauseKind::SetupFailed, "the set-up ended with exit status 1", None);
        let result = if errand.works { Ok(()) } else { Err(refusal) };
        self.errand(Role::Errand, run, service, errand.takes, Report::SetUp(result));
    }

    fn clear(&mut self, run: RunId, service: &Arc<Service>, _replace: bool) {
        if self.dies() {
            return;
        }
        self.deed("clear", service);
        self.leaving.remove(&service.name);
        self.last_end.remove(&service.name);
        let in_the_way = |process: &Process| process.service == service.name && !process.left_alone;
        let waits: Vec<_> = self.world.processes.iter().filter(|it| in_the_way(it)).map(|it| it.ends_on_kill).collect();
        self.world.kill(in_the_way);
        let errand = next(&mut self.clears, service);
        let stays = waits.contains(&None);
        let refusal = Cause::new(CauseKind::PortTaken, "port 9091 is taken", None);
        let result = if errand.works && !stays { Ok(()) } else { Err(refusal) };
        let longest = waits.into_iter().flatten().max().unwrap_or_default();
        self.errand(Role::Wait, run, service, longest.max(errand.takes), Report::Cleared(result));
    }

    fn hook(&mut self, run: RunId, service: &Arc<Service>, hook: Hook) {
        if self.dies() {
            return;
        }
        self.deed(hook.word(), service);
        let says = |slot: &crate::engine::Slot| slot.state.run() == Some(run) && slot.process.is_none();
        let recorded = self.recorded(&service.name).is_some_and(says);
        let unsaved = self.unsaved;
        self.forbid(!recorded && !unsaved, || format!("{} of {run} before it was recorded", hook.word()));
        if hook == Hook::PreStart {
            // The start begins here, however long the hook takes.
            self.count_start(service);
            self.begins(run, service);
        } else {
            self.owed.remove(&service.name);
        }
        let children_stay = service.kill_mode == KillMode::Process;
        let left_alone = |it: &Process| it.left_alone || it.lost || (children_stay && it.role == Role::Child);
        let beside = |it: &&Process| it.service == service.name && !left_alone(it);
        let company = self.world.processes.iter().find(beside).map(|it| it.id);
        self.forbid(company.is_some(), || format!("{} of {} runs beside {company:?}", hook.word(), service.name));
        let errand = next(&mut self.hooks, service);
        let refusal = Cause::new(CauseKind::HookFailed, "its hook ended with exit status 1", None);
        if hook == Hook::PreStart && !errand.works {
            self.last_end.insert(service.name.clone(), Reason::StartFailed);
        }
        let result = if errand.works { Ok(()) } else { Err(refusal) };
        self.errand(Role::Errand, run, service, errand.takes, Report::Hooked(result));
    }

    fn spawn(&mut self, run: RunId, service: &Arc<Service>) -> Report {
        let refused = |message: &str, permanent| {
            let cause = Cause::new(CauseKind::NotSpawned, message, None);
            Report::NotSpawned { cause, permanent }
        };
        if self.dies() {
            return refused("devstack is dead", true);
        }
        self.deed("spawn", service);
        self.leaving.remove(&service.name);
        self.count_start(service);
        let children_stay = service.kill_mode == KillMode::Process;
        let in_the_way = |it: &&Process| it.service == service.name && !it.left_alone && !(children_stay && it.role == Role::Child);
        let company = self.world.processes.iter().find(in_the_way).map(|it| it.id);
        self.forbid(company.is_some(), || format!("{run} of {} is spawned beside {company:?}", service.name));
        self.forbid(service.external, || format!("{} is not ours to spawn", service.name));
        let behaviour = next(&mut self.spawns, service);
        match behaviour.fork {
            Fork::Works => {}
            Fork::TryAgain => {
                self.last_end.insert(service.name.clone(), Reason::StartFailed);
                return refused("EAGAIN", false);
            }
            Fork::NoSuchProgram => return refused("ENOENT", true),
        }
        let main = self.world.new_process(&service.name, run, Role::Main, behaviour.ends_on_kill);
        self.world.runs.insert(run, Run { main: Some(main), behaviour, watched: true, ..Run::default() });
        Report::Spawned(Spawned { main, inode: None, log_offset: 0 })
    }

    fn release(&mut self, id: RunId, service: &Arc<Service>) {
        if self.dies() {
            return;
        }
        self.deed("release", service);
        self.begins(id, service);
        let main = self.world.runs.get(&id).and_then(|run| run.main);
        let recorded = self
            .recorded(&service.name)
            .is_some_and(|slot| slot.state.run() == Some(id) && slot.process.as_ref().map(|process| process.main) == main);
        let unsaved = self.unsaved;
        self.forbid(!recorded && !unsaved, || format!("{id} is released unrecorded"));
        let others = |it: &&Process| it.service == service.name && it.run != id && it.role == Role::Main && !it.left_alone;
        let other = self.world.processes.iter().find(others).map(|it| it.run);
        self.forbid(other.is_some(), || format!("{id} is released beside {other:?}"));
        let now = self.world.now;
        let Some(run) = self.world.runs.get_mut(&id) else { return };
        run.released = Some(now);
        let (behaviour, main) = (run.behaviour.clone(), run.main);
        for child in &behaviour.children {
            self.world.new_process(&service.name, id, Role::Child, child.ends_on_kill);
        }
        if let (Some((wait, exit)), Some(main)) = (behaviour.ends, main) {
            self.world.plan_end(main, wait, exit);
        }
        if let Some(wait) = behaviour.ready_after {
            self.world.plan_ready(&service.name, id, wait);
        }
        if let Some((wait, measured)) = behaviour.exceeds {
            self.world.plan_excess(&service.name, id, wait, measured);
        }
    }

    fn adopt(&mut self, id: RunId, service: &Arc<Service>, recorded: &crate::engine::Process, ready: bool) {
        if self.dies() {
            return;
        }
        self.deed("adopt", service);
        self.world.find_again(id);
        let lives = self.world.processes.iter().any(|process| process.id == recorded.main);
        let run = self.world.runs.entry(id).or_default();
        if lives {
            run.watched = true;
            if run.ready && !ready {
                self.world.tell(&service.name, id, Duration::ZERO, Report::Ready);
            }
        } else {
            let exit = run.zombie.clone().unwrap_or(Exit::Unobserved);
            self.world.tell(&service.name, id, Duration::ZERO, Report::Ended(exit));
        }
    }

    /// Nobody here names another main process.
    fn follow(&mut self, _: RunId, _: &crate::engine::Process) {}

    fn signal(&mut self, id: RunId, service: &Arc<Service>, signal: Signal) {
        if self.dies() {
            return;
        }
        self.deed(if signal == Signal::KILL { "kill" } else { "signal" }, service);
        self.must_be_recorded("a signal", id, service);
        if signal == Signal::KILL {
            return self.world.kill(|process| process.run == id && process.role == Role::Main);
        }
        // A successor repeats a signal, whoever joined the stop meanwhile.
        if self.signalled.insert(id) {
            self.dependants_are_gone(id, service);
        }
        let wait = self.world.runs.get(&id).and_then(|run| run.behaviour.ends_on_signal);
        let hit: Vec<_> = self.world.members(id).filter(|process| process.role == Role::Main).map(|process| process.id).collect();
        if let Some(wait) = wait {
            for process in hit {
                self.world.plan_end(process, wait, Exit::Code(0));
            }
        }
    }

    fn ask_stack(&mut self, id: RunId, service: &Arc<Service>) {
        if self.dies() {
            return;
        }
        self.deed("ask", service);
        self.must_be_recorded("a question", id, service);
        self.world.tell(&service.name, id, Duration::from_millis(500), Report::StackAsked);
    }

    fn sweep(&mut self, id: RunId, service: &Arc<Service>, give_up_at: BootTime) {
        if self.dies() {
            return;
        }
        self.deed("sweep", service);
        self.world.find_again(id);
        self.must_be_recorded("a sweep", id, service);
        let leader = self.recorded(&service.name).and_then(|slot| slot.process.as_ref()).map(|process| process.main);
        let leads = self.world.members(id).any(|process| Some(process.id) == leader);
        self.forbid(service.kill_mode == KillMode::Process && leads, || format!("{} asked to leave its children alone", service.name));
        self.world.runs.entry(id).or_default().sweeping = true;
        self.world.kill(|process| process.run == id && !process.left_alone && !process.lost);
        self.world.look_at_sweep(&service.name, id);
        self.world.plan_give_up(&service.name, id, give_up_at);
    }

    fn watch(&mut self, id: RunId, service: &Arc<Service>) {
        if self.dies() {
            return;
        }
        self.deed("watch", service);
        let Some(check) = &service.health else { return };
        if let Some(run) = self.world.runs.get_mut(&id) {
            let again = std::mem::replace(&mut run.probed, true);
            self.forbid(again, || format!("{id} is watched twice"));
            self.world.plan_probe(&service.name, id, check.interval);
        }
    }

    fn reap(&mut self, id: RunId) {
        if self.dies() {
            return;
        }
        let lives = self.world.members(id).any(|process| process.role != Role::Child);
        self.forbid(lives, || format!("{id} is reaped alive"));
        for process in self.world.processes.iter_mut().filter(|process| process.run == id && !process.lost) {
            process.left_alone = true;
        }
        if let Some(run) = self.world.runs.get_mut(&id) {
            (run.zombie, run.reaped) = (None, true);
        }
    }

    fn save(&mut self, stack: &Stack) -> io::Result<()> {
        if self.dies() {
            return Ok(());
        }
        self.unsaved = self.full_disk > 0;
        if self.unsaved {
            self.full_disk -= 1;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.saved = Some(stack.clone());
        Ok(())
    }

    fn announce(&mut self, service: &ServiceName, notice: Notice) {
        if self.dies() {
            return;
        }
        if let Notice::Ended { reason, .. } = &notice {
            self.last_end.insert(service.clone(), *reason);
        }
        self.notices.push((service.clone(), notice));
    }

    fn take_due(&mut self) -> Vec<Event> {
        if self.dead {
            return Vec::new();
        }
        let due = std::mem::take(&mut self.world.due);
        self.told.extend(due.iter().cloned());
        due
    }
}
