//! The ledger on disk, read back: what of it still holds, and what is set aside.

use crate::engine::{Ledger, Stack};
use crate::sys::clock;
use std::io;
use std::path::{Path, PathBuf};

/// What was found.
pub enum Found {
    /// A stack of this boot: its processes may be alive.
    Stack(Box<Stack>),
    /// There is none, or it is of an earlier boot, whose processes are gone.
    Nothing,
    /// It could not be used; where it was put, and why.
    SetAside { to: PathBuf, why: String },
}

/// Reads a ledger; one that cannot be read is moved aside, never overwritten.
///
/// # Errors
/// When there is one and it can be neither read nor moved.
pub fn load(path: &Path, boot_id: &str) -> io::Result<Found> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return set_aside(path, error.to_string()),
    };
    match Ledger::from_json(&bytes) {
        Ok(ledger) if ledger.boot_id == boot_id => Ok(Found::Stack(Box::new(ledger.stack))),
        Ok(_) => Ok(Found::Nothing),
        Err(error) => set_aside(path, error.to_string()),
    }
}

fn set_aside(path: &Path, why: String) -> io::Result<Found> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".damaged-{}", seconds()));
    let to = path.with_file_name(name);
    std::fs::rename(path, &to)?;
    Ok(Found::SetAside { to, why })
}

/// Runs of a new stack are numbered apart from those of any earlier one.
pub fn new_stack() -> Stack {
    Stack::new(seconds())
}

fn seconds() -> u64 {
    u64::try_from(clock::both().wall.as_second()).unwrap_or_default()
}
