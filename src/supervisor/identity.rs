//! Is the process of this number still the one that the ledger means?
//!
//! A ledger outlives its processes, and the kernel gives their numbers to others. Guards that nothing is adopted, shown as
//! running or signalled by its number and start ticks alone: the kernel's own number of the process decides, and where it has
//! none the process must carry a mark of its run. Everything else is an end that nobody observed.

use super::environment::Environment;
use super::set::{self, Traits};
use crate::engine::{Process, Slot};
use crate::model::{COOKIE, Project};
use crate::sys::logfile;
use crate::sys::pidfd::{self, PidFd};
use crate::sys::procfs::{self, Reader, Stat};

/// What is known of it now, dead or alive; `None` when it is gone, or its number somebody else's.
pub fn recognise(recorded: &Process, traits: &Traits) -> Option<Stat> {
    let main = recorded.main;
    // No worker of ours can be any of these, whatever a ledger says.
    if main.pid <= 1 || procfs::is_us_or_our_parent(main.pid) {
        return None;
    }
    let mut reader = Reader::default();
    let stat = reader.stat(main.pid).ok().filter(|stat| stat.start_ticks == main.start_ticks)?;
    if says_it_is_of_another_run(&mut reader, traits, &stat) {
        return None;
    }
    let proven = match (recorded.inode, pidfd::inode(main.pid)) {
        (Some(then), Some(now)) => then == now,
        _ => set::carried_proof(&mut reader, traits, &stat).is_some(),
    };
    proven.then_some(stat)
}

/// The project may have been renamed since; service and run may not.
fn says_it_is_of_another_run(reader: &mut Reader, traits: &Traits, stat: &Stat) -> bool {
    let of_project = |cookie: &[u8]| cookie.iter().position(|byte| *byte == b'/').map(|slash| cookie[slash..].to_vec());
    let said = reader.environ(stat.pid, [COOKIE.as_bytes()]).ok().and_then(|[cookie]| cookie);
    said.is_some_and(|said| of_project(&said) != of_project(traits.cookie.as_bytes()))
}

/// As somebody sees it who only has the ledger.
pub fn main_process(project: &Project, slot: &Slot) -> Option<Stat> {
    let (run, recorded) = (slot.state.run()?, slot.process.as_ref()?);
    let environment = Environment::new(project, String::new(), std::iter::empty());
    let traits = Traits {
        main: Some(recorded.main),
        pin: recorded.pin,
        cookie: environment.cookie(&slot.spec, run),
        root: project.root.clone(),
        mark: environment.mark(run),
        log: logfile::id(&slot.spec.log_file),
        recorded: std::collections::BTreeSet::new(),
        stranger: true,
        group: None,
    };
    recognise(recorded, &traits)
}

/// Whether the main process of a slot's run lives.
pub fn is_alive(project: &Project, slot: &Slot) -> bool {
    main_process(project, slot).is_some() && slot.process.as_ref().is_some_and(|recorded| matches!(PidFd::open(recorded.main), Ok(Some(_))))
}
