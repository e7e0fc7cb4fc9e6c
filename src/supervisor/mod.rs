//! The thin shell around the engine: what happens becomes events, what is decided becomes system calls.

mod driver;

pub use driver::Driver;
