//! Who waits for what: turns notices into the progress and the outcome of each open request.

use super::view;
use crate::control::protocol::{Ending, Outcome, Reply, Step, Update};
use crate::engine::{Notice, Stack, State};
use crate::model::{Reason, ServiceName};
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::mpsc;

/// What somebody wants to come true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    Up,
    Down,
}

/// One request that is not answered yet.
pub struct Pending {
    reply: mpsc::Sender<Reply>,
    /// Named in the request; the others are dependencies, told only when they fail.
    named: BTreeSet<ServiceName>,
    open: BTreeMap<ServiceName, Goal>,
    outcomes: BTreeMap<ServiceName, Ending>,
    /// Something was heard of them since the request came.
    heard: BTreeSet<ServiceName>,
}

impl Pending {
    pub fn new(
        goal: Goal,
        named: impl IntoIterator<Item = ServiceName>,
        all: impl IntoIterator<Item = ServiceName>,
        reply: mpsc::Sender<Reply>,
    ) -> Self {
        let named: BTreeSet<ServiceName> = named.into_iter().collect();
        let open = all.into_iter().chain(named.iter().cloned()).map(|service| (service, goal)).collect();
        Self { reply, named, open, outcomes: BTreeMap::new(), heard: BTreeSet::new() }
    }

    /// What goes for another reason than that somebody named it, and is told and waited for all the same.
    pub fn and_down(mut self, services: &[ServiceName]) -> Self {
        self.named.extend(services.iter().cloned());
        self.open.extend(services.iter().map(|service| (service.clone(), Goal::Down)));
        self
    }

    fn hear(&mut self, service: &ServiceName, notice: &Notice, stack: &Stack) {
        let Some(goal) = self.open.get(service).copied() else { return };
        if is_on_the_way(notice) {
            self.heard.insert(service.clone());
        }
        if let Some(step) = step(notice) {
            self.tell(service, step);
        }
        let ending = match goal {
            Goal::Up => ending_of_start(notice, || stack.slot(service).map(|slot| view::wanted(&slot.spec)).unwrap_or_default()),
            Goal::Down => ending_of_stop(notice),
        };
        if let Some(ending) = ending {
            self.decide(service.clone(), ending);
        }
    }

    /// A client that reads too slowly misses progress, never the outcome.
    fn tell(&self, service: &ServiceName, step: Step) {
        let _ = self.reply.try_send(Reply::Update(Update { service: service.clone(), step }));
    }

    fn decide(&mut self, service: ServiceName, ending: Ending) {
        self.open.remove(&service);
        if self.named.contains(&service) || !ending.is_success() {
            self.tell(&service, Step::Ended(Outcome { service: service.clone(), result: ending.clone() }));
            self.outcomes.insert(service, ending);
        }
    }

    /// What was so already when the request came, and who can no longer hope.
    fn review(&mut self, stack: &Stack) {
        for (service, goal) in self.open.clone() {
            let Some(slot) = stack.slot(&service) else {
                self.decide(service, Ending::AlreadyStopped);
                continue;
            };
            let quiet = !self.heard.contains(&service);
            let pid = slot.process.as_ref().map(|process| process.main.pid);
            match (goal, &slot.state) {
                (Goal::Up, State::Running { .. }) if quiet && !slot.is_going_down() => {
                    self.decide(service, Ending::AlreadyRunning { pid: pid.unwrap_or_default() });
                }
                (Goal::Up, State::Starting { late_at: None, .. }) if quiet => {
                    let seconds = slot.spec.ready.timeout.as_secs_f64();
                    let log_offset = slot.process.as_ref().map_or(0, |process| process.log_offset);
                    let wanted = view::wanted(&slot.spec);
                    self.decide(service, Ending::NotReady { pid: pid.unwrap_or_default(), seconds, wanted, log_offset });
                }
                (Goal::Down, State::Stopped) if quiet => self.decide(service, Ending::AlreadyStopped),
                (Goal::Up, State::Waiting) => {
                    let blockers = stack.blockers(&service);
                    if !blockers.is_empty() && blockers.iter().all(|blocker| !self.open.contains_key(blocker)) {
                        self.decide(service, Ending::Blocked { by: blockers });
                    }
                }
                _ => {}
            }
        }
    }
}

#[derive(Default)]
pub struct Tracker {
    pending: Vec<Pending>,
}

impl Tracker {
    pub fn add(&mut self, pending: Pending) {
        self.pending.push(pending);
    }

    /// Nobody waits for an outcome.
    pub fn is_idle(&self) -> bool {
        self.pending.iter().all(|pending| pending.reply.is_closed())
    }

    /// Passes on what happened, and answers every request that is decided by it.
    pub fn tell(&mut self, notices: &[(ServiceName, Notice)], stack: &Stack) {
        for pending in &mut self.pending {
            for (service, notice) in notices {
                pending.hear(service, notice, stack);
            }
            pending.review(stack);
        }
        for done in self.pending.extract_if(.., |pending| pending.open.is_empty()) {
            let outcomes = done.outcomes.into_iter().map(|(service, result)| Outcome { service, result }).collect();
            let reply = done.reply;
            tokio::task::spawn_local(async move {
                let _ = reply.send(Reply::Done { outcomes }).await;
            });
        }
    }
}

/// Whether more is to come of it for whoever waits: not of what is only worth knowing of a run that goes on.
fn is_on_the_way(notice: &Notice) -> bool {
    !matches!(
        notice,
        Notice::NearLimit { .. }
            | Notice::OverLimit { .. }
            | Notice::Unhealthy { .. }
            | Notice::Adopted { .. }
            | Notice::MainIs { .. }
            | Notice::MainPidRefused { .. }
            | Notice::Watching { .. }
    )
}

fn step(notice: &Notice) -> Option<Step> {
    Some(match notice {
        Notice::SettingUp { command } => Step::SettingUp { command: command.clone() },
        Notice::Hooking { hook, command } => Step::Hooking { hook: hook.clone(), command: command.clone() },
        Notice::Watching { trouble } => Step::Watching { trouble: trouble.clone() },
        Notice::HookFailed(cause) => Step::HookFailed { message: cause.message.clone(), hint: cause.hint.clone() },
        Notice::WaitingFor(services) => Step::WaitingFor { services: services.clone() },
        Notice::Clearing { pid, command, why } => Step::Cleaned { pid: *pid, command: command.clone(), why: why.clone() },
        Notice::Swept { processes, .. } => Step::Swept { processes: processes.clone() },
        Notice::Starting { main, .. } => Step::Starting { pid: Some(main.pid) },
        Notice::Stopping { why: why @ (Reason::Unhealthy | Reason::HeartbeatTimeout), .. } => {
            Step::Replacing { reason: why.word().to_owned() }
        }
        Notice::Stopping { why: Reason::ConfigChanged, .. } => Step::Removing,
        Notice::Stopping { .. } => Step::Stopping,
        Notice::Killing { .. } => Step::Killing,
        _ => return None,
    })
}

fn ending_of_start(notice: &Notice, wanted: impl FnOnce() -> String) -> Option<Ending> {
    Some(match notice {
        Notice::Ready { main, seconds, .. } => Ending::Started { pid: main.pid, seconds: *seconds },
        Notice::Present => Ending::Present,
        Notice::Late { main, seconds, log_offset, .. } => {
            Ending::NotReady { pid: main.pid, seconds: *seconds, wanted: wanted(), log_offset: *log_offset }
        }
        Notice::Ended { run, exit, reason, was_ready: false, log_offset, .. } if !reason.is_planned() => {
            Ending::Died { exit: exit.clone(), run: *run, log_offset: *log_offset }
        }
        Notice::Refused(cause) | Notice::Failed(cause) => Ending::Refused { message: cause.message.clone(), hint: cause.hint.clone() },
        Notice::Stopped { .. } => Ending::Superseded,
        Notice::Stuck { survivors } => Ending::Survived { survivors: survivors.clone() },
        _ => return None,
    })
}

fn ending_of_stop(notice: &Notice) -> Option<Ending> {
    Some(match notice {
        Notice::Stopped { exit } => Ending::Stopped { exit: exit.clone() },
        Notice::Starting { .. } => Ending::Superseded,
        Notice::Stuck { survivors } => Ending::Survived { survivors: survivors.clone() },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Measured, RunId};
    use crate::supervisor::rig::{name, seconds};
    use crate::supervisor::scenarios::app;

    #[test]
    fn what_is_only_worth_knowing_of_a_run_keeps_nobody_waiting_for_its_start() {
        let mut rig = app(|_| {}, []);
        rig.start(&["app"]);
        rig.pass(seconds(2));
        let (reply, mut replies) = mpsc::channel(8);
        let mut tracker = Tracker::default();
        tracker.add(Pending::new(Goal::Up, [name("app")], [], reply));
        let near = Notice::NearLimit { run: RunId { epoch: 1, seq: 1 }, measured: Measured::Cpu { used: 79.0, limit: 80.0 } };
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async {
            tracker.tell(&[(name("app"), near)], rig.driver.stack());
        });
        let told = replies.try_recv().expect("it is answered");
        let Reply::Update(Update { step: Step::Ended(outcome), .. }) = told else { panic!("{told:?}") };
        assert!(matches!(outcome.result, Ending::AlreadyRunning { .. }), "{outcome:?}");
    }
}
