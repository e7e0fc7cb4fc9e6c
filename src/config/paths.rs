//! Paths as they are written, made absolute, and kept inside the project: by their text, and through the links on the way.

use super::error::Problem;
use super::read::{At, Faults};
use super::source::{Span, cause};
use crate::model::EnvFile;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

pub struct Paths<'a> {
    root: &'a Path,
    /// Folders whose links were followed already; most services share theirs.
    followed: HashMap<PathBuf, bool>,
}

impl<'a> Paths<'a> {
    pub fn new(root: &'a Path) -> Self {
        Self { root, followed: HashMap::new() }
    }

    /// By its text only.
    pub fn inside(&self, text: &str, span: &Span, name: &str, faults: &mut Faults) -> Option<PathBuf> {
        if text.is_empty() {
            faults.add(Problem::new(format!("`{name}` is an empty path")).at(span).hint("remove the key to get its default"));
            return None;
        }
        let path = self.resolved(text);
        if path.starts_with(self.root) {
            return Some(path);
        }
        let problem = Problem::new(format!("`{name}` leaves the project: {}", path.display())).at(span);
        faults.add(problem.hint(format!("choose a path below {}", self.root.display())));
        None
    }

    /// By its text, and where its links lead as far as it exists.
    pub fn truly_inside(&mut self, text: &str, span: &Span, name: &str, faults: &mut Faults) -> Option<PathBuf> {
        let path = self.inside(text, span, name, faults)?;
        self.led_inside(&path, &path, name, span, faults).then_some(path)
    }

    /// Of a log, whose folder decides: its own name may become a link while the worker runs, and whoever opens it follows none.
    pub fn log(&mut self, text: &str, span: &Span, faults: &mut Faults) -> Option<PathBuf> {
        let path = self.inside(text, span, "log_file", faults)?;
        let folder = path.parent().filter(|folder| folder.starts_with(self.root)).unwrap_or(&path);
        self.led_inside(folder, &path, "log_file", span, faults).then_some(path)
    }

    /// `path` is as it was given; `followed` is as far as its links are looked at.
    fn led_inside(&mut self, followed: &Path, path: &Path, name: &str, span: &Span, faults: &mut Faults) -> bool {
        if self.stays(followed) {
            return true;
        }
        let loops = followed.canonicalize().is_err_and(|error| error.kind() != ErrorKind::NotFound);
        let problem = match loops {
            true => Problem::new(format!("`{name}` goes through a link that leads nowhere: {}", path.display())).hint("repair the link"),
            false => leads_out(name, path),
        };
        faults.add(problem.at(span));
        false
    }

    /// Whether its links, as far as it exists, lead to something inside the project.
    pub fn stays(&mut self, path: &Path) -> bool {
        if path == self.root {
            return true;
        }
        if path.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
            // A link to what does not exist yet would let the first write decide.
            return path.canonicalize().is_ok_and(|real| real.starts_with(self.root));
        }
        let Some(parent) = path.parent() else { return false };
        if let Some(known) = self.followed.get(parent) {
            return *known;
        }
        let stays = match parent.canonicalize() {
            Ok(real) => real.starts_with(self.root),
            Err(_) => self.stays(parent),
        };
        self.followed.insert(parent.to_owned(), stays);
        stays
    }

    /// A folder that must be there.
    pub fn folder(&mut self, text: &At<String>, name: &str, faults: &mut Faults) -> Option<PathBuf> {
        let path = self.truly_inside(&text.value, &text.span, name, faults)?;
        let problem = match path.metadata() {
            Ok(found) if found.is_dir() => return Some(path),
            Ok(_) => Problem::new(format!("`{name}` is not a folder: {}", path.display())).hint("name the folder that holds it"),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Problem::new(format!("`{name}` does not exist: {}", path.display())).hint("create the folder or correct the path")
            }
            Err(error) => Problem::new(format!("`{name}` cannot be entered: {}: {}", path.display(), cause(&error))),
        };
        faults.add(problem.at(&text.span));
        None
    }

    /// A virtual environment may be anywhere: several projects can share one.
    pub fn venv(&self, text: &str) -> PathBuf {
        self.resolved(text)
    }

    pub fn env_file(&self, text: &At<String>, faults: &mut Faults) -> Option<EnvFile> {
        let (name, optional) = match text.value.strip_suffix('?') {
            Some(name) => (name, true),
            None => (text.value.as_str(), false),
        };
        let path = self.inside(name, &text.span, "env_file", faults)?;
        let problem = match path.metadata() {
            Ok(found) if found.is_file() => return Some(EnvFile { path, optional }),
            Ok(_) => Problem::new(format!("`env_file` is not a regular file: {}", path.display())).hint("name a file of KEY=value lines"),
            Err(_) if optional => return Some(EnvFile { path, optional }),
            Err(error) if error.kind() == ErrorKind::NotFound => Problem::new(format!("there is no env file {}", path.display()))
                .hint(format!("create it, or write \"{name}?\" if it may be missing")),
            Err(error) => Problem::new(format!("`env_file` cannot be read: {}: {}", path.display(), cause(&error))),
        };
        faults.add(problem.at(&text.span));
        None
    }

    /// Absolute, without `.` and `..`; the text alone decides, as nothing need exist yet.
    fn resolved(&self, text: &str) -> PathBuf {
        let mut path = PathBuf::new();
        for component in self.root.join(text).components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir => {
                    path.pop();
                }
                other => path.push(other),
            }
        }
        path
    }
}

pub fn leads_out(name: &str, path: &Path) -> Problem {
    Problem::new(format!("`{name}` leaves the project through a link: {}", path.display()))
        .hint("replace the link by a real folder or file, or choose another path")
}
