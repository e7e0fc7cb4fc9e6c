//! The command line: one file a verb, its arguments and its function together.
//!
//! The only module that prints. Decides wording, layout and exit statuses; never touches a process except through `sys`.

pub mod check;
mod error;
pub mod exit_code;
pub mod logs;
pub mod output;
pub mod progress;
pub mod status;
mod style;

pub use error::Error;
