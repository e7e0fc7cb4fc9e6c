//! The operating system, and nothing else: the only layer that knows nix, /proc, descriptors and unsafe.

mod os;

pub use os::Os;
