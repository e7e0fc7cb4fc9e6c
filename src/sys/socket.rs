//! Unix sockets in a folder of any depth: addressed through the folder's descriptor, because a socket address holds 107 bytes.

use nix::sys::socket::sockopt::PeerCredentials;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn through_descriptor(folder: &impl AsRawFd, name: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()).into()
}

/// Neither connecting nor what is written afterwards takes longer than `patience`: a supervisor that is stopped accepts nobody,
/// and the kernel queues only so many.
///
/// # Errors
/// When nobody listens there, the folder is not there, or with `WouldBlock` when patience is at its end.
pub fn connect(folder: &Path, name: &str, patience: Duration) -> io::Result<UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};
    let folder = std::fs::File::open(folder)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?;
    connect(&socket, &SocketAddrUnix::new(through_descriptor(&folder, name))?)?;
    Ok(socket.into())
}

/// Replaces what an earlier owner left; only for whoever holds the lock that says there is no living one.
///
/// # Errors
/// When something else than a socket stands there, or binding fails.
pub fn listen(folder: &Path, name: &str) -> io::Result<UnixListener> {
    use std::os::unix::fs::FileTypeExt;
    match folder.join(name).symlink_metadata() {
        Ok(meta) if meta.file_type().is_socket() => std::fs::remove_file(folder.join(name))?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is in the way", folder.join(name).display()))),
        Err(_) => {}
    }
    let folder = std::fs::File::open(folder)?;
    let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(through_descriptor(&folder, name));
    nix::sys::stat::umask(before);
    listener
}

/// Marks this process, rather than the one that bound the socket, as the one that peers see (unix(7), `SO_PEERCRED`).
///
/// # Errors
/// When the descriptor is no listening socket.
pub fn listen_again(listener: &impl AsFd) -> io::Result<()> {
    Ok(rustix::net::listen(listener, 1024)?)
}

/// Takes a name in the kernel's own table, which no deleted file frees; it is held as long as the descriptor. `None` when
/// somebody has it, who need not be one of ours: every user of this network namespace may take any name.
///
/// # Errors
/// When there is no descriptor left.
pub fn claim(name: &str) -> io::Result<Option<OwnedFd>> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
    let held = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    match bind(&held, &SocketAddrUnix::new_abstract_name(name.as_bytes())?) {
        Ok(()) => Ok(Some(held)),
        Err(rustix::io::Errno::ADDRINUSE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// As [`claim`], and listens there: whoever connects learns who holds the name.
///
/// # Errors
/// When there is no descriptor left.
pub fn claim_and_listen(name: &str) -> io::Result<Option<UnixListener>> {
    let Some(held) = claim(name)? else { return Ok(None) };
    rustix::net::listen(&held, 1024)?;
    Ok(Some(held.into()))
}

/// Connects to whoever listens at a claimed name; as [`connect`] otherwise.
///
/// # Errors
/// With `ConnectionRefused` when nobody does.
pub fn connect_claimed(name: &str, patience: Duration) -> io::Result<UnixStream> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt};
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?;
    connect(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
    Ok(socket.into())
}

/// Who is at the other end: process and user.
///
/// # Errors
/// When the descriptor is no unix socket.
pub fn peer(stream: &impl AsFd) -> io::Result<(i32, u32)> {
    let credentials = nix::sys::socket::getsockopt(stream, PeerCredentials)?;
    Ok((credentials.pid(), credentials.uid()))
}

/// Whether a descriptor is a socket at all.
pub fn is_socket(descriptor: &impl AsFd) -> bool {
    rustix::fs::fstat(descriptor).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Socket)
}

/// The effective user of this process.
pub fn own_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}
