//! The operating system, and nothing else: the only layer that knows nix, /proc, descriptors and unsafe.
//!
//! Decides nothing. A process that vanished or is hidden from us is an ordinary answer here, never an error.

#[cfg(feature = "program")]
mod beneath;
pub mod cgroup;
pub mod clock;
pub mod event;
#[cfg(feature = "program")]
pub mod failpoint;
#[cfg(feature = "program")]
pub mod folders;
#[cfg(feature = "program")]
pub mod follow;
#[cfg(feature = "program")]
pub mod journal_file;
#[cfg(feature = "program")]
pub mod keeper;
#[cfg(feature = "program")]
pub mod leftovers;
#[cfg(feature = "program")]
pub mod limits;
#[cfg(feature = "program")]
pub mod lock;
#[cfg(feature = "program")]
pub mod log_size;
#[cfg(feature = "program")]
pub mod logfile;
#[cfg(feature = "program")]
pub mod notify;
#[cfg(feature = "program")]
mod os;
#[cfg(feature = "program")]
pub mod pager;
#[cfg(feature = "program")]
pub mod peak_memory;
pub mod pidfd;
#[cfg(feature = "program")]
pub mod poll;
pub mod procfs;
#[cfg(feature = "program")]
pub mod readiness;
#[cfg(feature = "program")]
pub mod reexec;
#[cfg(feature = "program")]
pub mod rotation;
#[cfg(feature = "program")]
pub mod scan;
#[cfg(feature = "program")]
pub mod scheduler;
pub mod service_manager;
#[cfg(feature = "program")]
pub mod signals;
#[cfg(all(feature = "program", test))]
pub mod sim;
#[cfg(feature = "program")]
pub mod socket;
#[cfg(feature = "program")]
pub mod spawn;
#[cfg(feature = "program")]
pub mod terminal;
pub mod thread;
#[cfg(feature = "program")]
pub mod time_index;
#[cfg(feature = "program")]
pub mod timer;
#[cfg(feature = "program")]
pub mod tree_watch;
#[cfg(feature = "program")]
pub mod unpack;
#[cfg(feature = "program")]
pub mod watch;
#[cfg(feature = "program")]
pub mod worker_log;
#[cfg(feature = "program")]
pub mod write_watch;

#[cfg(feature = "program")]
pub use os::Os;
