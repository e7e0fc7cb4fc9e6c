//! `watch`: files that change under a service. Decides which folders are looked at and when a change is over; what follows from it
//! is the engine's to say.
//!
//! Guards that nothing is watched for a service that is not wanted up, and that nothing wakes up unless something changes.

use super::message::{Inbox, Message};
use crate::engine::{Notice, Stack, Wanted};
use crate::model::{BootTime, Patterns, Service, ServiceName};
use crate::sys::clock;
use crate::sys::tree_watch::{Seen, TreeWatch};
use ignore::gitignore::Gitignore;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// Files are quiet once nothing has changed for so long: an editor's save, a checkout, is over.
const QUIET: Duration = Duration::from_millis(300);

/// What is never quiet is not waited for any longer.
const LONGEST: Duration = Duration::from_secs(10);

/// Folders entered at a stretch, while everybody else waits.
const AT_A_STRETCH: usize = 64;

const RULES: &str = ".gitignore";

/// What Python, git and editors make beside the files that somebody means.
fn is_by_product(name: &str) -> bool {
    matches!(name, "__pycache__" | ".git")
        || name.ends_with(".pyc")
        || name.ends_with('~')
        || name.ends_with(".swp")
        || name.starts_with(".#")
}

/// Who is watched, each by a task of its own.
#[derive(Default)]
pub struct Changes {
    watched: BTreeMap<ServiceName, (Arc<Service>, AbortHandle)>,
}

impl Changes {
    /// As the stack is now. `own`: where devstack itself writes.
    pub fn follow(&mut self, stack: &Stack, root: &Path, own: &[&Path], inbox: &Inbox) {
        let wanted = |name: &ServiceName| {
            let slot = stack.slot(name)?;
            (slot.wanted == Wanted::Up && !slot.spec.watch.is_empty() && !slot.spec.external).then_some(&slot.spec)
        };
        self.watched.retain(|name, (spec, task)| {
            let stays = wanted(name).is_some_and(|now| (&now.watch, &now.venv) == (&spec.watch, &spec.venv));
            if !stays {
                task.abort();
            }
            stays
        });
        for name in stack.slots().keys() {
            if let Some(spec) = wanted(name)
                && !self.watched.contains_key(name)
                && let Ok(patterns) = Patterns::new(&spec.watch)
            {
                let logs = stack.slots().values().map(|slot| slot.spec.log_file.clone());
                let written = own.iter().map(|folder| (*folder).to_owned()).chain(logs).collect();
                let files = Files::new(root, patterns, spec.venv.clone(), written);
                let task = tokio::task::spawn_local(tell(spec.clone(), files, inbox.clone()));
                self.watched.insert(name.clone(), (spec.clone(), task.abort_handle()));
            }
        }
    }
}

/// What changed, as one piece of news.
#[derive(Debug)]
pub struct Changed {
    /// Relative to the project. None: more than could be counted.
    pub paths: BTreeSet<PathBuf>,
    pub last_at: BootTime,
}

async fn tell(service: Arc<Service>, mut files: Files, inbox: Inbox) {
    let mut watch = match TreeWatch::new() {
        Ok(watch) => watch,
        Err(error) => return say(&service, &inbox, trouble(&error)).await,
    };
    let mut told = false;
    // What is there at first is no news.
    let (_, mut refused) = files.enter(&mut watch, vec![files.root.clone()]).await;
    let (mut new, mut changed) = (Vec::new(), None::<(Changed, BootTime)>);
    loop {
        if let Some(error) = refused.take()
            && !std::mem::replace(&mut told, true)
        {
            say(&service, &inbox, trouble(&error)).await;
        }
        let now = clock::now();
        let due = changed.as_ref().map(|(changed, first_at)| changed.last_at.after(QUIET).min(first_at.after(LONGEST)).since(now));
        let seen = match due {
            None => {
                watch.changed().await;
                watch.take()
            }
            Some(left) => match tokio::time::timeout(left, watch.changed()).await {
                Ok(()) => watch.take(),
                Err(_) => Vec::new(),
            },
        };
        if seen.is_empty() {
            if due.is_some_and(|left| clock::now() >= now.after(left))
                && let Some((changed, _)) = changed.take()
                && inbox.send(Message::FilesChanged(service.name.clone(), changed)).await.is_err()
            {
                return;
            }
            continue;
        }
        let (mut paths, mut lost_count, mut again) = (BTreeSet::new(), false, Vec::new());
        for one in seen {
            if let Seen::File(path) = &one
                && path.file_name().is_some_and(|name| name == RULES)
            {
                again.extend(path.parent().map(Path::to_owned));
            }
            match one {
                Seen::File(path) if files.means(&path) => drop(paths.insert(files.relative(&path))),
                Seen::Moved(path) if files.enters(&path) => drop(paths.insert(files.relative(&path))),
                Seen::Folder(path) => new.push(path),
                Seen::File(_) | Seen::Moved(_) => {}
                Seen::Anything => {
                    lost_count = true;
                    new.push(files.root.clone());
                }
            }
        }
        // What other rules let in has been there before.
        let _ = files.enter(&mut watch, again).await;
        // What lies in a folder that has just come, came with it.
        let (found, error) = files.enter(&mut watch, std::mem::take(&mut new)).await;
        refused = error;
        paths.extend(found);
        if lost_count || !paths.is_empty() {
            let now = clock::now();
            let (changed, _) = changed.get_or_insert_with(|| (Changed { paths: BTreeSet::new(), last_at: now }, now));
            changed.last_at = now;
            changed.paths.extend(paths);
        }
    }
}

async fn say(service: &Service, inbox: &Inbox, message: String) {
    let _ = inbox.send(Message::Notice(service.name.clone(), Notice::Watching { trouble: message })).await;
}

fn trouble(error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull => "; raise fs.inotify.max_user_watches, or narrow `watch`",
        _ => "; see fs.inotify.max_user_instances",
    };
    format!("not every file of `watch` can be watched: {error}{hint}")
}

/// Which files of a project a service means.
struct Files {
    root: PathBuf,
    /// Where git's rules begin: the project, or a folder above that is a repository.
    top: PathBuf,
    patterns: Patterns,
    venv: Option<PathBuf>,
    /// The logs of every service, and where devstack writes: whoever restarts because of that does nothing else.
    written: Vec<PathBuf>,
    /// The rules of git that each folder adds.
    ignored: BTreeMap<PathBuf, Option<Gitignore>>,
}

impl Files {
    fn new(root: &Path, patterns: Patterns, venv: Option<PathBuf>, written: Vec<PathBuf>) -> Self {
        let top = root.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(root).to_owned();
        Self { root: root.to_owned(), top, patterns, venv, written, ignored: BTreeMap::new() }
    }

    /// Watches folders and what is below them. Answers the files that were there, and why a folder could not be watched.
    async fn enter(&mut self, watch: &mut TreeWatch, folders: Vec<PathBuf>) -> (Vec<PathBuf>, Option<io::Error>) {
        let (mut found, mut refused, mut open, mut entered) = (Vec::new(), None, folders, 0);
        open.retain(|folder| self.enters(folder));
        while let Some(folder) = open.pop() {
            match watch.add(&folder) {
                Ok(()) => {}
                // Gone by now, a link, or closed to us.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied) =>
                {
                    continue;
                }
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
            self.ignored.remove(&folder);
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && self.enters(&path) => open.push(path),
                    Ok(kind) if !kind.is_dir() && self.means(&path) => found.push(self.relative(&path)),
                    _ => {}
                }
            }
            entered += 1;
            if entered % AT_A_STRETCH == 0 {
                tokio::task::yield_now().await;
            }
        }
        (found, refused)
    }

    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap_or(path).to_owned()
    }

    fn enters(&mut self, folder: &Path) -> bool {
        let Ok(path) = folder.strip_prefix(&self.root).map(Path::to_owned) else { return false };
        self.patterns.may_be_below(&path) && (path.as_os_str().is_empty() || !self.is_left_out(folder, true))
    }

    /// Also of a file that is gone.
    fn means(&mut self, file: &Path) -> bool {
        let Ok(path) = file.strip_prefix(&self.root).map(Path::to_owned) else { return false };
        // A rotated log is named after it.
        let is_it = |one: &PathBuf| file.as_os_str().as_encoded_bytes().starts_with(one.as_os_str().as_encoded_bytes());
        self.patterns.means(&path) && !self.written.iter().any(is_it) && !self.is_left_out(file, false)
    }

    fn is_left_out(&mut self, path: &Path, is_folder: bool) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_by_product(&name) || self.venv.as_deref() == Some(path) {
            return true;
        }
        // The rules of the nearest folder win.
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.top)) {
            let rules = self.ignored.entry(folder.to_owned()).or_insert_with(|| rules_of(folder));
            match rules.as_ref().map(|rules| rules.matched_path_or_any_parents(path, is_folder)) {
                Some(found) if found.is_ignore() => return true,
                Some(found) if found.is_whitelist() => return false,
                _ => {}
            }
        }
        false
    }
}

/// A mistake in it leaves the rest of it valid, as for git.
fn rules_of(folder: &Path) -> Option<Gitignore> {
    let file = folder.join(RULES);
    file.is_file().then(|| Gitignore::new(file).0).filter(|rules| !rules.is_empty())
}

#[cfg(test)]
mod tests;
