//! Commands that belong to a run and are not its main process: the set-up, the hooks. They are its processes all the same.

use super::LinuxOs;
use crate::engine::{Event, Hook, Report};
use crate::model::{RunId, Service};
use crate::supervisor::run::report;
use crate::supervisor::{hook, prepare};
use std::sync::Arc;

impl LinuxOs {
    pub(super) fn begin_set_up(&mut self, id: RunId, service: &Arc<Service>) {
        let name = service.name.clone();
        if prepare::is_set_up(service) {
            return self.due.push(Event::Report(name, id, Report::SetUp(Ok(()))));
        }
        let inbox = self.inbox.clone();
        let work = prepare::SetUp {
            service: service.clone(),
            run: id,
            helpers: self.helpers.clone(),
            prober: self.prober.clone(),
            root: self.project.root.clone(),
            inbox: inbox.clone(),
            to_own_output: self.is_in_foreground(),
        };
        let task = tokio::task::spawn_local(async move {
            let result = work.perform().await;
            let _ = inbox.send(report(&name, id, Report::SetUp(result))).await;
        });
        self.track(id, service, None).keep(task.abort_handle());
    }

    pub(super) fn begin_hook(&mut self, id: RunId, service: &Arc<Service>, hook: Hook) {
        let (inbox, helpers, root) = (self.inbox.clone(), self.helpers.clone(), self.project.root.clone());
        let (of, to_own_output) = (service.clone(), self.is_in_foreground());
        let task = tokio::task::spawn_local(async move {
            let result = hook::perform(&of, id, &hook, &helpers, (!to_own_output).then_some(&*root)).await;
            let _ = inbox.send(report(&of.name, id, Report::Hooked(result))).await;
        });
        self.track(id, service, None).keep(task.abort_handle());
    }

    /// Where there is no main process. What its commands have started is found and ended as any process of the run.
    pub(super) fn cut_short(&mut self, id: RunId, service: &Arc<Service>) {
        let run = self.track(id, service, None);
        if run.main().is_some() {
            return;
        }
        run.cut_short();
        let mark = run.traits.mark;
        self.helpers.let_go(mark);
        self.household = None;
    }
}
