//! Everything that is tested from outside the crate, in one binary: one file a flow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::disallowed_methods, reason = "tests start any process and wait as they like")]

mod another_version;
mod bad_config;
mod before_start;
mod cleanup;
mod cleanup_command;
mod crash;
mod demo;
mod documentation;
mod escapes;
mod failpoints;
mod fights_back;
mod full_disk;
mod good_config;
mod health;
mod help;
mod hostile_clients;
mod hostile_paths;
mod identity;
mod layers;
mod leftovers;
mod limits;
mod logs;
mod lost_ledger;
mod on_terminal;
mod own_folders;
mod restart;
mod run_as_pid_1;
mod run_command;
mod run_health_port;
mod run_service;
mod run_under_systemd;
mod running;
mod secrets;
mod single_supervisor;
mod skew;
mod start;
mod status;
mod stop;
mod strange_processes;
mod support;
mod terminal;
mod trust;
mod upgrade;
mod world;
