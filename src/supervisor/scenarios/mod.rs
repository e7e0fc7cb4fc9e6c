//! Small stories of one or two services, told on the simulated machine.

mod files;
mod heartbeats;
mod hooks;
mod limits;
mod order;
mod recovery;
mod restarts;
mod stops;

use super::rig::{Rig, name, service};
use crate::engine::Notice;
use crate::model::{Exit, Reason, Service};
use crate::sys::sim::Behaviour;
use std::time::Duration;

pub(super) fn crashes_after(wait: Duration) -> Behaviour {
    Behaviour { ends: Some((wait, Exit::Code(1))), ..Behaviour::default() }
}

fn ends_well_after(wait: Duration) -> Behaviour {
    Behaviour { ends: Some((wait, Exit::Code(0))), ..Behaviour::default() }
}

/// One service, `app`, whose runs go as told; later runs are healthy.
pub(super) fn app(change: impl FnOnce(&mut Service), runs: impl IntoIterator<Item = Behaviour>) -> Rig {
    let mut app = service("app");
    change(&mut app);
    let mut rig = Rig::new([app]);
    rig.os().spawns.insert(name("app"), runs.into_iter().collect());
    rig
}

/// `app` needs `db`.
fn app_and_db() -> Rig {
    let mut app = service("app");
    app.depends_on = vec![name("db")];
    Rig::new([app, service("db")])
}

fn reasons(rig: &Rig) -> Vec<Reason> {
    let reason = |notice: &&Notice| if let Notice::Ended { reason, .. } = notice { Some(*reason) } else { None };
    rig.notices("app").iter().filter_map(reason).collect()
}

fn sound(rig: &Rig) {
    assert_eq!(rig.check(), Ok(()));
}
