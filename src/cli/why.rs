//! `why`: how the last runs of a service ended, put together from the journal; the supervisor is only asked how it is now.

pub(crate) mod story;

use super::{Error, context::Context, events, output, status, style};
use crate::control::ServiceView;
use crate::journal::{End, Records, ends};
use crate::model::ServiceName;
use jiff::Timestamp;
use serde::Serialize;

/// Explain how the last runs of a service ended: who, why, exit, log, traceback
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The service
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// How many ends to tell, the last one first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5)]
    pub ends: usize,
    /// One JSON document, for programs
    #[arg(long)]
    pub json: bool,
}

/// The document of `--json`.
#[derive(Debug, Serialize)]
struct Why<'a> {
    service: &'a ServiceName,
    /// How it is now; as in `status --json`.
    now: Option<&'a ServiceView>,
    /// The last one first.
    ends: &'a [End],
}

/// # Errors
/// When there is no such service, the journal cannot be read, or standard output takes no more.
pub fn run(args: &Args, context: &Context) -> Result<(), Error> {
    let services = context.services(std::slice::from_ref(&args.service))?;
    let [service] = services.as_slice() else {
        let names: Vec<&str> = services.iter().map(ServiceName::as_str).collect();
        let error = Error::usage(format!("`{}` is not one service", args.service));
        return Err(error.hint(format!("ask about one of {}", names.join(", "))));
    };
    let records = Records::read(&events::read(context)?.lines).records;
    let mut ends = ends(&records, service);
    ends.reverse();
    ends.truncate(args.ends);
    // Who cannot be asked now does not keep what is written from being told.
    let snapshot = status::fetch(context, &services, false, false).ok();
    let now = snapshot.as_ref().and_then(|snapshot| snapshot.services.first());
    if args.json {
        let json = serde_json::to_string_pretty(&Why { service, now, ends: &ends });
        let json = json.map_err(|error| Error::failed(format!("the story is no JSON: {error}")))?;
        return output::print(&(style::harmless_json(&json) + "\n"));
    }
    output::print(&story::tell(service, now, &ends, Timestamp::now(), console::colors_enabled()))
}
