//! Whose process is this, and in which order does a set of them end: pure, over tables that somebody else has read.
//!
//! Decides everything that may be signalled; performs nothing and asks no clock. Invariant: text in a command line alone never
//! leads to a signal.

pub mod killing;
