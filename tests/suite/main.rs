//! Everything that is tested from outside the crate, in one binary: one file a flow.

mod bad_config;
mod cleanup;
mod documentation;
mod good_config;
mod layers;
mod world;
