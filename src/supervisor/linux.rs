//! The real operating system behind [`Os`]: starts what takes time, remembers what a run holds, reports what it learns.

mod ends;
mod errands;
mod facts;
mod foreground;
mod limits;
mod orphans;
mod speakers;
mod sweep;

use super::claim;
use super::clear::{self, Clearing};
use super::environment::Environment;
use super::health_port::HealthPorts;
use super::helper::Helpers;
use super::journal::Journal;
use super::message::{Inbox, Message};
use super::probe::Prober;
use super::run::{Run, report};
use super::set::{self, Household, Traits};
use super::supervise::complain;
use super::{identity, ready, stack, watch};
use crate::cleanup::Decision;
use crate::cleanup::killing::Killing;
use crate::engine::{
    Cause, CauseKind, Event, Hook, Ledger, Notice, Now, Origin, Process, Report, Spawned, Stack, Survey, hard_memory_limit,
};
use crate::model::{BootTime, Exit, KillMode, Pid, ProcId, Project, RunId, Service, ServiceName, Signal};
use crate::sys::cgroup::{Group, Groups};
use crate::sys::failpoint::{self, Failpoint};
use crate::sys::folders::{self, Folders};
use crate::sys::keeper::KeeperLink;
use crate::sys::pidfd::PidFd;
use crate::sys::readiness::Readiness;
use crate::sys::{Os, clock, logfile, procfs, scan, spawn};
use foreground::Foreground;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;

pub struct LinuxOs {
    pub project: Arc<Project>,
    /// `None`: what is known is kept in memory only.
    pub folders: Option<Folders>,
    origin: Origin,
    environment: Rc<Environment>,
    inbox: Inbox,
    keeper: Option<(Pid, KeeperLink)>,
    helpers: Helpers,
    prober: Prober,
    pub runs: BTreeMap<RunId, Run>,
    /// Known at once, without waiting for anything.
    due: Vec<Event>,
    /// Told to whoever waits, and to the journal, once the events of the moment are handled.
    pub notices: Vec<(ServiceName, Notice)>,
    /// Looks that serve everything that happens at the same moment.
    in_the_way: Option<Vec<Decision>>,
    household: Option<Rc<Household>>,
    groups: Option<Groups>,
    foreground: Option<Foreground>,
    health_ports: HealthPorts,
    journal: Journal,
}

impl LinuxOs {
    pub fn new(
        project: Arc<Project>,
        folders: Option<Folders>,
        origin: Origin,
        environment: Rc<Environment>,
        inbox: Inbox,
        keeper: Option<(Pid, KeeperLink)>,
    ) -> Self {
        let helpers = Helpers::new(environment.clone());
        let prober = Prober::new(helpers.clone(), clock::both);
        let journal = Journal::of(folders.as_ref());
        let groups = Groups::of(&project.id).filter(|_| environment.may_use_groups());
        Self {
            project,
            folders,
            origin,
            environment,
            inbox,
            keeper,
            helpers,
            prober,
            runs: BTreeMap::new(),
            due: Vec::new(),
            notices: Vec::new(),
            in_the_way: None,
            household: None,
            groups,
            foreground: None,
            health_ports: HealthPorts::default(),
            journal,
        }
    }

    /// Another configuration holds from now on.
    pub fn adopt_project(&mut self, project: Arc<Project>) {
        self.environment.set_broken(None);
        self.project = project;
    }

    pub fn helpers(&self) -> &Helpers {
        &self.helpers
    }

    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    pub fn keeper(&self) -> Option<&(Pid, KeeperLink)> {
        self.keeper.as_ref()
    }

    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Nothing runs any more, and nothing will.
    pub fn leave(&self) {
        self.groups.iter().for_each(Groups::remove);
        self.forget_predecessors();
    }

    fn track(&mut self, id: RunId, service: &Arc<Service>, main: Option<ProcId>) -> &mut Run {
        let log = self.has_log(service).then(|| logfile::id(&service.log_file)).flatten();
        let cookie = self.environment.cookie(service, id);
        let root = self.project.root.clone();
        let mark = self.environment.mark(id);
        let traits =
            Traits { main, pin: None, cookie, root, mark, log, recorded: std::collections::BTreeSet::new(), stranger: false, group: None };
        self.runs.entry(id).or_insert_with(|| Run::new(service.clone(), traits))
    }

    /// Has the end of the main process reported.
    fn watch_end(&mut self, id: RunId, pidfd: Rc<Readiness>) {
        let inbox = self.inbox.clone();
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Some(main) = run.main() else { return };
        run.pidfd = Some(pidfd.clone());
        let service = run.service.name.clone();
        let task = tokio::task::spawn_local(async move {
            pidfd.readable().await;
            let _ = inbox.send(Message::MainEnded(service, id, main)).await;
        });
        run.keep(task.abort_handle());
    }

    fn try_spawn(&mut self, id: RunId, service: &Arc<Service>) -> Result<Spawned, (Cause, bool)> {
        let lasting = |message: String| (Cause::new(CauseKind::NotSpawned, message, None), true);
        let passing = |error: io::Error| (Cause::new(CauseKind::NotSpawned, error.to_string(), None), false);
        let mut launch = self.environment.launch(service, Some(id), &service.command).map_err(|cause| (cause, true))?;
        self.environment.let_speak(service, &mut launch.env);
        let log = self.open_log(service).map_err(|error| lasting(format!("its log cannot be opened: {error}")))?;
        self.serve_health(service).map_err(|error| lasting(format!("its health_port cannot be served: {error}")))?;
        let group = self.groups.as_ref().and_then(|groups| groups.create(&service.name, id).ok());
        if let (Some(group), Some(limit)) = (&group, service.memory_limit) {
            group.limit_memory(hard_memory_limit(limit));
        }
        let held = spawn::held(&spawn::Launch {
            program: &launch.program,
            argv: &launch.argv,
            env: &launch.env,
            cwd: &service.cwd,
            output: log.as_ref().map_or(spawn::Output::Inherited, |log| spawn::Output::To(log.file.as_fd())),
            inherit: &[],
            mark: Some(self.environment.mark(id)),
            own_pid: Environment::own_pid(service),
            group: group.as_ref(),
            detach: false,
        });
        let held = held.map_err(passing)?;
        let main = procfs::id(held.pid).map_err(passing)?;
        let run = self.track(id, service, Some(main));
        (run.traits.log, run.traits.group) = (log.as_ref().map(|log| log.id), group);
        run.log_offset = log.map_or(0, |log| log.end);
        run.held = Some(held);
        let log_offset = run.log_offset;
        let pidfd = PidFd::open(main).map_err(passing)?.ok_or_else(|| passing(io::Error::from(io::ErrorKind::NotFound)))?;
        self.watch_end(id, Rc::new(Readiness::of(&pidfd).map_err(passing)?));
        Ok(Spawned { main, inode: pidfd.inode(), log_offset })
    }
}

impl Os for LinuxOs {
    fn now(&self) -> Now {
        clock::both()
    }

    fn survey(&mut self) -> Survey {
        // Who runs one service in the foreground takes in no other.
        if self.keeper.is_none() {
            return Survey::default();
        }
        let mut survey = scan::survey(&self.project).unwrap_or_default();
        // What somebody runs in the foreground is that devstack's.
        survey.retain(|service| claim::holder(&self.project.id, service).is_none());
        survey
    }

    fn set_up(&mut self, id: RunId, service: &Arc<Service>) {
        self.begin_set_up(id, service);
    }

    fn clear(&mut self, id: RunId, service: &Arc<Service>, replace: bool) {
        let name = service.name.clone();
        if let Some(cause) = self.is_anothers(&name) {
            return self.due.push(Event::Report(name, id, Report::Cleared(Err(cause))));
        }
        let found = self.in_the_way_of(&name);
        let ours = self.runs.values().filter_map(|run| Some((run.main()?.pid, run.service.name.clone()))).collect();
        let clearing = match Clearing::new(service, found, replace, ours) {
            Ok(clearing) => clearing,
            Err(cause) => return self.due.push(Event::Report(name, id, Report::Cleared(Err(cause)))),
        };
        if clearing.is_quick() {
            return self.due.push(Event::Report(name, id, Report::Cleared(clearing.ports())));
        }
        for decision in clearing.ending() {
            let (pid, command, why) = (decision.process.id.pid, clear::command_of(decision), decision.reason.clone());
            self.announce(&name, Notice::Clearing { pid, command, why });
        }
        let inbox = self.inbox.clone();
        let task = tokio::task::spawn_local(async move {
            let result = clearing.end().await.and_then(|()| clearing.ports());
            let _ = inbox.send(report(&name, id, Report::Cleared(result))).await;
        });
        self.track(id, service, None).keep(task.abort_handle());
    }

    fn hook(&mut self, id: RunId, service: &Arc<Service>, hook: Hook) {
        self.begin_hook(id, service, hook);
    }

    fn spawn(&mut self, id: RunId, service: &Arc<Service>) -> Report {
        self.runs.remove(&id);
        failpoint::reach(Failpoint::BeforeSpawn);
        match self.try_spawn(id, service) {
            Ok(spawned) => {
                failpoint::reach(Failpoint::Spawned);
                Report::Spawned(spawned)
            }
            Err((cause, permanent)) => {
                self.runs.remove(&id);
                Report::NotSpawned { cause, permanent }
            }
        }
    }

    fn release(&mut self, id: RunId, service: &Arc<Service>) {
        let (prober, inbox) = (self.prober.clone(), self.inbox.clone());
        let Some(run) = self.runs.get_mut(&id) else { return };
        if let Some(held) = run.held.take() {
            held.release();
            failpoint::reach(Failpoint::Released);
        }
        if let Some(task) = ready::watch(service, id, run.log_offset, prober, inbox) {
            run.keep(task);
        }
        self.watch_limits(id);
    }

    fn adopt(&mut self, id: RunId, service: &Arc<Service>, recorded: &Process, is_ready: bool) {
        let (prober, inbox) = (self.prober.clone(), self.inbox.clone());
        let (household, project, main) = (self.household(), self.project.id.clone(), recorded.main);
        failpoint::reach(Failpoint::Adopted);
        let run = self.track(id, service, Some(main));
        let Some(stat) = identity::recognise(recorded, &run.traits) else {
            // The number may be another child's by now: nobody may be asked about it, and it must not be collected.
            run.traits.main = None;
            // What it left was adopted by whoever was there when all of devstack was dead.
            run.traits.stranger = true;
            return self.due.push(Event::Report(service.name.clone(), id, Report::Ended(Exit::Unobserved)));
        };
        run.log_offset = recorded.log_offset;
        // The number may be another child's by now, which must not be collected with this run.
        run.traits.pin = recorded.pin.filter(|pin| procfs::id(pin.pid).is_ok_and(|now| now == *pin));
        run.traits.stranger = !household.is_parent(stat.ppid);
        run.traits.group = Group::of_run(main.pid, &project, &service.name, id);
        run.traits.mark = procfs::mark(main.pid).unwrap_or(run.traits.mark);
        run.traits.record(&set::tree(main.pid));
        if let Err(error) = self.serve_health(service) {
            complain(&error);
        }
        if let Ok(Some(process)) = PidFd::open(main)
            && let Ok(pidfd) = Readiness::of(&process)
        {
            if !stat.is_dead() {
                self.announce(&service.name, Notice::Adopted { run: id, main });
            }
            self.watch_end(id, Rc::new(pidfd));
            self.watch_limits(id);
            if !is_ready
                && let Some(run) = self.runs.get_mut(&id)
                && let Some(task) = ready::watch(service, id, run.log_offset, prober, inbox)
            {
                run.keep(task);
            }
        } else {
            let exit = self.exit_of(id);
            self.due.push(Event::Report(service.name.clone(), id, Report::Ended(exit)));
        }
    }

    fn follow(&mut self, id: RunId, process: &Process) {
        self.take_main(id, process);
    }

    fn signal(&mut self, id: RunId, service: &Arc<Service>, signal: Signal) {
        let household = self.household();
        let Some(run) = self.runs.get_mut(&id) else { return };
        let members = set::members(&set::belongings(&run.traits, &household));
        run.traits.recorded.extend(members.iter().map(|member| member.proc));
        let main = run.main();
        failpoint::reach(Failpoint::BeforeSignal);
        let everyone = service.kill_mode == KillMode::ControlGroup;
        for member in members.iter().filter(|member| Some(member.proc) == main || (everyone && !member.tracker)) {
            if let Ok(Some(process)) = PidFd::open(member.proc) {
                let _ = process.signal(signal);
                // A stopped process would keep the signal pending for ever.
                let _ = process.signal(Signal::CONT);
            }
        }
        failpoint::reach(Failpoint::Signalled);
    }

    fn ask_stack(&mut self, id: RunId, service: &Arc<Service>) {
        let inbox = self.inbox.clone();
        let Some(run) = self.runs.get_mut(&id) else { return };
        let task = tokio::task::spawn_local(stack::ask(service.clone(), id, run.main(), inbox));
        run.keep(task.abort_handle());
    }

    fn sweep(&mut self, id: RunId, service: &Arc<Service>, give_up_at: BootTime) {
        // What an earlier devstack left behind has become anybody's child.
        let is_known = self.runs.contains_key(&id);
        self.cut_short(id, service);
        let run = self.track(id, service, None);
        run.traits.stranger |= !is_known;
        run.sweep = Some(Killing::new(None, give_up_at));
        self.advance_sweep(id);
    }

    fn watch(&mut self, id: RunId, service: &Arc<Service>) {
        let (prober, inbox) = (self.prober.clone(), self.inbox.clone());
        let Some(run) = self.runs.get_mut(&id) else { return };
        if let Some(check) = service.health.clone() {
            let task = tokio::task::spawn_local(watch::health(service.clone(), id, run.main(), check, prober, inbox));
            run.keep(task.abort_handle());
        }
    }

    fn reap(&mut self, id: RunId) {
        let Some(run) = self.runs.remove(&id) else { return };
        // What was of a living run then is in the way of the next one now.
        self.in_the_way = None;
        failpoint::reach(Failpoint::BeforeReap);
        if let Some(group) = &run.traits.group {
            group.remove();
        }
        let held = run.traits.held();
        // Dropping the gate first: a child that was never released ends by it.
        drop(run);
        held.iter().for_each(|held| self.collect(held.pid));
        failpoint::reach(Failpoint::Reaped);
    }

    fn save(&mut self, stack: &Stack) -> io::Result<()> {
        let Some(folders) = &self.folders else { return Ok(()) };
        let json = Ledger::new(self.origin.clone(), stack.clone()).to_json()?;
        let save = || folders::replace(&folders.ledger(), &json);
        match save() {
            // Somebody deleted the folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                folders.create().and_then(|()| folders.note_runtime()).and_then(|()| save())
            }
            saved => saved,
        }
    }

    fn announce(&mut self, service: &ServiceName, notice: Notice) {
        if matches!(notice, Notice::Stopped { .. }) {
            self.health_ports.close(service);
        }
        let runs = &self.runs;
        self.journal.note(clock::both().wall, service, &notice, || ends::last_words(runs, &notice));
        self.notices.push((service.clone(), notice));
    }

    fn take_due(&mut self) -> Vec<Event> {
        self.forget_looks();
        std::mem::take(&mut self.due)
    }
}
