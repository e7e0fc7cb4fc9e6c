//! devstack: owns, supervises and explains the Python workers of a project.

pub mod cli;
pub mod config;
pub mod control;
pub mod engine;
pub mod model;
