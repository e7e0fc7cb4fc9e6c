//! Everything that is tested from outside the crate, in one binary: one file a flow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::disallowed_methods, reason = "tests start any process and wait as they like")]

mod bad_config;
mod before_start;
mod cleanup;
mod crash;
mod documentation;
mod good_config;
mod layers;
mod restart;
mod start;
mod stop;
mod support;
mod terminal;
mod world;
