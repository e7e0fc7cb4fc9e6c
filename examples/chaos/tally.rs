//! What happened, as a table.

use crate::blow::Blow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

#[derive(Default)]
pub struct Tally {
    recoveries: BTreeMap<Blow, Vec<Duration>>,
}

impl Tally {
    pub fn add(&mut self, blow: Blow, took: Duration) {
        self.recoveries.entry(blow).or_default().push(took);
    }

    pub fn blows(&self) -> usize {
        self.recoveries.values().map(Vec::len).sum()
    }

    /// Times run from the end of the blow, its commands included, to the first look that finds everything in order.
    pub fn table(&self, checks: u64, violations: usize) -> String {
        let mut text = format!("{:<32} {:>6} {:>10} {:>10} {:>10}\n", "blow", "count", "median", "p95", "max");
        for (blow, times) in &self.recoveries {
            row(&mut text, &format!("{blow:?}"), times);
        }
        let all: Vec<Duration> = self.recoveries.values().flatten().copied().collect();
        row(&mut text, "all", &all);
        let _ = write!(text, "checks {checks}, violations {violations}");
        text
    }
}

fn row(text: &mut String, name: &str, times: &[Duration]) {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default();
    let seconds = |time: Duration| format!("{:.3} s", time.as_secs_f64());
    let _ = writeln!(text, "{name:<32} {:>6} {:>10} {:>10} {:>10}", times.len(), seconds(at(50)), seconds(at(95)), seconds(at(100)));
}
