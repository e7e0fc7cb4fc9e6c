//! What is announced becomes records, and the records of a moment one write.
//!
//! Guards that no end is missing: what the ledger knows of ends and the journal does not, because devstack was killed in between
//! or the disk was full, is told with the next start of a supervisor.

use crate::engine::{Notice, Stack, State};
use crate::journal::{Happened, LastWords, Record, Records};
use crate::model::{Exit, LastExit, RunId, ServiceName};
use crate::sys::folders::Folders;
use crate::sys::journal_file::{self, JournalFile};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::io;

/// Bytes that wait for a disk to take something again; what comes on top of that is only counted.
const MOST_WAITING: usize = 1 << 20;

/// Where an end is looked for first: reading everything that is kept takes longer.
const REACH: u64 = 256 * 1024;

pub struct Journal {
    /// `None`: nobody asked for one.
    file: Option<JournalFile>,
    waiting: Vec<u8>,
    lost: u64,
    /// The last write failed, and that has been said.
    is_troubled: bool,
}

impl Journal {
    pub fn of(folders: Option<&Folders>) -> Self {
        Self { file: folders.map(|folders| JournalFile::new(folders.journal())), waiting: Vec::new(), lost: 0, is_troubled: false }
    }

    pub fn note(&mut self, at: Timestamp, service: &ServiceName, notice: &Notice, last_words: impl FnOnce() -> LastWords) {
        self.add(|| Record::of(at, service, notice, last_words));
    }

    pub fn note_devstack(&mut self, at: Timestamp, happened: Happened) {
        self.add(|| Record::of_devstack(at, happened));
    }

    fn add(&mut self, record: impl FnOnce() -> Record) {
        if self.file.is_none() {
            return;
        }
        if self.waiting.len() < MOST_WAITING {
            self.waiting.extend(record().to_line());
        } else {
            self.lost += 1;
        }
    }

    /// # Errors
    /// When the disk takes nothing, once until it does again; it is tried with whatever happens next.
    pub fn flush(&mut self, at: Timestamp) -> io::Result<()> {
        let Some(file) = self.file.as_mut().filter(|_| !self.waiting.is_empty()) else { return Ok(()) };
        let waiting = self.waiting.len();
        if self.lost > 0 {
            self.waiting.extend(Record::of_devstack(at, Happened::Lost { records: self.lost }).to_line());
        }
        let added = file.add(&self.waiting);
        self.waiting.truncate(waiting);
        match added {
            Ok(()) => {
                self.waiting.clear();
                (self.lost, self.is_troubled) = (0, false);
                Ok(())
            }
            Err(_) if std::mem::replace(&mut self.is_troubled, true) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), format!("the journal cannot be written: {error}"))),
        }
    }

    /// The ends that this stack knows and no record tells.
    pub fn make_up(&mut self, folders: &Folders, stack: &Stack, now: Timestamp) {
        let known = ends(stack, now);
        if known.is_empty() {
            return;
        }
        let mut told = ended_in(&journal_file::read_end(&folders.journal(), REACH));
        // One that cannot be read tells nothing, and the end is rather told twice than never.
        if !known.iter().all(|(_, last)| told.contains(&last.run))
            && let Ok(content) = journal_file::read_all(&folders.journal())
        {
            told = ended_in(&content.lines);
        }
        for (service, last) in known.iter().filter(|(_, last)| !told.contains(&last.run)) {
            self.add(|| Record::of_last_exit(service, last));
        }
    }
}

/// The runs whose end these lines tell.
fn ended_in(lines: &[u8]) -> BTreeSet<RunId> {
    let records = Records::read(lines).records.into_iter();
    records.filter(|record| matches!(record.happened, Happened::Ended(_))).filter_map(|record| record.run_id).collect()
}

/// Of runs that had a process.
fn ends(stack: &Stack, now: Timestamp) -> Vec<(ServiceName, LastExit)> {
    let mut ends = Vec::new();
    for (name, slot) in stack.slots() {
        let ended = slot.last_exit.as_ref().filter(|last| !matches!(last.exit, Exit::NotSpawned(_)));
        ends.extend(ended.map(|last| (name.clone(), last.clone())));
        // It has ended, and what follows is still under way.
        if let State::Draining { run, exit, why, .. } | State::Stuck { run, exit: Some(exit), why, .. } = &slot.state {
            ends.push((name.clone(), LastExit::new(*run, exit.clone(), *why, now)));
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProjectId;
    use crate::supervisor::rig::{Rig, seconds};
    use crate::supervisor::scenarios::{app, crashes_after};
    use std::time::Duration;

    fn folders() -> (tempfile::TempDir, Folders) {
        let home = tempfile::tempdir().expect("a folder");
        let variable = |name: &str| (name == "XDG_STATE_HOME").then(|| home.path().into());
        let folders = Folders::of(&ProjectId("p".to_owned()), variable).expect("named");
        folders.create().expect("created");
        (home, folders)
    }

    fn crashed() -> Rig {
        let mut rig = app(|it| it.restart_delay = seconds(50), [crashes_after(Duration::ZERO)]);
        rig.start(&["app"]);
        rig.pass(seconds(2));
        rig
    }

    fn told(folders: &Folders) -> Vec<Record> {
        Records::read(&journal_file::read_all(&folders.journal()).expect("readable").lines).records
    }

    #[test]
    fn an_end_that_only_the_ledger_knows_is_made_up_for_and_no_other() {
        let (_home, folders) = folders();
        let mut rig = crashed();
        let last = rig.slot("app").last_exit.clone().expect("it has ended");
        for _ in 0..2 {
            let mut journal = Journal::of(Some(&folders));
            journal.make_up(&folders, rig.os().saved.as_ref().expect("saved"), Timestamp::UNIX_EPOCH);
            journal.flush(Timestamp::UNIX_EPOCH).expect("written");
        }
        let [only] = told(&folders).try_into().expect("one record");
        assert_eq!((only.run_id, only.at), (Some(last.run), last.at));
        assert!(matches!(&only.happened, Happened::Ended(ended) if ended.code == Some(1)), "{only:?}");
    }

    #[test]
    fn an_end_that_was_told_long_ago_is_not_told_again() {
        let (_home, folders) = folders();
        let mut rig = crashed();
        let stack = rig.os().saved.clone().expect("saved");
        let mut journal = Journal::of(Some(&folders));
        journal.make_up(&folders, &stack, Timestamp::UNIX_EPOCH);
        // So much that the end is in an older file, and far from its end.
        for _ in 0..8 {
            journal.note_devstack(Timestamp::UNIX_EPOCH, Happened::SupervisorStarted { pid: 1, version: "x".repeat(REACH as usize) });
            journal.flush(Timestamp::UNIX_EPOCH).expect("written");
        }
        let before = told(&folders).len();
        let mut again = Journal::of(Some(&folders));
        again.make_up(&folders, &stack, Timestamp::UNIX_EPOCH);
        again.flush(Timestamp::UNIX_EPOCH).expect("nothing");
        assert_eq!(told(&folders).len(), before);
    }

    #[test]
    fn what_the_disk_refuses_waits_and_what_is_too_much_is_counted() {
        let (_home, folders) = folders();
        let mut journal = Journal::of(Some(&folders));
        std::fs::remove_dir_all(&folders.state).expect("gone");
        let long = Happened::SupervisorStarted { pid: 1, version: "x".repeat(MOST_WAITING / 2) };
        for _ in 0..4 {
            journal.note_devstack(Timestamp::UNIX_EPOCH, long.clone());
        }
        assert!(journal.flush(Timestamp::UNIX_EPOCH).is_err());
        assert!(journal.flush(Timestamp::UNIX_EPOCH).is_ok(), "said once");
        folders.create().expect("back");
        journal.flush(Timestamp::UNIX_EPOCH).expect("written");
        let told = told(&folders);
        assert_eq!((told.len(), &told[2].happened), (3, &Happened::Lost { records: 2 }));
    }
}
