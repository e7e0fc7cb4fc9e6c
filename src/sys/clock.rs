//! The one clock of every deadline.

use crate::model::BootTime;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Now, on `CLOCK_BOOTTIME`. A kernel without that clock does not exist any more; zero would only make deadlines late.
pub fn now() -> BootTime {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    BootTime::default().after(now)
}

/// Processor time of this process since its start, all of its threads together.
pub fn own_processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// What may pass between two readings.
const BETWEEN_READS: Duration = Duration::from_millis(100);

/// All clocks at once: that of the deadlines, how much of it the machine slept, and what people read, to the millisecond.
pub fn both() -> crate::engine::Now {
    let wall = jiff::Timestamp::now();
    let boot = now();
    let awake = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    // The two are read one after the other: less than this is no sleep.
    let asleep = boot.since(BootTime::default().after(awake + BETWEEN_READS));
    crate::engine::Now { boot, asleep, wall: jiff::Timestamp::from_millisecond(wall.as_millisecond()).unwrap_or(wall) }
}
