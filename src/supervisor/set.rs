//! Which processes belong to a run: its tree, and what that tree left behind.
//!
//! Whatever a worker starts stays below it, or is re-parented to us or to our keeper when its parent ends; so the search looks at
//! our own trees and not at the machine. Only a run whose main process is nobody's child of ours needs the whole table.

use crate::cleanup::killing::Member;
use crate::cleanup::{self, Role};
use crate::model::{FileId, Pid, ProcId};
use crate::sys::procfs::{self, Reader, Stat};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What identifies the processes of one run.
#[derive(Debug, Clone)]
pub struct Traits {
    /// `None` while only set-up commands run.
    pub main: Option<ProcId>,
    /// The value of DEVSTACK_RUN.
    pub cookie: String,
    /// The value of DEVSTACK_ROOT: two checkouts of one project may well count their runs alike.
    pub root: PathBuf,
    /// See `sys::spawn::mark_of`.
    pub mark: u64,
    pub log: Option<FileId>,
    /// Seen below the main process while it lived.
    pub recorded: BTreeSet<ProcId>,
    /// Not below us: another process adopted it while no devstack was there.
    pub stranger: bool,
}

impl Traits {
    /// Keeps who belongs to the run now, so that it is known also after it has cut every other tie.
    pub fn record<'a>(&mut self, members: impl IntoIterator<Item = &'a Stat>) {
        self.recorded = members.into_iter().map(|stat| ProcId { pid: stat.pid, start_ticks: stat.start_ticks }).collect();
    }
}

/// Our own children and our keeper's, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Household {
    /// This process, and the keeper if there is one.
    parents: Vec<Pid>,
    /// Main processes of every run, commands that devstack itself runs, the supervisor: none of them is an orphan.
    known: BTreeSet<Pid>,
    /// Living or dead, they lost their parents.
    pub orphans: Vec<Stat>,
    /// No other run exists, so an orphan without any mark can only come from this one.
    alone: bool,
}

impl Household {
    pub fn look(parents: Vec<Pid>, known: BTreeSet<Pid>, alone: bool, root: &Path) -> Self {
        let mut reader = Reader::default();
        let children = parents.iter().flat_map(|parent| procfs::children(*parent).unwrap_or_default());
        let mut orphans = Vec::new();
        for pid in children.filter(|pid| !known.contains(pid)) {
            if !is_another_keeper(&mut reader, pid) && !is_another_projects(&mut reader, pid, root) {
                orphans.extend(reader.stat(pid).ok());
            }
        }
        Self { parents, known, orphans, alone }
    }

    pub fn is_parent(&self, pid: Pid) -> bool {
        self.parents.contains(&pid)
    }
}

/// A devstack that was started inside a worker belongs to its own project, with everything below it.
fn is_another_keeper(reader: &mut Reader, pid: Pid) -> bool {
    let argv = reader.argv(pid).unwrap_or_default();
    argv.len() == 4 && argv[0] == b"devstack" && argv[1] == b"supervise"
}

/// What another project's devstack started says so; it may have become our child when that devstack was killed.
fn is_another_projects(reader: &mut Reader, pid: Pid, root: &Path) -> bool {
    let said = reader.environ(pid, [b"DEVSTACK_ROOT"]).ok().and_then(|[said]| said);
    said.is_some_and(|said| said != root.as_os_str().as_encoded_bytes())
}

/// The processes of a run, except the main process once it is dead.
pub fn members(traits: &Traits, household: &Household) -> Vec<Member> {
    let mut search = Search::of(traits, household);
    search.found.values().map(|stat| member(&mut search.reader, stat)).collect()
}

/// The living processes of a run: the main process and its tree first, then what has left the tree.
pub fn tree_and_strays(traits: &Traits, household: &Household) -> (Vec<Stat>, Vec<Stat>) {
    let in_tree = traits.main.map(|main| tree(main.pid)).unwrap_or_default();
    let strays = Search::of(traits, household).found.into_values();
    let strays = strays.filter(|stat| !stat.is_dead() && in_tree.iter().all(|inside| inside.pid != stat.pid)).collect();
    (in_tree, strays)
}

/// The tree below a process, itself first.
pub fn tree(pid: Pid) -> Vec<Stat> {
    let mut search = Search { reader: Reader::default(), found: BTreeMap::new() };
    if let Ok(stat) = search.reader.stat(pid) {
        search.add_tree(stat);
    }
    let mut all: Vec<Stat> = search.found.into_values().collect();
    all.sort_by_key(|stat| (stat.pid != pid, stat.start_ticks, stat.pid));
    all
}

struct Search {
    reader: Reader,
    found: BTreeMap<Pid, Stat>,
}

impl Search {
    fn of(traits: &Traits, household: &Household) -> Self {
        let mut search = Self { reader: Reader::default(), found: BTreeMap::new() };
        if let Some(main) = traits.main
            && let Some(stat) = search.stat_of(main)
            && !stat.is_dead()
        {
            search.add_tree(stat);
        }
        for orphan in &household.orphans {
            if household.alone || belongs(&mut search.reader, traits, orphan) {
                search.add_tree(orphan.clone());
            }
        }
        for proc in &traits.recorded {
            if let Some(stat) = search.stat_of(*proc) {
                search.add_tree(stat);
            }
        }
        if traits.stranger {
            search.add_from_whole_table(traits, household);
        }
        search
    }

    fn stat_of(&mut self, proc: ProcId) -> Option<Stat> {
        self.reader.stat(proc.pid).ok().filter(|stat| stat.start_ticks == proc.start_ticks)
    }

    fn add_tree(&mut self, root: Stat) {
        let mut open = vec![root];
        while let Some(stat) = open.pop() {
            if self.found.contains_key(&stat.pid) {
                continue;
            }
            for child in self.reader.children(&stat).unwrap_or_default() {
                open.extend(self.reader.stat(child).ok());
            }
            self.found.insert(stat.pid, stat);
        }
    }

    fn add_from_whole_table(&mut self, traits: &Traits, household: &Household) {
        for pid in procfs::pids().unwrap_or_default() {
            if household.known.contains(&pid) || household.parents.contains(&pid) || self.found.contains_key(&pid) {
                continue;
            }
            if let Ok(stat) = self.reader.stat(pid)
                && belongs(&mut self.reader, traits, &stat)
            {
                self.add_tree(stat);
            }
        }
    }
}

/// Proofs 2 to 5 of the ownership rules and the inherited mark, the cheapest first.
fn belongs(reader: &mut Reader, traits: &Traits, stat: &Stat) -> bool {
    let id = ProcId { pid: stat.pid, start_ticks: stat.start_ticks };
    let same_session = || {
        // The number cannot be another's: while the main process is not collected it stays taken, and what started before
        // it cannot be its child.
        traits.main.is_some_and(|main| (stat.sid == main.pid || stat.pgid == main.pid) && stat.start_ticks >= main.start_ticks)
    };
    let same_cookie = |reader: &mut Reader| {
        let Ok([Some(run), Some(root)]) = reader.environ(stat.pid, [b"DEVSTACK_RUN", b"DEVSTACK_ROOT"]) else { return false };
        run == traits.cookie.as_bytes() && root == traits.root.as_os_str().as_encoded_bytes()
    };
    let same_log = || traits.log.is_some_and(|log| [1, 2].iter().any(|&fd| procfs::fd_target(stat.pid, fd) == Some(log)));
    let same_mark = |reader: &mut Reader| reader.mark(stat.pid).is_ok_and(|mark| mark == Some(traits.mark));
    traits.recorded.contains(&id) || (!traits.stranger && same_session()) || same_mark(reader) || same_cookie(reader) || same_log()
}

fn member(reader: &mut Reader, stat: &Stat) -> Member {
    let tracker = reader.argv(stat.pid).is_ok_and(|argv| cleanup::role_of(&argv) == Role::ResourceTracker);
    Member { proc: ProcId { pid: stat.pid, start_ticks: stat.start_ticks }, tracker, zombie: stat.is_dead() }
}
