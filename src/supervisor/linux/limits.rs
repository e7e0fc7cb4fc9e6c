//! What a run uses, sampled when it is due and judged by the core.
//!
//! Pauses of a second and more end on whole seconds of the one clock, so that the samples of all runs share a wake-up and a look.

use super::LinuxOs;
use crate::engine::{Event, Finding, Monitor, Report, Sample, Verdict, hard_memory_limit};
use crate::model::{BootTime, Measured, RunId};
use crate::supervisor::message::Message;
use crate::supervisor::{set, view};
use crate::sys::cgroup::Group;
use crate::sys::clock;
use crate::sys::procfs::{Stat, proportional_bytes};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

impl LinuxOs {
    /// From now until its main process ends; without limits nothing is sampled.
    pub(super) fn watch_limits(&mut self, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.monitor = Monitor::of(&run.service);
        if run.monitor.is_some() {
            self.sample_after(id, Duration::ZERO);
        }
    }

    /// Looks at what a run uses, now.
    pub fn sample(&mut self, id: RunId) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Some(monitor) = &mut run.monitor else { return };
        // Where the kernel counts for us, one question is enough for who has not run since: it cannot have grown either.
        let counted = run.traits.group.as_ref().and_then(Group::cpu_time).map(|time| time.as_secs_f64());
        if let Some(verdict) = counted.and_then(|cpu_seconds| monitor.judge_idle(clock::now(), cpu_seconds)) {
            return self.follow(id, verdict);
        }
        let household = self.household();
        let Some(run) = self.runs.get_mut(&id) else { return };
        let processes = set::living(&run.traits, &household);
        let Some(monitor) = run.monitor.as_mut().filter(|_| processes.first().map(Stat::id) == run.traits.main) else { return };
        let sample = Sample {
            at: clock::now(),
            cpu_seconds: view::cpu_seconds(run.traits.group.as_ref(), &processes),
            resident: processes.iter().map(Stat::rss_bytes).sum(),
        };
        let verdict = match monitor.judge(sample) {
            Verdict::ConfirmMemory => {
                // What may not be read counts as it was: a guess must not save a worker that eats the machine.
                let proportional = |stat: &Stat| proportional_bytes(stat.pid).unwrap_or_else(|_| stat.rss_bytes());
                let proportional = processes.iter().map(proportional).sum();
                monitor.confirm(proportional, clock::now().since(sample.at))
            }
            verdict => verdict,
        };
        run.traits.record(&processes);
        self.follow(id, verdict);
    }

    fn follow(&mut self, id: RunId, verdict: Verdict) {
        let Verdict::Look { again_in, finding } = verdict else { return };
        if let (Some(finding), Some(run)) = (finding, self.runs.get(&id)) {
            self.due.push(Event::Report(run.service.name.clone(), id, Report::Limit(finding)));
        }
        self.sample_after(id, again_in);
    }

    /// What the kernel has ended for want of memory was over its limit.
    pub fn ran_out_of_memory(&self, id: RunId) -> Option<Report> {
        let run = self.runs.get(&id)?;
        let limit = run.service.memory_limit?;
        let over = run.traits.group.as_ref().is_some_and(Group::ran_out_of_memory);
        over.then(|| Report::Limit(Finding::Exceeded(Measured::Memory { used: hard_memory_limit(limit), limit })))
    }

    fn sample_after(&mut self, id: RunId, pause: Duration) {
        let inbox = self.inbox.clone();
        let Some(run) = self.runs.get_mut(&id) else { return };
        let pause = aligned(clock::now(), pause);
        let task = tokio::task::spawn_local(async move {
            tokio::time::sleep(pause).await;
            let _ = inbox.send(Message::SampleDue(id)).await;
        });
        run.keep(task.abort_handle());
    }
}

/// The pause that ends on the nearest whole second, if it is as long as that.
fn aligned(now: BootTime, pause: Duration) -> Duration {
    if pause < SECOND {
        return pause;
    }
    let second = SECOND.as_nanos() as u64;
    let due = now.after(pause + SECOND / 2).as_nanos() / second * second;
    BootTime::from_nanos(due).since(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_pauses_end_on_whole_seconds_and_short_ones_as_they_are() {
        let now = BootTime::from_nanos(7_300_000_000);
        assert_eq!(aligned(now, Duration::from_millis(100)), Duration::from_millis(100));
        assert_eq!(aligned(now, SECOND), Duration::from_millis(700));
        assert_eq!(aligned(BootTime::from_nanos(7_600_000_000), SECOND), Duration::from_millis(1400));
        assert_eq!(aligned(now, 5 * SECOND), Duration::from_millis(4700));
    }
}
