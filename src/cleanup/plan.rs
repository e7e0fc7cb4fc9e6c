//! What becomes of each process that is ours, or looks so, and why.
//!
//! Pure: a table, the project, the ledger and who asks. A tree shares the fate of its topmost proven process. Invariant:
//! without proof nothing is planned to end unless the person asked for exactly that.

use super::argv::PoolPart;
use super::evidence::{Evidence, Proof, Witness, part_of};
use super::table::{Table, is_devstack};
use super::{Action, Choice, Decision, Kind, LedgerFacts, Me, Role};
use crate::model::{KillMode, Observed, Project, ServiceName};
use std::collections::HashSet;

/// Parents before children, trees by age.
pub fn plan(processes: &[Observed], project: &Project, ledger: &LedgerFacts, me: &Me, choice: &Choice) -> Vec<Decision> {
    let table = Table::new(processes);
    let witness = Witness::new(&table, project, ledger, me);
    let planner = Planner { proofs: witness.proofs(), witness, choice };
    let mut decisions = planner.decide();
    planner.spare_trackers_of_the_spared(&mut decisions);
    decisions.retain(|decision| planner.is_asked_about(decision));
    decisions
}

/// What stands in the way of starting services: stale copies and orphans to end, and copies on a terminal to refuse beside.
pub fn for_start(processes: &[Observed], project: &Project, ledger: &LedgerFacts, me: &Me) -> Vec<Decision> {
    let mut decisions = plan(processes, project, ledger, me, &Choice::default());
    let of_service = |one: &Decision| one.service.as_ref().is_some_and(|service| project.services.contains_key(service));
    decisions.retain(|one| matches!(one.kind, Kind::Orphan | Kind::Stale | Kind::Manual) && of_service(one) || is_forgotten(one, project));
    decisions
}

/// Of a run that no ledger knows any more, and of which only its mark is left: whose it was cannot be told, but that it is over.
/// Where a service leaves its children alone, it may be one of those.
pub fn is_forgotten(decision: &Decision, project: &Project) -> bool {
    let over = matches!(decision.kind, Kind::Orphan | Kind::Stale) && decision.service.is_none();
    over && decision.evidence.contains(&Evidence::Mark) && project.services.values().all(|service| service.kill_mode != KillMode::Process)
}

struct Planner<'a> {
    witness: Witness<'a>,
    proofs: Vec<Option<Proof>>,
    choice: &'a Choice,
}

impl Planner<'_> {
    fn decide(&self) -> Vec<Decision> {
        let order = self.witness.table.top_down();
        let mut root_of: Vec<usize> = (0..self.proofs.len()).collect();
        let mut decisions = Vec::new();
        for (index, parent) in order {
            if let Some(proof) = &self.proofs[index] {
                if let Some(parent) = parent.filter(|&parent| self.proofs[parent].is_some()) {
                    root_of[index] = root_of[parent];
                }
                decisions.push(self.of_proven(index, root_of[index], proof));
            } else if let Some(service) = self.looks_like(index) {
                decisions.push(self.of_look_alike(index, service));
            }
        }
        decisions
    }

    fn of_proven(&self, index: usize, root: usize, proof: &Proof) -> Decision {
        let process = &self.witness.table.processes[index];
        let (kind, why) = self.kind(root);
        let wanted = match kind {
            Kind::Orphan | Kind::Stale => true,
            Kind::Manual => self.choice.include_manual,
            Kind::Managed => self.choice.managed,
            Kind::LookAlike => false,
        };
        let age = self.witness.table.processes[root].age;
        let too_young = self.choice.older_than.filter(|limit| age < *limit);
        let reason = match (too_young, index == root) {
            (Some(limit), _) if wanted => format!("{why}, but it is younger than {}", humantime::format_duration(limit)),
            (_, true) => why,
            (_, false) => format!("belongs to pid {}: {why}", self.witness.table.processes[root].id.pid),
        };
        let action_planned = if wanted && too_young.is_none() { Action::WouldTerminate } else { Action::LeftAlone };
        let (service, run_id, evidence) = (proof.service.clone(), proof.run, proof.evidence.clone());
        Decision { process: process.clone(), kind, role: self.role(index), service, run_id, evidence, action_planned, reason }
    }

    /// Of a whole tree, by its topmost process.
    fn kind(&self, root: usize) -> (Kind, String) {
        let it = &self.witness.table.processes[root];
        let Some(proof) = &self.proofs[root] else { return (Kind::LookAlike, "nothing proves it is ours".to_owned()) };
        if let Some(why) = self.supervised(root, proof) {
            return (Kind::Managed, why);
        }
        let parent = self.witness.table.parent(root).filter(|&parent| self.witness.table.processes[parent].id.pid != 1);
        let is_copy = match self.role(root) {
            Role::Main => true,
            Role::PoolWorker | Role::ResourceTracker | Role::Forkserver => false,
            // A wrapper or a renamed worker that somebody still holds, against what a run of ours left behind.
            Role::Child => parent.is_some() && proof.run.is_none() || self.leads_a_copy(root),
        };
        let name = proof.service.as_ref().map_or("a service", ServiceName::as_str);
        if !is_copy {
            return (Kind::Orphan, self.whose_worker_is_gone(it, proof));
        }
        if it.on_terminal && !it.ignores_hangup && proof.run.is_none() {
            return (Kind::Manual, format!("a copy of `{name}` that somebody runs on a terminal"));
        }
        (Kind::Stale, format!("a copy of `{name}` that devstack does not run"))
    }

    /// Whose run is alive, told from what a dead one left.
    fn supervised(&self, root: usize, proof: &Proof) -> Option<String> {
        let it = &self.witness.table.processes[root];
        if let Some(run) = proof.known_run(self.witness.ledger) {
            return run.alive_managed.then(|| format!("of the living run {} of `{}`", run.run, run.service));
        }
        if proof.run.is_none() && proof.evidence == [Evidence::Child] {
            return Some("a child of this project's supervisor, which looks after it".to_owned());
        }
        let parent = self.witness.table.parent(root).map(|parent| &self.witness.table.processes[parent]);
        if let Some(parent) = parent.filter(|parent| self.role(root) == Role::Main && is_devstack(parent, self.witness.me)) {
            return Some(format!("another devstack (pid {}) runs it", parent.id.pid));
        }
        // Without a run's name, only time tells: what started after the living leader may be its own.
        let by_log = proof.run.is_none() && proof.has(Evidence::LogFile) && !proof.has(Evidence::Match);
        let living = |run: &&super::KnownRun| run.alive_managed && Some(&run.service) == proof.service.as_ref();
        let run = self
            .witness
            .ledger
            .runs
            .iter()
            .find(living)
            .filter(|run| by_log && run.leader.is_some_and(|leader| leader.start_ticks <= it.id.start_ticks))?;
        Some(format!("writes to the log of the living run {} of `{}`", run.run, run.service))
    }

    fn whose_worker_is_gone(&self, it: &Observed, proof: &Proof) -> String {
        let recorded =
            proof.known_run(self.witness.ledger).and_then(|run| run.leader).map(|leader| leader.pid).filter(|&pid| pid != it.id.pid);
        // A pool stays in the group of the worker that made it.
        let of_group = (it.pgid > 1 && it.pgid != it.id.pid && !self.witness.table.contains_pid(it.pgid)).then_some(it.pgid);
        match recorded.or(of_group) {
            Some(pid) => format!("its worker (pid {pid}) is gone"),
            None => "its worker is gone".to_owned(),
        }
    }

    fn role(&self, index: usize) -> Role {
        let it = &self.witness.table.processes[index];
        let parent = self.witness.table.parent(index);
        let above = parent.map(|parent| &self.witness.table.processes[parent]);
        match part_of(it) {
            Some(PoolPart::SpawnChild) => return Role::PoolWorker,
            Some(PoolPart::ResourceTracker) => return Role::ResourceTracker,
            Some(PoolPart::Forkserver) if above.is_some_and(|above| above.argv == it.argv) => return Role::PoolWorker,
            Some(PoolPart::Forkserver) => return Role::Forkserver,
            None => {}
        }
        if self.witness.ledger.runs.iter().any(|run| run.is_led_by(it.id)) {
            return Role::Main;
        }
        if self.witness.copy_of(it).is_none() {
            return Role::Child;
        }
        // A forked child shows its parent's own arguments.
        let forked = above.is_some_and(|above| above.argv == it.argv) || self.is_one_of_a_dead_forks_children(index);
        if forked { Role::PoolWorker } else { Role::Main }
    }

    /// Several with the same arguments, in a group whose leader is gone, and none is the other's parent: a forked pool.
    fn is_one_of_a_dead_forks_children(&self, index: usize) -> bool {
        let processes = self.witness.table.processes;
        let it = &processes[index];
        let orphan = |other: &Observed| other.pgid == it.pgid && other.ppid == it.ppid && other.argv == it.argv;
        it.pgid != it.id.pid && !self.witness.table.contains_pid(it.pgid) && processes.iter().filter(|other| orphan(other)).count() > 1
    }

    fn leads_a_copy(&self, root: usize) -> bool {
        let processes = self.witness.table.processes;
        let below = |index: usize| std::iter::successors(self.witness.table.parent(index), |&up| self.witness.table.parent(up));
        (0..processes.len()).any(|index| self.role_is_main(index) && below(index).take(64).any(|up| up == root))
    }

    fn role_is_main(&self, index: usize) -> bool {
        self.proofs[index].as_ref().is_some_and(|proof| proof.has(Evidence::Match)) && self.role(index) == Role::Main
    }

    /// Worth showing: its text names a service, and it stands in no other project.
    fn looks_like(&self, index: usize) -> Option<ServiceName> {
        let it = &self.witness.table.processes[index];
        let elsewhere = it.home.as_ref().is_some_and(|home| *home != self.witness.project.root);
        if elsewhere || it.argv.is_empty() || !self.witness.is_reachable(index) {
            return None;
        }
        let mentioned = self.witness.patterns.iter().find(|(_, pattern)| pattern.is_mentioned_by(&it.argv));
        self.witness.copy_of(it).or(mentioned.map(|(service, _)| *service)).map(|service| service.name.clone())
    }

    fn of_look_alike(&self, index: usize, service: ServiceName) -> Decision {
        let process = self.witness.table.processes[index].clone();
        let reason = match self.witness.copy_of(&process) {
            Some(_) => format!("runs what `{service}` runs, but outside this project"),
            None => format!("its command line mentions `{service}`; nothing proves it is ours"),
        };
        let action_planned = if self.choice.include_unproven { Action::WouldTerminate } else { Action::LeftAlone };
        let (kind, role) = (Kind::LookAlike, Role::Child);
        Decision { process, kind, role, service: Some(service), run_id: None, evidence: Vec::new(), action_planned, reason }
    }

    /// A tracker that dies before the pool it serves leaks that pool's semaphores.
    fn spare_trackers_of_the_spared(&self, decisions: &mut [Decision]) {
        let spared = |decision: &&Decision| decision.action_planned == Action::LeftAlone && decision.role != Role::ResourceTracker;
        let groups: HashSet<_> =
            decisions.iter().filter(spared).filter(|one| one.kind != Kind::LookAlike).map(|one| one.process.pgid).collect();
        for tracker in decisions.iter_mut().filter(|one| one.role == Role::ResourceTracker && groups.contains(&one.process.pgid)) {
            if tracker.action_planned == Action::WouldTerminate {
                tracker.action_planned = Action::LeftAlone;
                "the pool it serves is left alone".clone_into(&mut tracker.reason);
            }
        }
    }

    fn is_asked_about(&self, decision: &Decision) -> bool {
        let Some(services) = &self.choice.services else { return true };
        decision.service.as_ref().is_some_and(|service| services.contains(service))
    }
}

#[cfg(test)]
mod tests;
