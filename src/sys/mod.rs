//! The operating system, and nothing else: the only layer that knows nix, /proc, descriptors and unsafe.

pub mod folders;
pub mod lock;
pub mod logfile;
mod os;
pub mod socket;
pub mod spawn;

pub use os::Os;
