//! What devstack says over HTTP: who is heard, how long they may take, and the JSON of the answers.
//!
//! Knows nothing of where the facts come from. Guards that a client that is slow, hostile or sent by a web page costs a bounded
//! share of descriptors and time, and nobody else's answer.

mod format;
mod health;
mod host;
mod project;
mod prometheus;
mod server;

pub use health::{Facts, answer};
pub use project::answer_for_all;
pub use server::{Answer, Question, serve};
