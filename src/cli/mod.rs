//! The command line: one file a verb, its arguments and its function together.
//!
//! The only module that prints. Decides wording, layout and exit statuses; never touches a process except through `sys`.

pub mod cleanup_workers;
mod error;
pub mod exit_code;
mod style;

pub use error::Error;
