//! The operating system, and nothing else: the only layer that knows nix, /proc, descriptors and unsafe.
//!
//! Decides nothing. A process that vanished or is hidden from us is an ordinary answer here, never an error.

pub mod clock;
pub mod folders;
pub mod follow;
pub mod keeper;
pub mod lock;
mod os;
pub mod pidfd;
pub mod procfs;
pub mod readiness;
pub mod scan;
pub mod socket;
pub mod spawn;
pub mod timer;
pub mod worker_log;

pub use os::Os;
