use super::activity::Look;
use super::set::Traits;
use crate::cleanup::killing::Killing;
use crate::engine::{Monitor, Report, Swept};
use crate::model::{ProcId, RunId, Service, ServiceName};
use crate::sys::readiness::Readiness;
use crate::sys::spawn::Held;
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// What the shell holds for a run: descriptors and tasks, which end with it.
pub struct Run {
    pub service: Arc<Service>,
    pub traits: Traits,
    /// Readable once the main process has ended.
    pub pidfd: Option<Rc<Readiness>>,
    /// Until it is released.
    pub held: Option<Held>,
    pub log_offset: u64,
    pub sweep: Option<Killing>,
    /// What the sweep has ended so far that the main process no longer held.
    pub swept: Vec<Swept>,
    /// Of a service that has limits.
    pub monitor: Option<Monitor>,
    tasks: Vec<AbortHandle>,
    /// For the share of a core: CPU seconds of the tree, and when they were read.
    pub sampled: Option<(f64, crate::model::BootTime)>,
    /// The last look that found that processor time had been used.
    pub quiet_since: Option<Look>,
}

impl Run {
    pub fn new(service: Arc<Service>, traits: Traits) -> Self {
        Self {
            service,
            traits,
            pidfd: None,
            held: None,
            log_offset: 0,
            sweep: None,
            swept: Vec::new(),
            monitor: None,
            tasks: Vec::new(),
            sampled: None,
            quiet_since: None,
        }
    }

    pub fn main(&self) -> Option<ProcId> {
        self.traits.main
    }

    /// A task that is cut short when the run ends.
    pub fn keep(&mut self, task: AbortHandle) {
        self.tasks.retain(|task| !task.is_finished());
        self.tasks.push(task);
    }

    /// Ends its tasks, and with them the commands that they run.
    pub fn cut_short(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.cut_short();
    }
}

/// A report with its address, as tasks send it.
pub fn report(service: &ServiceName, run: RunId, report: Report) -> super::message::Message {
    super::message::Message::Report(service.clone(), run, report)
}
