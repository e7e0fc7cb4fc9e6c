//! The real driver on a simulated machine, for tests: commands in, time moved by hand, devstack killed at will.

use super::Driver;
use crate::engine::{Command, Event, Ledger, Notice, Origin, Slot, Stack, StartMode, State};
use crate::model::{
    BootTime, HealthCheck, Hooks, KillMode, LogRotate, Pid, Probe, Ready, ReadyWhen, RestartPolicy, Service, ServiceName, Signal,
    StartLimit,
};
use crate::sys::Os;
use crate::sys::sim::SimOs;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn name(text: &str) -> ServiceName {
    ServiceName::new(text).expect("a good name")
}

/// As devstack.toml would resolve an entry with nothing but a command.
pub fn service(text: &str) -> Service {
    Service {
        name: name(text),
        external: false,
        command: vec!["python".to_owned()],
        cwd: "/".into(),
        env: BTreeMap::from([("TELEGRAM_MODE".to_owned(), "dev".to_owned())]),
        env_files: Vec::new(),
        venv: None,
        depends_on: Vec::new(),
        groups: Vec::new(),
        setup: None,
        match_argv: Vec::new(),
        ports: Vec::new(),
        health: None,
        ready: Ready { when: ReadyWhen::Notify, timeout: seconds(30) },
        heartbeat_timeout: None,
        max_runtime: None,
        max_runtime_jitter: 0.0,
        memory_limit: None,
        cpu_limit: None,
        cpu_window: seconds(10),
        restart: RestartPolicy::OnFailure,
        restart_delay: seconds(1),
        restart_delay_max: seconds(60),
        start_limit: StartLimit { burst: 5, interval: seconds(600) },
        stop_signal: Signal::TERM,
        stop_timeout: seconds(30),
        kill_mode: KillMode::Mixed,
        health_port: None,
        log_file: "/log".into(),
        log_rotate: LogRotate { size: None, keep: 5, age: None, compress: false },
        watch: Vec::new(),
        hooks: Hooks::default(),
    }
}

pub fn health() -> HealthCheck {
    let probe = Probe::Tcp("127.0.0.1:9091".to_owned());
    HealthCheck { probe, interval: seconds(5), timeout: seconds(2), failures: 3, start_period: Duration::ZERO }
}

pub struct Rig {
    pub driver: Driver<SimOs>,
    pub services: BTreeMap<ServiceName, Arc<Service>>,
    pub has_keeper: bool,
    /// Of the next ledger that is made anew.
    epoch: u64,
}

impl Rig {
    pub fn new(services: impl IntoIterator<Item = Service>) -> Self {
        let services = services.into_iter().map(|service| (service.name.clone(), Arc::new(service))).collect();
        let mut rig = Self { driver: Driver::new(Stack::new(1), SimOs::default()), services, has_keeper: true, epoch: 2 };
        rig.driver.configure(&rig.services);
        rig
    }

    pub fn os(&mut self) -> &mut SimOs {
        self.driver.os_mut()
    }

    pub fn slot(&self, service: &str) -> &Slot {
        self.driver.stack().slot(&name(service)).expect("a known service")
    }

    pub fn word(&self, service: &str) -> &'static str {
        self.slot(service).state.word().word()
    }

    pub fn pid(&self, service: &str) -> Option<Pid> {
        self.slot(service).process.as_ref().map(|process| process.main.pid)
    }

    pub fn now(&self) -> BootTime {
        self.driver.os().world.now
    }

    pub fn start(&mut self, services: &[&str]) {
        self.ask_start(services.iter().map(|text| name(text)).collect(), StartMode::Ensure);
    }

    pub fn restart(&mut self, services: &[&str]) {
        self.ask_start(services.iter().map(|text| name(text)).collect(), StartMode::Restart);
    }

    pub fn stop(&mut self, services: &[&str]) {
        self.ask_stop(services.iter().map(|text| name(text)).collect(), false, None);
    }

    pub fn kill(&mut self, services: &[&str]) {
        self.ask_stop(services.iter().map(|text| name(text)).collect(), true, None);
    }

    pub fn ask_start(&mut self, services: Vec<ServiceName>, mode: StartMode) {
        let all = self.driver.stack().with_dependencies(&services);
        self.os().start_was_asked(&all);
        self.os().leaving.retain(|name| !all.contains(name));
        if mode == StartMode::Restart {
            self.os().leaving.extend(services.iter().cloned());
        }
        self.driver.handle([Event::Command(Command::Start { services, mode, replace: false })]);
        self.pump();
    }

    pub fn ask_stop(&mut self, services: Vec<ServiceName>, kill: bool, timeout: Option<Duration>) {
        for service in &services {
            if kill {
                self.os().leaving.remove(service)
            } else {
                self.os().leaving.insert(service.clone())
            };
        }
        self.driver.handle([Event::Command(Command::Stop { services, kill, timeout })]);
        self.pump();
    }

    /// Files that the service watches are saved, now.
    pub fn change_files(&mut self, service: &str, paths: &[&str]) {
        let at = self.now();
        self.os().start_was_asked(&[name(service)]);
        self.driver.handle([Event::FilesChanged(name(service), paths.iter().map(Into::into).collect(), at)]);
        self.pump();
    }

    pub fn configure(&mut self, services: impl IntoIterator<Item = Service>) {
        self.services = services.into_iter().map(|service| (service.name.clone(), Arc::new(service))).collect();
        self.os().leaving.clear();
        self.driver.configure(&self.services);
        self.pump();
    }

    /// Handles everything that is due at this moment.
    pub fn pump(&mut self) {
        for _ in 0..10_000 {
            if self.os().dead {
                return self.come_back(Duration::ZERO);
            }
            self.os().world.unfold();
            let events = self.os().take_due();
            if !events.is_empty() {
                for event in events {
                    self.driver.handle([event]);
                }
            } else if self.driver.stack().next_deadline().is_some_and(|deadline| deadline <= self.now()) {
                let mut alone = self.driver.stack().clone();
                alone.step(Event::Tick, self.driver.os().now(), &mut Vec::new());
                if alone.next_deadline().is_some_and(|next| next <= self.now()) {
                    self.os().violations.push("a tick left a deadline behind".to_owned());
                }
                self.driver.handle([Event::Tick]);
            } else {
                return;
            }
        }
        self.os().violations.push("devstack is busy without end".to_owned());
    }

    pub fn pass(&mut self, wait: Duration) {
        let end = self.now().after(wait);
        loop {
            self.pump();
            let deadline = self.driver.stack().next_deadline();
            let next = [self.os().world.next(), deadline].into_iter().flatten().min().filter(|next| *next <= end);
            let now = self.now();
            self.os().world.now = next.unwrap_or(end).max(now);
            if next.is_none() {
                return self.pump();
            }
        }
    }

    /// SIGKILL to devstack; after a while its successor reads the ledger.
    pub fn crash(&mut self, away: Duration) {
        self.os().dead = true;
        self.come_back(away);
    }

    /// And the ledger is gone, or cannot be used. What it counted is forgotten with it.
    pub fn crash_without_ledger(&mut self, away: Duration) {
        self.os().saved = None;
        self.os().forget_starts();
        self.crash(away);
    }

    fn come_back(&mut self, away: Duration) {
        let mut os = std::mem::take(self.driver.os_mut());
        let epoch = self.epoch;
        self.epoch += 1;
        let stack = os.saved.clone().unwrap_or_else(|| Stack::new(epoch));
        let bytes = Ledger::new(Origin::default(), stack).to_json().expect("JSON");
        let stack = Ledger::from_json(&bytes).expect("our own ledger").stack;
        let recorded = stack.slots().values().filter_map(|slot| slot.state.run()).collect();
        // A command that was not yet on disk has never been given.
        os.leaving.retain(|service| stack.slot(service).is_some_and(Slot::is_going_down));
        os.world.lose_devstack(&recorded, self.has_keeper);
        // Of what a full disk kept out of the ledger, nobody knows what is due after it.
        let has_begun = |state: &State| !matches!(state, State::SettingUp { .. } | State::Clearing { .. });
        let knows = |slot: &Slot, run| slot.state.run() == Some(run) && has_begun(&slot.state);
        os.owed.retain(|service, run| stack.slot(service).is_some_and(|slot| knows(slot, *run)));
        os.world.now = os.world.now.after(away);
        os.world.unfold();
        // Words on their way died with it.
        os.told.clear();
        (os.dead, os.dies_in) = (false, None);
        self.driver = Driver::new(stack, os);
        self.driver.recover(&self.services);
        self.pump();
    }

    /// What must hold at every moment at which devstack has nothing left to do.
    pub fn check(&self) -> Result<(), String> {
        let (stack, os) = (self.driver.stack(), self.driver.os());
        if let Some(violation) = os.violations.first() {
            return Err(violation.clone());
        }
        let now = os.now();
        let (mut same, mut actions) = (stack.clone(), Vec::new());
        same.step(Event::Tick, now, &mut actions);
        if !actions.is_empty() || same != *stack {
            return Err(format!("a tick out of time does something: {actions:?}"));
        }
        if stack.next_deadline().is_some_and(|deadline| deadline <= now.boot) {
            return Err("a deadline lies in the past".to_owned());
        }
        for (name, slot) in stack.slots() {
            if let Some(run) = slot.state.run()
                && !os.world.holds(run)
            {
                return Err(format!("{name} is said to be {:?}, but there is nothing of it", slot.state));
            }
            if slot.state == State::Stopped && os.owed.contains_key(name) {
                return Err(format!("{name} is at rest, and the hook after its run did not run"));
            }
            if matches!(slot.state, State::Spawning { .. }) {
                return Err(format!("{name} is left half spawned"));
            }
        }
        let mut recycled = BTreeSet::new();
        for group in stack.slots().values().filter(|slot| slot.is_being_recycled()).flat_map(|slot| &slot.spec.groups) {
            if !recycled.insert(group) {
                return Err(format!("two services of {group} are recycled at the same moment"));
            }
        }
        let owner = |service: &ServiceName| stack.slot(service).and_then(|slot| slot.state.run());
        let owned = |run| stack.slots().values().any(|slot| slot.state.run() == Some(run));
        if let Some((run, _)) = os.world.runs.iter().find(|(run, it)| it.zombie.is_some() && !owned(**run)) {
            return Err(format!("nobody collects {run}"));
        }
        match os.world.processes.iter().find(|it| !it.lost && !it.left_alone && owner(&it.service) != Some(it.run)) {
            Some(stray) => Err(format!("nobody owns {stray:?}: {:?}", stack.slot(&stray.service))),
            None => Ok(()),
        }
    }

    pub fn notices(&self, service: &str) -> Vec<&Notice> {
        self.driver.os().notices.iter().filter(|(of, _)| of.as_str() == service).map(|(_, notice)| notice).collect()
    }
}
