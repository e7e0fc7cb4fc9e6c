//! Which of the watched files a service writes itself. Nobody is told who wrote a file; but a person's saves do not follow the
//! starts of a service again and again at the same distance, and what it writes by itself does.

use crate::model::BootTime;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// So many restarts in a row because of one file, each at the same distance from the start before it.
const ENOUGH: usize = 5;

/// What counts as the same distance: a share of the longest, and never less than a busy machine makes of nothing.
const SHARE: f64 = 0.2;
const SLACK: Duration = Duration::from_secs(2);

/// More files than this at once are somebody's checkout.
const MANY: usize = 64;

/// Of one service, since somebody last started it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rewrites {
    /// Of its last process.
    pub spawned_at: Option<BootTime>,
    distances: BTreeMap<PathBuf, Vec<Duration>>,
    own: BTreeSet<PathBuf>,
}

impl Rewrites {
    /// Takes out what the service writes itself, and says which of it has only now been found to be so.
    pub fn sort_out(&mut self, mut paths: BTreeSet<PathBuf>, at: BootTime) -> (BTreeSet<PathBuf>, Vec<PathBuf>) {
        paths.retain(|path| !self.own.contains(path));
        let Some(spawned_at) = self.spawned_at.filter(|_| paths.len() <= MANY) else {
            self.distances.clear();
            return (paths, Vec::new());
        };
        // What did not change this time is not in a row.
        self.distances.retain(|path, _| paths.contains(path));
        let mut found = Vec::new();
        for path in &paths {
            let distances = self.distances.entry(path.clone()).or_default();
            distances.push(at.since(spawned_at));
            distances.drain(..distances.len().saturating_sub(ENOUGH));
            if distances.len() == ENOUGH && are_alike(distances) {
                found.push(path.clone());
            }
        }
        self.own.extend(found.iter().cloned());
        paths.retain(|path| !self.own.contains(path));
        (paths, found)
    }
}

fn are_alike(distances: &[Duration]) -> bool {
    let (Some(least), Some(most)) = (distances.iter().min(), distances.iter().max()) else { return false };
    *most - *least <= most.mul_f64(SHARE).max(SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(of: &[&str]) -> BTreeSet<PathBuf> {
        of.iter().map(PathBuf::from).collect()
    }

    /// A service that is restarted at each change, and files that change after so many seconds of its run.
    fn restarts(changes: &[(&[&str], u64)]) -> Vec<usize> {
        let (mut it, mut now) = (Rewrites::default(), BootTime::from_nanos(0));
        let mut left = Vec::new();
        for (changed, after) in changes {
            it.spawned_at = Some(now);
            now = now.after(Duration::from_secs(*after));
            left.push(it.sort_out(paths(changed), now).0.len());
        }
        left
    }

    #[test]
    fn a_file_that_follows_every_start_no_longer_restarts_whatever_the_distance() {
        for after in [0, 1, 60, 3600] {
            assert_eq!(restarts(&[(&["state.json"][..], after); 7]), [1, 1, 1, 1, 0, 0, 0], "{after}");
        }
    }

    #[test]
    fn a_person_saves_at_any_time() {
        let saves: Vec<(&[&str], u64)> = [3, 9, 40, 5, 4, 120, 6, 30, 5, 8].map(|after| (&["app.py"][..], after)).to_vec();
        assert!(restarts(&saves).iter().all(|left| *left == 1));
    }

    #[test]
    fn another_file_in_between_breaks_the_row_and_goes_on_to_count() {
        let own = (&["state.json"][..], 1);
        let other = (&["app.py"][..], 1);
        assert_eq!(restarts(&[own, own, own, own, other, own, own, own, own, own]), [1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
        let both = (&["app.py", "state.json"][..], 9);
        assert_eq!(restarts(&[own, own, own, own, own, both, other]), [1, 1, 1, 1, 0, 1, 1]);
    }

    #[test]
    fn a_checkout_is_nobodys_habit() {
        let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(restarts(&[(&names[..], 1); 6]), [100; 6]);
    }
}
