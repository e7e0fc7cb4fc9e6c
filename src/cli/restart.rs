use super::start::{Patience, bring_up};
use super::{Error, context::Context};
use crate::control::StartMode;
use crate::control::protocol::Request;
use crate::model::quantity;
use std::time::Duration;

/// Stop services, then start them with the configuration and env files as they are now
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Services or groups [default: every service]
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Return once the restart has begun
    #[arg(long)]
    pub no_wait: bool,
    /// Wait no longer than this, for instance 60s
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration)]
    pub timeout: Option<Duration>,
}

/// # Errors
/// As `start`.
pub fn run(args: &Args, context: &Context) -> Result<(), Error> {
    let services = context.services(&args.targets)?;
    let request = Request::Start { services: services.clone(), mode: StartMode::Restart, replace: false };
    bring_up(context, &services, &request, Patience { no_wait: args.no_wait, timeout: args.timeout })
}
