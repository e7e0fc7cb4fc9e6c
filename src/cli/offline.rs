//! What is known without a supervisor: the ledger on disk, held against the processes that are there.

use super::context::Context;
use super::style;
use crate::cleanup::{KnownRun, LedgerFacts};
use crate::control::{HealthView, ProjectView, Snapshot, StateWord};
use crate::engine::{Slot, Stack};
use crate::model::{Pid, ProcId, ServiceName};
use crate::supervisor::{self, Found, identity, load_ledger, view};
use crate::sys::{clock, procfs, scan};

/// The stack as the ledger tells it, with everything that runs and is not in it.
fn stack(context: &Context) -> Stack {
    let here = procfs::origin().unwrap_or_default();
    let mut stack = match load_ledger(&context.folders.ledger(), &here) {
        Found::Stack(stack) => *stack,
        Found::Nothing => Stack::new(0),
        Found::Damaged { why } => {
            let words = format!("warning: the ledger cannot be used ({why}); this is what was found running\n");
            style::say(&style::visible(&words));
            Stack::new(0)
        }
    };
    let (services, now) = (&context.project.services, clock::both());
    stack.configure(services, now, &mut Vec::new());
    stack.take_in(&scan::survey(&context.project).unwrap_or_default(), services, now);
    stack
}

/// Whether there is a run that is not known to have ended, and that no process in the foreground looks after.
pub fn something_runs(context: &Context) -> bool {
    let in_foreground = |name: &ServiceName| supervisor::is_in_foreground(&context.project.id, name);
    stack(context).slots().iter().any(|(name, slot)| slot.state.run().is_some() && !in_foreground(name))
}

/// Status without a supervisor.
pub fn snapshot(context: &Context, services: &[ServiceName], tree: bool) -> Snapshot {
    let now = clock::both();
    let stack = stack(context);
    let of = |name: &ServiceName| {
        let slot = stack.slot(name)?;
        let alive = identity::is_alive(&context.project, slot);
        let usage = slot.process.as_ref().filter(|_| alive).and_then(|process| view::measure_tree(process.main, now.boot));
        let mut view = view::service(&context.project, &stack, name, slot, usage.as_ref(), now);
        if slot.state.run().is_some() && !alive {
            view.state = StateWord::Failed;
            view.ready = false;
            view.pid = None;
            view.health = HealthView {
                status: "dead".to_owned(),
                reason: "not_running".to_owned(),
                checked_at: None,
                latency_ms: None,
                heartbeat_age_seconds: None,
            };
            view.detail = Some("it ended while no supervisor was there to see it".to_owned());
        }
        if tree {
            view.tree = usage.map(|usage| view::processes(&usage, now.boot)).unwrap_or_default();
        }
        Some(view)
    };
    Snapshot {
        project: ProjectView { name: context.project.name.clone(), root: context.project.root.display().to_string() },
        supervisor: None,
        services: services.iter().filter_map(of).collect(),
    }
}

/// What `cleanup-workers` has to know of our own records.
pub fn ledger_facts(context: &Context, supervisor: Option<Pid>) -> LedgerFacts {
    let known = |(name, slot): (&ServiceName, &Slot)| {
        let run = slot.state.run()?;
        // Its number may be another process's by now, which must not count as the leader of anything.
        let is_anothers = |leader: &ProcId| {
            identity::main_process(&context.project, slot).is_none() && procfs::id(leader.pid).is_ok_and(|holder| holder == *leader)
        };
        let leader = slot.process.as_ref().map(|process| process.main).filter(|leader| !is_anothers(leader));
        Some(KnownRun {
            service: name.clone(),
            run,
            leader,
            // What a living supervisor holds is its own to end, even while a dead worker's pool is being swept.
            alive_managed: supervisor.is_some() || identity::is_alive(&context.project, slot),
            recorded: Vec::new(),
            log_file: procfs::file_id(&slot.spec.log_file),
        })
    };
    let keeper = supervisor.and_then(|pid| procfs::stat(pid).ok()).map(|stat| stat.ppid).filter(|pid| *pid > 1);
    let guardians = [supervisor, keeper].into_iter().flatten();
    LedgerFacts {
        runs: stack(context).slots().iter().filter_map(known).collect(),
        guardians: guardians.filter_map(|pid| procfs::id(pid).ok()).collect(),
        // Whoever looks at the machine reads them at that moment.
        log_files: Vec::new(),
    }
}
