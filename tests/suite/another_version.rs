//! Another version of the built program: the same bytes, but for what it says its version is.

use crate::running::{Done, Running};
use crate::support::{DEVSTACK, TestStack};
use devstack::model::{FileId, Pid};
use devstack::sys::procfs;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const OURS: &str = env!("CARGO_PKG_VERSION");
/// As long as ours, so that it fits where ours stands.
pub const NEWER: &str = "9.9.9";

/// Replaces every one of some bytes by as many others, in a copy that another process writes: a file that this one had open
/// for writing could not be executed while any child of another test still holds it.
pub fn altered_copy(stack: &TestStack, name: &str, from: &str, to: &str) -> PathBuf {
    assert_eq!(from.len(), to.len());
    let path = stack.root.parent().expect("a folder").join(name);
    let script = "import sys; source, path, old, new = sys.argv[1:]; data = open(source, 'rb').read()
if old.encode() not in data: sys.exit('it is not in there')
open(path, 'wb').write(data.replace(old.encode(), new.encode()))";
    let mut python = Command::new("python3");
    stack.in_its_environment(&mut python).args(["-c", script, DEVSTACK]).arg(&path).args([from, to]);
    assert!(python.status().expect("python").success());
    assert!(Command::new("chmod").arg("755").arg(&path).status().expect("chmod").success());
    path
}

pub fn newer(stack: &TestStack) -> PathBuf {
    altered_copy(stack, "devstack-newer", OURS, NEWER)
}

impl TestStack {
    /// As [`TestStack::run`], with another program.
    pub fn run_with(&self, program: &Path, line: &str) -> Done {
        self.begin_with(program, line).end()
    }

    pub fn begin_with(&self, program: &Path, line: &str) -> Running<'_> {
        let mut command = Command::new(program);
        self.in_its_environment(&mut command).args(line.split_whitespace());
        self.begin_command(command)
    }
}

/// What a process runs, compared by what it is and not by its name.
pub fn runs(pid: Pid, program: &Path) -> bool {
    let of_file: Option<FileId> = procfs::file_id(program);
    of_file.is_some() && procfs::exe_id(pid) == of_file
}

pub fn open_descriptors(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").count()
}
