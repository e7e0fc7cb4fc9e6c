//! The operating system: the only place that knows `/proc`, file descriptors of processes, clocks and `unsafe`.
//!
//! Decides nothing. A process that vanished or is hidden from us is an ordinary answer here, never an error.

pub mod clock;
pub mod pidfd;
pub mod procfs;
pub mod scan;
