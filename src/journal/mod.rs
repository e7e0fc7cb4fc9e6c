//! What happened, as it is kept: one record a transition, one JSON object a line.
//!
//! Decides what is recorded and how an end is told from it. Knows neither files nor clocks: `sys::journal_file` keeps the lines,
//! and whoever writes one says when it was. Guards that whatever was read was written: a line that is no record is passed over
//! and counted, never guessed.

mod last_words;
mod record;
mod story;

pub use last_words::{LastWords, cut_line};
pub use record::{Asker, Ended, Happened, Limit, Record, Records, Removed, Survivor};
pub use story::{End, Then, ends};
