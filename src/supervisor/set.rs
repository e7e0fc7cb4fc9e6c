//! Which processes belong to a run: its group, its tree, and what that tree left behind, each with what proves it.
//!
//! Whatever a worker starts stays below it, or is re-parented to us or to our keeper when its parent ends; so the search looks at
//! our own trees and not at the machine. Only a run whose main process is nobody's child of ours needs the whole table.

use crate::cleanup::killing::Member;
use crate::cleanup::{self, Evidence, Role};
use crate::model::{COOKIE, FileId, Mark, Pid, ProcId, ROOT};
use crate::sys::cgroup::Group;
use crate::sys::procfs::{self, Reader, Stat};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What identifies the processes of one run.
#[derive(Debug)]
pub struct Traits {
    /// `None` while only set-up commands run.
    pub main: Option<ProcId>,
    /// The process that was started, where another one is the main process now.
    pub pin: Option<ProcId>,
    /// The value of DEVSTACK_RUN.
    pub cookie: String,
    /// The value of DEVSTACK_ROOT: two checkouts of one project may well count their runs alike.
    pub root: PathBuf,
    pub mark: Mark,
    pub log: Option<FileId>,
    /// Seen below the main process while it lived.
    pub recorded: BTreeSet<ProcId>,
    /// Not below us: another process adopted it while no devstack was there.
    pub stranger: bool,
    /// Where the machine lets us make one.
    pub group: Option<Group>,
}

impl Traits {
    /// Who is not collected before the run is over.
    pub fn held(&self) -> Vec<ProcId> {
        self.main.into_iter().chain(self.pin).collect()
    }

    /// Keeps who belongs to the run now, so that it is known also after it has cut every other tie.
    pub fn record<'a>(&mut self, members: impl IntoIterator<Item = &'a Stat>) {
        self.recorded = members.into_iter().map(Stat::id).collect();
    }
}

/// Our own children and our keeper's, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Household {
    /// This process, and the keeper if there is one.
    parents: Vec<Pid>,
    /// Main processes of every run and those that were it, commands that devstack itself runs, the supervisor: none of them is an orphan.
    known: BTreeSet<Pid>,
    /// Living or dead, they lost their parents.
    pub orphans: Vec<Stat>,
}

impl Household {
    pub fn look(parents: Vec<Pid>, known: BTreeSet<Pid>, root: &Path) -> Self {
        let mut reader = Reader::default();
        let children = parents.iter().flat_map(|parent| procfs::children(*parent).unwrap_or_default());
        let mut orphans = Vec::new();
        for pid in children.filter(|pid| !known.contains(pid)) {
            let Ok(stat) = reader.stat(pid) else { continue };
            if stat.is_dead() || !is_another_devstacks(&mut reader, pid, root) {
                orphans.push(stat);
            }
        }
        Self { parents, known, orphans }
    }

    pub fn is_parent(&self, pid: Pid) -> bool {
        self.parents.contains(&pid)
    }

    fn is_out_of_reach(&self, pid: Pid) -> bool {
        self.known.contains(&pid) || self.parents.contains(&pid)
    }
}

/// A devstack that was started inside a worker, and what another project's devstack started: it may have become our child when
/// that devstack was killed.
fn is_another_devstacks(reader: &mut Reader, pid: Pid, root: &Path) -> bool {
    let argv = reader.argv(pid).unwrap_or_default();
    let keeper = argv.len() == 4 && argv[0] == b"devstack" && argv[1] == b"supervise";
    let said = reader.environ(pid, [ROOT.as_bytes()]).ok().and_then(|[said]| said);
    keeper || said.is_some_and(|said| said != root.as_os_str().as_encoded_bytes())
}

/// One process of a run, and what proves it.
#[derive(Debug, Clone)]
pub struct Belonging {
    pub stat: Stat,
    pub by: Evidence,
    /// It left the tree of the main process, or that has ended.
    pub stray: bool,
}

impl Belonging {
    pub fn member(&self, reader: &mut Reader) -> Member {
        let tracker = reader.argv(self.stat.pid).is_ok_and(|argv| cleanup::role_of(&argv) == Role::ResourceTracker);
        Member { proc: self.stat.id(), tracker, busy: self.stat.is_busy(), zombie: self.stat.is_dead() }
    }
}

/// The processes of a run, except the main process once it is dead.
pub fn belongings(traits: &Traits, household: &Household) -> Vec<Belonging> {
    Search::of(traits, household).found.into_values().collect()
}

/// The process with this number, if the mark of the run is on it: the cheapest question whose answer no process can change.
pub fn marked(reader: &mut Reader, traits: &Traits, household: &Household, pid: Pid) -> Option<Stat> {
    let is_marked = !household.is_out_of_reach(pid)
        && reader.mark(pid).is_ok_and(|mark| mark == Some(traits.mark))
        && !is_another_devstacks(reader, pid, &traits.root);
    is_marked.then(|| reader.stat(pid).ok()).flatten().filter(|stat| !stat.is_dead())
}

/// As the killing of the set sees them.
pub fn members(belongings: &[Belonging]) -> Vec<Member> {
    let mut reader = Reader::default();
    belongings.iter().map(|one| one.member(&mut reader)).collect()
}

/// The living processes of a run: the main process and its tree first, then what has left the tree.
pub fn tree_and_strays(traits: &Traits, household: &Household) -> (Vec<Stat>, Vec<Stat>) {
    let living = belongings(traits, household).into_iter().filter(|one| !one.stat.is_dead());
    let (strays, inside): (Vec<_>, Vec<_>) = living.partition(|one| one.stray);
    let stats = |list: Vec<Belonging>| list.into_iter().map(|one| one.stat).collect::<Vec<_>>();
    let (mut inside, strays) = (stats(inside), stats(strays));
    inside.sort_by_key(|stat| (Some(stat.pid) != traits.main.map(|main| main.pid), stat.start_ticks, stat.pid));
    (inside, strays)
}

/// The living processes of a run, its main process first, as cheaply as they can be listed: by the kernel where there is a group.
pub fn living(traits: &Traits, household: &Household) -> Vec<Stat> {
    let Some(group) = &traits.group else {
        let (mut tree, strays) = tree_and_strays(traits, household);
        tree.extend(strays);
        return tree;
    };
    let mut reader = Reader::default();
    let mut stats: Vec<Stat> = group.members().into_iter().filter_map(|pid| reader.stat(pid).ok()).collect();
    stats.sort_by_key(|stat| Some(stat.pid) != traits.main.map(|main| main.pid));
    stats
}

/// The tree below a process, itself first.
pub fn tree(pid: Pid) -> Vec<Stat> {
    let mut search = Search { reader: Reader::default(), found: BTreeMap::new() };
    if let Ok(stat) = search.reader.stat(pid) {
        search.add_tree(stat, Evidence::Recorded, false);
    }
    let mut all: Vec<Stat> = search.found.into_values().map(|one| one.stat).collect();
    all.sort_by_key(|stat| (stat.pid != pid, stat.start_ticks, stat.pid));
    all
}

struct Search {
    reader: Reader,
    found: BTreeMap<Pid, Belonging>,
}

impl Search {
    fn of(traits: &Traits, household: &Household) -> Self {
        let mut search = Self { reader: Reader::default(), found: BTreeMap::new() };
        for held in traits.held() {
            if let Some(stat) = search.stat_of(held).filter(|stat| !stat.is_dead()) {
                search.add_tree(stat, Evidence::Recorded, false);
            }
        }
        search.add_group(traits, household);
        for orphan in &household.orphans {
            search.add_if_proven(traits, orphan);
        }
        for proc in &traits.recorded {
            search.add_recorded(*proc, &traits.root);
        }
        if traits.stranger {
            search.add_from_whole_table(traits, household);
        }
        search
    }

    fn stat_of(&mut self, proc: ProcId) -> Option<Stat> {
        self.reader.stat(proc.pid).ok().filter(|stat| stat.start_ticks == proc.start_ticks)
    }

    /// A tree shares the proof of its topmost process.
    fn add_tree(&mut self, root: Stat, by: Evidence, stray: bool) {
        let mut open = vec![(root, by)];
        while let Some((stat, by)) = open.pop() {
            if self.found.contains_key(&stat.pid) {
                continue;
            }
            for child in self.reader.children(&stat).unwrap_or_default() {
                open.extend(self.reader.stat(child).ok().map(|stat| (stat, Evidence::Descendant)));
            }
            self.found.insert(stat.pid, Belonging { stat, by, stray });
        }
    }

    /// The kernel keeps the list, whatever a process does to itself. What somebody else's devstack has in there stays out.
    fn add_group(&mut self, traits: &Traits, household: &Household) {
        for pid in traits.group.iter().flat_map(Group::members) {
            if self.found.contains_key(&pid) || household.is_out_of_reach(pid) || is_another_devstacks(&mut self.reader, pid, &traits.root)
            {
                continue;
            }
            if let Ok(stat) = self.reader.stat(pid) {
                self.add_tree(stat, Evidence::Cgroup, true);
            }
        }
    }

    /// A devstack that the worker started may have been seen below it in the instant before it detached itself.
    fn add_recorded(&mut self, proc: ProcId, root: &Path) {
        if let Some(stat) = self.stat_of(proc).filter(|stat| !self.found.contains_key(&stat.pid))
            && !is_another_devstacks(&mut self.reader, proc.pid, root)
        {
            self.add_tree(stat, Evidence::Recorded, true);
        }
    }

    fn add_if_proven(&mut self, traits: &Traits, stat: &Stat) {
        if let Some(by) = proof(&mut self.reader, traits, stat) {
            self.add_tree(stat.clone(), by, true);
        }
    }

    fn add_from_whole_table(&mut self, traits: &Traits, household: &Household) {
        for pid in procfs::pids().unwrap_or_default() {
            if household.is_out_of_reach(pid) || self.found.contains_key(&pid) {
                continue;
            }
            if let Ok(stat) = self.reader.stat(pid) {
                self.add_if_proven(traits, &stat);
            }
        }
    }
}

/// What proves an orphan to be of this run, the cheapest to read first.
fn proof(reader: &mut Reader, traits: &Traits, stat: &Stat) -> Option<Evidence> {
    // The number cannot be another's: while the main process is not collected it stays taken, and what started before it cannot
    // be its child.
    let same_session =
        || traits.main.is_some_and(|main| (stat.sid == main.pid || stat.pgid == main.pid) && stat.start_ticks >= main.start_ticks);
    if traits.recorded.contains(&stat.id()) {
        return Some(Evidence::Recorded);
    }
    if !traits.stranger && same_session() {
        return Some(Evidence::Session);
    }
    carried_proof(reader, traits, stat)
}

/// What only a process of this run has, whatever its number and whoever its parent.
pub fn carried_proof(reader: &mut Reader, traits: &Traits, stat: &Stat) -> Option<Evidence> {
    if reader.mark(stat.pid).is_ok_and(|mark| mark == Some(traits.mark)) {
        return Some(Evidence::Mark);
    }
    if let Ok([Some(run), Some(root)]) = reader.environ(stat.pid, [COOKIE.as_bytes(), ROOT.as_bytes()])
        && run == traits.cookie.as_bytes()
        && root == traits.root.as_os_str().as_encoded_bytes()
    {
        return Some(Evidence::Cookie);
    }
    let log = traits.log?;
    [1, 2].iter().any(|&fd| procfs::fd_target(stat.pid, fd) == Some(log)).then_some(Evidence::LogFile)
}
