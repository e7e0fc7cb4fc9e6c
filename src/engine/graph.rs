//! Questions about who depends on whom. The configuration has already refused cycles.

use super::Slot;
use crate::model::ServiceName;
use std::collections::{BTreeMap, BTreeSet};

/// `services` with everything that they need, directly or not.
pub(super) fn with_dependencies(slots: &BTreeMap<ServiceName, Slot>, services: &[ServiceName]) -> BTreeSet<ServiceName> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&ServiceName> = services.iter().collect();
    while let Some(name) = open.pop() {
        if let Some(slot) = slots.get(name)
            && found.insert(name.clone())
        {
            open.extend(slot.latest().depends_on.iter());
        }
    }
    found
}

/// Those that `slot` must wait for before it may start.
pub(super) fn not_ready(slots: &BTreeMap<ServiceName, Slot>, slot: &Slot) -> Vec<ServiceName> {
    let waits_for = |name: &&ServiceName| slots.get(*name).is_some_and(|other| !other.state.is_ready() || other.pending_stop.is_some());
    slot.latest().depends_on.iter().filter(waits_for).cloned().collect()
}

/// Whether something that needs `name` is itself on its way down, and so has to be down first. As last
/// configured: of two configurations mixed, each could wait for the other.
pub(super) fn has_stopping_dependant(slots: &BTreeMap<ServiceName, Slot>, name: &ServiceName) -> bool {
    slots.values().any(|other| other.is_going_down() && other.latest().depends_on.contains(name))
}

/// The groups of which a service is between two runs by plan.
pub fn recycled_groups(slots: &BTreeMap<ServiceName, Slot>) -> BTreeSet<String> {
    slots.values().filter(|slot| slot.is_being_recycled()).flat_map(|slot| slot.spec.groups.iter().cloned()).collect()
}
