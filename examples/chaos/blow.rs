//! What may happen to the stack, and how often.

use crate::random::Random;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blow {
    KillMember,
    KillMain,
    KillTracker,
    KillWholePool,
    KillSupervisor,
    KillKeeper,
    KillBoth,
    KillBothAndMembers,
    KillBothAndMains,
    KillSupervisorAndMain,
    KillSupervisorOfStoppedKeeper,
    PauseWorkers,
    PauseDevstack,
    RestartPaused,
    KillCommand,
    KillCommandAndDevstack,
    DevstackDiesDuringCommand,
    StopSome,
    RestartSome,
    StartAll,
    TwoStarts,
    CleanUp,
    StopForGood,
}

/// How often each comes, in proportion.
const BLOWS: [(Blow, usize); 23] = [
    (Blow::KillMember, 6),
    (Blow::KillMain, 6),
    (Blow::KillTracker, 4),
    (Blow::KillWholePool, 3),
    (Blow::KillSupervisor, 6),
    (Blow::KillKeeper, 6),
    (Blow::KillBoth, 6),
    (Blow::KillBothAndMembers, 3),
    (Blow::KillBothAndMains, 6),
    (Blow::KillSupervisorAndMain, 5),
    (Blow::KillSupervisorOfStoppedKeeper, 3),
    (Blow::PauseWorkers, 3),
    (Blow::PauseDevstack, 3),
    (Blow::RestartPaused, 3),
    (Blow::KillCommand, 6),
    (Blow::KillCommandAndDevstack, 5),
    (Blow::DevstackDiesDuringCommand, 6),
    (Blow::StopSome, 4),
    (Blow::RestartSome, 4),
    (Blow::StartAll, 3),
    (Blow::TwoStarts, 2),
    (Blow::CleanUp, 3),
    (Blow::StopForGood, 1),
];

impl Blow {
    pub fn any(random: &mut Random) -> Self {
        let mut draw = random.below(BLOWS.iter().map(|(_, weight)| weight).sum());
        for (blow, weight) in BLOWS {
            if draw < weight {
                return blow;
            }
            draw -= weight;
        }
        Self::KillMain
    }
}
