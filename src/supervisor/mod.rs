//! The thin shell around the engine: what happens becomes events, what is decided becomes system calls.
//!
//! One supervisor a project, single-threaded, owner of the [`Driver`]; everything else is a task that sends it messages. Must
//! not decide what should happen next: that is the engine's. Guards that nothing here waits while the stack is borrowed.

mod clear;
mod driver;
mod environment;
mod helper;
pub mod identity;
mod launch;
mod linux;
mod message;
mod prepare;
mod probe;
#[cfg(test)]
mod properties;
mod ready;
mod requests;
#[cfg(test)]
mod rig;
mod run;
#[cfg(test)]
mod scenarios;
mod serve;
mod set;
mod store;
mod supervise;
mod tracker;
pub mod view;
mod waiting;
mod watch;

pub use driver::Driver;
pub use launch::{Connection, LaunchError, connect, connect_or_launch, pair, wait_until_gone};
pub use store::{Found, load as load_ledger};
pub use supervise::keep_supervised;
