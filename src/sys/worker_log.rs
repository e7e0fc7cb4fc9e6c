//! Opening a worker's log: a plain file inside the project, never something else that stands in its place.

use super::beneath::{self, refused};
use super::rotation;
use crate::model::FileId;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A log that a worker may be given as its output.
pub struct WorkerLog {
    pub file: File,
    pub id: FileId,
    /// Its end, in bytes since the file was created: a rotation moves what is in it, and not this.
    pub end: u64,
}

/// Opens it for appending, creating folder and file if need be.
///
/// Links are refused at every step below `root`, and so are FIFOs, devices, files of others and files with a second name:
/// each would let somebody else decide where the bytes go.
///
/// # Errors
/// With the path and, where it is a matter of trust, the reason.
pub fn open(root: &Path, path: &Path) -> io::Result<WorkerLog> {
    open_below(root, path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn open_below(root: &Path, path: &Path) -> io::Result<WorkerLog> {
    let inside = path.strip_prefix(root).map_err(|_| refused("it leaves the project"))?;
    let (Some(folder), Some(name)) = (inside.parent(), inside.file_name()) else { return Err(refused("it names no file")) };
    let folder = beneath::enter(beneath::base(root)?, folder, Some(Mode::from_raw_mode(0o777)))?;
    // NONBLOCK: opening a FIFO for writing would wait for a reader for ever.
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::LOOP) => return Err(refused("it is a symbolic link")),
        Err(rustix::io::Errno::NXIO) => return Err(refused("it is a FIFO or a socket, not a file")),
        Err(error) => return Err(error.into()),
    };
    let meta = file.metadata()?;
    match () {
        () if !meta.is_file() => Err(refused("it is not a plain file")),
        () if meta.uid() != nix::unistd::geteuid().as_raw() => Err(refused("it belongs to another user")),
        () if meta.nlink() > 1 => Err(refused("it has a second name (a hard link)")),
        () => Ok(WorkerLog { id: FileId { dev: meta.dev(), ino: meta.ino() }, end: meta.len() + rotation::shift(&file), file }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn refusal(root: &Path, log: &str) -> String {
        open(root, &root.join(log)).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn missing_folders_are_made_and_bytes_are_added_at_the_end() {
        let root = tempfile::tempdir().expect("a folder");
        let log = root.path().join("a/b/worker.log");
        for length in [0, 3] {
            let mut opened = open(root.path(), &log).expect("opened");
            assert_eq!(opened.end, length);
            io::Write::write_all(&mut opened.file, b"abc").expect("written");
        }
        assert_eq!(fs::metadata(&log).expect("there").mode() & 0o777, 0o600);
    }

    #[test]
    fn whatever_else_stands_in_its_place_or_on_the_way_is_refused_and_nothing_is_written_there() {
        let (root, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (root, elsewhere) = (root.path(), elsewhere.path());
        let victim = elsewhere.join("victim");
        fs::write(&victim, "untouched").expect("a file");
        symlink(elsewhere, root.join("linked")).expect("a link");
        symlink(&victim, root.join("link.log")).expect("a link");
        symlink(elsewhere.join("new"), root.join("dangling.log")).expect("a link");
        fs::hard_link(&victim, root.join("hard.log")).expect("a link");
        nix::unistd::mkfifo(&root.join("fifo.log"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        fs::create_dir(root.join("folder.log")).expect("a folder");
        let socket = std::os::unix::net::UnixListener::bind(root.join("socket.log")).expect("a socket");
        for (log, why) in [
            ("linked/x.log", "a folder on the way is a symbolic link"),
            ("linked/deeper/x.log", "a folder on the way is a symbolic link"),
            ("link.log/x.log", "a folder on the way is a symbolic link"),
            ("hard.log/x.log", "something on the way is no folder"),
            ("link.log", "it is a symbolic link"),
            ("dangling.log", "it is a symbolic link"),
            ("hard.log", "a hard link"),
            ("fifo.log", "a FIFO"),
            ("folder.log", "Is a directory"),
            ("socket.log", "a socket"),
            ("../x.log", "leaves"),
        ] {
            let said = refusal(root, log);
            assert!(said.contains(why), "{log}: {said}");
        }
        drop(socket);
        assert_eq!(fs::read_to_string(&victim).expect("there"), "untouched");
        assert_eq!(fs::read_dir(elsewhere).expect("a folder").count(), 1);
    }

    /// Somebody replaces a folder by a link to elsewhere, and back, all the time.
    #[test]
    fn no_moment_is_right_to_swap_a_folder_for_a_link() {
        let (root, elsewhere) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (logs, other) = (root.path().join("logs"), root.path().join("other"));
        fs::create_dir(&logs).expect("a folder");
        symlink(elsewhere.path(), &other).expect("a link");
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    rustix::fs::renameat_with(rustix::fs::CWD, &logs, rustix::fs::CWD, &other, flags).expect("swapped");
                }
            });
            let (mut opened, mut turned_away) = (0, 0);
            while opened < 500 || turned_away < 500 {
                match open(root.path(), &logs.join("x.log")) {
                    Ok(_) => opened += 1,
                    Err(_) => turned_away += 1,
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(fs::read_dir(elsewhere.path()).expect("a folder").count(), 0);
    }
}
