//! A devstack at work, and one that has ended.

use crate::support::{PATIENCE, TestStack, pause, proc_id};
use devstack::model::ProcId;
use std::fs;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// A devstack at work.
pub struct Running<'a> {
    pub(super) child: Child,
    pub(super) stdout: PathBuf,
    pub(super) stderr: PathBuf,
    pub(super) said: String,
    pub(super) stack: PhantomData<&'a TestStack>,
}

impl Running<'_> {
    pub fn id(&self) -> ProcId {
        proc_id(self.child.id().cast_signed())
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stdout).unwrap_or_default()).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    pub fn end(mut self) -> Done {
        let status = self.end_within(PATIENCE);
        let (stdout, stderr) = (self.stdout(), self.stderr());
        let said = std::mem::take(&mut self.said);
        match status {
            Some(status) => Done { code: status.code(), said, stdout, stderr },
            None => panic!("{said} did not end\nstdout: {stdout}\nstderr: {stderr}"),
        }
    }

    pub fn end_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        loop {
            match self.child.try_wait().expect("a child") {
                None if Instant::now() < until => pause(),
                other => return other,
            }
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A devstack that has ended.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub said: String,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// With this exit status, and no other.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\nstdout: {}\nstderr: {}", self.said, self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "{} does not say {part:?}\nstdout: {}\nstderr: {}", self.said, self.stdout, self.stderr);
        self
    }
}
