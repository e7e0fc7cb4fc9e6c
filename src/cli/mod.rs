//! The command line: one file a verb, its arguments and its function together.
//!
//! The only module that prints. Decides wording, layout and exit statuses; never touches a process except through `sys`.

mod check;
pub mod cleanup_workers;
mod client;
mod completions;
mod context;
mod error;
pub(crate) mod events;
mod exit_code;
mod export;
mod foreground;
pub(crate) mod logs;
mod offline;
mod output;
mod progress;
mod restart;
mod run;
mod start;
mod status;
mod stop;
mod style;
mod upgrade;
pub(crate) mod why;

pub use error::Error;

use crate::config::Location;
use crate::sys::rotation;
use clap::{CommandFactory, Parser, Subcommand};
use context::{Context, Global};
use std::ffi::OsString;
use std::path::PathBuf;

/// Runs, watches and cleans up the Python workers of a project.
///
/// A TARGET is a service, a group or `all`. Data goes to standard output, words and progress to standard error.
#[derive(Debug, Parser)]
#[command(name = "devstack", version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Start(start::Args),
    Stop(stop::Args),
    Restart(restart::Args),
    Status(status::Args),
    Run(run::Args),
    Logs(logs::Args),
    Why(why::Args),
    Events(events::Args),
    CleanupWorkers(cleanup_workers::Args),
    Upgrade(upgrade::Args),
    Check(check::Args),
    Export(export::Args),
    Completions(completions::Args),
    /// Keeper and supervisor of a project; started by the other commands.
    #[command(hide = true)]
    Supervise {
        config_file: PathBuf,
        root: PathBuf,
    },
    /// Moves the head of a log into an old log; started by the supervisor.
    #[command(hide = true)]
    RotateLog {
        root: PathBuf,
        log: PathBuf,
        size: u64,
        keep: u32,
        #[arg(value_parser = ["compress", "plain"])]
        how: String,
    },
}

/// Does what the arguments say, and answers the exit status.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(words) => {
            tell(&words);
            return u8::try_from(words.exit_code()).unwrap_or(exit_code::USAGE);
        }
    };
    if let Verb::Supervise { config_file, root } = cli.verb {
        return crate::supervisor::keep_supervised(Location { config_file, root });
    }
    if let Verb::RotateLog { root, log, size, keep, how } = &cli.verb {
        let rule = rotation::Rule { size: *size, keep: *keep, compress: how == "compress" };
        return match rotation::rotate(root, log, &rule) {
            Ok(rotation::Outcome::Rotated(_)) => exit_code::DONE,
            Ok(rotation::Outcome::NotYet) => rotation::NOT_YET,
            Ok(rotation::Outcome::Busy) => rotation::BUSY,
            Err(error) => {
                style::say(&format!("{} cannot rotate {}: {error}\n", jiff::Timestamp::now(), log.display()));
                exit_code::FAILED
            }
        };
    }
    cli.global.color.apply();
    match perform(&cli) {
        Ok(()) => exit_code::DONE,
        Err(error) => {
            error.print();
            error.exit_code()
        }
    }
}

/// Help and version are no errors, and go to standard output. What is wrong with an argument repeats it, and it may be anything.
fn tell(words: &clap::Error) {
    if !words.use_stderr() {
        let _ = words.print();
        return;
    }
    style::ColorChoice::Auto.apply();
    let (rendered, colors) = (words.render(), console::colors_enabled_stderr());
    let text = if colors { rendered.ansi().to_string() } else { rendered.to_string() };
    let lines: Vec<String> = text.split('\n').map(|line| logs::shown(line.as_bytes(), colors)).collect();
    style::say(&lines.join("\n"));
}

fn perform(cli: &Cli) -> Result<(), Error> {
    let context = || Context::load(&cli.global);
    match &cli.verb {
        Verb::Start(args) => start::run(args, &context()?),
        Verb::Stop(args) => stop::run(args, &context()?),
        Verb::Restart(args) => restart::run(args, &context()?),
        Verb::Status(args) => status::run(args, &context()?),
        Verb::Run(args) => run::run(args, &cli.global),
        Verb::Logs(args) => logs::run(args, &context()?),
        Verb::Why(args) => why::run(args, &context()?),
        Verb::Events(args) => events::run(args, &context()?),
        Verb::CleanupWorkers(args) => cleanup_workers::run(args, &context()?),
        Verb::Upgrade(args) => upgrade::run(args, &context()?),
        Verb::Check(args) => check::run(args, &context::locate(&cli.global)?),
        Verb::Export(args) => export::run(args, &cli.global),
        Verb::Completions(args) => completions::run(args, Cli::command()),
        Verb::Supervise { .. } | Verb::RotateLog { .. } => Ok(()),
    }
}

/// The command line as data, for what is generated from it.
pub fn command() -> clap::Command {
    Cli::command()
}
