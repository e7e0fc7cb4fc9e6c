//! `devstack cleanup-workers`: ends what dead workers left and what nobody runs any more, and explains each.
//!
//! Needs no supervisor. Decides wording and what to ask; ownership is `cleanup`'s, the order of ending `cleanup::killing`'s.

mod act;
mod leftovers;
mod report;

pub use act::{Done, end, look};
pub use report::Report;

use super::client::Client;
use super::context::{Context, mean_all};
use super::{Error, exit_code, offline, style};
use crate::cleanup::{self, Action, Choice, Decision, Evidence, Kind};
use crate::journal::{Happened, Record, Removed};
use crate::model::{ServiceName, quantity};
use crate::sys::cgroup::Groups;
use crate::sys::journal_file::JournalFile;
use console::Term;
use jiff::Timestamp;
use std::time::Duration;

/// End orphans and stale copies that are provably ours, and explain each
///
/// Needs neither a supervisor nor a running stack. Exit status 1 when something outlived SIGKILL.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(alias = "cleanup_workers")]
pub struct Args {
    /// Services or groups to look at [default: the whole project]
    #[arg(value_name = "SERVICE|all")]
    pub targets: Vec<String>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Only what has been running longer, for instance 1d or 12h
    #[arg(long, value_name = "AGE", value_parser = quantity::duration)]
    pub older_than: Option<Duration>,
    /// Also copies that somebody runs on a terminal
    #[arg(long)]
    pub include_manual: bool,
    /// Also processes whose command line says so, without any proof; asks first
    #[arg(long)]
    pub include_unproven: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Also the processes of living runs
    #[arg(long)]
    pub managed: bool,
    /// Also what dead pools left in /dev/shm and the folder for temporary files, if nobody uses it: named semaphores, shared
    /// memory, temp folders. Whose it was cannot be told, so it cannot be limited to services
    #[arg(long)]
    pub leftovers: bool,
    /// Machine-readable
    #[arg(long)]
    pub json: bool,
}

/// # Errors
/// When a target is unknown, a question cannot be asked, or something outlived SIGKILL.
pub fn run(args: &Args, context: &Context) -> Result<(), Error> {
    let must_ask = args.include_unproven && !args.yes && !args.dry_run;
    if must_ask && !(Term::stdout().features().is_attended() && Term::stderr().features().is_attended()) {
        let error = Error::usage("--include-unproven ends processes that nothing proves to be ours, and there is no terminal to ask on");
        return Err(error.hint("look first with --dry-run, then add --yes"));
    }
    let choice = choice(args, context)?;
    if args.leftovers && choice.services.is_some() {
        let error = Error::usage("--leftovers cannot be limited to services: nothing in a leftover says whose it was");
        return Err(error.hint("leave the services out, or run `devstack cleanup-workers --leftovers` by itself"));
    }
    // One that is there and cannot be asked may know what its ledger does not say: nobody else judges then.
    let supervisor = Client::connect(context)?.map(|client| client.supervisor());
    let (project, ledger) = (&context.project, &offline::ledger_facts(context, supervisor));
    let seen = look(project, ledger, &choice).map_err(|error| Error::failed(format!("cannot read the process table: {error}")))?;
    let seen = if must_ask { approved(seen) } else { seen };
    let done = if args.dry_run {
        seen.into_iter().map(Done::planned).collect()
    } else {
        end(project, ledger, &choice, seen).map_err(|error| Error::failed(format!("cannot go on: {error}")))?
    };
    record(context, &done);
    // Last, so that what the processes left that were just ended counts too.
    let leftovers = args.leftovers.then(|| leftovers::clear(args.older_than, args.dry_run)).transpose();
    let leftovers = leftovers.map_err(|error| Error::failed(format!("cannot look for leftovers: {error}")))?;
    if supervisor.is_none() && !args.dry_run {
        // What a devstack that was killed could not give back; one that is not empty stays.
        Groups::of(&project.id).iter().for_each(Groups::remove);
    }
    let report = Report { dry_run: args.dry_run, done, leftovers };
    if args.json {
        report.print_json()?
    } else {
        report.print_table()?
    }
    if report.is_complete() { Ok(()) } else { Err(Error::told(exit_code::FAILED)) }
}

/// Before `stop` says that nothing runs: what devstack once started and no ledger knows any more carries its marks all the same.
///
/// # Errors
/// When something outlived SIGKILL.
pub fn end_unknown(services: &[ServiceName], context: &Context) -> Result<(), Error> {
    let cannot = |error: std::io::Error| Error::failed(format!("cannot read the process table: {error}"));
    let choice = Choice { services: Some(services.iter().cloned().collect()), ..Choice::default() };
    let (project, ledger) = (&context.project, &offline::ledger_facts(context, None));
    let mut seen = look(project, ledger, &Choice::default()).map_err(cannot)?;
    let sure = [Evidence::Cgroup, Evidence::Cookie, Evidence::LogFile, Evidence::Mark];
    let of_service = |one: &Decision| one.service.as_ref().is_some_and(|service| services.contains(service));
    seen.retain(|one| of_service(one) && one.evidence.iter().any(|word| sure.contains(word)) || cleanup::is_forgotten(one, project));
    if !seen.iter().any(|one| one.action_planned == Action::WouldTerminate) {
        return Ok(());
    }
    let done = end(project, ledger, &choice, seen).map_err(cannot)?;
    record(context, &done);
    let report = Report { dry_run: false, done, leftovers: None };
    report.print_table()?;
    if report.survivors().next().is_some() { Err(Error::told(exit_code::FAILED)) } else { Ok(()) }
}

/// In the journal, where there is one: whoever wonders where a process went finds it there. What cannot be written keeps nobody
/// from cleaning up.
fn record(context: &Context, done: &[Done]) {
    let at = Timestamp::now();
    let acted = done.iter().filter(|one| !matches!(one.action, Action::WouldTerminate | Action::LeftAlone));
    let lines: Vec<u8> = acted.flat_map(|one| removed(at, one).to_line()).collect();
    if !lines.is_empty() {
        let _ = JournalFile::new(context.folders.journal()).add(&lines);
    }
}

fn removed(at: Timestamp, Done { decision, action }: &Done) -> Record {
    let removed = Removed {
        pid: decision.process.id.pid,
        command: decision.process.command().chars().take(200).collect(),
        kind: decision.kind.word().to_owned(),
        action: action.word().to_owned(),
        reason: decision.reason.clone(),
    };
    Record { at, service: decision.service.clone(), run_id: decision.run_id, happened: Happened::Cleaned(removed) }
}

fn choice(args: &Args, context: &Context) -> Result<Choice, Error> {
    let services = if mean_all(&args.targets) { None } else { Some(context.services(&args.targets)?.into_iter().collect()) };
    let Args { older_than, include_manual, include_unproven, managed, .. } = *args;
    Ok(Choice { services, older_than, include_manual, include_unproven, managed })
}

/// Asks about each look-alike by itself: one wrong yes must not end all of them.
fn approved(mut seen: Vec<Decision>) -> Vec<Decision> {
    for one in seen.iter_mut().filter(|one| one.kind == Kind::LookAlike && one.action_planned == Action::WouldTerminate) {
        let command = style::visible(&one.process.command());
        style::say(&format!("pid {}: {command}\n  {}\nEnd it? [y/N] ", one.process.id.pid, style::visible(&one.reason)));
        let answer = Term::stdout().read_line().unwrap_or_default();
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            one.action_planned = Action::LeftAlone;
        }
    }
    seen
}
