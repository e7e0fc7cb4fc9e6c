use super::client::{Client, Next, persist};
use super::progress::Progress;
use super::{Error, context::Context, foreground, logs, style};
use crate::control::StartMode;
use crate::control::protocol::{Reply, Request, Step};
use crate::journal::cut_line;
use crate::model::{ServiceName, quantity};
use crate::sys::poll::Deadline;
use crate::sys::signals::{self, Signals};
use std::collections::BTreeSet;
use std::time::Duration;

/// Start services and wait until they are ready
///
/// In order: set-up, dependencies, clean-up of stale copies and orphans, port check, process, readiness. What runs and is healthy
/// stays untouched; what runs and is not healthy is restarted.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Services or groups [default: every service]
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Stop what runs first
    #[arg(long)]
    pub restart: bool,
    /// End copies that somebody runs on a terminal
    #[arg(long)]
    pub replace: bool,
    /// Return once the start has begun
    #[arg(long, conflicts_with = "foreground")]
    pub no_wait: bool,
    /// Wait no longer than this, for instance 60s
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration)]
    pub timeout: Option<Duration>,
    /// Show all logs until Ctrl-C, which stops the services
    #[arg(long)]
    pub foreground: bool,
}

/// How many of its last log lines are shown for a service that died while starting.
const LAST_LINES: usize = 20;

/// # Errors
/// When a service did not become ready, with its last words.
pub fn run(args: &Args, context: &Context) -> Result<(), Error> {
    let services = context.services(&args.targets)?;
    let mode = if args.restart { StartMode::Restart } else { StartMode::Ensure };
    let request = Request::Start { services: services.clone(), mode, replace: args.replace };
    if args.foreground {
        return foreground::run(context, &services, &request);
    }
    let patience = Patience { no_wait: args.no_wait, timeout: args.timeout };
    match mode {
        StartMode::Ensure => persist(|| bring_up(context, &services, &request, patience)),
        // A second one would restart what the first has restarted.
        StartMode::Restart => bring_up(context, &services, &request, patience),
    }
}

/// How long a command waits.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub no_wait: bool,
    pub timeout: Option<Duration>,
}

/// Asks for a start and tells its progress.
///
/// # Errors
/// As [`run`].
pub fn bring_up(context: &Context, services: &[ServiceName], request: &Request, patience: Patience) -> Result<(), Error> {
    let deadline = patience.timeout.map(Deadline::after);
    let mut client = Client::launch(context)?;
    if !context.quiet {
        client.note_difference();
    }
    let signals = Signals::hold(&[signals::INTERRUPT, signals::TERMINATE]).map_err(Error::failed)?;
    client.send(request)?;
    let mut progress = Progress::new(services, context.quiet);
    let mut open: BTreeSet<&ServiceName> = services.iter().collect();
    loop {
        match client.next(&signals, deadline)? {
            Next::Reply(Reply::Update(update)) => {
                progress.update(&update);
                let failed = matches!(&update.step, Step::Ended(outcome) if !outcome.result.is_success());
                if matches!(update.step, Step::Ended(_)) {
                    open.remove(&update.service);
                }
                if patience.no_wait && !failed {
                    return Ok(());
                }
            }
            Next::Reply(Reply::Done { outcomes }) => {
                return progress.finish(&outcomes, |service, offset| last_lines(context, service, offset));
            }
            Next::Reply(Reply::Warning { message }) => style::say(&style::visible(&format!("warning: {message}\n"))),
            Next::Reply(Reply::Snapshot(_) | Reply::Refused(_)) => {}
            Next::Interrupted => {
                drop(progress);
                style::say("the start goes on in the background; see `devstack status`\n");
                return Err(Error::interrupted());
            }
            Next::TimedOut => {
                drop(progress);
                let names: Vec<&str> = open.iter().map(|name| name.as_str()).collect();
                let seconds = patience.timeout.unwrap_or_default().as_secs_f64();
                let error = Error::failed(format!("not ready after {seconds} s: {}", names.join(", ")));
                return Err(error.hint("the start goes on in the background; see `devstack status` and `devstack logs`"));
            }
        }
    }
}

pub fn last_lines(context: &Context, service: &ServiceName, offset: u64) -> Vec<String> {
    let log = context.project.services.get(service).map(|service| service.log_file.as_path());
    let lines = log.and_then(|log| logs::tail(log, offset, LAST_LINES).ok()).unwrap_or_default();
    lines.iter().map(|line| cut_line(line)).collect()
}
