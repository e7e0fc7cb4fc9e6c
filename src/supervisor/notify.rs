//! What workers say of themselves (sd_notify(3)), read from the one socket of a supervisor.
//!
//! Guards that only processes of a run speak for it, and that nobody who talks without end gets more than a share of this thread.

use super::linux::LinuxOs;
use crate::engine::{Event, Report, Said, parse_notification};
use crate::sys::notify::{self, LONGEST_MESSAGE};
use crate::sys::readiness::Readiness;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Messages that are read in one go, and the pause if there are still more then. Whoever sends meanwhile waits in the kernel.
const BATCH: usize = 256;
const PAUSE: Duration = Duration::from_millis(20);

pub struct Notifications {
    socket: Readiness,
    buffer: Box<[u8; LONGEST_MESSAGE]>,
    is_crowded: bool,
}

impl Notifications {
    /// # Errors
    /// When there is no descriptor left.
    pub fn new(socket: &impl AsFd) -> io::Result<Self> {
        Ok(Self { socket: Readiness::of(socket)?, buffer: Box::new([0; LONGEST_MESSAGE]), is_crowded: false })
    }

    /// Returns when there is something to read.
    pub async fn next(&self) {
        if self.is_crowded {
            return tokio::time::sleep(PAUSE).await;
        }
        self.socket.next().await;
    }

    /// What was said by processes of living runs.
    pub fn take(&mut self, os: &mut LinuxOs) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..BATCH {
            let Some((sender, message)) = notify::receive(&self.socket, &mut self.buffer) else {
                self.is_crowded = false;
                return events;
            };
            let mut said = parse_notification(message);
            let Some((service, run)) = sender.filter(|_| !said.is_empty()).and_then(|sender| os.run_of(sender)) else { continue };
            said.retain(|one| {
                let named = if let Said::Main(Some(pid)) = one { os.named(run, *pid) } else { None };
                let is_named = named.is_some();
                events.extend(named.map(|report| Event::Report(service.clone(), run, report)));
                !is_named
            });
            events.push(Event::Report(service, run, Report::Notified(said)));
        }
        self.is_crowded = true;
        events
    }
}
