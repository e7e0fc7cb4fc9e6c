//! Opening a worker's log: a plain file inside the project, never something else that stands in its place.

use crate::model::FileId;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A log that a worker may be given as its output.
pub struct WorkerLog {
    pub file: File,
    pub id: FileId,
    /// Bytes that were there before.
    pub length: u64,
}

/// Opens it for appending, creating folder and file if need be.
///
/// Links are refused at every step below `root`, and so are FIFOs, devices, files of others and files with a second name:
/// each would let somebody else decide where the bytes go.
///
/// # Errors
/// With the path and, where it is a matter of trust, the reason.
pub fn open(root: &Path, path: &Path) -> io::Result<WorkerLog> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let refused = |why: &str| Err(named(io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned())));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(named)?;
        let inside = folder.strip_prefix(root).unwrap_or(folder);
        let mut step = root.to_path_buf();
        for part in inside {
            step.push(part);
            if step.symlink_metadata().map_err(named)?.is_symlink() {
                return refused("a folder on the way is a symbolic link");
            }
        }
    }
    // O_NONBLOCK: opening a FIFO for writing would wait for a reader for ever.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = match File::options().append(true).create(true).mode(0o600).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => return refused("it is a symbolic link"),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO) => return refused("it is a FIFO, not a file"),
        Err(error) => return Err(named(error)),
    };
    let meta = file.metadata().map_err(named)?;
    match () {
        () if !meta.is_file() => refused("it is not a plain file"),
        () if meta.uid() != nix::unistd::geteuid().as_raw() => refused("it belongs to another user"),
        () if meta.nlink() > 1 => refused("it has a second name (a hard link)"),
        () => Ok(WorkerLog { id: FileId { dev: meta.dev(), ino: meta.ino() }, length: meta.len(), file }),
    }
}
