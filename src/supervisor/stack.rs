//! Asking a hung worker where it is, before it is stopped.
//!
//! CPython's faulthandler writes the stack of every thread, in C and without the interpreter, so also of a worker that is
//! deadlocked or holds the interpreter's lock. devstack never sends a signal here that would end a worker which has no handler for
//! it: SIGUSR1 is where faulthandler.register is usually put, SIGABRT is what PYTHONFAULTHANDLER=1 listens to (and then ends by).

use super::message::Inbox;
use super::run::report;
use super::set;
use crate::engine::Report;
use crate::model::{ProcId, RunId, Service, Signal};
use crate::sys::pidfd::PidFd;
use crate::sys::procfs::{Reader, Stat};
use crate::sys::readiness::Readiness;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// For the handler to write; a hundred threads take it some milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Of what was written meanwhile, no more than this is looked at.
const LONGEST: u64 = 1 << 18;

const ASKING: [Signal; 2] = [Signal::USR1, Signal::ABRT];

/// The main process, or behind a wrapper that knows neither signal the first one that does.
fn who_can_answer(main: ProcId) -> Option<ProcId> {
    let mut reader = Reader::default();
    let mut handles = |id: ProcId| ASKING.iter().any(|signal| reader.handles(id.pid, *signal).unwrap_or(false));
    set::tree(main.pid).iter().map(Stat::id).find(|id| handles(*id))
}

/// Asks, and reports once there is nothing more to wait for.
pub async fn ask(service: Arc<Service>, run: RunId, main: Option<ProcId>, inbox: Inbox) {
    if let Some(worker) = main.and_then(who_can_answer) {
        for signal in ASKING {
            if ask_by(worker, signal, &service.log_file).await {
                break;
            }
        }
    }
    let _ = inbox.send(report(&service.name, run, Report::StackAsked)).await;
}

/// Whether that made it write its stack, or end.
async fn ask_by(worker: ProcId, signal: Signal, log: &Path) -> bool {
    let Ok(Some(process)) = PidFd::open(worker) else { return true };
    if !Reader::default().handles(worker.pid, signal).unwrap_or(false) {
        return false;
    }
    let before = log.metadata().map_or(0, |meta| meta.len());
    let (Ok(()), Ok(ended)) = (process.signal(signal), Readiness::of(&process)) else { return false };
    let has_ended = tokio::time::timeout(PATIENCE, ended.readable()).await.is_ok();
    has_ended || has_stack(log, before)
}

/// Whether a stack stands in a log, from an offset on.
fn has_stack(log: &Path, from: u64) -> bool {
    let read = || {
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    let said = b"(most recent call first)";
    read().is_ok_and(|bytes| bytes.windows(said.len()).any(|window| window == said))
}
