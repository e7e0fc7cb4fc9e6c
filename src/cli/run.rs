//! `run`: the arguments, the words, and whether anybody else runs the same; [`crate::supervisor::run_alone`] does the rest.
//!
//! Standard output is the worker's alone. On standard error stands what went wrong, beside what the worker says there.

use super::client::Client;
use super::{Error, check, context, exit_code, style};
use crate::config::{self, Location, Trust};
use crate::control::protocol::{Reply, Request};
use crate::engine::{Cause, Notice};
use crate::model::{Project, ReadyWhen, Reason, RestartPolicy, Service, ServiceName, quantity};
use crate::supervisor::{self, Claim, Ended, Job};
use crate::sys::folders::Folders;
use crate::sys::{socket, spawn};
use context::{Context, Global};
use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Run one service, or any command, in the foreground
///
/// For systemd, containers (as process 1, too) and one-off commands. The exit status is the worker's, 128 + N after signal N, and 0
/// after a stop by SIGTERM that it heeded. What ended by a failure or a limit is started again, as `restart` says.
#[derive(Debug, Clone, clap::Args)]
#[command(override_usage = "devstack run [OPTIONS] SERVICE\n       devstack run [OPTIONS] -- COMMAND [ARGUMENT]...")]
pub struct Args {
    /// A service of the project; what it depends on is somebody else's to run
    #[arg(value_name = "SERVICE", conflicts_with = "command", required_unless_present = "command")]
    pub service: Option<String>,
    /// Restart after so long, in hours or for instance 90m; 0: never
    #[arg(long, value_name = "HOURS", value_parser = hours)]
    pub max_runtime: Option<Duration>,
    /// Of the whole tree, in MB or for instance 2GiB; 0: none
    #[arg(long, value_name = "MB", value_parser = quantity::size)]
    pub memory_limit: Option<u64>,
    /// Percent of one core, mean over ten seconds; 0: none
    #[arg(long, value_name = "PERCENT", value_parser = quantity::percent)]
    pub cpu_limit: Option<f64>,
    /// Serve /health, /ready and /metrics there, for this machine only unless an address is given; 0: nowhere
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = health_port)]
    pub health_port: Option<(Option<IpAddr>, u16)>,
    /// Never start it again
    #[arg(long)]
    pub once: bool,
    /// A command and its arguments; needs no project
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Of a command that cannot be executed, and of one that does not exist, as a shell answers.
const CANNOT_EXECUTE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// # Errors
/// [`Error::told`] with the worker's exit status when that is not 0; a sentence when it could not be started.
pub fn run(args: &Args, global: &Global) -> Result<(), Error> {
    let signals = supervisor::hold_signals().map_err(Error::failed)?;
    let job = match &args.service {
        Some(service) => job_of_service(service, args, global)?,
        None => job_of_command(args)?,
    };
    let name = job.service.clone();
    let mut tell = |service: &ServiceName, notice: &Notice| {
        if !global.quiet
            && let Some(words) = words(notice)
        {
            style::say(&style::visible(&format!("devstack: {service}: {words}\n")));
        }
    };
    match supervisor::run_alone(job, &signals, &mut tell).map_err(Error::failed)? {
        Ended::Status(exit_code::DONE) => Ok(()),
        Ended::Status(status) => Err(Error::told(status)),
        Ended::GaveUp { cause, status } => {
            Error::failed(format!("{name}: {}", cause.message)).print();
            Err(Error::told(status))
        }
        Ended::NotStarted { service, cause: Cause { message, hint, .. } } => {
            let error = Error::failed(format!("{service} was not started: {message}"));
            Err(hint.into_iter().fold(error, Error::hint))
        }
        Ended::Stuck(survivors) => {
            let named: Vec<String> = survivors.iter().map(|(pid, does)| format!("pid {pid} ({does})")).collect();
            Err(Error::failed(format!("SIGKILL did not end {}", named.join(", "))))
        }
    }
}

fn job_of_service(service: &str, args: &Args, global: &Global) -> Result<Job, Error> {
    let location = context::locate(global)?;
    let mut project = config::load(&location, Trust::of_user(socket::own_user())).map_err(|problems| check::refuse(&problems))?;
    let name = project.services.keys().find(|name| name.as_str() == service).cloned();
    if name.is_none() && (service == "all" || project.groups.contains_key(service)) {
        return Err(Error::usage(format!("`{service}` is a group: one service runs in the foreground")));
    }
    let name = name.ok_or_else(|| context::no_such_target(service, &project, &location))?;
    let Some(spec) = project.services.get(&name).filter(|spec| !spec.external).cloned() else {
        return Err(Error::usage(format!("`{name}` is external: devstack only checks it")));
    };
    let claim = Claim::take(&project.id, &name).map_err(Error::failed)?;
    let claim = claim.map_err(|holder| Error::failed(format!("{name} runs in the foreground already: {holder}")))?;
    refuse_beside_supervisor(&name, &project, &location, global)?;
    let external: Vec<ServiceName> = project.services.values().filter(|spec| spec.external).map(|spec| spec.name.clone()).collect();
    for spec in project.services.values_mut() {
        Arc::make_mut(spec).depends_on.retain(|needed| external.contains(needed));
    }
    project.services.insert(name.clone(), Arc::new(changed(Service::clone(&spec), args, &external)));
    if matches!(spec.ready.when, ReadyWhen::Log(_)) && !global.quiet {
        let log = spec.log_file.display();
        style::say(&style::visible(&format!("devstack: {name}: readiness is a line of its log, so it writes to {log}\n")));
    }
    Ok(Job { project, service: name, location, claim: Some(claim), health_address: health_address(args) })
}

/// A supervisor that runs it, is starting it or waits to start it again has it.
fn refuse_beside_supervisor(name: &ServiceName, project: &Project, location: &Location, global: &Global) -> Result<(), Error> {
    // Without a home folder there is no supervisor that we could have started or could ask.
    let Ok(folders) = Folders::of(&project.id, |name| std::env::var_os(name)) else { return Ok(()) };
    folders.verify().map_err(Error::failed)?;
    let (quiet, verbose) = (global.quiet, global.verbose);
    let context = Context { location: location.clone(), project: project.clone(), folders, quiet, verbose };
    let Some(mut client) = Client::connect(&context)? else { return Ok(()) };
    client.send(&Request::Status { services: Vec::new(), tree: false })?;
    let Reply::Snapshot(snapshot) = client.reply()? else { return Err(Error::failed("the supervisor's answer makes no sense")) };
    let state = snapshot.services.iter().find(|one| one.name == *name).map(|one| one.state);
    match state {
        Some(state) if state.has_run() => {
            let words = format!("{name} is the supervisor's (pid {}), where it is {}", client.supervisor(), state.word());
            Err(Error::failed(words).hint(format!("`devstack stop {name}` first, or leave it there")))
        }
        _ => Ok(()),
    }
}

fn job_of_command(args: &Args) -> Result<Job, Error> {
    let cwd = std::env::current_dir().map_err(|error| Error::failed(format!("there is no current folder: {error}")))?;
    let text = |word: &OsString| word.to_str().map(str::to_owned);
    let command: Option<Vec<String>> = args.command.iter().map(text).collect();
    let command = command.ok_or_else(|| Error::usage("a command and its arguments must be valid UTF-8"))?;
    find(&args.command[0], &cwd)?;
    let owner =
        supervisor::owner_of_command(&command).map_err(|error| Error::failed(format!("the process table cannot be read: {error}")))?;
    let project = config::ad_hoc(command, cwd, &owner, |service| *service = changed(service.clone(), args, &[])).map_err(Error::failed)?;
    let Some(service) = project.services.keys().next().cloned() else { return Err(Error::usage("no command")) };
    let location = Location { config_file: project.config_file.clone(), root: project.root.clone() };
    Ok(Job { project, service, location, claim: None, health_address: health_address(args) })
}

/// Found out before anything begins, and answered as a shell would.
fn find(program: &OsStr, cwd: &Path) -> Result<(), Error> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let Err(error) = spawn::find_program(program, &path, cwd) else { return Ok(()) };
    Error::failed(&error).print();
    Err(Error::told(if error.is_absence() { NOT_FOUND } else { CANNOT_EXECUTE }))
}

fn changed(service: Service, args: &Args, external: &[ServiceName]) -> Service {
    let mut service = service;
    service.depends_on.retain(|needed| external.contains(needed));
    if let Some(longest) = args.max_runtime {
        service.max_runtime = Some(longest).filter(|longest| !longest.is_zero());
    }
    if let Some(bytes) = args.memory_limit {
        service.memory_limit = Some(bytes).filter(|bytes| *bytes > 0);
    }
    if let Some(percent) = args.cpu_limit {
        service.cpu_limit = Some(percent).filter(|percent| *percent > 0.0);
    }
    if let Some((_, port)) = args.health_port {
        service.health_port = Some(port).filter(|port| *port > 0);
    }
    if args.once {
        service.restart = RestartPolicy::Never;
    }
    service
}

fn health_address(args: &Args) -> IpAddr {
    args.health_port.and_then(|(address, _)| address).unwrap_or(Ipv4Addr::LOCALHOST.into())
}

fn hours(text: &str) -> Result<Duration, quantity::BadQuantity> {
    match text.trim().parse::<f64>() {
        Ok(number) => quantity::duration_from_number(number, Duration::from_secs(3600)),
        Err(_) => quantity::duration(text),
    }
}

fn health_port(text: &str) -> Result<(Option<IpAddr>, u16), String> {
    let (address, port) = match text.rsplit_once(':') {
        Some((address, port)) => (Some(address.trim_matches(['[', ']'])), port),
        None => (None, text),
    };
    let bad = || "write a port, or an address of this machine and a port: 9091, 0.0.0.0:9091".to_owned();
    let address = address.map(str::parse).transpose().map_err(|_| bad())?;
    Ok((address, port.parse().map_err(|_| bad())?))
}

/// What is worth a line: nothing of a worker that starts, ends well and is gone.
fn words(notice: &Notice) -> Option<String> {
    Some(match notice {
        Notice::SettingUp { command } => format!("setting up: {}", command.join(" ")),
        Notice::Hooking { hook, command } => format!("{hook}: {}", command.join(" ")),
        Notice::HookFailed(cause) => cause.message.clone(),
        Notice::Watching { trouble } => trouble.clone(),
        Notice::WaitingFor(services) => {
            format!("waits for {}", services.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", "))
        }
        Notice::Clearing { pid, command, why } => format!("ends pid {pid} ({command}): {why}"),
        Notice::Swept { processes, .. } => {
            let pids: Vec<String> = processes.iter().map(|one| one.pid.to_string()).collect();
            format!("ended what it left behind: pid {}", pids.join(", "))
        }
        Notice::Late { seconds, .. } => format!("alive, but not ready after {seconds:.0} s"),
        Notice::Stopping { why, .. } if *why != Reason::Requested => format!("stopping: {why}"),
        Notice::Killing { .. } => "killing".to_owned(),
        Notice::Ended { exit, reason, .. } if !reason.is_planned() && *reason != Reason::Exited => format!("{reason}: {exit}"),
        Notice::RestartsIn { seconds } => format!("starts again in {seconds:.1} s"),
        Notice::Stuck { survivors } => {
            let pids: Vec<String> = survivors.iter().map(|(pid, _)| pid.to_string()).collect();
            format!("SIGKILL has not ended pid {}", pids.join(", "))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_take_the_units_of_the_workers_own_arguments() {
        assert_eq!(hours("24"), Ok(Duration::from_secs(86_400)));
        assert_eq!(hours("0.001"), Ok(Duration::from_millis(3600)));
        assert_eq!(hours("90m"), Ok(Duration::from_secs(5400)));
        assert!(hours("-1").is_err() && hours("nan").is_err() && hours("x").is_err());
        assert_eq!(health_port("9091"), Ok((None, 9091)));
        assert_eq!(health_port("0.0.0.0:9091"), Ok((Some(Ipv4Addr::UNSPECIFIED.into()), 9091)));
        assert_eq!(health_port("[::1]:80").map(|(address, _)| address), Ok("::1".parse().ok()));
        assert!(["", "x", "70000", "localhost:80", "-1"].iter().all(|text| health_port(text).is_err()));
    }
}
