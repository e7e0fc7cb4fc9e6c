//! The supervisor's life: born under a keeper, restored from the ledger, ended by request.

use super::changes::{Changed, Changes};
use super::environment::Environment;
use super::helper::Helpers;
use super::linux::LinuxOs;
use super::logs::{Logs, Looking};
use super::message::Message;
use super::notify::Notifications;
use super::requests::Requests;
use super::serve::Places;
use super::succession::{Inherited, become_keeper};
use super::upgrade::{self, Upgrade};
use super::{Driver, launch, serve, store};
use crate::config::{self, Location};
use crate::engine::{Event, Notice, Report, Stack};
use crate::journal::Happened;
use crate::model::{Pid, Project, ServiceName, Signal};
use crate::sys::failpoint::{self, Failpoint};
use crate::sys::folders::Folders;
use crate::sys::keeper::{self, KeeperLink};
use crate::sys::readiness::Readiness;
use crate::sys::timer::Timer;
use crate::sys::{Os, clock, procfs, signals, socket};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Messages that may wait for the owner before their senders do.
pub(super) const INBOX: usize = 1024;

/// What clients that say nothing delay an upgrade by.
const IDLE_CLIENTS: Duration = Duration::from_secs(1);

/// At most so many messages are handled as one batch, with one save.
pub(super) const BATCH: usize = 256;

/// The supervisor's own log.
pub fn own_log() -> io::Stderr {
    io::stderr()
}

/// Into the supervisor's own log.
pub fn complain(error: &io::Error) {
    let _ = writeln!(own_log(), "{} supervisor {}: {error}", jiff::Timestamp::now(), std::process::id());
}

/// Returns at the end of the supervisor.
///
/// # Errors
/// When it cannot begin, or not go on.
pub fn supervise(
    inherited: &Inherited,
    keeper_pid: Pid,
    link: KeeperLink,
    launched: bool,
    when_ready: impl FnOnce(&KeeperLink),
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut supervisor = Supervisor::restore(inherited, keeper_pid, link, launched)?;
        if let Some((_, link)) = supervisor.driver.os().keeper() {
            when_ready(link);
        }
        supervisor.run(inherited).await
    })
}

pub(super) struct Supervisor {
    pub(super) driver: Driver<LinuxOs>,
    pub(super) requests: Requests,
    upgrade: Upgrade,
    places: Places,
    pub(super) messages: mpsc::Receiver<Message>,
    changes: Changes,
    /// Of a project's supervisor.
    logs: Option<(Logs, Looking)>,
    pub(super) notifications: Notifications,
    pub(super) timer: Timer,
    /// Of a project's supervisor.
    folders: Option<Folders>,
    /// Says that this project has a supervisor, even to somebody who finds no file of it.
    _claim: Option<OwnedFd>,
}

impl Supervisor {
    fn restore(inherited: &Inherited, keeper_pid: Pid, link: KeeperLink, launched: bool) -> io::Result<Self> {
        keeper::become_subreaper()?;
        let folders = Folders::of(&config::project_id(&inherited.location.root), |name| std::env::var_os(name))?;
        folders.remove_unfinished();
        let origin = procfs::origin()?;
        let mut stack = match store::load(&folders.ledger(), &origin) {
            store::Found::Stack(stack) => *stack,
            store::Found::Nothing => store::new_stack(),
            store::Found::Damaged { why } => {
                let to = store::set_aside(&folders.ledger())?;
                complain(&io::Error::other(format!("the ledger could not be used ({why}); it was moved to {}", to.display())));
                store::new_stack()
            }
        };
        if launched {
            stack.stay();
        }
        failpoint::reach(Failpoint::LedgerLoaded);
        let (project, broken) = project(&inherited.location, &stack)?;
        let (inbox, messages) = mpsc::channel(INBOX);
        let environment = Rc::new(Environment::new(&project, crate::sys::notify::address(&inherited.notify)?, std::env::vars_os()));
        environment.set_broken(broken);
        let keeper_line = Readiness::new(link.descriptor()?)?;
        let mut os = LinuxOs::new(project.clone(), Some(folders.clone()), origin, environment, inbox.clone(), Some((keeper_pid, link)));
        let notifications = Notifications::new(&inherited.notify)?;
        let started = Happened::SupervisorStarted { pid: std::process::id().cast_signed(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let now = clock::both().wall;
        os.journal().make_up(&folders, &stack, now);
        os.journal().note_devstack(now, started);
        let mut driver = Driver::new(stack, os);
        driver.recover(&project.services);
        // The socket is older than this supervisor then: whoever could be heard can still be.
        if !launched {
            driver.handle(driver.still_heard());
        }
        failpoint::reach(Failpoint::Recovered);
        // Later it goes on in spite of a full disk; but nothing begins of which no trace can be kept.
        if let Some(why) = driver.degraded()
            && driver.stack().slots().values().all(|slot| slot.state.run().is_none())
        {
            return Err(io::Error::other(format!("the ledger cannot be saved: {why}")));
        }
        let places = Places::new();
        listen(inherited, &inbox, &places, driver.os().helpers())?;
        forward_signals(&inbox)?;
        signals::let_through();
        // What ended while no program of this process looked.
        let _ = inbox.try_send(Message::ChildEnded);
        tokio::task::spawn_local(async move {
            loop {
                keeper_line.next().await;
                if inbox.send(Message::ChildEnded).await.is_err() {
                    return;
                }
            }
        });
        let mut requests = Requests::new(inherited.location.clone());
        requests.open_endpoint(driver.os());
        let claim = socket::claim(&launch::claim_of(&inherited.location))?;
        let logs = Logs::new(&project, folders.times(), driver.os().helpers().clone())?;
        Ok(Self {
            driver,
            requests,
            upgrade: Upgrade::default(),
            places,
            messages,
            changes: Changes::default(),
            logs: Some(logs),
            notifications,
            timer: Timer::new()?,
            folders: Some(folders),
            _claim: claim,
        })
    }

    pub(super) fn watch_files(&mut self) {
        let own: Vec<&Path> = self.folders.iter().flat_map(|folders| [&*folders.state, &*folders.runtime]).collect();
        let os = self.driver.os();
        self.changes.follow(self.driver.stack(), &os.project.root, &own, os.inbox());
        if let Some((logs, _)) = &self.logs {
            logs.follow(self.driver.stack(), &os.project);
        }
    }

    /// Around a driver that somebody else has set up, and with whom nobody shares a project.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(super) fn around(
        driver: Driver<LinuxOs>,
        requests: Requests,
        places: Places,
        messages: mpsc::Receiver<Message>,
        notifications: Notifications,
    ) -> io::Result<Self> {
        let (upgrade, timer, changes) = (Upgrade::default(), Timer::new()?, Changes::default());
        Ok(Self { driver, requests, upgrade, places, messages, notifications, timer, changes, logs: None, folders: None, _claim: None })
    }

    async fn run(&mut self, inherited: &Inherited) -> io::Result<()> {
        self.watch_files();
        loop {
            if self.driver.stack().may_leave() {
                return self.leave().await;
            }
            let deadline = self.driver.stack().next_deadline();
            let (mut batch, mut is_due) = (Vec::new(), false);
            tokio::select! {
                count = self.messages.recv_many(&mut batch, BATCH) => if count == 0 { return Ok(()) },
                () = self.notifications.next() => {}
                () = self.timer.until(deadline) => is_due = true,
            }
            self.hear();
            if is_due {
                self.driver.handle([Event::Tick]);
            }
            self.receive(batch);
            self.pass_on();
            self.watch_files();
            self.driver.os_mut().collect_missed();
            if self.upgrade.is_asked() {
                self.upgrade(inherited).await;
            }
            if self.driver.os().keeper().is_none() {
                return Err(become_keeper(inherited));
            }
        }
    }

    /// What was said before a deadline counts, however late this supervisor hears it: called before that is looked at.
    pub(super) fn hear(&mut self) {
        let said = self.notifications.take(self.driver.os_mut());
        self.driver.handle(said);
    }

    /// Becomes the program that was asked for, once nothing is under way and every client has its answer.
    async fn upgrade(&mut self, inherited: &Inherited) {
        if self.driver.stack().is_leaving() {
            return self.upgrade.refuse("the supervisor is shutting down");
        }
        if self.is_busy() {
            return self.upgrade.wait_for(&upgrade::under_way(self.driver.stack()));
        }
        let places = self.places.clone();
        let closed = places.close();
        let mut alone = std::pin::pin!(tokio::time::timeout(IDLE_CLIENTS, closed.is_empty()));
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                _ = self.messages.recv_many(&mut batch, BATCH) => self.receive(batch),
                _ = &mut alone => break,
            }
            self.pass_on();
        }
        let mut rest = Vec::new();
        while let Ok(message) = self.messages.try_recv() {
            rest.push(message);
        }
        self.receive(rest);
        self.pass_on();
        if self.is_busy() || self.driver.stack().is_leaving() || !self.upgrade.is_asked() {
            return;
        }
        let saved = self.driver.save();
        if let Some((_, link)) = self.driver.os().keeper() {
            self.driver.os().helpers().kill_all();
            self.upgrade.perform(inherited, link, saved, self.driver.stack());
        }
    }

    fn is_busy(&self) -> bool {
        !self.requests.is_idle() || !upgrade::under_way(self.driver.stack()).is_empty()
    }

    /// What came in together is handled together, with one look at the machine and one save.
    pub(super) fn receive(&mut self, batch: Vec<Message>) {
        let mut events = Vec::new();
        self.driver.os_mut().forget_looks();
        for message in batch {
            match message {
                Message::Report(service, run, report) => events.push(Event::Report(service, run, report)),
                Message::Notice(service, notice) => self.driver.os_mut().announce(&service, notice),
                // Of who is no longer the main process, nothing follows.
                Message::MainEnded(_, run, main) if !self.driver.os().is_main(run, main) => {}
                Message::MainEnded(service, run, _) => {
                    let out_of_memory = self.driver.os().ran_out_of_memory(run);
                    events.extend(out_of_memory.map(|report| Event::Report(service.clone(), run, report)));
                    let exit = self.driver.os().exit_of(run);
                    events.push(Event::Report(service, run, Report::Ended(exit)));
                }
                Message::SweepDue(run) => self.driver.os_mut().advance_sweep(run),
                Message::SampleDue(run) => self.driver.os_mut().sample(run),
                Message::FilesChanged(service, Changed { paths, last_at }) => events.push(Event::FilesChanged(service, paths, last_at)),
                Message::ChildEnded => self.driver.os_mut().collect_orphans(),
                Message::Asked(asked) => self.driver.os_mut().journal().note_devstack(clock::both().wall, asked),
                Message::Request(request, reply) => {
                    self.driver.handle(std::mem::take(&mut events));
                    self.requests.take(request, reply, &mut self.driver);
                }
                Message::Glance(services, reply) => {
                    self.driver.handle(std::mem::take(&mut events));
                    self.requests.glance(services, &reply, &mut self.driver);
                }
                Message::Upgrade(asker) => self.upgrade.add(asker),
                Message::Terminate(signal) => {
                    self.driver.os_mut().journal().note_devstack(clock::both().wall, Happened::Signalled { signal });
                    self.driver.handle(std::mem::take(&mut events));
                    self.requests.terminate(&mut self.driver);
                }
            }
        }
        self.driver.handle(events);
    }

    /// Notices go to whoever waits for them.
    pub(super) fn pass_on(&mut self) -> Vec<(ServiceName, Notice)> {
        let notices = std::mem::take(&mut self.driver.os_mut().notices);
        for (service, notice) in &notices {
            // Who runs one service in the foreground is told it as anything else.
            if let Some(trouble) = trouble(notice).filter(|_| self.folders.is_some()) {
                complain(&io::Error::other(format!("{service}: {trouble}")));
            }
        }
        self.requests.tell(&notices, self.driver.stack());
        self.write_journal();
        notices
    }

    fn write_journal(&mut self) {
        if let Err(error) = self.driver.os_mut().journal().flush(clock::both().wall) {
            complain(&error);
        }
    }

    /// No process of devstack remains. The ledger does: how things ended is asked afterwards.
    async fn leave(&mut self) -> io::Result<()> {
        self.requests.farewell().await;
        failpoint::reach(Failpoint::Leaving);
        let left = Happened::SupervisorLeft { pid: std::process::id().cast_signed() };
        self.driver.os_mut().journal().note_devstack(clock::both().wall, left);
        self.write_journal();
        self.driver.os().leave();
        if let Some(folders) = &self.folders {
            let _ = std::fs::remove_file(folders.runtime.join(crate::sys::folders::CONTROL_SOCKET));
        }
        Ok(())
    }
}

/// What goes wrong without ending anything: somebody may look for it although nobody waits for it now.
fn trouble(notice: &Notice) -> Option<&str> {
    match notice {
        Notice::HookFailed(cause) => Some(&cause.message),
        Notice::Watching { trouble } => Some(trouble),
        _ => None,
    }
}

/// The project as configured. If its configuration was broken while workers run, they are kept by what the ledger knows of
/// them, and the problems are told with the next start.
fn project(location: &Location, stack: &Stack) -> io::Result<(Arc<Project>, Option<String>)> {
    let problems = match config::load(location, config::Trust::of_user(socket::own_user())) {
        Ok(project) => return Ok((Arc::new(project), None)),
        Err(problems) => problems.render(false),
    };
    if stack.slots().values().all(|slot| slot.state.run().is_none()) {
        return Err(io::Error::other(problems));
    }
    complain(&io::Error::other(&*problems));
    let project = Project {
        name: location.root.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        id: config::project_id(&location.root),
        root: location.root.clone(),
        config_file: location.config_file.clone(),
        log_dir: location.root.clone(),
        log_limit: None,
        http_listen: None,
        services: stack.slots().iter().map(|(name, slot)| (name.clone(), slot.spec.clone())).collect(),
        groups: std::collections::BTreeMap::new(),
    };
    Ok((Arc::new(project), Some(problems)))
}

fn listen(inherited: &Inherited, inbox: &mpsc::Sender<Message>, places: &Places, helpers: &Helpers) -> io::Result<()> {
    let listener = UnixListener::from(inherited.listener.as_fd().try_clone_to_owned()?);
    socket::listen_again(&listener)?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    tokio::task::spawn_local(serve::accept(listener, inbox.clone(), places.clone(), helpers.clone()));
    Ok(())
}

fn forward_signals(inbox: &mpsc::Sender<Message>) -> io::Result<()> {
    let forward = |kind: SignalKind, message: fn() -> Message| -> io::Result<()> {
        let (mut stream, inbox) = (signal(kind)?, inbox.clone());
        tokio::task::spawn_local(async move { while stream.recv().await.is_some() && inbox.send(message()).await.is_ok() {} });
        Ok(())
    };
    forward(SignalKind::child(), || Message::ChildEnded)?;
    forward(SignalKind::terminate(), || Message::Terminate(Signal::TERM))?;
    forward(SignalKind::interrupt(), || Message::Terminate(Signal::INT))
}
