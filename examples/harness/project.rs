//! A project in a folder of its own, devstack as a person calls it, and the certain end of everything that was started there.

use super::Failure;
use super::process::{self, Id, Process};
use rustix::process::Signal;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// No command takes longer, whatever the machine is doing besides.
const LONGEST_COMMAND: Duration = Duration::from_secs(180);

/// How a command ended.
#[derive(Debug)]
pub struct Done {
    pub line: String,
    /// `None`: killed, or taken longer than any command may.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The built devstack, and the folders that its projects use.
pub struct Place {
    devstack: PathBuf,
    pub base: PathBuf,
    python: String,
    count: u32,
    /// Commands that run: who waits for them collects them.
    running: Rc<RefCell<BTreeSet<i32>>>,
    folder: Option<tempfile::TempDir>,
}

/// A command that runs.
pub struct Running {
    line: String,
    child: Child,
    outputs: [PathBuf; 2],
    running: Rc<RefCell<BTreeSet<i32>>>,
}

impl Place {
    pub fn new() -> Result<Self, Failure> {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let folder = tempfile::Builder::new().prefix("devstack-").tempdir()?;
        let base = folder.path().canonicalize()?;
        for name in ["home", "state", "runtime", "output", "temp"] {
            fs::DirBuilder::new().mode(0o700).create(base.join(name))?;
        }
        // A shim in front of the interpreter would be a process of its own for a while.
        let found = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output()?;
        let python = String::from_utf8(found.stdout)?.trim().to_owned();
        let folder_of_python = Path::new(&python).parent().ok_or("python3 does not say where it is")?;
        let python = format!("{}:/usr/local/bin:/usr/bin:/bin", folder_of_python.display());
        Ok(Self { devstack: built()?, base, python, count: 0, running: Rc::default(), folder: Some(folder) })
    }

    /// A folder with a devstack.toml.
    pub fn project(&self, name: &str, config: &str) -> Result<PathBuf, Failure> {
        let root = self.base.join(name);
        fs::create_dir(&root)?;
        fs::write(root.join("devstack.toml"), config)?;
        Ok(root)
    }

    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("PATH", &self.python).env("HOME", self.base.join("home")).env("TMPDIR", self.base.join("temp"));
        command.env("XDG_STATE_HOME", self.base.join("state")).env("XDG_RUNTIME_DIR", self.base.join("runtime"));
        command.envs(std::env::var_os("DEVSTACK_NO_CGROUP").map(|value| ("DEVSTACK_NO_CGROUP", value)));
        command
    }

    /// `devstack` with the words of `line`, in the project of this folder.
    pub fn begin(&mut self, root: &Path, line: &str) -> Result<Running, Failure> {
        self.count += 1;
        let outputs = ["stdout", "stderr"].map(|what| self.base.join("output").join(format!("{}-{what}", self.count)));
        let mut command = self.command(&self.devstack, root);
        command.args(line.split_whitespace()).stdout(File::create(&outputs[0])?).stderr(File::create(&outputs[1])?);
        let child = command.spawn()?;
        self.running.borrow_mut().insert(child.id().cast_signed());
        Ok(Running { line: line.to_owned(), child, outputs, running: self.running.clone() })
    }

    /// Whether this child of ours is a command that somebody waits for.
    pub fn is_waited_for(&self, pid: i32) -> bool {
        self.running.borrow().contains(&pid)
    }

    pub fn run(&mut self, root: &Path, line: &str) -> Result<Done, Failure> {
        self.begin(root, line)?.end()
    }

    /// `devstack status --json --tree`, and its exit status.
    pub fn status(&mut self, root: &Path) -> Result<(Value, Done), Failure> {
        let done = self.run(root, "status --json --tree")?;
        Ok((serde_json::from_str(&done.stdout).unwrap_or_default(), done))
    }

    /// One of devstack's own files of the project with this folder.
    pub fn state_file(&self, root: &Path, name: &str) -> Option<PathBuf> {
        let prefix = format!("{}-", root.file_name()?.to_str()?);
        let mut folders = fs::read_dir(self.base.join("state/devstack")).ok()?.flatten();
        let of_project = folders.find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))?;
        Some(of_project.path().join(name))
    }

    /// Ends whatever stands in these folders, devstack first, so that nothing comes back; then the folders go, too.
    pub fn clear(&mut self) {
        let end = Instant::now() + Duration::from_secs(60);
        let own = std::process::id().cast_signed();
        loop {
            let here: Vec<Process> = process::all().into_iter().filter(|it| it.id.pid != own && self.is_here(it)).collect();
            let living: Vec<&Process> = here.iter().filter(|it| !it.is_zombie()).collect();
            here.iter().filter(|it| it.is_zombie() && it.ppid == own).for_each(|it| process::reap(it.id.pid));
            if living.is_empty() || Instant::now() > end {
                break;
            }
            let mut groups: Vec<PathBuf> = living.iter().filter_map(|it| process::group(it.id.pid)).collect();
            groups.retain(|group| group.components().any(|part| part.as_os_str().to_string_lossy().starts_with("devstack-")));
            let (devstack, others): (Vec<&Process>, Vec<&Process>) = living.into_iter().partition(|it| it.has_argument("supervise"));
            let doomed = if devstack.is_empty() { others } else { devstack };
            for it in &doomed {
                process::send(it.id, Signal::KILL);
            }
            process::wait_for_all(&doomed.iter().map(|it| it.id).collect::<Vec<Id>>(), Duration::from_secs(10));
            for group in groups {
                let _ = fs::remove_dir(&group);
                let _ = group.parent().map(fs::remove_dir);
            }
        }
        self.folder.take();
    }

    /// By its folder, its outputs, its arguments or its environment.
    fn is_here(&self, it: &Process) -> bool {
        let base = self.base.as_os_str().as_encoded_bytes();
        let environ = || process::environ(it.id.pid).values().any(|value| value.starts_with(base));
        process::stands_below(it.id.pid, &self.base) || self.base.to_str().is_some_and(|base| it.has_argument(base)) || environ()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Running {
    pub fn id(&self) -> Option<Id> {
        Process::read(self.child.id().cast_signed()).map(|it| it.id)
    }

    /// Kills it unless it ends within `patience`; whether it did.
    pub fn end_within(mut self, patience: Duration) -> Result<Done, Failure> {
        if let Some(id) = self.id() {
            process::wait_for_all(&[id], patience);
        }
        if self.child.try_wait()?.is_none() {
            self.child.kill()?;
        }
        let status = self.child.wait()?;
        self.running.borrow_mut().remove(&self.child.id().cast_signed());
        let [stdout, stderr] = self.outputs.each_ref().map(|path| {
            let text = fs::read(path).unwrap_or_default();
            let _ = fs::remove_file(path);
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Done { line: self.line, code: status.code(), stdout, stderr })
    }

    pub fn end(self) -> Result<Done, Failure> {
        self.end_within(LONGEST_COMMAND)
    }
}

/// Cargo puts examples in a folder beside the program.
fn built() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(Path::parent).ok_or("this program stands in no folder")?;
    let devstack = folder.join("devstack");
    if devstack.is_file() {
        return Ok(devstack);
    }
    let release = if folder.ends_with("release") { " --release" } else { "" };
    Err(format!("{} is missing: run `cargo build --locked{release}` first", devstack.display()).into())
}
