use super::*;
use proptest::prelude::*;

/// A process of the simulated set, and what it does.
#[derive(Debug, Clone)]
struct Sim {
    proc: ProcId,
    tracker: bool,
    ignores_term: bool,
    unkillable: bool,
    /// Forks this many more, one each time it is scheduled.
    forks: u32,
    stopped: bool,
    dead: bool,
    /// A tracker is at it so long.
    busy_until: BootTime,
}

/// A set that runs between two scans.
struct World {
    now: BootTime,
    set: Vec<Sim>,
    next_pid: i32,
    signals: Vec<(ProcId, Signal)>,
}

impl World {
    fn of(set: Vec<Sim>) -> Self {
        let next_pid = 1 + i32::try_from(set.len()).expect("small");
        Self { now: BootTime::default(), set, next_pid, signals: Vec::new() }
    }

    fn scan(&self) -> Vec<Member> {
        self.set
            .iter()
            .map(|sim| Member { proc: sim.proc, tracker: sim.tracker, busy: self.now < sim.busy_until, zombie: sim.dead })
            .collect()
    }

    fn workers_alive(&self) -> bool {
        self.set.iter().any(|sim| !sim.tracker && !sim.dead)
    }

    fn deliver(&mut self, signals: &[(ProcId, Signal)]) {
        for &(proc, signal) in signals {
            let workers_alive = self.workers_alive();
            let sim = self.set.iter_mut().find(|sim| sim.proc == proc).expect("only members are signalled");
            assert!(!(sim.tracker && workers_alive), "a tracker was signalled while a worker lives");
            match signal {
                Signal::STOP => sim.stopped = true,
                Signal::CONT => sim.stopped = false,
                Signal::TERM => sim.dead |= !sim.ignores_term && !sim.tracker,
                Signal::KILL => sim.dead |= !sim.unkillable,
                other => panic!("{other} is not part of the order"),
            }
            self.signals.push((proc, signal));
        }
    }

    /// Whatever can run, runs: forks once, and a tracker without workers leaves.
    fn run_for(&mut self, time: Duration) {
        self.now = self.now.after(time);
        let workers_alive = self.workers_alive();
        let mut born = Vec::new();
        for sim in self.set.iter_mut().filter(|sim| !sim.dead && !sim.stopped) {
            if sim.tracker && !workers_alive && !sim.ignores_term {
                sim.dead = self.now >= sim.busy_until;
            } else if sim.forks > 0 {
                sim.forks -= 1;
                let proc = ProcId { pid: self.next_pid, start_ticks: 0 };
                self.next_pid += 1;
                born.push(Sim { proc, ..sim.clone() });
            }
        }
        self.set.extend(born);
    }

    /// To the end; the number of steps it took.
    fn run(&mut self, killing: &mut Killing) -> (usize, Then) {
        for step in 1..2_000 {
            let next = killing.next(self.now, &self.scan());
            self.deliver(&next.signals);
            match next.then {
                Then::Rescan => self.run_for(Duration::from_micros(200)),
                Then::Wait { until, on } => {
                    assert!(until > self.now, "a deadline that has passed is a busy loop");
                    assert!(!on.is_empty());
                    self.run_for(Duration::from_micros(200));
                    let ended = |proc: &ProcId| self.set.iter().any(|sim| sim.proc == *proc && sim.dead);
                    if !on.iter().any(ended) {
                        self.run_for(until.since(self.now));
                    }
                }
                ended => return (step, ended),
            }
        }
        panic!("no end in sight");
    }
}

fn worker(pid: i32) -> Sim {
    let proc = ProcId { pid, start_ticks: 0 };
    Sim {
        proc,
        tracker: false,
        ignores_term: false,
        unkillable: false,
        forks: 0,
        stopped: false,
        dead: false,
        busy_until: BootTime::default(),
    }
}

fn tracker(pid: i32) -> Sim {
    Sim { tracker: true, ..worker(pid) }
}

fn in_seconds(seconds: u64) -> BootTime {
    BootTime::default().after(Duration::from_secs(seconds))
}

const GRACE: Option<Duration> = Some(Duration::from_secs(2));

#[test]
fn nothing_to_end_is_empty_at_once() {
    let next = Killing::new(GRACE, in_seconds(9)).next(BootTime::default(), &[]);
    assert_eq!(next, Next { signals: Vec::new(), hold: false, then: Then::Empty });
}

#[test]
fn a_pool_that_heeds_sigterm_is_never_killed_and_its_tracker_leaves_by_itself() {
    let mut world = World::of(vec![worker(1), worker(2), tracker(3)]);
    let mut killing = Killing::new(GRACE, in_seconds(9));
    assert_eq!(world.run(&mut killing).1, Then::Empty);
    let term = |sim: &Sim| killing.sent_to(sim.proc);
    assert_eq!(world.set.iter().map(term).collect::<Vec<_>>(), [Some(Signal::TERM), Some(Signal::TERM), None]);
}

#[test]
fn what_ignores_sigterm_is_frozen_then_killed_after_the_grace() {
    let mut world = World::of(vec![Sim { ignores_term: true, ..worker(1) }, tracker(2)]);
    let mut killing = Killing::new(GRACE, in_seconds(9));
    assert_eq!(world.run(&mut killing).1, Then::Empty);
    let words: Vec<Signal> = world.signals.iter().filter(|(proc, _)| proc.pid == 1).map(|(_, signal)| *signal).collect();
    assert_eq!(words, [Signal::TERM, Signal::CONT, Signal::STOP, Signal::KILL]);
    assert!(world.now >= in_seconds(2));
    assert_eq!(killing.sent_to(world.set[1].proc), None);
}

#[test]
fn a_tracker_that_does_not_leave_is_killed_a_second_after_its_workers() {
    let mut world = World::of(vec![worker(1), Sim { ignores_term: true, ..tracker(2) }]);
    let mut killing = Killing::new(None, in_seconds(9));
    assert_eq!(world.run(&mut killing).1, Then::Empty);
    assert_eq!(killing.sent_to(world.set[1].proc), Some(Signal::KILL));
    assert!(world.now >= in_seconds(1));
}

#[test]
fn a_tracker_that_is_at_it_on_a_busy_machine_is_given_longer_and_not_for_ever() {
    for (seconds, is_killed) in [(3, false), (30, true)] {
        let mut world = World::of(vec![worker(1), Sim { busy_until: in_seconds(seconds), ..tracker(2) }]);
        let mut killing = Killing::new(None, in_seconds(60));
        assert_eq!(world.run(&mut killing).1, Then::Empty);
        assert_eq!(killing.sent_to(world.set[1].proc).is_some(), is_killed, "{seconds} s");
        assert!(world.now <= in_seconds(6), "{:?}", world.now);
    }
}

#[test]
fn what_survives_sigkill_is_named_at_the_deadline() {
    let mut world = World::of(vec![worker(1), Sim { unkillable: true, ..worker(2) }, tracker(3)]);
    let (_, then) = world.run(&mut Killing::new(None, in_seconds(5)));
    assert_eq!(then, Then::Stuck(vec![world.set[1].proc, world.set[2].proc]));
    assert!(world.signals.iter().all(|(proc, _)| proc.pid != 3));
}

#[test]
fn a_deadline_that_comes_before_the_grace_is_over_still_kills() {
    let mut world = World::of(vec![Sim { ignores_term: true, ..worker(1) }]);
    world.run(&mut Killing::new(GRACE, in_seconds(1)));
    assert_eq!(world.signals.last(), Some(&(world.set[0].proc, Signal::KILL)));
}

fn any_sim() -> impl Strategy<Value = Sim> {
    (any::<bool>(), any::<bool>(), prop::bool::weighted(0.1), 0u32..4, any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |(tracker, ignores_term, unkillable, forks, stopped, dead)| {
            let forks = if tracker { 0 } else { forks };
            Sim { tracker, ignores_term, unkillable, forks, stopped, dead, ..worker(0) }
        },
    )
}

proptest! {
    #[test]
    fn every_set_ends_empty_or_with_exactly_the_survivors_named(
        mut set in prop::collection::vec(any_sim(), 0..8), ask in any::<bool>())
    {
        for (pid, sim) in (1..).zip(&mut set) {
            sim.proc.pid = pid;
        }
        let mut world = World::of(set);
        let (steps, then) = world.run(&mut Killing::new(GRACE.filter(|_| ask), in_seconds(9)));
        let survivors: BTreeSet<ProcId> = world.set.iter().filter(|sim| !sim.dead).map(|sim| sim.proc).collect();
        match then {
            Then::Empty => prop_assert!(survivors.is_empty()),
            Then::Stuck(named) => {
                prop_assert!(survivors.iter().all(|proc| named.contains(proc)));
                prop_assert!(world.set.iter().any(|sim| sim.unkillable && !sim.dead));
            }
            other => prop_assert!(false, "{other:?} is no end"),
        }
        prop_assert!(steps <= 4 * world.set.len() + 12, "{} steps for {}", steps, world.set.len());
    }
}

#[test]
fn nobody_is_called_gone_by_a_scan_that_met_somebody_freshly_dead() {
    let proc = |pid| ProcId { pid, start_ticks: 1 };
    let dead = |pid| Member { proc: proc(pid), tracker: false, busy: false, zombie: true };
    let alive = |pid| Member { zombie: false, ..dead(pid) };
    let mut killing = Killing::new(None, BootTime::default().after(Duration::from_secs(10)));
    let mut step = |members: &[Member]| killing.next(BootTime::default(), members).then;
    assert_eq!(step(&[dead(7)]), Then::Rescan, "its child may have been missed");
    assert_eq!(step(&[dead(7), dead(8)]), Then::Rescan, "as it was");
    assert_eq!(step(&[dead(7), dead(8), alive(9)]), Then::Rescan, "and here is the next");
    assert!(matches!(step(&[dead(7), dead(8), alive(9)]), Then::Wait { .. }));
    assert_eq!(step(&[dead(7), dead(8), dead(9)]), Then::Rescan);
    assert_eq!(step(&[dead(7), dead(9)]), Then::Empty, "those were known to be dead");
}

#[test]
fn who_forks_and_dies_faster_than_it_is_seen_is_named_in_the_end() {
    let late = BootTime::default().after(Duration::from_secs(10));
    let mut killing = Killing::new(None, late);
    let flee = |pid| Member { proc: ProcId { pid, start_ticks: 1 }, tracker: false, busy: false, zombie: true };
    assert_eq!(killing.next(BootTime::default(), &[flee(1)]).then, Then::Rescan);
    assert_eq!(killing.next(late, &[flee(2)]).then, Then::Stuck(vec![flee(2).proc]));
}
