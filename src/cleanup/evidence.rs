//! What proves that a process is ours, word by word.
//!
//! Decides ownership only, never what becomes of the owned. Invariants: a process of another user, of another pid namespace,
//! started by another checkout, devstack itself and whatever the asking process descends from are never proven, by anything;
//! and no proof rests on text alone.

use super::argv::{Candidate, Pattern, PoolPart, could_be_python, is_python, pool_part};
use super::table::{Table, is_devstack, lies_in};
use super::{KnownRun, LedgerFacts, Me};
use crate::model::{FileId, Mark, Observed, Project, RunId, Service, ServiceName};
use serde::Serialize;
use std::collections::HashSet;

/// One reason to call a process ours; the words of `cleanup-workers --json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// In the group that the kernel keeps for a run of ours.
    Cgroup,
    /// A child of our supervisor or keeper.
    Child,
    /// Leader of a run in the ledger, or seen below it while it lived.
    Recorded,
    /// It writes to the service's log file.
    LogFile,
    /// `DEVSTACK_RUN` in its environment names our project and a service of it.
    Cookie,
    /// It inherited the mark of a run of this project, which survives every disguise.
    Mark,
    /// In the session or process group of a recorded run that another proven member keeps from being recycled.
    Session,
    /// Stands in the project, and its arguments are the service's `match`.
    Match,
    /// Stands in the project, and is part of a `multiprocessing` pool whose worker is gone.
    PoolOfDeadWorker,
    /// Below a process that is proven.
    Descendant,
}

impl Evidence {
    pub fn word(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Child => "child",
            Self::Recorded => "recorded",
            Self::LogFile => "log_file",
            Self::Cookie => "cookie",
            Self::Mark => "mark",
            Self::Session => "session",
            Self::Match => "match",
            Self::PoolOfDeadWorker => "pool_of_dead_worker",
            Self::Descendant => "descendant",
        }
    }
}

/// Why one process is ours. The service stays unknown for a stray that only stands in the project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    pub service: Option<ServiceName>,
    pub run: Option<RunId>,
    pub evidence: Vec<Evidence>,
}

/// Everything that a proof may rest on.
pub struct Witness<'a> {
    pub table: &'a Table<'a>,
    pub project: &'a Project,
    pub ledger: &'a LedgerFacts,
    pub me: &'a Me,
    pub patterns: Vec<(&'a Service, Pattern<'a>)>,
    lineage: HashSet<usize>,
}

impl<'a> Witness<'a> {
    pub fn new(table: &'a Table<'a>, project: &'a Project, ledger: &'a LedgerFacts, me: &'a Me) -> Self {
        Self { table, project, ledger, me, patterns: patterns_of(project), lineage: table.lineage(me) }
    }

    /// One answer per process of the table.
    pub fn proofs(&self) -> Vec<Option<Proof>> {
        let mut proofs: Vec<Option<Proof>> = (0..self.table.processes.len()).map(|index| self.by_itself(index)).collect();
        self.add_sessions(&mut proofs);
        self.add_descendants(&mut proofs);
        self.name_services_by_group(&mut proofs);
        proofs
    }

    /// Whether it may be looked at at all.
    pub fn is_reachable(&self, index: usize) -> bool {
        let it = &self.table.processes[index];
        it.id.pid > 1
            && it.uid == Some(self.me.uid)
            && it.same_pid_namespace
            && !self.lineage.contains(&index)
            && !is_devstack(it, self.me)
            && !self.ledger.guardians.contains(&it.id)
            && it.root.as_ref().is_none_or(|root| *root == self.project.root)
    }

    /// Standing in this project and in no other one below it.
    pub fn stands_here(&self, it: &Observed) -> bool {
        let root = &self.project.root;
        let here = lies_in(it.cwd.as_deref(), root) || lies_in(it.exe.as_deref(), root);
        here && it.home.as_ref().is_none_or(|home| home == root)
    }

    /// The service whose `match` its arguments are.
    pub fn copy_of(&self, it: &Observed) -> Option<&'a Service> {
        let candidate = Candidate { argv: &it.argv, exe: it.exe.as_deref(), cwd: it.cwd.as_deref() };
        let copies = self.patterns.iter().filter(|(_, pattern)| pattern.is_copy(candidate));
        // `worker` and `worker --shard 1` may both fit: the longer one says more.
        copies.max_by_key(|(_, pattern)| pattern.argv.len()).map(|(service, _)| *service)
    }

    fn by_itself(&self, index: usize) -> Option<Proof> {
        if !self.is_reachable(index) {
            return None;
        }
        let it = &self.table.processes[index];
        let mut proof = Proof::default();
        if let Some((service, run)) = &it.run_group {
            proof.add(Evidence::Cgroup, Some(service), Some(*run));
        }
        if self.ledger.guardians.iter().any(|guardian| guardian.pid == it.ppid && guardian.start_ticks <= it.id.start_ticks) {
            proof.evidence.push(Evidence::Child);
        }
        if let Some(run) = self.ledger.runs.iter().find(|run| run.is_led_by(it.id) || run.recorded.contains(&it.id)) {
            proof.add(Evidence::Recorded, Some(&run.service), Some(run.run));
        }
        if let Some(service) = self.log_of(it) {
            proof.add(Evidence::LogFile, Some(service), None);
        }
        if let Some((service, run)) = self.cookie_of(it) {
            proof.add(Evidence::Cookie, Some(service), Some(run));
        }
        if let Some(mark) = it.mark.filter(|mark| mark.is_of_project(self.root())) {
            let known = self.ledger.runs.iter().find(|run| Mark::of(self.root(), run.run) == mark);
            proof.add(Evidence::Mark, known.map(|run| &run.service), known.map(|run| run.run));
        }
        if self.stands_here(it) {
            if let Some(service) = self.copy_of(it) {
                proof.add(Evidence::Match, Some(&service.name), None);
            } else if self.is_of_dead_pool(index) {
                proof.add(Evidence::PoolOfDeadWorker, None, None);
            }
        }
        (!proof.evidence.is_empty()).then_some(proof)
    }

    fn root(&self) -> &[u8] {
        self.project.root.as_os_str().as_encoded_bytes()
    }

    fn log_of(&self, it: &Observed) -> Option<&ServiceName> {
        let writes = |file: &FileId| it.outputs.iter().flatten().any(|output| output == file);
        let by_path = self.ledger.log_files.iter().find(|(_, file)| writes(file)).map(|(service, _)| service);
        // A log that was moved away since still belongs to its run.
        by_path.or_else(|| self.ledger.runs.iter().find(|run| run.log_file.as_ref().is_some_and(writes)).map(|run| &run.service))
    }

    /// `project/service/run`; an absent root is that of a worker which cleared it, another one is out of reach already.
    fn cookie_of(&self, it: &Observed) -> Option<(&ServiceName, RunId)> {
        let (head, run) = it.cookie.as_deref()?.rsplit_once('/')?;
        let (project, service) = head.rsplit_once('/')?;
        let (service, _) = self.project.services.iter().find(|(name, _)| name.as_str() == service)?;
        (project == self.project.name).then_some((service, run.parse().ok()?))
    }

    /// A pool is its worker's for as long as that lives. Who adopts an orphan (pid 1, `systemd --user`, a container's init, a
    /// devstack) is no interpreter; a Python parent in the same session or group may well be the worker, and then it is left alone.
    fn is_of_dead_pool(&self, index: usize) -> bool {
        let it = &self.table.processes[index];
        if pool_part(&it.argv, it.exe.as_deref()).is_none() {
            return false;
        }
        if it.ppid == 1 {
            return true;
        }
        // A parent missing from the scan may have started while it was made; the dead leave their children to somebody else.
        let Some(parent) = self.table.parent(index) else { return false };
        let parent = &self.table.processes[parent];
        let same_program = parent.exe.is_some() && parent.exe == it.exe;
        // Nothing is known of a parent that cannot be read but its group.
        let unreadable = parent.exe.is_none() && (parent.sid == it.sid || parent.pgid == it.pgid);
        !(same_program || is_python(&parent.argv, parent.exe.as_deref()) || unreadable)
    }

    /// The numbers of a recorded leader say something only while a member that is proven otherwise holds them.
    fn add_sessions(&self, proofs: &mut [Option<Proof>]) {
        for run in &self.ledger.runs {
            let members: Vec<usize> = (0..proofs.len()).filter(|&index| run.is_around(&self.table.processes[index])).collect();
            let has_run = |proof: &Option<Proof>| proof.as_ref().and_then(|proof| proof.run);
            if !members.iter().any(|&index| has_run(&proofs[index]) == Some(run.run)) {
                continue;
            }
            for index in members.into_iter().filter(|&index| self.is_reachable(index)) {
                if has_run(&proofs[index]).is_none() {
                    proofs[index].get_or_insert_default().add(Evidence::Session, Some(&run.service), Some(run.run));
                }
            }
        }
    }

    fn add_descendants(&self, proofs: &mut [Option<Proof>]) {
        for (index, parent) in self.table.top_down() {
            let Some(above) = parent.and_then(|parent| proofs[parent].clone()) else { continue };
            if !self.is_reachable(index) {
                continue;
            }
            match &mut proofs[index] {
                Some(proof) => {
                    let foreign = proof.run.is_some() && above.run.is_some() && proof.run != above.run;
                    if !foreign {
                        proof.service = proof.service.take().or(above.service);
                        proof.run = proof.run.or(above.run);
                    }
                }
                none => *none = Some(Proof { evidence: vec![Evidence::Descendant], ..above }),
            }
        }
    }

    /// A pool keeps the process group of its dead worker: one member that is known names the others.
    fn name_services_by_group(&self, proofs: &mut [Option<Proof>]) {
        for index in 0..proofs.len() {
            if proofs[index].as_ref().is_none_or(|proof| proof.service.is_some()) {
                continue;
            }
            let group = self.table.processes[index].pgid;
            let known = self.table.processes.iter().zip(proofs.iter()).find_map(|(it, proof)| {
                let proof = proof.as_ref().filter(|proof| it.pgid == group && proof.service.is_some())?;
                Some((proof.service.clone(), proof.run))
            });
            if let (Some((service, run)), Some(proof)) = (known, &mut proofs[index]) {
                (proof.service, proof.run) = (service, run);
            }
        }
    }
}

impl Proof {
    /// The strongest evidence comes first and names service and run; what follows only fills gaps.
    fn add(&mut self, word: Evidence, service: Option<&ServiceName>, run: Option<RunId>) {
        if !self.evidence.contains(&word) {
            self.evidence.push(word);
        }
        if self.service.is_none() {
            self.service = service.cloned();
        }
        if self.run.is_none() && self.service.as_ref() == service {
            self.run = run;
        }
    }

    pub fn has(&self, word: Evidence) -> bool {
        self.evidence.contains(&word)
    }

    pub fn known_run<'a>(&self, ledger: &'a LedgerFacts) -> Option<&'a KnownRun> {
        ledger.runs.iter().find(|run| Some(run.run) == self.run && Some(&run.service) == self.service.as_ref())
    }
}

/// Tells, from what is cheap to read of every process, which of them deserve a closer look.
pub struct Interest<'a> {
    root: Vec<u8>,
    ledger: &'a LedgerFacts,
    patterns: Vec<(&'a Service, Pattern<'a>)>,
}

impl<'a> Interest<'a> {
    pub fn new(project: &'a Project, ledger: &'a LedgerFacts) -> Self {
        Self { root: project.root.as_os_str().as_encoded_bytes().to_vec(), ledger, patterns: patterns_of(project) }
    }

    /// Wants ids, arguments, cookie, mark and outputs. Whatever is false here is neither proven by itself nor a look-alike.
    pub fn is_worth_a_look(&self, it: &Observed) -> bool {
        let of_run = |run: &KnownRun| run.is_led_by(it.id) || run.is_around(it) || run.recorded.contains(&it.id);
        let logs = || {
            let of_runs = self.ledger.runs.iter().filter_map(|run| run.log_file.as_ref());
            self.ledger.log_files.iter().map(|(_, file)| file).chain(of_runs)
        };
        it.cookie.is_some()
            || it.mark.is_some_and(|mark| mark.is_of_project(&self.root))
            || it.outputs.iter().flatten().any(|output| logs().any(|log| log == output))
            || self.ledger.runs.iter().any(of_run)
            || self.ledger.guardians.iter().any(|guardian| guardian.pid == it.ppid)
            || could_be_python(&it.argv)
            || self.patterns.iter().any(|(_, pattern)| pattern.could_be(&it.argv))
    }
}

fn patterns_of(project: &Project) -> Vec<(&Service, Pattern<'_>)> {
    let ours = project.services.values().filter(|service| !service.external && !service.match_argv.is_empty());
    ours.map(|service| (service.as_ref(), pattern_of(project, service))).collect()
}

fn pattern_of<'a>(project: &'a Project, service: &'a Service) -> Pattern<'a> {
    let argv = service.match_argv.iter().map(|word| word.clone().into_bytes()).collect();
    Pattern { argv, cwd: &service.cwd, root: &project.root, venv: service.venv.as_deref() }
}

/// What a process does in its tree; the words of `cleanup-workers --json`.
pub fn part_of(it: &Observed) -> Option<PoolPart> {
    pool_part(&it.argv, it.exe.as_deref())
}
