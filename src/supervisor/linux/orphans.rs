//! Who below us has lost its parent, looked at once for everything that happens at the same moment.

use super::LinuxOs;
use crate::model::Pid;
use crate::supervisor::set::Household;
use crate::sys::keeper;
use std::rc::Rc;

impl LinuxOs {
    /// Collects dead orphans, ours and the keeper's, that belong to no run any more.
    pub fn collect_orphans(&mut self) {
        if let Some((_, link)) = &self.keeper
            && !link.take_nudge()
        {
            self.keeper = None;
        }
        self.household = None;
        for orphan in self.household().orphans.iter().filter(|stat| stat.is_dead()) {
            self.collect(orphan.pid);
        }
    }

    /// A dead child of ours, or else of the keeper.
    pub(super) fn collect(&self, pid: Pid) {
        if keeper::reap_child(pid).is_none()
            && let Some((_, link)) = &self.keeper
        {
            link.reap(pid);
        }
    }

    /// As [`Self::collect_orphans`], if one ended while the keeper was asked something.
    pub fn collect_missed(&mut self) {
        while self.keeper.as_ref().is_some_and(|(_, link)| link.missed_nudge()) {
            self.collect_orphans();
        }
    }

    /// Time has passed: what was seen may no longer be so.
    pub fn forget_looks(&mut self) {
        self.in_the_way = None;
        self.household = None;
    }

    /// One look serves everything that happens at the same moment.
    pub fn household(&mut self) -> Rc<Household> {
        if let Some(household) = &self.household {
            return household.clone();
        }
        let own = std::process::id().cast_signed();
        let keeper = self.keeper.as_ref().map(|(pid, _)| *pid);
        let mut known = self.helpers.pids();
        known.insert(own);
        known.extend(self.runs.values().flat_map(|run| run.traits.held()).map(|held| held.pid));
        let parents = [Some(own), keeper].into_iter().flatten().collect();
        let household = Rc::new(Household::look(parents, known, &self.project.root));
        self.household = Some(household.clone());
        household
    }
}
