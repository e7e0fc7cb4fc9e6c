//! The thin shell around the engine: what happens becomes events, what is decided becomes system calls.
//!
//! One supervisor a project, single-threaded, owner of the [`Driver`]; everything else is a task that sends it messages. Must
//! not decide what should happen next: that is the engine's. Guards that nothing here waits while the stack is borrowed.

mod activity;
mod changes;
mod clear;
mod driver;
mod environment;
mod helper;
mod http;
mod hook;
pub mod identity;
mod launch;
mod linux;
mod message;
mod notify;
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
mod stack;
mod store;
mod succession;
mod supervise;
mod tracker;
mod upgrade;
pub mod view;
mod waiting;
mod watch;

pub use driver::Driver;
pub use launch::{Connection, LaunchError, PATIENCE, connect, connect_or_launch, greet_again, pair, reach, wait_until_gone};
pub use store::{Found, load as load_ledger};
pub use succession::keep_supervised;
