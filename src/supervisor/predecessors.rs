//! What a `devstack run -- COMMAND` that was killed has left behind, so that the same command in the same folder does not run beside
//! it.
//!
//! Such a command has no project, and any number of them may run at once. So each is a project of its own, called after the
//! process that supervises it and the command; its processes carry that name. Guards that only those whose supervising
//! process is gone are named here.

use crate::model::{ProcId, fnv1a};
use crate::sys::{procfs, scan};
use std::io;
use std::path::{Path, PathBuf};

/// How the project of a command is called that this process is going to supervise.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn owner(command: &[String]) -> io::Result<String> {
    let me = procfs::id(std::process::id().cast_signed())?;
    let bytes = command.iter().flat_map(|word| word.bytes().chain([0]));
    Ok(format!("{}-{}-{:016x}", me.pid, me.start_ticks, fnv1a(bytes)))
}

/// The projects beside `root` of the same command whose owners are dead, as far as processes of them are left.
pub fn of(root: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some((_, command))) = (root.parent(), parsed(root)) else { return Vec::new() };
    let is_alive = |owner: ProcId| procfs::stat(owner.pid).is_ok_and(|stat| stat.id() == owner && !stat.is_dead());
    let mut roots = scan::roots_in(folder).unwrap_or_default();
    roots.retain(|root| parsed(root).is_some_and(|(owner, of)| of == command && !is_alive(owner)));
    roots
}

fn parsed(root: &Path) -> Option<(ProcId, &str)> {
    let mut parts = root.file_name()?.to_str()?.splitn(3, '-');
    let owner = ProcId { pid: parts.next()?.parse().ok()?, start_ticks: parts.next()?.parse().ok()? };
    Some((owner, parts.next()?))
}
