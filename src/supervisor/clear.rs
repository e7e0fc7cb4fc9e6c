//! The way made free for a new process of a service: stale copies and orphans end, its ports are looked at.

use crate::cleanup::killing::{Killing, Member, Then};
use crate::cleanup::{Decision, Kind, Role};
use crate::engine::{Cause, CauseKind};
use crate::model::{Pid, ProcId, Service, ServiceName};
use crate::sys::pidfd::PidFd;
use crate::sys::readiness::Readiness;
use crate::sys::{clock, procfs};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a stale copy may take to leave by itself, and after that to die.
const GRACE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to be ended before a start.
pub struct Clearing {
    service: Arc<Service>,
    ending: Vec<Decision>,
    /// Main processes of this project's own runs, to name whose port it is.
    ours: BTreeMap<i32, ServiceName>,
}

impl Clearing {
    /// `found`: the stale copies, orphans and manual copies of this service.
    ///
    /// # Errors
    /// When a person runs a copy on a terminal, and was not asked to be replaced.
    pub fn new(service: &Arc<Service>, found: Vec<Decision>, replace: bool, ours: BTreeMap<i32, ServiceName>) -> Result<Self, Cause> {
        if let Some(manual) = found.iter().find(|decision| decision.kind == Kind::Manual && decision.role == Role::Main && !replace) {
            let (pid, command) = (manual.process.id.pid, command_of(manual));
            let message = format!("a copy of it runs on a terminal: pid {pid}, `{command}`, for {}", age(manual.process.age));
            let hint = format!("end that copy, or let `devstack start --replace {}` end it", service.name);
            return Err(Cause::new(CauseKind::ManualCopy, message, Some(hint)));
        }
        Ok(Self { service: service.clone(), ending: found, ours })
    }

    pub fn ending(&self) -> &[Decision] {
        &self.ending
    }

    /// Only the ports are left to look at.
    pub fn is_quick(&self) -> bool {
        self.ending.is_empty()
    }

    /// Ends what is to be ended, pool workers before their resource trackers.
    ///
    /// # Errors
    /// When something survives SIGKILL.
    pub async fn end(&self) -> Result<(), Cause> {
        let mut killing = Killing::new(Some(GRACE), clock::now().after(GRACE + PATIENCE));
        loop {
            let next = killing.next(clock::now(), &self.members());
            for (proc, signal) in next.signals {
                if let Ok(Some(process)) = PidFd::open(proc) {
                    let _ = process.signal(signal);
                }
            }
            match next.then {
                Then::Rescan => {}
                Then::Wait { until, on } => wait_for_one(&on, until.since(clock::now())).await,
                Then::Empty => return Ok(()),
                Then::Stuck(left) => {
                    let pids: Vec<String> = left.iter().map(|proc| proc.pid.to_string()).collect();
                    let message = format!("a stale copy of it cannot be ended (pid {})", pids.join(", "));
                    return Err(Cause::new(
                        CauseKind::NotSpawned,
                        message,
                        Some("it may be in uninterruptible sleep; see `ps`".to_owned()),
                    ));
                }
            }
        }
    }

    fn members(&self) -> Vec<Member> {
        let alive = |decision: &&Decision| matches!(PidFd::open(decision.process.id), Ok(Some(_)));
        let member = |decision: &Decision| {
            let (proc, tracker) = (decision.process.id, decision.role == Role::ResourceTracker);
            Member { proc, tracker, busy: tracker && procfs::is_busy(proc.pid), zombie: false }
        };
        self.ending.iter().filter(alive).map(member).collect()
    }

    /// # Errors
    /// When one of its ports is taken, naming by whom.
    pub fn ports(&self) -> Result<(), Cause> {
        for &port in self.service.ports.iter().chain(&self.service.health_port) {
            if let Ok(Some(holder)) = procfs::holder_of_port(port)
                // Its health_port is held by devstack, from an earlier run on.
                && !(Some(port) == self.service.health_port && holder.pid == Some(std::process::id().cast_signed()))
            {
                return Err(self.taken(port, &holder));
            }
        }
        Ok(())
    }

    fn taken(&self, port: u16, holder: &procfs::Holder) -> Cause {
        let (message, hint) = match holder.pid {
            None => {
                (format!("port {port} is taken by a process of user {}", holder.uid), "see `ss -ltnp` as that user or as root".to_owned())
            }
            Some(pid) => {
                let command = command_line(pid);
                let since = procfs::start_ticks(pid).map(|ticks| age(procfs::age(ticks))).unwrap_or_default();
                let whose = match self.ours.get(&pid) {
                    Some(service) => format!("it is service `{service}` of this project"),
                    None => format!("it belongs to user {} and is not of this project as far as can be proven", holder.uid),
                };
                let hint = format!("end it with `kill {pid}` if you know what it is, or choose another port");
                (format!("port {port} is taken by pid {pid} (`{command}`), for {since}; {whose}"), hint)
            }
        };
        Cause::new(CauseKind::PortTaken, message, Some(hint))
    }
}

/// Waits until one of these has ended, for `patience` at most.
pub async fn wait_for_one(on: &[ProcId], patience: Duration) {
    let mut ends = tokio::task::JoinSet::new();
    for proc in on {
        if let Ok(Some(process)) = PidFd::open(*proc)
            && let Ok(pidfd) = Readiness::of(&process)
        {
            ends.spawn_local(async move { pidfd.readable().await });
        }
    }
    if !ends.is_empty() {
        let _ = tokio::time::timeout(patience, ends.join_next()).await;
    }
}

pub fn command_of(decision: &Decision) -> String {
    shorten(&decision.process.command())
}

/// Of a living process, by its number.
pub fn command_line(pid: Pid) -> String {
    shorten(&procfs::command(pid))
}

fn shorten(command: &str) -> String {
    const LONGEST: usize = 120;
    match command.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &command[..end]),
        None => command.to_owned(),
    }
}

fn age(age: Duration) -> String {
    humantime::format_duration(Duration::from_secs(age.as_secs())).to_string()
}
