//! What is done to the stack: one blow at a time, each from a settled state.

use crate::blow::Blow;
use crate::check::{Checks, Wanted, violated};
use crate::harness::Failure;
use crate::harness::process::{self, Id};
use crate::harness::project::{Done, Running};
use crate::random::Random;
use crate::stack::{Look, SERVICES, Stack, Worker, name};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::time::Duration;

/// What is known of the stack besides what can be seen.
pub struct Story {
    pub stack: Stack,
    pub random: Random,
    pub checks: Checks,
    pub wanted: Wanted,
    /// Runs whose tracker was killed: nobody removes their semaphores.
    pub trackerless: BTreeSet<String>,
    /// In words, what the present blow did.
    pub deeds: Vec<String>,
    /// Services that the present blow may have cost processes.
    pub hit: BTreeSet<usize>,
    pub own_memory: bool,
}

impl Story {
    /// From a settled state, to one that is to settle by itself.
    pub fn strike(&mut self, blow: Blow, before: &Look) -> Result<(), Failure> {
        match blow {
            Blow::KillMember => self.kill_some_of(before, |it| !it.is_main && !it.process.is_tracker()),
            Blow::KillMain => self.kill_mains(before),
            Blow::KillTracker => self.kill_some_of(before, |it| it.process.is_tracker()),
            Blow::KillWholePool => self.kill_all_of_one(before),
            Blow::KillSupervisor => self.kill_devstack(before, [false, true]),
            Blow::KillKeeper => self.kill_devstack(before, [true, false]),
            Blow::KillBoth => {
                self.kill_devstack(before, [true, true]);
                return self.after_both(before);
            }
            Blow::KillBothAndMembers => {
                self.kill_devstack(before, [true, true]);
                self.kill_some_of(before, |it| !it.is_main && !it.process.is_tracker());
                return self.after_both(before);
            }
            Blow::KillBothAndMains => {
                self.kill_devstack(before, [true, true]);
                self.kill_mains(before);
                return self.after_both(before);
            }
            Blow::KillSupervisorAndMain => {
                self.kill_devstack(before, [false, true]);
                self.kill_mains(before);
            }
            Blow::KillSupervisorOfStoppedKeeper => {
                let Some((keeper, supervisor)) = before.pair() else { return Ok(()) };
                self.signal(keeper, Signal::STOP, "keeper");
                self.signal(supervisor, Signal::KILL, "supervisor");
                self.kill_mains(before);
                self.pause();
                self.signal(keeper, Signal::CONT, "keeper");
            }
            Blow::PauseWorkers => self.pause_workers(before),
            Blow::PauseDevstack => self.pause_devstack(before),
            Blow::RestartPaused => return self.restart_paused(before),
            Blow::KillCommand => return self.kill_command(before, false),
            Blow::KillCommandAndDevstack => return self.kill_command(before, true),
            Blow::DevstackDiesDuringCommand => return self.devstack_dies_during_command(before),
            Blow::StopSome => return self.stop_some(before),
            Blow::RestartSome => return self.restart_some(),
            Blow::StartAll => return self.start_all(),
            Blow::TwoStarts => {
                let first = self.begin("start")?;
                self.start_all()?;
                return self.succeeds(first, before).map(drop);
            }
            Blow::CleanUp => return self.run("cleanup-workers", before).map(drop),
            Blow::StopForGood => return self.stop_for_good(before),
        }
        Ok(())
    }

    fn signal(&mut self, id: Id, signal: Signal, what: &str) {
        let there = process::send(id, signal);
        self.deeds.push(format!("{} {what} {}{}", signal_name(signal), id.pid, if there { "" } else { " (gone)" }));
    }

    /// At most so long that something is in the middle of something.
    fn pause(&mut self) {
        let length = self.random.milliseconds(150);
        process::wait_for_one(&[], length);
    }

    fn running(&self) -> Vec<usize> {
        (0..SERVICES).filter(|service| self.wanted[*service] == Some(true)).collect()
    }

    fn some_services(&mut self, of: &[usize]) -> Vec<usize> {
        let count = 1 + self.random.below(3);
        let chosen: BTreeSet<usize> = (0..count).filter_map(|_| self.random.of_list(of)).collect();
        chosen.into_iter().collect()
    }

    fn kill_some_of(&mut self, before: &Look, which: impl Fn(&Worker) -> bool) {
        let services = self.running();
        for service in self.some_services(&services) {
            let of_run: Vec<&Worker> = before.run_of(service).into_iter().filter(|it| which(it)).collect();
            let Some(it) = self.random.of_list(&of_run) else { continue };
            self.hit.insert(service);
            self.note_tracker(before, service, it);
            self.signal(it.process.id, Signal::KILL, &format!("a process of {}", name(service)));
        }
    }

    fn note_tracker(&mut self, before: &Look, service: usize, it: &Worker) {
        if it.process.is_tracker() {
            self.trackerless.extend(before.mains_of(service).first().and_then(|main| main.run.clone()));
        }
    }

    fn kill_mains(&mut self, before: &Look) {
        let services = self.running();
        for service in self.some_services(&services) {
            self.hit.insert(service);
            for main in before.mains_of(service) {
                self.signal(main.process.id, Signal::KILL, &format!("main of {}", name(service)));
            }
        }
    }

    fn kill_all_of_one(&mut self, before: &Look) {
        let Some(service) = self.random.of_list(&self.running()) else { return };
        self.hit.insert(service);
        for it in before.run_of(service) {
            self.note_tracker(before, service, it);
            self.signal(it.process.id, Signal::KILL, &format!("all of {}", name(service)));
        }
    }

    fn kill_devstack(&mut self, before: &Look, which: [bool; 2]) {
        let Some((keeper, supervisor)) = before.pair() else { return };
        let mut doomed = Vec::new();
        if which[0] {
            doomed.push((keeper, "keeper"));
        }
        if which[1] {
            doomed.push((supervisor, "supervisor"));
        }
        if self.random.one_in(2) {
            doomed.reverse();
        }
        let both = doomed.len() == 2;
        if both {
            // Otherwise the one that is left may be quicker than we are.
            for (id, _) in &doomed {
                process::send(*id, Signal::STOP);
            }
        }
        for (id, what) in &doomed {
            self.signal(*id, Signal::KILL, what);
        }
        process::wait_for_all(&doomed.iter().map(|(id, _)| *id).collect::<Vec<_>>(), Duration::from_secs(30));
    }

    /// Status tells the truth without a supervisor, and a command, whichever, picks everything up.
    fn after_both(&mut self, before: &Look) -> Result<(), Failure> {
        let hit: Vec<usize> = self.hit.iter().copied().collect();
        let (status, done) = self.stack.place.status(&self.stack.root)?;
        let look = self.stack.look();
        self.checks.at_any_time(&self.stack, &look)?;
        let mut wrong = Vec::new();
        if !matches!(done.code, Some(0 | 3)) || !status["supervisor"].is_null() {
            wrong.push(format!("status without devstack: {done:?}"));
        }
        for service in 0..SERVICES {
            self.checks.count += 1;
            let main = look.mains_of(service).first().map(|main| i64::from(main.process.id.pid));
            let said = status["services"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name(service).as_str()));
            let said = said.and_then(|one| one["pid"].as_i64());
            // A pool whose member was killed ends by itself, perhaps between the two looks.
            if said != main && !hit.contains(&service) {
                wrong.push(format!("{}: status without devstack says pid {said:?}, there is {main:?}", name(service)));
            }
        }
        if !wrong.is_empty() {
            return Err(violated(&self.stack, &look, wrong.join("; "), &done.stdout));
        }
        match self.random.below(5) {
            0 => self.run("cleanup-workers", before).map(drop)?,
            1 => self.stop_some(before)?,
            2 => {
                let one = self.random.of_list(&hit).or_else(|| self.random.of_list(&self.running()));
                self.stop(&one.into_iter().collect::<Vec<_>>(), before)?;
            }
            3 => self.restart_some()?,
            _ => {}
        }
        self.start_all()
    }

    fn pause_workers(&mut self, before: &Look) {
        let services = self.running();
        let mut paused = Vec::new();
        for service in self.some_services(&services) {
            let of_run = before.run_of(service);
            paused.extend(self.random.of_list(&of_run).map(|it| it.process.id));
        }
        paused.iter().for_each(|id| self.signal(*id, Signal::STOP, "worker"));
        self.pause();
        paused.iter().for_each(|id| self.signal(*id, Signal::CONT, "worker"));
    }

    fn pause_devstack(&mut self, before: &Look) {
        let Some((keeper, supervisor)) = before.pair() else { return };
        let which = if self.random.one_in(2) { (keeper, "keeper") } else { (supervisor, "supervisor") };
        self.signal(which.0, Signal::STOP, which.1);
        if self.random.one_in(2) {
            self.kill_mains(before);
        }
        self.pause();
        self.signal(which.0, Signal::CONT, which.1);
    }

    fn restart_paused(&mut self, before: &Look) -> Result<(), Failure> {
        let Some(service) = self.random.of_list(&self.running()) else { return Ok(()) };
        self.hit.insert(service);
        for it in before.run_of(service) {
            if self.random.one_in(2) {
                self.signal(it.process.id, Signal::STOP, &name(service));
            }
        }
        self.run(&format!("restart {}", name(service)), before).map(drop)
    }

    fn begin(&mut self, line: &str) -> Result<Running, Failure> {
        self.deeds.push(format!("`devstack {line}`"));
        self.stack.place.begin(&self.stack.root.clone(), line)
    }

    fn succeeds(&mut self, running: Running, before: &Look) -> Result<Done, Failure> {
        let done = running.end()?;
        self.checks.count += 1;
        // Of what is stopped on purpose, status says so with 3; whether that is true is looked at once it is settled.
        if done.code == Some(0) || done.code == Some(3) && done.line.starts_with("status") {
            return Ok(done);
        }
        let look = self.stack.look();
        let what =
            format!("`devstack {}` ended with {:?}: {}{}\nbefore:\n{}", done.line, done.code, done.stdout, done.stderr, before.lines());
        Err(violated(&self.stack, &look, what, ""))
    }

    fn run(&mut self, line: &str, before: &Look) -> Result<Done, Failure> {
        let running = self.begin(line)?;
        self.succeeds(running, before)
    }

    fn stop(&mut self, services: &[usize], before: &Look) -> Result<(), Failure> {
        if services.is_empty() {
            return Ok(());
        }
        let how = if self.random.one_in(4) { " --kill" } else { "" };
        self.hit.extend(services);
        self.run(&format!("stop{how} {}", words(services)), before)?;
        services.iter().for_each(|service| self.wanted[*service] = Some(false));
        self.checks.nothing_of(&self.stack, services, before)
    }

    fn stop_some(&mut self, before: &Look) -> Result<(), Failure> {
        let services = self.some_services(&(0..SERVICES).collect::<Vec<_>>());
        self.stop(&services, before)
    }

    fn restart_some(&mut self) -> Result<(), Failure> {
        let services = self.some_services(&(0..SERVICES).collect::<Vec<_>>());
        self.hit.extend(&services);
        services.iter().for_each(|service| self.wanted[*service] = Some(true));
        self.run(&format!("restart {}", words(&services)), &Look::default()).map(drop)
    }

    fn start_all(&mut self) -> Result<(), Failure> {
        self.wanted = [Some(true); SERVICES];
        self.run("start", &Look::default())?;
        let look = self.stack.look();
        for service in (0..SERVICES).filter(|service| !self.hit.contains(service)) {
            self.checks.count += 1;
            if look.mains_of(service).len() != 1 {
                let what = format!("start succeeded, and {} has {} main processes", name(service), look.mains_of(service).len());
                return Err(violated(&self.stack, &look, what, ""));
            }
        }
        Ok(())
    }

    /// A command that is killed before it can say how it went, and perhaps devstack with it.
    fn kill_command(&mut self, before: &Look, devstack_too: bool) -> Result<(), Failure> {
        let line = self.command();
        let running = self.begin(&line)?;
        self.pause();
        if devstack_too {
            let which = [self.random.one_in(2), self.random.one_in(2)];
            self.kill_devstack(before, which);
        }
        let done = running.end_within(Duration::ZERO)?;
        self.deeds.push(format!("killed (it ended with {:?})", done.code));
        self.start_all()
    }

    /// Whoever asks keeps asking; at the end it is as asked, or the same command does it.
    fn devstack_dies_during_command(&mut self, before: &Look) -> Result<(), Failure> {
        let line = self.command();
        let running = self.begin(&line)?;
        self.pause();
        let which = [self.random.one_in(2), self.random.one_in(2)];
        self.kill_devstack(before, which);
        let done = running.end()?;
        self.deeds.push(format!("it ended with {:?} {}", done.code, done.stderr.lines().last().unwrap_or_default()));
        if done.code != Some(0) {
            self.run(&line, before)?;
        }
        self.start_all()
    }

    /// Notes what it may cost.
    fn command(&mut self) -> String {
        let services = self.some_services(&(0..SERVICES).collect::<Vec<_>>());
        let word = self.random.of_list(&["start", "stop", "restart", "cleanup-workers", "status"]).unwrap_or("start");
        if matches!(word, "stop" | "restart") {
            self.hit.extend(&services);
        }
        format!("{word} {}", words(&services))
    }

    fn stop_for_good(&mut self, before: &Look) -> Result<(), Failure> {
        self.hit.extend(0..SERVICES);
        self.run("stop --supervisor", before)?;
        let explained = std::mem::take(&mut self.trackerless);
        let left = self.checks.nothing_at_all(&mut self.stack, &explained, self.own_memory)?;
        self.deeds.push(format!("nothing left but {left} semaphores whose trackers were killed"));
        self.start_all()
    }

    /// The end of the story.
    pub fn end(&mut self, before: &Look) -> Result<usize, Failure> {
        self.run("stop --supervisor", before)?;
        self.checks.nothing_at_all(&mut self.stack, &self.trackerless.clone(), self.own_memory)
    }
}

fn words(services: &[usize]) -> String {
    services.iter().map(|service| name(*service)).collect::<Vec<_>>().join(" ")
}

fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::KILL => "SIGKILL",
        Signal::STOP => "SIGSTOP",
        _ => "SIGCONT",
    }
}
