//! What the programs that wear devstack out have in common: a project in a folder of its own, devstack as anybody would call
//! it, and a look at `/proc` that shares no code with devstack's.

#![allow(dead_code, reason = "each program uses its part")]

pub mod interrupt;
pub mod process;
pub mod project;

pub type Failure = Box<dyn std::error::Error>;

/// To standard output; a reader that is gone is no reason to leave processes behind.
pub fn say(words: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{words}\n").as_bytes());
}
