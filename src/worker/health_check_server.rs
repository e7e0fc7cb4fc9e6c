use super::ProcessManager;
use crate::http;
use crate::sys::{event, procfs, thread};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// Answers `/health`, `/ready` and `/metrics` for a worker, from a thread of its own that waits for none of the worker's.
pub struct HealthCheckServer {
    address: SocketAddr,
    descriptor: i32,
    /// Dropped, it ends the thread.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl HealthCheckServer {
    /// Port 0: one that the kernel chooses.
    ///
    /// # Errors
    /// When it cannot listen there, naming the process that does where that can be told; when the kernel has no room for a thread.
    pub fn start(host: &str, port: u16, manager: &ProcessManager) -> io::Result<Self> {
        let listener = TcpListener::bind((host, port)).map_err(|error| refusal(&error, host, port))?;
        listener.set_nonblocking(true)?;
        let (address, descriptor) = (listener.local_addr()?, listener.as_raw_fd());
        let (stop, stopped) = oneshot::channel();
        let (manager, called) = (manager.clone(), host.to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            let answer = move |question| std::future::ready(http::answer(&question, &manager.life.facts()));
            tokio::select! {
                _ = stopped => {}
                () = http::serve(listener, &called, answer) => {}
            }
        };
        let thread = thread::spawn("devstack-health", move || LocalSet::new().block_on(&runtime, serve))?;
        Ok(Self { address, descriptor, stop, thread })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns once the port is free.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }

    /// What it listens on, by number.
    pub fn descriptor(&self) -> i32 {
        self.descriptor
    }

    /// In a child after fork(2), of a server of the parent: the port is the parent's.
    pub fn close_inherited(descriptor: i32) {
        event::close_inherited(descriptor);
    }

    /// In a child after fork(2): the thread is the parent's, and so is the port, which is closed by its number.
    pub fn leave_to_parent(self) {
        #[expect(clippy::mem_forget, reason = "there is no such thread here to be told or joined")]
        std::mem::forget(self);
    }
}

fn refusal(error: &io::Error, host: &str, port: u16) -> io::Error {
    let addresses = (host, port).to_socket_addrs().into_iter().flatten();
    let holders = addresses.filter_map(|at| procfs::holder_of_address(at.ip(), port).ok().flatten());
    let holder = Some(holders).filter(|_| error.kind() == io::ErrorKind::AddrInUse).and_then(|mut holders| holders.next());
    let words = match holder.and_then(|holder| holder.pid) {
        Some(pid) => format!("{host}:{port} is taken by pid {pid} ({})", procfs::command(pid)),
        None => format!("cannot listen on {host}:{port}: {error}"),
    };
    io::Error::new(error.kind(), words)
}
