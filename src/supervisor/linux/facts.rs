//! What the ownership rules have to know of the runs at hand, and what they find.

use super::LinuxOs;
use crate::cleanup::{self, Decision, Interest, KnownRun, LedgerFacts};
use crate::model::{Project, RunId, ServiceName};
use crate::supervisor::run::Run;
use crate::sys::{procfs, scan};
use std::io;

impl LinuxOs {
    /// Stale copies and orphans of a service that is about to start, those of no known service, and copies that somebody runs on
    /// a terminal.
    pub(super) fn in_the_way_of(&mut self, service: &ServiceName) -> Vec<Decision> {
        if self.in_the_way.is_none() {
            self.in_the_way = Some(self.look_at_the_machine().unwrap_or_default());
        }
        let all = self.in_the_way.iter().flatten();
        all.filter(|decision| decision.service.as_ref().is_none_or(|of| of == service)).cloned().collect()
    }

    fn look_at_the_machine(&self) -> io::Result<Vec<Decision>> {
        let Some(predecessors) = self.predecessors() else { return look(&self.project, &self.ledger_facts()) };
        let mut found = Vec::new();
        for project in predecessors {
            let service = project.services.keys().next().cloned();
            let left = look(&project, &LedgerFacts::default())?;
            found.extend(left.into_iter().map(|decision| Decision { service: service.clone(), ..decision }));
        }
        Ok(found)
    }

    fn ledger_facts(&self) -> LedgerFacts {
        let own = std::process::id().cast_signed();
        let guardians = [Some(own), self.keeper.as_ref().map(|(pid, _)| *pid)].into_iter().flatten();
        let known = |(id, run): (&RunId, &Run)| {
            Some(KnownRun {
                service: run.service.name.clone(),
                run: *id,
                leader: run.main(),
                alive_managed: true,
                recorded: run.traits.recorded.iter().copied().collect(),
                log_file: run.traits.log,
            })
        };
        LedgerFacts {
            runs: self.runs.iter().filter_map(known).collect(),
            guardians: guardians.filter_map(|pid| procfs::id(pid).ok()).collect(),
            log_files: scan::log_files(&self.project),
        }
    }
}

fn look(project: &Project, facts: &LedgerFacts) -> io::Result<Vec<Decision>> {
    let me = scan::me()?;
    let interest = Interest::new(project, facts);
    let table = scan::processes(&me, &project.id, &|it| interest.is_worth_a_look(it))?;
    Ok(cleanup::for_start(&table, project, facts, &me))
}
