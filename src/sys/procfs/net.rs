//! Who listens on a port, read from the kernel's tables.
//!
//! Never by binding: a port in TIME_WAIT refuses the test and accepts the worker, and `::1` binds beside 127.0.0.1.

use super::{Reader, is_gone, pids};
use crate::model::Pid;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;

/// Who has a port. The process is unknown when it is not ours to look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pub pid: Option<Pid>,
    pub uid: u32,
}

/// A socket in LISTEN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    address: IpAddr,
    pub port: u16,
    uid: u32,
    inode: u64,
}

impl Listener {
    /// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`
    pub fn parse(line: &[u8]) -> Option<Self> {
        const LISTEN: &str = "0A";
        let mut fields = std::str::from_utf8(line).ok()?.split_ascii_whitespace().skip(1);
        let (address, port) = fields.next()?.rsplit_once(':')?;
        let address = address_of(address)?;
        if fields.nth(1)? != LISTEN {
            return None;
        }
        let port = u16::from_str_radix(port, 16).ok()?;
        let uid = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        Some(Self { address, port, uid, inode })
    }
}

/// The kernel writes each word of an address as the machine reads it.
fn address_of(text: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for place in 0..4 {
                bytes[place * 4..][..4].copy_from_slice(&word(place * 8)?);
            }
            Some(IpAddr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

/// Who has a port on this address, or on all.
///
/// # Errors
/// When the kernel's tables cannot be read.
pub fn holder_of_address(address: IpAddr, port: u16) -> io::Result<Option<Holder>> {
    let is_in_the_way = |one: IpAddr| one == address.to_canonical() || one.is_unspecified() || address.is_unspecified();
    holder(|listener| listener.port == port && is_in_the_way(listener.address))
}

/// On any address.
///
/// # Errors
/// When the kernel's tables cannot be read.
pub fn holder_of_port(port: u16) -> io::Result<Option<Holder>> {
    holder(|listener| listener.port == port)
}

fn holder(is_meant: impl Fn(&Listener) -> bool) -> io::Result<Option<Holder>> {
    let listeners: Vec<Listener> = listeners()?.into_iter().filter(is_meant).collect();
    let Some(first) = listeners.first() else { return Ok(None) };
    let found = holder_of_sockets(&listeners)?;
    Ok(Some(found.unwrap_or(Holder { pid: None, uid: first.uid })))
}

fn listeners() -> io::Result<Vec<Listener>> {
    let mut reader = Reader::default();
    let mut all = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match reader.read_path(table.as_bytes()) {
            Ok(text) => all.extend(text.split(|&byte| byte == b'\n').filter_map(Listener::parse)),
            // A kernel without IPv6.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn holder_of_sockets(listeners: &[Listener]) -> io::Result<Option<Holder>> {
    let mut reader = Reader::default();
    let mut oldest: Option<(u64, Holder)> = None;
    for pid in pids()? {
        let Some(listener) = listeners.iter().find(|listener| has_open(pid, listener.inode)) else { continue };
        let Ok(stat) = reader.stat(pid) else { continue };
        if oldest.is_none_or(|(start, _)| stat.start_ticks < start) {
            oldest = Some((stat.start_ticks, Holder { pid: Some(pid), uid: listener.uid }));
        }
    }
    Ok(oldest.map(|(_, holder)| holder))
}

fn has_open(pid: Pid, inode: u64) -> bool {
    let target = format!("socket:[{inode}]");
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str().as_bytes() == target.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listener_is_named_and_a_mere_connection_is_not_one() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let me = i32::try_from(std::process::id()).expect("a pid");
        let uid = nix::unistd::getuid().as_raw();
        assert_eq!(holder_of_port(port).expect("tables"), Some(Holder { pid: Some(me), uid }));
        let _client = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connects");
        drop(listener);
        assert_eq!(holder_of_port(port).expect("tables"), None);
    }

    #[test]
    fn another_address_is_another_listener() {
        let one = TcpListener::bind("127.0.0.2:0").expect("a port");
        let port = one.local_addr().expect("bound").port();
        let holder = |address: &str| holder_of_address(address.parse().expect("an address"), port).expect("tables").is_some();
        assert_eq!([holder("127.0.0.2"), holder("127.0.0.1"), holder("0.0.0.0"), holder("::1")], [true, false, true, false]);
    }

    #[test]
    fn rows_of_the_tables_are_read_by_position() {
        let row = b"   1: 0100007F:2383 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 33421 1 0000000000000000 100 0 0 10 0";
        assert_eq!(Listener::parse(row), Some(Listener { address: [127, 0, 0, 1].into(), port: 9091, uid: 1000, inode: 33421 }));
        let six = b"   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 7 1 0 100 0 0 10 0";
        assert_eq!(Listener::parse(six), Some(Listener { address: std::net::Ipv6Addr::LOCALHOST.into(), port: 80, uid: 0, inode: 7 }));
        let connected =
            b"   2: 0100007F:2383 0100007F:A000 01 00000000:00000000 00:00000000 00000000  1000        0 33422 1 0 20 4 30 10 -1";
        assert_eq!(Listener::parse(connected), None);
        assert_eq!(Listener::parse(b"  sl  local_address rem_address   st tx_queue rx_queue"), None);
        assert_eq!(Listener::parse(b""), None);
    }
}
