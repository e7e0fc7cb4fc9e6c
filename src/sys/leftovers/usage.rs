//! Whether anybody uses a file or a socket, as the kernel knows it: also processes that nobody may look into, those of another
//! pid namespace, and descriptors on their way between two processes.
//!
//! `/proc` would not tell: a semaphore is mapped under the name it had before it got its own.

#![expect(unsafe_code, reason = "leases, which no safe library offers")]

use crate::cleanup::leftovers::{Finding, LeftoverKind};
use nix::libc;
use rustix::fs::Statx;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

/// fcntl(2), of every architecture that Rust's standard library runs on.
const F_SETSIG: libc::c_int = 10;

/// A write lease is given only to the sole user of a file, mappings counted. Whoever opens it from then on waits until the
/// descriptor is closed.
pub fn lease(file: &OwnedFd) -> Result<(), Finding> {
    // The signal that announces such a one would by default end this process; this one is ignored.
    fcntl(file, F_SETSIG, libc::SIGURG)?;
    fcntl(file, libc::F_SETLEASE, libc::F_WRLCK).map(|_| ())
}

/// Whether nobody has come to open it meanwhile.
pub fn is_still_leased(file: &OwnedFd) -> bool {
    fcntl(file, libc::F_GETLEASE, 0) == Ok(libc::F_WRLCK)
}

fn fcntl(file: &OwnedFd, command: libc::c_int, argument: libc::c_int) -> Result<libc::c_int, Finding> {
    // SAFETY: commands that take an integer and touch no memory, on a descriptor that is open.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
    if answer >= 0 {
        return Ok(answer);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN) => Err(Finding::Used),
        Some(libc::EINVAL) => Err(Finding::Unknown("this file system does not say whether a file is in use".to_owned())),
        _ => Err(Finding::Unknown(error.to_string())),
    }
}

/// Asked with the wrong type of socket: a living listener is told apart from a dead one, and never hears of it.
pub fn nobody_listens(folder: &OwnedFd, name: &CStr) -> Result<(), Finding> {
    let unknown = |error: Errno| Finding::Unknown(io::Error::from(error).to_string());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).map_err(unknown)?;
    let path = [format!("/proc/self/fd/{}/", folder.as_raw_fd()).as_bytes(), name.to_bytes()].concat();
    let address = SocketAddrUnix::new(std::ffi::OsStr::from_bytes(&path)).map_err(unknown)?;
    match rustix::net::connect(&socket, &address) {
        Err(Errno::CONNREFUSED) => Ok(()),
        Ok(()) | Err(Errno::PROTOTYPE | Errno::AGAIN) => Err(Finding::Used),
        Err(error) => Err(unknown(error)),
    }
}

/// Who knows a thing by name alone is found only among the processes that can be seen. In a pid namespace those are not all, and
/// the others may share the folder.
pub fn hidden_by_namespaces(kind: LeftoverKind, stat: &Statx) -> Option<&'static str> {
    // The kernel's fixed numbers of the first namespaces (include/uapi/linux/nsfs.h).
    const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
    const FIRST_IPC_NAMESPACE: u64 = 0xEFFF_FFFF;
    let namespace = |name: &str| std::fs::metadata(format!("/proc/self/ns/{name}")).map(|meta| meta.ino()).ok();
    if namespace("pid") == Some(FIRST_PID_NAMESPACE) {
        return None;
    }
    match kind {
        LeftoverKind::Semaphore | LeftoverKind::Arena => None,
        LeftoverKind::SharedMemory => (namespace("ipc").is_none_or(|it| it == FIRST_IPC_NAMESPACE))
            .then_some("this container shares memory with processes that cannot be seen from here"),
        LeftoverKind::TempFolder => {
            let root = std::fs::metadata("/").map(|meta| meta.dev()).ok();
            (root != Some(rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor)))
                .then_some("this container may share the folder with processes that cannot be seen from here")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::net::UnixListener;

    /// What another test forks meanwhile has our descriptors until it runs its program.
    fn soon(told: impl Fn() -> Result<(), Finding>) -> Result<(), Finding> {
        for _ in 0..100_000 {
            match told() {
                Err(Finding::Used) => std::thread::yield_now(),
                other => return other,
            }
        }
        Err(Finding::Used)
    }

    #[test]
    fn a_file_is_used_as_long_as_anybody_has_it_open_or_mapped_whatever_it_was_called() {
        let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
        let (draft, path) = (folder.path().join("draft"), folder.path().join("named"));
        std::fs::write(&draft, [1; 4096]).expect("a file");
        let opened = || OwnedFd::from(File::open(&path).expect("readable"));
        let other = File::options().read(true).write(true).open(&draft).expect("open");
        std::fs::hard_link(&draft, &path).expect("a name");
        std::fs::remove_file(&draft).expect("its first name");
        assert_eq!(lease(&opened()), Err(Finding::Used), "open to write, by another name");
        let reader = File::open(&path).expect("open");
        drop(other);
        assert_eq!(lease(&opened()), Err(Finding::Used), "open to read");
        // SAFETY: a mapping of its own, unmapped below and read by nobody.
        let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, reader.as_raw_fd(), 0) };
        assert_ne!(mapped, libc::MAP_FAILED);
        drop(reader);
        assert_eq!(lease(&opened()), Err(Finding::Used), "mapped");
        // SAFETY: as above.
        assert_eq!(unsafe { libc::munmap(mapped, 4096) }, 0);
        let sole = opened();
        assert_eq!((soon(|| lease(&sole)), is_still_leased(&sole)), (Ok(()), true));
    }

    #[test]
    fn who_opens_a_file_that_is_held_is_noticed_and_ends_nobody() {
        let folder = tempfile::tempdir_in("/dev/shm").expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, "x").expect("a file");
        let held = OwnedFd::from(File::open(&path).expect("open"));
        soon(|| lease(&held)).expect("nobody else");
        let hurried = rustix::fs::open(&path, rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NONBLOCK, rustix::fs::Mode::empty());
        assert_eq!(hurried.map(|_| ()), Err(Errno::AGAIN));
        assert!(!is_still_leased(&held));
    }

    #[test]
    fn a_listener_is_told_from_what_it_left_and_never_hears_of_the_question() {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("listener")).expect("a socket");
        let held = OwnedFd::from(File::open(folder.path()).expect("open"));
        assert_eq!(nobody_listens(&held, c"listener"), Err(Finding::Used));
        listener.set_nonblocking(true).expect("a mode");
        assert_eq!(listener.accept().map(|_| ()).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
        drop(listener);
        assert_eq!(soon(|| nobody_listens(&held, c"listener")), Ok(()));
    }
}
