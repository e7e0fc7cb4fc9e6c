//! The ledger on disk, read back: what of it still holds, and what is set aside.

use crate::engine::{Ledger, Origin, Stack};
use crate::sys::clock;
use std::io;
use std::path::{Path, PathBuf};

/// What was found.
pub enum Found {
    /// A stack of this boot and these namespaces: its processes may be alive.
    Stack(Box<Stack>),
    /// There is none, or its numbers mean nothing here: processes of an earlier boot are gone, those of another namespace cannot be told.
    Nothing,
    /// It cannot be used, and why.
    Damaged { why: String },
}

/// Reads a ledger and changes nothing.
pub fn load(path: &Path, here: &Origin) -> Found {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
        Err(error) => return Found::Damaged { why: error.to_string() },
    };
    match Ledger::from_json(&bytes) {
        Ok(ledger) if ledger.origin.is_seen_from(here) => Found::Stack(Box::new(ledger.stack)),
        Ok(_) => Found::Nothing,
        Err(error) => Found::Damaged { why: error.to_string() },
    }
}

/// Moves a ledger that cannot be used out of the way, and tells where; it is never overwritten.
///
/// # Errors
/// When it cannot be moved.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut number = seconds();
    loop {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".damaged-{number}"));
        let to = path.with_file_name(name);
        if to.symlink_metadata().is_err() {
            std::fs::rename(path, &to)?;
            return Ok(to);
        }
        number += 1;
    }
}

/// Runs of a new stack are numbered apart from those of any earlier one, and from those of any other that lives: a service in the
/// foreground may begin in the same second as a supervisor, which takes its worker in one day.
pub fn new_stack() -> Stack {
    Stack::new((seconds() << PID_BITS) | u64::from(std::process::id()))
}

/// `pid_max` is 4,194,304 at most (proc_sys_kernel(5)).
const PID_BITS: u32 = 22;

fn seconds() -> u64 {
    u64::try_from(clock::both().wall.as_second()).unwrap_or_default()
}
