//! devstack: owns, supervises and explains the Python workers of a project.

pub mod cleanup;
pub mod cli;
pub mod config;
pub mod control;
pub mod engine;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod journal;
pub mod model;
pub mod supervisor;
pub mod sys;
