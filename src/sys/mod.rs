//! The operating system, and nothing else: the only layer that knows nix, /proc, descriptors and unsafe.

pub mod logfile;
pub mod poll;
pub mod signals;
pub mod terminal;
pub mod watch;
