//! Running after processes that fork and leave faster than they can be listed.
//!
//! A list of a set is old by the time its processes are signalled, and who flees is another process by then. But whoever fled
//! has one of the numbers that were given last, and one number is looked at and stopped in microseconds. Knows no order of
//! ending: it only stops, and what it stopped is found by the next look at the set. Invariant: stops nobody without the mark of
//! the run, through a descriptor that was open before the mark was read for the last time.

use crate::model::{Pid, Signal};
use crate::supervisor::set::{self, Household, Traits};
use crate::sys::clock;
use crate::sys::pidfd::PidFd;
use crate::sys::procfs::{self, Reader};
use std::time::Duration;

/// So many numbers back somebody may still live who was not seen: the others have been forking, too.
const LOOK_BACK: Pid = 256;

/// Stops what bears the mark of the run among the youngest processes, until nobody new comes or this has taken `at_most`.
pub fn stop_the_youngest(traits: &Traits, household: &Household, at_most: Duration) {
    let (mut reader, begun) = (Reader::default(), clock::now());
    let mut seen = procfs::youngest().map_or(0, |youngest| youngest - LOOK_BACK);
    while let Ok(youngest) = procfs::youngest()
        && youngest != seen
        && clock::now().since(begun) < at_most
    {
        // The numbers began anew at the smallest: the next look at the whole set finds them.
        let from = if youngest < seen { youngest - LOOK_BACK } else { seen + 1 };
        for pid in from.max(2)..=youngest {
            stop(&mut reader, traits, household, pid);
        }
        seen = youngest;
    }
}

fn stop(reader: &mut Reader, traits: &Traits, household: &Household, pid: Pid) {
    let Some(stat) = set::marked(reader, traits, household, pid) else { return };
    if let Ok(Some(process)) = PidFd::open(stat.id())
        && set::marked(reader, traits, household, pid).is_some()
    {
        process.put_last();
        let _ = process.signal(Signal::STOP);
    }
}
