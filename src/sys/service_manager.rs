//! The service manager above this process, if there is one that wants to be told (sd_notify(3), sd_watchdog_enabled(3)).
//!
//! Decides nothing. One datagram a message, never waited for: a manager that does not read loses words, and stops nobody.

use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto, socket_with};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

#[derive(Debug)]
pub struct ServiceManager {
    socket: OwnedFd,
    address: SocketAddrUnix,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As the variables name it; `None` without one, or with an address that is no unix socket's.
    pub fn above(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let address = address(&variable("NOTIFY_SOCKET")?)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
        let number = |name| variable(name).and_then(|text| text.to_str()?.parse::<u64>().ok());
        let for_us = variable("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|time| for_us && *time > 0).map(Duration::from_micros);
        Some(Self { socket, address, watchdog })
    }

    /// Lines of `KEY=value`.
    pub fn tell(&self, lines: &str) {
        let _ = sendto(&self.socket, lines.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL, &self.address);
    }

    /// It wants to hear `WATCHDOG=1` at least this often.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }
}

fn address(text: &OsStr) -> Option<SocketAddrUnix> {
    match text.as_bytes() {
        [b'@', name @ ..] if !name.is_empty() => SocketAddrUnix::new_abstract_name(name).ok(),
        [b'/', ..] => SocketAddrUnix::new(text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn it_is_told_in_one_datagram_and_a_watchdog_of_another_process_is_none_of_ours() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let above = UnixDatagram::bind(&path).expect("bound");
        let of = |pid: u32| {
            let path = path.clone();
            ServiceManager::above(move |name| match name {
                "NOTIFY_SOCKET" => Some(path.clone().into()),
                "WATCHDOG_USEC" => Some("30000000".into()),
                "WATCHDOG_PID" => Some(pid.to_string().into()),
                _ => None,
            })
        };
        let manager = of(std::process::id()).expect("there is one");
        manager.tell("READY=1\nSTATUS=well");
        let mut buffer = [0; 64];
        let length = above.recv(&mut buffer).expect("received");
        assert_eq!((&buffer[..length], manager.watchdog()), (&b"READY=1\nSTATUS=well"[..], Some(Duration::from_secs(30))));
        assert_eq!(of(1).expect("there is one").watchdog(), None);
        for none in ["", "@", "relative", "vsock:2:1234"] {
            assert!(ServiceManager::above(|name| (name == "NOTIFY_SOCKET").then(|| none.into())).is_none(), "{none}");
        }
    }
}
