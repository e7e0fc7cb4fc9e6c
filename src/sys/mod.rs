//! The operating system, and nothing else: the only layer that knows nix, /proc, descriptors and unsafe.
//!
//! Decides nothing. A process that vanished or is hidden from us is an ordinary answer here, never an error.

mod beneath;
pub mod cgroup;
pub mod clock;
pub mod failpoint;
pub mod folders;
pub mod follow;
pub mod journal_file;
pub mod keeper;
pub mod leftovers;
pub mod limits;
pub mod lock;
pub mod logfile;
pub mod notify;
mod os;
pub mod peak_memory;
pub mod pidfd;
pub mod poll;
pub mod procfs;
pub mod readiness;
pub mod reexec;
pub mod scan;
pub mod scheduler;
pub mod service_manager;
pub mod signals;
#[cfg(test)]
pub mod sim;
pub mod socket;
pub mod spawn;
pub mod terminal;
pub mod timer;
pub mod tree_watch;
pub mod watch;
pub mod worker_log;

pub use os::Os;
