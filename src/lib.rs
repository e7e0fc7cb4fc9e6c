//! devstack: owns, supervises and explains the Python workers of a project.
//!
//! Without the feature `program` (on by default) it is the worker library alone: [`worker`].

#[cfg(feature = "program")]
pub mod cleanup;
#[cfg(feature = "program")]
pub mod cli;
#[cfg(feature = "program")]
pub mod config;
#[cfg(feature = "program")]
pub mod control;
pub mod engine;
#[cfg(feature = "program")]
pub mod export;
#[cfg(all(feature = "program", any(test, fuzzing)))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
#[cfg(feature = "program")]
pub mod journal;
pub mod model;
#[cfg(feature = "program")]
pub mod supervisor;
pub mod sys;
pub mod worker;
