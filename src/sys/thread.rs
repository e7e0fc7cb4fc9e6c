//! Threads beside those of the program that a library is part of.

use nix::sys::signal::SigSet;
use std::io;
use std::thread::{Builder, JoinHandle};

/// One that takes no signal: they are for the threads of the program, whose main one may be waiting for them.
///
/// # Errors
/// When the kernel has no room for another thread.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // Blocked before it exists: a signal might be quicker.
    let before = SigSet::all().thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?;
    let thread = Builder::new().name(name.to_owned()).spawn(work);
    before.thread_set_mask()?;
    thread
}
