//! The supervisor's life: born under a keeper, restored from the ledger, ended by request.

use super::environment::Environment;
use super::linux::LinuxOs;
use super::message::Message;
use super::requests::Requests;
use super::{Driver, launch, serve, store};
use crate::config::{self, Location};
use crate::engine::{Event, Report};
use crate::model::{Pid, Project};
use crate::sys::folders::Folders;
use crate::sys::keeper::{self, KeeperLink};
use crate::sys::readiness::Readiness;
use crate::sys::timer::Timer;
use crate::sys::{procfs, socket, spawn};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Messages that may wait for the owner before their senders do.
const INBOX: usize = 1024;

/// At most so many messages are handled as one batch, with one save.
const BATCH: usize = 256;

/// What the keeper hands to every supervisor.
struct Inherited {
    location: Location,
    listener: OwnedFd,
    /// Lives as long as this process or the keeper.
    lock: OwnedFd,
}

/// Becomes the keeper of a project and, in a child process, its supervisor. Called first thing in a process that was started
/// by [`super::connect_or_launch`]; answers the exit status.
pub fn keep_supervised(location: Location) -> u8 {
    // SAFETY: the launcher passed exactly these three descriptors, and nothing was opened since.
    let [listener, lock, ready] = unsafe { spawn::inherited() };
    let inherited = Inherited { location, listener, lock };
    let keeper_pid = std::process::id().cast_signed();
    // Whoever launched the pair waits for the end of `ready`.
    let result = keeper::keep(Some(ready), |link, ready| match supervise(&inherited, keeper_pid, link, ready) {
        Ok(()) => 0,
        Err(error) => {
            complain(&error);
            1
        }
    });
    result.unwrap_or(1)
}

fn complain(error: &io::Error) {
    let _ = writeln!(io::stderr(), "{} supervisor {}: {error}", jiff::Timestamp::now(), std::process::id());
}

fn supervise(inherited: &Inherited, keeper_pid: Pid, link: KeeperLink, ready: Option<OwnedFd>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut supervisor = Supervisor::restore(inherited, keeper_pid, link)?;
        drop(ready);
        supervisor.run(inherited).await
    })
}

struct Supervisor {
    driver: Driver<LinuxOs>,
    requests: Requests,
    messages: mpsc::Receiver<Message>,
    timer: Timer,
    folders: Folders,
}

impl Supervisor {
    fn restore(inherited: &Inherited, keeper_pid: Pid, link: KeeperLink) -> io::Result<Self> {
        keeper::become_subreaper()?;
        spawn::raise_open_files_limit();
        let project = load(&inherited.location)?;
        let folders = Folders::of(&project.id, |name| std::env::var_os(name))?;
        let boot_id = procfs::boot_id()?;
        let (stack, recovered) = match store::load(&folders.ledger(), &boot_id)? {
            store::Found::Stack(stack) => (*stack, true),
            store::Found::Nothing => (store::new_stack(), false),
            store::Found::SetAside { to, why } => {
                complain(&io::Error::other(format!("the ledger could not be used ({why}); it was moved to {}", to.display())));
                (store::new_stack(), false)
            }
        };
        let (inbox, messages) = mpsc::channel(INBOX);
        let environment = Rc::new(Environment::new(&project, std::env::vars_os()));
        let keeper_line = Readiness::new(link.descriptor()?)?;
        let os = LinuxOs::new(project.clone(), folders.clone(), boot_id, environment, inbox.clone(), Some((keeper_pid, link)));
        let mut driver = Driver::new(stack, os);
        if recovered {
            driver.recover(&project.services);
        } else {
            driver.configure(&project.services);
        }
        listen(inherited, &inbox)?;
        forward_signals(&inbox)?;
        tokio::task::spawn_local(async move {
            loop {
                keeper_line.next().await;
                if inbox.send(Message::ChildEnded).await.is_err() {
                    return;
                }
            }
        });
        let requests = Requests::new(inherited.location.clone());
        Ok(Self { driver, requests, messages, timer: Timer::new()?, folders })
    }

    async fn run(&mut self, inherited: &Inherited) -> io::Result<()> {
        loop {
            let deadline = self.driver.stack().next_deadline();
            let mut batch = Vec::new();
            tokio::select! {
                count = self.messages.recv_many(&mut batch, BATCH) => if count == 0 { return Ok(()) },
                () = self.timer.until(deadline) => self.driver.handle([Event::Tick]),
            }
            for message in batch {
                self.receive(message);
            }
            self.pass_on();
            if self.driver.os().keeper().is_none() {
                return Err(become_keeper(inherited));
            }
            if self.requests.may_leave(self.driver.stack()) {
                return self.leave().await;
            }
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Report(service, run, report) => self.driver.handle([Event::Report(service, run, report)]),
            Message::MainEnded(service, run) => {
                let exit = self.driver.os().exit_of(run);
                self.driver.handle([Event::Report(service, run, Report::Ended(exit))]);
            }
            Message::SweepDue(run) => {
                self.driver.os_mut().advance_sweep(run);
                self.driver.handle([]);
            }
            Message::ChildEnded => self.driver.os_mut().collect_orphans(),
            Message::Request(request, reply) => self.requests.take(request, reply, &mut self.driver),
            Message::Terminate => self.requests.terminate(&mut self.driver),
        }
    }

    /// Notices go to whoever waits for them.
    fn pass_on(&mut self) {
        let notices = std::mem::take(&mut self.driver.os_mut().notices);
        self.requests.tell(&notices, self.driver.stack());
    }

    /// Nothing of devstack remains: the answers are on their way, the state that only a living supervisor needs goes.
    async fn leave(&mut self) -> io::Result<()> {
        self.requests.farewell().await;
        let _ = std::fs::remove_file(self.folders.ledger());
        let _ = std::fs::remove_file(self.folders.runtime.join(crate::sys::folders::CONTROL_SOCKET));
        Ok(())
    }
}

/// The keeper was killed. This process is the parent of every worker, so it becomes the keeper and has a new supervisor adopt
/// them: the ledger on disk is complete.
fn become_keeper(inherited: &Inherited) -> io::Error {
    let argv = launch::argv(&inherited.location);
    match std::fs::File::open("/dev/null") {
        Ok(nobody) => spawn::become_in_place(
            Path::new("/proc/self/exe"),
            &argv,
            &[inherited.listener.as_fd(), inherited.lock.as_fd(), nobody.as_fd()],
        ),
        Err(error) => error,
    }
}

fn load(location: &Location) -> io::Result<Arc<Project>> {
    config::load(location).map(Arc::new).map_err(|problems| io::Error::other(problems.render(false)))
}

fn listen(inherited: &Inherited, inbox: &mpsc::Sender<Message>) -> io::Result<()> {
    let listener = UnixListener::from(inherited.listener.as_fd().try_clone_to_owned()?);
    socket::listen_again(&listener)?;
    listener.set_nonblocking(true)?;
    tokio::task::spawn_local(serve::accept(tokio::net::UnixListener::from_std(listener)?, inbox.clone()));
    Ok(())
}

fn forward_signals(inbox: &mpsc::Sender<Message>) -> io::Result<()> {
    let forward = |kind: SignalKind, message: fn() -> Message| -> io::Result<()> {
        let (mut stream, inbox) = (signal(kind)?, inbox.clone());
        tokio::task::spawn_local(async move { while stream.recv().await.is_some() && inbox.send(message()).await.is_ok() {} });
        Ok(())
    };
    forward(SignalKind::child(), || Message::ChildEnded)?;
    forward(SignalKind::terminate(), || Message::Terminate)?;
    forward(SignalKind::interrupt(), || Message::Terminate)
}
