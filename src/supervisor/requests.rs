//! What clients ask, turned into commands, and what they are answered.

use super::project_endpoint::ProjectEndpoint;
use super::tracker::{Goal, Pending, Tracker};
use super::{Driver, linux::LinuxOs, view};
use crate::config::{self, Location};
use crate::control::protocol::{Refusal, Reply, Request};
use crate::control::{ProjectView, Snapshot, SupervisorView};
use crate::engine::{Command, Event, Notice, Now, Slot, Stack};
use crate::model::{MIB, ServiceName};
use crate::sys::{Os, clock, procfs, socket};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// For the last answers to reach their clients.
const FAREWELL: Duration = Duration::from_secs(2);

pub struct Requests {
    location: Location,
    tracker: Tracker,
    endpoint: ProjectEndpoint,
    started: Now,
    /// Answered as the last thing.
    last_words: Vec<mpsc::Sender<Reply>>,
}

impl Requests {
    pub fn new(location: Location) -> Self {
        Self { location, tracker: Tracker::default(), endpoint: ProjectEndpoint::default(), started: clock::both(), last_words: Vec::new() }
    }

    pub fn take(&mut self, request: Request, reply: mpsc::Sender<Reply>, driver: &mut Driver<LinuxOs>) {
        if let Err(refusal) = self.try_take(request, &reply, driver) {
            let _ = reply.try_send(Reply::Refused(refusal));
        }
    }

    /// What is known, for endpoints that are asked again and again: a look at the whole machine is not free.
    pub fn glance(&self, services: Vec<ServiceName>, reply: &mpsc::Sender<Reply>, driver: &mut Driver<LinuxOs>) {
        if let Ok(services) = known(services, driver.stack()) {
            let _ = reply.try_send(Reply::Snapshot(Box::new(self.snapshot(&services, false, driver))));
        }
    }

    fn try_take(&mut self, request: Request, reply: &mpsc::Sender<Reply>, driver: &mut Driver<LinuxOs>) -> Result<(), Refusal> {
        match request {
            Request::Status { services, tree, .. } => {
                let services = known(services, driver.stack())?;
                driver.look_for(&services);
                let _ = reply.try_send(Reply::Snapshot(Box::new(self.snapshot(&services, tree, driver))));
            }
            Request::Start { .. } if driver.stack().is_leaving() => return Err(Refusal::ShuttingDown),
            Request::Start { services, mode, replace } => {
                self.tell_earlier(driver);
                let removed = self.reload(driver)?;
                if let Some(message) = self.endpoint.trouble.clone() {
                    let _ = reply.try_send(Reply::Warning { message });
                }
                let services = known(services, driver.stack())?;
                let all = driver.stack().with_dependencies(&services);
                driver.look_for(&all);
                let pending = Pending::new(Goal::Up, services.clone(), all, reply.clone()).and_down(&removed);
                self.begin(pending, Command::Start { services, mode, replace }, driver);
            }
            Request::Stop { services, kill, timeout_seconds } => {
                let services = known(services, driver.stack())?;
                driver.look_for(&services);
                let pending = Pending::new(Goal::Down, services.clone(), [], reply.clone());
                self.tell_earlier(driver);
                self.begin(pending, Command::Stop { services, kill, timeout: duration(timeout_seconds) }, driver);
            }
            Request::Shutdown { kill, timeout_seconds } => {
                self.last_words.push(reply.clone());
                let services = known(Vec::new(), driver.stack())?;
                driver.look_for(&services);
                let pending = Pending::new(Goal::Down, services, [], reply.clone());
                self.tell_earlier(driver);
                self.begin(pending, Command::Shutdown { kill, timeout: duration(timeout_seconds) }, driver);
            }
        }
        Ok(())
    }

    /// `[http] listen`, as the configuration says now.
    pub fn open_endpoint(&mut self, os: &LinuxOs) {
        if let Some(folders) = &os.folders {
            self.endpoint.open(os.project.http_listen, folders.journal(), os.inbox());
        }
    }

    /// SIGTERM: everything is stopped, then devstack leaves; a second one kills.
    pub fn terminate(&self, driver: &mut Driver<LinuxOs>) {
        let kill = driver.stack().is_leaving();
        driver.handle([Event::Command(Command::Shutdown { kill, timeout: None })]);
    }

    /// The configuration on disk is the only source of what may run. Answers who runs and is no longer in it.
    fn reload(&mut self, driver: &mut Driver<LinuxOs>) -> Result<Vec<ServiceName>, Refusal> {
        let trust = config::Trust::of_user(socket::own_user());
        let project = config::load(&self.location, trust).map_err(|problems| Refusal::Config { rendered: problems.render(false) })?;
        let project = Arc::new(project);
        driver.os_mut().adopt_project(project.clone());
        self.open_endpoint(driver.os());
        let removed = |(name, slot): (&ServiceName, &Slot)| {
            (slot.state.run().is_some() && !project.services.contains_key(name)).then(|| name.clone())
        };
        let removed = driver.stack().slots().iter().filter_map(removed).collect();
        driver.configure(&project.services);
        Ok(removed)
    }

    /// Earlier notices belong to earlier requests.
    fn tell_earlier(&mut self, driver: &mut Driver<LinuxOs>) {
        let earlier = std::mem::take(&mut driver.os_mut().notices);
        self.tracker.tell(&earlier, driver.stack());
    }

    /// What the command itself causes belongs to it too.
    fn begin(&mut self, pending: Pending, command: Command, driver: &mut Driver<LinuxOs>) {
        self.tracker.add(pending);
        driver.handle([Event::Command(command)]);
    }

    pub fn tell(&mut self, notices: &[(ServiceName, Notice)], stack: &Stack) {
        self.tracker.tell(notices, stack);
    }

    fn snapshot(&self, services: &[ServiceName], tree: bool, driver: &mut Driver<LinuxOs>) -> Snapshot {
        let now = driver.os().now();
        let mut usages = BTreeMap::new();
        let household = driver.os_mut().household();
        for run in driver.os_mut().runs.values_mut() {
            if services.contains(&run.service.name)
                && let Some(usage) = view::measure(run, &household, now.boot)
            {
                usages.insert(run.service.name.clone(), usage);
            }
        }
        let stack = driver.stack();
        let project = &driver.os().project;
        let view = |name: &ServiceName| {
            let usage = usages.get(name);
            let mut view = view::service(project, stack, name, stack.slot(name)?, usage, now);
            if tree {
                view.tree = usage.map(|usage| view::processes(usage, now.boot)).unwrap_or_default();
            }
            Some(view)
        };
        Snapshot {
            project: ProjectView { name: project.name.clone(), root: project.root.display().to_string() },
            supervisor: Some(SupervisorView { degraded: driver.degraded().map(str::to_owned), ..self.supervisor_view(now) }),
            services: services.iter().filter_map(view).collect(),
        }
    }

    fn supervisor_view(&self, now: Now) -> SupervisorView {
        let pid = std::process::id().cast_signed();
        let resident = procfs::rss_bytes(pid).unwrap_or_default() as f64 / MIB;
        let uptime_seconds = now.boot.since(self.started.boot).as_secs_f64();
        SupervisorView {
            pid,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds,
            memory_mb: (resident * 10.0).round() / 10.0,
            degraded: None,
            trouble: self.endpoint.trouble.clone(),
        }
    }

    /// Nobody waits for an outcome.
    pub fn is_idle(&self) -> bool {
        self.tracker.is_idle()
    }

    /// Waits until the last answers are taken.
    pub async fn farewell(&mut self) {
        for reply in self.last_words.drain(..) {
            let _ = tokio::time::timeout(FAREWELL, reply.closed()).await;
        }
    }
}

fn duration(seconds: Option<f64>) -> Option<Duration> {
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

/// # Errors
/// When one of them is not in the configuration. None named: all of them.
fn known(services: Vec<ServiceName>, stack: &Stack) -> Result<Vec<ServiceName>, Refusal> {
    if let Some(service) = services.iter().find(|service| stack.slot(service).is_none()) {
        return Err(Refusal::NoSuchService { service: service.clone() });
    }
    Ok(if services.is_empty() { stack.slots().keys().cloned().collect() } else { services })
}
