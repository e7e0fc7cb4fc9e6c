//! The datagram socket of sd_notify(3), and who sent what came in by the kernel's word.
//!
//! Its name lies in the kernel's own table: no path is too long for it, nobody can delete it (a runtime folder goes with the last
//! login), and nothing is left of it. Everybody on the machine can send there, so whoever reads asks whose process the sender is.

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketAddrUnix, SocketFlags, SocketType, bind,
    getsockname, recvmsg, socket_with, sockopt,
};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use crate::model::Pid;

/// As systemd has it; what is longer is ignored as a whole.
pub const LONGEST_MESSAGE: usize = 4096;

/// Takes `name`, or where somebody has it (every user may take any name) one that the kernel chooses.
///
/// # Errors
/// When there is no descriptor left.
pub fn open(name: &str) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // Before it has a name: no message may come without its sender.
    sockopt::set_socket_passcred(&socket, true)?;
    if bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?).is_err() {
        bind(&socket, &SocketAddrUnix::new_unnamed())?;
    }
    Ok(socket)
}

/// As `NOTIFY_SOCKET` holds it.
///
/// # Errors
/// When the descriptor is no such socket.
pub fn address(socket: &impl AsFd) -> io::Result<String> {
    let address = SocketAddrUnix::try_from(getsockname(socket)?)?;
    let name = address.abstract_name().and_then(|name| std::str::from_utf8(name).ok());
    name.map(|name| format!("@{name}")).ok_or_else(|| io::Error::other("the notify socket has no name"))
}

/// Whether a descriptor is such a socket.
pub fn is_one(descriptor: &impl AsFd) -> bool {
    sockopt::socket_type(descriptor).is_ok_and(|kind| kind == SocketType::DGRAM)
}

/// The next message that waits, read into `buffer`, and the process that sent it; `None` when none does. Descriptors that came
/// with it are closed, which is what `BARRIER=1` waits for.
pub fn receive<'b>(socket: &impl AsFd, buffer: &'b mut [u8; LONGEST_MESSAGE]) -> Option<(Option<Pid>, &'b [u8])> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1), ScmCredentials(1))];
    let mut passed = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut passed, flags) {
            Ok(received) => break received,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    };
    // To the last one: what a drain leaves behind, rustix reads from an address that need not be aligned.
    let sender = passed.drain().fold(None, |sender, message| match message {
        RecvAncillaryMessage::ScmCredentials(credentials) => Some(credentials.pid.as_raw_nonzero().get()),
        _ => sender,
    });
    let length = if received.flags.contains(ReturnFlags::TRUNC) { 0 } else { received.bytes };
    Some((sender, &buffer[..length]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg_addr, sendto};
    use std::io::IoSlice;

    fn sender() -> OwnedFd {
        socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).expect("a socket")
    }

    fn at(socket: &OwnedFd) -> SocketAddrUnix {
        let address = address(socket).expect("a name");
        SocketAddrUnix::new_abstract_name(address.strip_prefix('@').expect("abstract").as_bytes()).expect("a name")
    }

    #[test]
    fn a_message_comes_with_its_sender_and_one_that_is_too_long_comes_empty() {
        let name = format!("devstack-test/{}/message", std::process::id());
        let socket = open(&name).expect("bound");
        assert_eq!(address(&socket).expect("a name"), format!("@{name}"));
        assert!(is_one(&socket));
        let mut buffer = [0; LONGEST_MESSAGE];
        assert!(receive(&socket, &mut buffer).is_none());
        sendto(sender(), b"READY=1", SendFlags::empty(), &at(&socket)).expect("sent");
        sendto(sender(), &[b'x'; LONGEST_MESSAGE + 1], SendFlags::empty(), &at(&socket)).expect("sent");
        let me = std::process::id().cast_signed();
        assert_eq!(receive(&socket, &mut buffer), Some((Some(me), &b"READY=1"[..])));
        assert_eq!(receive(&socket, &mut buffer), Some((Some(me), &b""[..])));
    }

    #[test]
    fn a_name_that_somebody_took_is_replaced_by_another() {
        let name = format!("devstack-test/{}/taken", std::process::id());
        let (first, second) = (open(&name).expect("bound"), open(&name).expect("bound"));
        assert_ne!(address(&first).expect("a name"), address(&second).expect("a name"));
        let mut buffer = [0; LONGEST_MESSAGE];
        sendto(sender(), b"READY=1", SendFlags::empty(), &at(&second)).expect("sent");
        assert!(receive(&first, &mut buffer).is_none() && receive(&second, &mut buffer).is_some());
    }

    #[test]
    fn what_waits_behind_a_barrier_goes_on_once_the_message_is_read() {
        let socket = open(&format!("devstack-test/{}/barrier", std::process::id())).expect("bound");
        let (reader, writer) = io::pipe().expect("a pipe");
        {
            let descriptors = [writer.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut passed = SendAncillaryBuffer::new(&mut space);
            assert!(passed.push(SendAncillaryMessage::ScmRights(&descriptors)));
            sendmsg_addr(sender(), &at(&socket), &[IoSlice::new(b"BARRIER=1")], &mut passed, SendFlags::empty()).expect("sent");
        }
        drop(writer);
        let closed = || {
            let mut polled = [rustix::event::PollFd::new(&reader, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut polled, Some(&rustix::event::Timespec::default())).expect("poll") > 0
        };
        assert!(!closed());
        assert!(receive(&socket, &mut [0; LONGEST_MESSAGE]).is_some());
        assert!(closed());
    }
}
