//! Opening a log that a worker, or an attacker with the worker's rights, may have replaced by something else.

use crate::model::FileId;
use nix::fcntl::OFlag;
use nix::unistd::{Whence, lseek};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// For reading. Never waits for the other end of a FIFO, never follows a link in the last place, and refuses all but plain files.
pub fn open(path: &Path) -> io::Result<(File, FileId)> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(|error| match error.raw_os_error() {
        Some(code) if code == nix::errno::Errno::ELOOP as i32 => refused("a symbolic link"),
        _ => error,
    })?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        return Ok((file, FileId { dev: metadata.dev(), ino: metadata.ino() }));
    }
    let kind = metadata.file_type();
    Err(refused(match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }))
}

/// The log at this path: who writes to it is of its service. A link or a second name would prove whoever writes to the other.
pub fn id(path: &Path) -> Option<FileId> {
    let file = path.symlink_metadata().ok().filter(|file| file.is_file() && file.nlink() == 1)?;
    Some(FileId { dev: file.dev(), ino: file.ino() })
}

/// The end of a plain file: at most its last `reach` bytes, none before `from`, and where they begin.
///
/// # Errors
/// As [`open`], and when it cannot be read.
pub fn read_end(path: &Path, from: u64, reach: u64) -> io::Result<(u64, Vec<u8>)> {
    let (mut file, _) = open(path)?;
    let start = from.max(file.metadata()?.len().saturating_sub(reach));
    file.seek(SeekFrom::Start(start))?;
    let mut content = Vec::new();
    file.take(reach).read_to_end(&mut content)?;
    Ok((start, content))
}

/// Which file has this name now, without opening it.
pub fn id_at(path: &Path) -> io::Result<FileId> {
    let metadata = path.symlink_metadata()?;
    Ok(FileId { dev: metadata.dev(), ino: metadata.ino() })
}

/// Where the first byte lies that is not in a hole, the end if there is none: a rotation may have punched out the head.
///
/// While a file is being written, ext4 once in a while takes data that it has not yet placed on the disk for a hole (seen on Linux
/// 6.18, once in some ten thousand looks). Nothing may be removed on this word alone.
pub fn data_start(file: &File) -> u64 {
    let mut first = [0];
    if file.read_at(&mut first, 0).is_ok_and(|count| count == 1) && first != [0] {
        return 0;
    }
    match lseek(file, 0, Whence::SeekData) {
        Ok(at) => u64::try_from(at).unwrap_or(0),
        Err(nix::errno::Errno::ENXIO) => file.metadata().map_or(0, |metadata| metadata.len()),
        Err(_) => 0,
    }
}

/// Past a head that a rotation punched out, whose last part reads as zeros. At most `end`.
///
/// # Errors
/// When the file cannot be read.
pub fn first_written(file: &File, end: u64) -> io::Result<u64> {
    let data = data_start(file);
    if data == 0 {
        return Ok(0);
    }
    let mut page = [0; 4096];
    let count = file.read_at(&mut page, data)?;
    let zeros = page[..count].iter().take_while(|&&byte| byte == 0).count();
    Ok((data + zeros as u64).min(end))
}

fn refused(kind: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("is {kind}; a log must be a plain file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_are_opened_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().expect("folder");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).expect("link");
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        for (path, said) in [(link.as_path(), "a symbolic link"), (&fifo, "a named pipe"), (folder.path(), "a folder")] {
            let error = open(path).expect_err("refused").to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(open(Path::new("/dev/null")).is_err());
    }
}
