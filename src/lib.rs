//! devstack: owns, supervises and explains the Python workers of a project.

pub mod cli;
pub mod control;
pub mod engine;
pub mod model;
pub mod sys;
