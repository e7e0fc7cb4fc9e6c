//! Everything that is tested from outside the crate, in one binary: one file a flow.

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
