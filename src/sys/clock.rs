//! The one clock of every deadline.

use crate::model::BootTime;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Now, on `CLOCK_BOOTTIME`. A kernel without that clock does not exist any more; zero would only make deadlines late.
pub fn now() -> BootTime {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    BootTime::default().after(now)
}

/// Both clocks at once: the one of the deadlines, and the one that people read, to the millisecond.
pub fn both() -> crate::engine::Now {
    let wall = jiff::Timestamp::now();
    crate::engine::Now { boot: now(), wall: jiff::Timestamp::from_millisecond(wall.as_millisecond()).unwrap_or(wall) }
}
