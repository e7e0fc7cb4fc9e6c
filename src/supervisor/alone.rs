//! `devstack run`: one service in the foreground, supervised by the very process that a person, a service manager or a container
//! started.
//!
//! The same engine, driver and operating system as under a keeper, with four differences, and none in what is decided:
//! - There is no keeper, and no ledger on disk: whoever started this process starts it again, and a container may let us write
//!   nothing. Killed with SIGKILL, its worker runs on as under any devstack; systemd and containers end it with the unit, and
//!   anywhere else it is found by what it carries: the next `run` of the service ends it first, the next `start` adopts it.
//! - The worker reads this process's input and writes to its output, so not a byte goes through us. It has a session of its own:
//!   Ctrl-C reaches devstack alone, which then asks the worker. Only where readiness is a line of the log, there is a log.
//! - A service of a project is claimed ([`super::claim`]), so that nobody runs it twice, and this process answers there.
//! - Signals: SIGTERM and SIGINT stop the service, a second one kills it. SIGHUP means that the terminal is gone when the kernel or
//!   the session's leader sends it, and is passed on otherwise. SIGTSTP holds everybody, then devstack. The rest is passed on.
//!
//! It ends when the service is at rest; with which status: [`crate::engine::exit_status`]. As process 1 it collects
//! whatever loses its parent, which every supervisor does.

use super::claim::Claim;
use super::environment::Environment;
use super::linux::LinuxOs;
use super::message::Message;
use super::notify::Notifications;
use super::requests::Requests;
use super::serve::{self, Places};
use super::supervise::{BATCH, INBOX, Supervisor};
use super::{Driver, launch, predecessors, store};
use crate::config::Location;
use crate::control::protocol::{Refusal, Request};
use crate::engine::{AskedToStop, Cause, CauseKind, Command, Event, Notice, Slot, StartMode, State, exit_status};
use crate::model::{Pid, Project, ServiceName, Signal};
use crate::sys::readiness::Readiness;
use crate::sys::service_manager::ServiceManager;
use crate::sys::signals::{self, Caught, Signals};
use crate::sys::{keeper, limits, notify, procfs};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Nobody means to be told more often.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

/// What is to be run.
pub struct Job {
    /// With this service, and the external ones that it needs.
    pub project: Project,
    pub service: ServiceName,
    pub location: Location,
    /// `None` for a command that no project knows: nobody else can mean it.
    pub claim: Option<Claim>,
    /// Where `health_port` listens.
    pub health_address: IpAddr,
}

/// How it ended.
#[derive(Debug)]
pub enum Ended {
    /// With the exit status for whoever started us.
    Status(u8),
    /// Restarted too often.
    GaveUp { cause: Cause, status: u8 },
    /// Of this service, or of one that it needs.
    NotStarted { service: ServiceName, cause: Cause },
    /// These survived SIGKILL.
    Stuck(Vec<(Pid, String)>),
}

/// The signals that mean something here, held back from the start: as process 1 we would never see them otherwise.
///
/// # Errors
/// When there is no descriptor left.
pub fn hold_signals() -> io::Result<Signals> {
    signals::expect_children()?;
    let own = [signals::CHILD_ENDED, signals::TERMINATE, signals::INTERRUPT, signals::HANG_UP, signals::TERMINAL_STOP];
    Signals::hold(&[&own[..], &signals::PASSED_ON[..]].concat())
}

/// Runs it until it is at rest. `tell` hears whatever happens.
///
/// # Errors
/// When it cannot begin, or the kernel does not let us wait.
pub fn run_alone(job: Job, signals: &Signals, tell: &mut dyn FnMut(&ServiceName, &Notice)) -> io::Result<Ended> {
    limits::set_own();
    keeper::become_subreaper()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async { Alone::begin(job, signals, tell)?.run().await })
}

struct Alone<'a> {
    supervisor: Supervisor,
    service: ServiceName,
    signals: &'a Signals,
    signalled: Readiness,
    manager: Option<ServiceManager>,
    watchdog: Option<Interval>,
    asked: Option<AskedToStop>,
    tell: &'a mut dyn FnMut(&ServiceName, &Notice),
}

impl<'a> Alone<'a> {
    fn begin(job: Job, signals: &'a Signals, tell: &'a mut dyn FnMut(&ServiceName, &Notice)) -> io::Result<Self> {
        let (inbox, messages) = mpsc::channel(INBOX);
        let project = Arc::new(job.project);
        let manager = ServiceManager::above(|name| std::env::var_os(name));
        let notify = notify::open(&format!("{}/run/{}", launch::claim_of(&job.location), job.service))?;
        let environment = Environment::new(&project, notify::address(&notify)?, std::env::vars_os());
        let mut os = LinuxOs::new(project.clone(), None, procfs::origin()?, Rc::new(environment), inbox.clone(), None);
        let predecessors = job.claim.is_none().then(|| predecessors::of(&project.root));
        os.stay_in_foreground(job.health_address, predecessors);
        let mut driver = Driver::new(store::new_stack(), os);
        driver.configure(&project.services);
        let places = Places::new();
        if let Some(Claim(listener)) = job.claim {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::UnixListener::from_std(listener)?;
            tokio::task::spawn_local(serve::accept(listener, inbox, places.clone(), driver.os().helpers().clone()));
        }
        let watchdog = manager.as_ref().and_then(ServiceManager::watchdog).map(|patience| {
            let mut watchdog = interval((patience / 2).max(LEAST_INTERVAL));
            watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
            watchdog
        });
        Ok(Self {
            supervisor: Supervisor::around(driver, Requests::new(job.location), places, messages, Notifications::new(&notify)?)?,
            service: job.service,
            signals,
            signalled: Readiness::of(signals)?,
            manager,
            watchdog,
            asked: None,
            tell,
        })
    }

    async fn run(&mut self) -> io::Result<Ended> {
        let start = Command::Start { services: vec![self.service.clone()], mode: StartMode::Ensure, replace: false };
        self.supervisor.driver.handle([Event::Command(start)]);
        loop {
            self.tell_all();
            if let Some(ended) = self.ended() {
                self.say("STOPPING=1");
                self.supervisor.requests.farewell().await;
                self.supervisor.driver.os().leave();
                return Ok(ended);
            }
            let (mut batch, mut is_due) = (Vec::new(), false);
            let deadline = self.supervisor.driver.stack().next_deadline();
            tokio::select! {
                _ = self.supervisor.messages.recv_many(&mut batch, BATCH) => {}
                () = self.supervisor.notifications.next() => {}
                () = self.supervisor.timer.until(deadline) => is_due = true,
                () = self.signalled.next() => {}
                () = due(&mut self.watchdog) => self.feed_watchdog(),
            }
            self.supervisor.hear();
            if is_due {
                self.supervisor.driver.handle([Event::Tick]);
            }
            while let Some(caught) = self.signals.next_caught()? {
                batch.extend(self.on_signal(caught)?);
            }
            let batch = batch.into_iter().filter_map(|message| self.adapt(message)).collect();
            self.supervisor.receive(batch);
        }
    }

    fn slot(&self) -> Option<&Slot> {
        self.supervisor.driver.stack().slot(&self.service)
    }

    /// `Some` once there is nothing left to do.
    fn ended(&self) -> Option<Ended> {
        let (stack, slot) = (self.supervisor.driver.stack(), self.slot()?);
        let status = || Ended::Status(exit_status(slot.last_exit.as_ref(), self.asked, slot.spec.stop_signal));
        let not_started = |service: &ServiceName, cause: &Cause| Ended::NotStarted { service: service.clone(), cause: cause.clone() };
        match &slot.state {
            State::Stuck { survivors, .. } if stack.is_leaving() => Some(Ended::Stuck(survivors.clone())),
            State::Stopped if stack.may_leave() => Some(status()),
            State::Exited { .. } => Some(status()),
            State::Failed { cause } if cause.kind == CauseKind::StartLimit => Some(Ended::GaveUp {
                cause: cause.clone(),
                status: exit_status(slot.last_exit.as_ref(), None, slot.spec.stop_signal).max(1),
            }),
            State::Failed { cause } => Some(not_started(&self.service, cause)),
            State::Waiting => stack.blockers(&self.service).iter().find_map(|name| match &stack.slot(name)?.state {
                State::Failed { cause } => Some(not_started(name, cause)),
                _ => None,
            }),
            _ => None,
        }
    }

    fn on_signal(&mut self, Caught { signal, by_session }: Caught) -> io::Result<Option<Message>> {
        match signal.number() {
            signals::CHILD_ENDED => return Ok(Some(Message::ChildEnded)),
            signals::TERMINATE | signals::INTERRUPT => {
                self.note_stop(signal);
                return Ok(Some(Message::Terminate(signal)));
            }
            signals::HANG_UP if by_session => {
                self.note_stop(signal);
                return Ok(Some(Message::Terminate(signal)));
            }
            signals::TERMINAL_STOP => {
                self.supervisor.driver.os_mut().hold_all(Signal::STOP);
                signals::stop_here()?;
                self.supervisor.driver.os_mut().hold_all(Signal::CONT);
            }
            _ => self.supervisor.driver.os().pass_on(signal),
        }
        Ok(None)
    }

    /// What whoever connects may ask of us: nothing can be started here, and a stop is the end.
    fn adapt(&mut self, message: Message) -> Option<Message> {
        match message {
            Message::Request(Request::Start { .. }, reply) => {
                let refusal = Refusal::Malformed { detail: "a service in the foreground is started by whoever runs it".to_owned() };
                let _ = reply.try_send(crate::control::protocol::Reply::Refused(refusal));
                None
            }
            Message::Request(Request::Stop { kill, timeout_seconds, .. } | Request::Shutdown { kill, timeout_seconds }, reply) => {
                self.note_stop(Signal::TERM);
                Some(Message::Request(Request::Shutdown { kill, timeout_seconds }, reply))
            }
            // It is not replaced in place: whoever started it starts the new program.
            Message::Upgrade(_) => None,
            message => Some(message),
        }
    }

    fn note_stop(&mut self, by: Signal) {
        if self.asked.is_none() {
            self.asked = Some(AskedToStop { by, run: self.slot().and_then(|slot| slot.state.run()) });
            self.say("STOPPING=1");
        }
    }

    fn tell_all(&mut self) {
        self.supervisor.watch_files();
        for (service, notice) in self.supervisor.pass_on() {
            (self.tell)(&service, &notice);
            if service == self.service
                && let Some(words) = words_for_manager(&notice)
            {
                self.say(&words);
            }
        }
    }

    fn say(&self, lines: &str) {
        if let Some(manager) = &self.manager {
            manager.tell(lines);
        }
    }

    /// While devstack itself sees to a worker that ended, there is nothing to be restarted from above.
    fn feed_watchdog(&self) {
        let ill = self.slot().is_some_and(|slot| match slot.state {
            State::Running { .. } => slot.is_unhealthy() || slot.heard.is_silent,
            State::Stuck { .. } => true,
            _ => false,
        });
        if !ill {
            self.say("WATCHDOG=1");
        }
    }
}

async fn due(watchdog: &mut Option<Interval>) {
    match watchdog {
        Some(watchdog) => drop(watchdog.tick().await),
        None => std::future::pending().await,
    }
}

fn words_for_manager(notice: &Notice) -> Option<String> {
    Some(match notice {
        Notice::Starting { main, .. } => format!("STATUS=starting (pid {})", main.pid),
        Notice::Ready { main, .. } => format!("READY=1\nSTATUS=running (pid {})", main.pid),
        Notice::Stopping { why, .. } => format!("STATUS=stopping: {why}"),
        Notice::Ended { exit, reason, .. } => format!("STATUS=ended: {reason} ({exit})"),
        Notice::RestartsIn { seconds } => format!("STATUS=starts again in {seconds:.1} s"),
        _ => return None,
    })
}
