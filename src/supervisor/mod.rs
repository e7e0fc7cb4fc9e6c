//! The thin shell around the engine: what happens becomes events, what is decided becomes system calls.

mod driver;
mod environment;
mod helper;
mod linux;
mod message;
mod prepare;
mod probe;
mod ready;
mod run;
mod set;

pub use driver::Driver;
