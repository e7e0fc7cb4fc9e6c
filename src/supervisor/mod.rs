//! The thin shell around the engine: what happens becomes events, what is decided becomes system calls.
//!
//! One supervisor a project, single-threaded, owner of the [`Driver`]; everything else is a task that sends it messages. Must
//! not decide what should happen next: that is the engine's. Guards that nothing here waits while the stack is borrowed.

mod activity;
mod alone;
mod changes;
mod chase;
mod claim;
mod clear;
mod desk;
mod driver;
mod environment;
mod health_port;
mod helper;
mod hook;
mod http;
pub mod identity;
mod journal;
mod launch;
mod linux;
mod logs;
mod message;
mod notify;
mod predecessors;
mod prepare;
mod probe;
mod project_endpoint;
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

pub use alone::{Ended, Job, hold_signals, run_alone};
pub use claim::{Claim, is_in_foreground, reach as reach_foreground};
pub use driver::Driver;
pub use launch::{Connection, LaunchError, PATIENCE, connect, connect_or_launch, greet_again, pair, reach, wait_until_gone};
pub use predecessors::owner as owner_of_command;
pub use store::{Found, load as load_ledger};
pub use succession::keep_supervised;
