use super::client::{Client, Next, persist};
use super::context::{Context, mean_all};
use super::progress::Progress;
use super::{Error, cleanup_workers, offline, style};
use crate::control::protocol::{Ending, Outcome, Reply, Request};
use crate::model::{ServiceName, quantity};
use crate::supervisor;
use crate::sys::signals::{self, Signals};
use std::time::Duration;

/// Stop services gracefully, whole trees, dependants first
///
/// Done only when no process of them is left. Ctrl-C twice kills at once.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Services or groups [default: every service]
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Kill what has not ended after this, for instance 5s [default: the service's stop_timeout]
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration)]
    pub timeout: Option<Duration>,
    /// Kill at once, without the stop signal
    #[arg(long)]
    pub kill: bool,
    /// Stop everything and devstack's own processes too
    #[arg(long, conflicts_with = "targets")]
    pub supervisor: bool,
}

/// # Errors
/// When something survived; it is named.
pub fn run(args: &Args, context: &Context) -> Result<(), Error> {
    let mut services = context.services(&args.targets)?;
    let timeout_seconds = args.timeout.map(|timeout| timeout.as_secs_f64());
    let in_foreground = end_foreground(context, &services, &Request::Shutdown { kill: args.kill, timeout_seconds })?;
    services.retain(|service| !in_foreground.contains(service));
    if services.is_empty() && !args.supervisor {
        return Ok(());
    }
    let request = if args.supervisor {
        Request::Shutdown { kill: args.kill, timeout_seconds }
    } else {
        // All: also those that left the configuration meanwhile.
        Request::Stop { services: if mean_all(&args.targets) { Vec::new() } else { services.clone() }, kill: args.kill, timeout_seconds }
    };
    // The pair, however often half of it is replaced meanwhile.
    let mut pair = Vec::new();
    persist(|| {
        let Some(client) = find(context, &services)? else { return nothing_runs(&services, context) };
        if args.supervisor {
            pair.extend(client.pair()?);
        }
        bring_down(client, context, &services, &request)
    })?;
    supervisor::wait_until_gone(pair).map_err(Error::failed)
}

/// What `devstack run` has is its own to stop; it ends with it.
fn end_foreground(context: &Context, services: &[ServiceName], request: &Request) -> Result<Vec<ServiceName>, Error> {
    let mut ended = Vec::new();
    for service in services {
        if let Some(client) = Client::of_foreground(context, service)? {
            bring_down(client, context, std::slice::from_ref(service), request)?;
            ended.push(service.clone());
        }
    }
    Ok(ended)
}

/// Whom to ask; `None` when nothing runs.
fn find(context: &Context, services: &[ServiceName]) -> Result<Option<Client>, Error> {
    match Client::connect(context)? {
        Some(client) => Ok(Some(client)),
        // Workers of a devstack that was killed are stopped by a new one, which then leaves if it was asked to.
        None => {
            cleanup_workers::end_unknown(services, context)?;
            offline::something_runs(context).then(|| Client::launch(context)).transpose()
        }
    }
}

fn nothing_runs(services: &[ServiceName], context: &Context) -> Result<(), Error> {
    let stopped = |service: &ServiceName| Outcome { service: service.clone(), result: Ending::AlreadyStopped };
    let outcomes: Vec<Outcome> = services.iter().map(stopped).collect();
    Progress::new(services, context.quiet).finish(&outcomes, |_, _| Vec::new())
}

/// Asks for a stop and tells its progress.
///
/// # Errors
/// As [`run`].
pub fn bring_down(mut client: Client, context: &Context, services: &[ServiceName], request: &Request) -> Result<(), Error> {
    let signals = Signals::hold(&[signals::INTERRUPT, signals::TERMINATE]).map_err(Error::failed)?;
    client.send(request)?;
    let mut progress = Progress::new(services, context.quiet);
    let mut pressed = 0;
    loop {
        match client.next(&signals, None)? {
            Next::Reply(Reply::Update(update)) => progress.update(&update),
            Next::Reply(Reply::Done { outcomes }) => return progress.finish(&outcomes, |_, _| Vec::new()),
            Next::Reply(Reply::Snapshot(_) | Reply::Refused(_) | Reply::Warning { .. }) | Next::TimedOut => {}
            Next::Interrupted => {
                pressed += 1;
                match pressed {
                    1 => style::say("\nstopping; press Ctrl-C again to kill now\n"),
                    2 => kill(context, services)?,
                    _ => return Err(Error::interrupted()),
                }
            }
        }
    }
}

fn kill(context: &Context, services: &[ServiceName]) -> Result<(), Error> {
    let request = Request::Stop { services: services.to_vec(), kill: true, timeout_seconds: None };
    for service in services {
        if let Some(mut second) = Client::of_foreground(context, service)? {
            second.send(&request)?;
        }
    }
    if let Some(mut second) = Client::connect(context)? {
        second.send(&request)?;
    }
    Ok(())
}
