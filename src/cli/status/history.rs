//! What `status -w` has seen so far of each service's use of processor and memory, as a row of bars.

use crate::control::{ServiceView, Snapshot};
use crate::model::ServiceName;
use std::collections::{BTreeMap, VecDeque};

/// Snapshots that share a bar, and bars in a row: five minutes at a snapshot a second.
const SHARED: usize = 20;
const BARS: usize = 15;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

#[derive(Debug, Default)]
pub struct History {
    services: BTreeMap<ServiceName, Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    cpu: Row,
    memory: Row,
}

impl History {
    pub fn add(&mut self, snapshot: &Snapshot) {
        for service in &snapshot.services {
            let rows = self.services.entry(service.name.clone()).or_default();
            rows.cpu.add(service.cpu_percent);
            rows.memory.add(service.memory_mb);
        }
    }

    /// Percent of a core; a full bar is the limit, or the most that was seen if that is more.
    pub fn cpu(&self, service: &ServiceView) -> String {
        self.services.get(&service.name).map(|rows| rows.cpu.bars(service.limits.cpu_limit_percent.unwrap_or(100.0))).unwrap_or_default()
    }

    pub fn memory(&self, service: &ServiceView) -> String {
        self.services.get(&service.name).map(|rows| rows.memory.bars(service.limits.memory_limit_mb.unwrap_or(0.0))).unwrap_or_default()
    }
}

/// The highest of what shares a bar: a short burst must not be averaged away.
#[derive(Debug, Default)]
struct Row {
    bars: VecDeque<Option<f64>>,
    in_last: usize,
}

impl Row {
    fn add(&mut self, value: Option<f64>) {
        if self.in_last == 0 || self.in_last == SHARED {
            self.bars.push_back(None);
            self.in_last = 0;
        }
        self.in_last += 1;
        while self.bars.len() > BARS {
            self.bars.pop_front();
        }
        if let (Some(last), Some(value)) = (self.bars.back_mut(), value.filter(|value| value.is_finite())) {
            *last = Some(last.map_or(value, |highest| highest.max(value)));
        }
    }

    fn bars(&self, full: f64) -> String {
        let full = self.bars.iter().flatten().copied().fold(full.max(1.0), f64::max);
        let bar = |value: &Option<f64>| match value {
            Some(value) => LEVELS[((value / full * LEVELS.len() as f64) as usize).min(LEVELS.len() - 1)],
            None => ' ',
        };
        let drawn: String = self.bars.iter().map(bar).collect();
        format!("{drawn:>BARS$}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{service, snapshot};
    use super::*;
    use crate::control::StateWord;

    #[test]
    fn bars_grow_from_the_right_and_a_full_one_is_the_limit() {
        let mut history = History::default();
        let mut web = service("web", StateWord::Running);
        web.limits.memory_limit_mb = Some(1000.0);
        for (memory, times) in [(100.0, SHARED), (500.0, SHARED), (1000.0, 1)] {
            web.memory_mb = Some(memory);
            (0..times).for_each(|_| history.add(&snapshot(vec![web.clone()])));
        }
        assert_eq!(history.memory(&web), format!("{:>BARS$}", "▁▅█"));
    }

    #[test]
    fn what_was_down_leaves_a_gap_and_old_bars_go() {
        let mut history = History::default();
        let mut web = service("web", StateWord::Running);
        for second in 0..1000 {
            web.cpu_percent = if second % 40 < 20 { Some(100.0) } else { None };
            history.add(&snapshot(vec![web.clone()]));
        }
        assert_eq!(history.cpu(&web), " █ █ █ █ █ █ █ ");
    }

    #[test]
    fn nothing_seen_draws_nothing() {
        assert_eq!(History::default().cpu(&service("web", StateWord::Running)), "");
    }
}
