//! The logs of the workers that run: who of them grows is noticed here, and rotated by a process of its own.
//!
//! Decides nothing about when, which is `engine::growth`'s. Guards that no byte of a worker passes through devstack, and that a log
//! at rest wakes nobody: the kernel says when one is written to, once, and then it is looked at until it rests again.

use super::helper::Helpers;
use super::supervise::complain;
use crate::engine::Stack;
use crate::engine::growth::{Growth, Next, Outcome};
use crate::model::{BootTime, Exit, LogRotate, Project, RunId, ServiceName};
use crate::sys::log_size::{self, LogSize};
use crate::sys::time_index::TimeIndex;
use crate::sys::write_watch::WriteWatch;
use crate::sys::{clock, rotation};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// A log that is kept, for as long as its run lives.
struct Kept {
    run: RunId,
    path: PathBuf,
    rotate: LogRotate,
    growth: Growth,
    /// `None`: it rests, or is being rotated.
    due: Option<BootTime>,
    is_rotating: bool,
    /// Since it was looked at.
    is_written: bool,
    /// It cannot be found, and that has been said.
    is_missing: bool,
    /// Its length at the last look, however much of that is a hole.
    length: u64,
    index: TimeIndex,
}

/// All of a project's.
#[derive(Clone)]
pub struct Logs(Rc<Shared>);

struct Shared {
    project: RefCell<Arc<Project>>,
    index_folder: PathBuf,
    helpers: Helpers,
    kept: RefCell<BTreeMap<ServiceName, Kept>>,
    watch: WriteWatch<ServiceName>,
    /// Something is due earlier than it was.
    changed: Notify,
    /// The limit of the project was near, and that has been said.
    is_near: Cell<bool>,
}

/// Ends the looking with its owner.
pub struct Looking(AbortHandle);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Logs {
    /// # Errors
    /// When there is no descriptor left.
    pub fn new(project: &Arc<Project>, index_folder: PathBuf, helpers: Helpers) -> io::Result<(Self, Looking)> {
        let logs = Self(Rc::new(Shared {
            project: RefCell::new(project.clone()),
            index_folder,
            helpers,
            kept: RefCell::default(),
            watch: WriteWatch::new()?,
            changed: Notify::new(),
            is_near: Cell::new(false),
        }));
        let looking = tokio::task::spawn_local(logs.clone().look_on());
        Ok((logs, Looking(looking.abort_handle())))
    }

    /// As the stack is now.
    pub fn follow(&self, stack: &Stack, project: &Arc<Project>) {
        let mut kept = self.0.kept.borrow_mut();
        self.0.project.replace(project.clone());
        kept.retain(|name, log| {
            let stays = stack.slot(name).is_some_and(|slot| slot.state.run() == Some(log.run));
            if !stays {
                self.0.watch.forget(name);
            }
            stays
        });
        for (name, slot) in stack.slots() {
            // Before there is a process there is no log of it.
            let Some(run) = slot.state.run().filter(|_| slot.process.is_some()) else { continue };
            if let Some(log) = kept.get_mut(name) {
                if log.rotate != slot.spec.log_rotate {
                    log.rotate = slot.spec.log_rotate;
                    log.growth = Growth::new(log.rotate.size.unwrap_or(u64::MAX));
                    log.due = Some(clock::now());
                    self.0.changed.notify_one();
                }
                continue;
            }
            let growth = Growth::new(slot.spec.log_rotate.size.unwrap_or(u64::MAX));
            let index = TimeIndex::new(self.0.index_folder.join(name.as_str()));
            let (path, rotate) = (slot.spec.log_file.clone(), slot.spec.log_rotate);
            kept.insert(
                name.clone(),
                Kept {
                    run,
                    path,
                    rotate,
                    growth,
                    due: Some(clock::now()),
                    is_rotating: false,
                    is_written: false,
                    is_missing: false,
                    length: 0,
                    index,
                },
            );
            self.0.changed.notify_one();
        }
    }

    async fn look_on(self) {
        self.finish_what_was_cut_short().await;
        loop {
            let next = self.0.kept.borrow().values().filter_map(|log| log.due).min();
            let pause = next.map(|at| at.since(clock::now()));
            let due = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.0.changed.notified() => {}
                () = self.0.watch.written() => {}
            }
            let now = clock::now();
            let mut kept = self.0.kept.borrow_mut();
            for name in self.0.watch.take() {
                if let Some(log) = kept.get_mut(&name).filter(|log| !log.is_rotating) {
                    (log.due, log.is_written) = (Some(now), true);
                }
            }
            for (name, log) in kept.iter_mut().filter(|(_, log)| log.due.is_some_and(|due| due <= now)) {
                self.look(name, log, now);
            }
        }
    }

    fn look(&self, name: &ServiceName, log: &mut Kept, now: BootTime) {
        log.due = None;
        let size = match log_size::of(&log.path) {
            Ok(size) => size,
            Err(error) => {
                // Deleted, or replaced by something else: its worker writes on to what it has opened.
                if !std::mem::replace(&mut log.is_missing, true) {
                    complain(&io::Error::other(format!(
                        "{}: {error}; what {name} writes goes to the file that was there, until its next start",
                        log.path.display()
                    )));
                }
                log.due = Some(now.after(WHILE_MISSING));
                return;
            }
        };
        log.is_missing = false;
        self.note_time(log, &size);
        let is_old = log.rotate.age.is_some_and(|age| log_size::since_last_rotation(&log.path) >= age);
        match log.growth.look(size.bytes, is_old, now) {
            Next::Look(pause) => log.due = Some(now.after(together(pause, now))),
            Next::Rest => {
                if !std::mem::take(&mut log.is_written) {
                    log.growth.rest();
                }
                let is_watched = self.0.watch.add(name, &log.path);
                // It may have been written to before it was watched. Without a watch it is looked at again and again.
                let has_grown = log_size::of(&log.path).is_ok_and(|again| again.length != size.length);
                log.is_written = has_grown;
                log.due = (has_grown || !is_watched).then(|| now.after(if is_watched { Duration::ZERO } else { UNWATCHED }));
            }
            Next::Rotate => {
                log.is_rotating = true;
                let rule = rule(log.rotate, is_old);
                tokio::task::spawn_local(self.clone().rotate(name.clone(), log.run, log.path.clone(), rule));
            }
        }
    }

    fn note_time(&self, log: &mut Kept, size: &LogSize) {
        if size.length != log.length {
            log.length = size.length;
            log.index.note(clock::both().wall, size.end);
        }
    }

    async fn rotate(self, name: ServiceName, run: RunId, path: PathBuf, rule: rotation::Rule) {
        let root = self.0.project.borrow().root.clone();
        let outcome = match self.0.helpers.rotate(&root, &path, &rule).await {
            Ok(Exit::Code(0)) => Outcome::Done,
            Ok(Exit::Code(rotation::NOT_YET)) => Outcome::NotYet,
            Ok(Exit::Code(rotation::BUSY)) => Outcome::Later(WHILE_BUSY),
            Ok(_) => Outcome::Later(AFTER_FAILURE),
            Err(error) => {
                complain(&error);
                Outcome::Later(AFTER_FAILURE)
            }
        };
        if outcome == Outcome::Done {
            self.keep_within_limit();
        }
        if let Some(log) = self.0.kept.borrow_mut().get_mut(&name).filter(|log| log.run == run) {
            log.growth.rotated(outcome, clock::now());
            log.is_rotating = false;
            log.due = Some(clock::now());
            self.0.changed.notify_one();
        }
    }

    /// What an earlier devstack began, of whatever service.
    async fn finish_what_was_cut_short(&self) {
        let project = self.0.project.borrow().clone();
        let logs: Vec<&Path> = project.services.values().map(|service| &*service.log_file).collect();
        let unfinished = rotation::unfinished(&logs);
        for service in project.services.values().filter(|service| unfinished.contains(&&*service.log_file)) {
            let never = rotation::Rule { size: u64::MAX, ..rule(service.log_rotate, false) };
            if let Err(error) = self.0.helpers.rotate(&project.root, &service.log_file, &never).await {
                complain(&error);
            }
        }
    }

    fn keep_within_limit(&self) {
        let project = self.0.project.borrow().clone();
        let Some(limit) = project.log_limit else { return };
        let files = project.services.values().flat_map(|service| log_size::of_all(&service.log_file));
        let mut files: Vec<_> = files.collect();
        let mut used: u64 = files.iter().map(|file| file.bytes).sum();
        let is_near = used as f64 >= limit as f64 * NEAR;
        let was_near = self.0.is_near.replace(is_near);
        if is_near && !was_near {
            let (used, limit) = (used / MB, limit / MB);
            complain(&io::Error::other(format!("the logs take {used} MB of {limit} MB (log_limit); at the limit the oldest old ones go")));
        }
        files.sort_by_key(|file| file.written_at);
        for file in files.iter().filter(|file| file.is_old) {
            if used <= limit {
                return;
            }
            match std::fs::remove_file(&file.path) {
                Ok(()) => {
                    used -= file.bytes;
                    complain(&io::Error::other(format!("{} is removed: the logs take more than log_limit", file.path.display())));
                }
                Err(error) => complain(&error),
            }
        }
    }
}

/// Of the limit, from which on it is said to be near.
const NEAR: f64 = 0.8;
const MB: u64 = 1 << 20;

/// The helper of a supervisor that was killed goes on to its end.
const WHILE_BUSY: Duration = Duration::from_secs(1);
const AFTER_FAILURE: Duration = Duration::from_secs(10);

const WHILE_MISSING: Duration = Duration::from_secs(10);

/// Where the kernel grants no watch.
const UNWATCHED: Duration = Duration::from_secs(1);

/// Looks that may wait for so long are made at the same moments, one waking for all.
const MOMENTS: Duration = Duration::from_secs(5);

fn together(pause: Duration, now: BootTime) -> Duration {
    if pause < MOMENTS {
        return pause;
    }
    let moment = u64::try_from(MOMENTS.as_nanos()).unwrap_or(u64::MAX);
    let at = now.after(pause).as_nanos();
    BootTime::from_nanos(at - at % moment).since(now)
}

fn rule(rotate: LogRotate, is_old: bool) -> rotation::Rule {
    let size = if is_old { 1 } else { rotate.size.unwrap_or(u64::MAX) };
    rotation::Rule { size, keep: rotate.keep, compress: rotate.compress }
}
