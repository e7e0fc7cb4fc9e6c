//! What the ownership rules have to know of the runs at hand.

use super::LinuxOs;
use crate::cleanup::{self, Decision, Interest, KnownRun, LedgerFacts};
use crate::model::{ProcId, RunId, ServiceName};
use crate::supervisor::run::Run;
use crate::sys::{procfs, scan};

impl LinuxOs {
    /// Stale copies and orphans of a service that is about to start.
    pub(super) fn in_the_way_of(&mut self, service: &ServiceName) -> Vec<Decision> {
        let Ok(me) = scan::me() else { return Vec::new() };
        let facts = self.ledger_facts();
        let interest = Interest::new(&self.project, &facts);
        let table = self.table.get_or_insert_with(|| scan::processes(&me, &|it| interest.is_worth_a_look(it)).unwrap_or_default());
        cleanup::for_start(table, &self.project, &facts, &me, service)
    }

    fn ledger_facts(&self) -> LedgerFacts {
        let own = std::process::id().cast_signed();
        let guardians = [Some(own), self.keeper.as_ref().map(|(pid, _)| *pid)].into_iter().flatten();
        let known = |(id, run): (&RunId, &Run)| {
            Some(KnownRun {
                service: run.service.name.clone(),
                run: *id,
                leader: run.main()?,
                alive_managed: true,
                recorded: run.traits.recorded.iter().copied().collect(),
                log_file: run.traits.log,
            })
        };
        LedgerFacts {
            runs: self.runs.iter().filter_map(known).collect(),
            guardians: guardians.filter_map(|pid| Some(ProcId { pid, start_ticks: procfs::start_ticks(pid).ok()? })).collect(),
            log_files: self
                .project
                .services
                .values()
                .filter_map(|service| Some((service.name.clone(), procfs::file_id(&service.log_file)?)))
                .collect(),
        }
    }
}
