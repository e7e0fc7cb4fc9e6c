use super::LastWords;
use crate::engine::{Cause, Notice, Swept};
use crate::model::{Actor, Exit, LastExit, MIB, Measured, Pid, Reason, RunId, ServiceName, Signal};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A moment in the life of a service, or of devstack itself. Stable: fields and kinds are added, never changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub at: Timestamp,
    /// `None`: of devstack itself.
    pub service: Option<ServiceName>,
    pub run_id: Option<RunId>,
    #[serde(flatten)]
    pub happened: Happened,
}

/// What it was. Memory is in MB of 1024 × 1024 bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happened {
    /// A supervisor began, after a crash or an upgrade as well.
    SupervisorStarted {
        pid: Pid,
        version: String,
    },
    SupervisorLeft {
        pid: Pid,
    },
    /// Somebody asked for something: `start`, `stop`, `shutdown`. No services named: all of them.
    Asked {
        #[serde(rename = "for")]
        what: String,
        services: Vec<ServiceName>,
        by: Asker,
    },
    /// devstack itself was told by a signal to stop everything.
    Signalled {
        signal: Signal,
    },
    SettingUp {
        command: Vec<String>,
    },
    Hook {
        hook: String,
        command: Vec<String>,
    },
    HookFailed {
        message: String,
        hint: Option<String>,
    },
    /// Something about the files that it watches is not as asked for.
    WatchTrouble {
        message: String,
    },
    Waiting {
        on: Vec<ServiceName>,
    },
    /// A stale copy or an orphan was ended before the start.
    Cleared {
        pid: Pid,
        command: String,
        reason: String,
    },
    /// `cleanup-workers` ended it.
    Cleaned(Removed),
    Starting {
        pid: Pid,
        /// Where the output of this run begins in its log, in bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        log_offset: Option<u64>,
    },
    Ready {
        pid: Pid,
        seconds: f64,
    },
    /// An external service answers.
    Present,
    Adopted {
        pid: Pid,
    },
    /// Alive, but not ready within its time.
    Late {
        pid: Pid,
        seconds: f64,
    },
    /// It has named another process of its run as its main one.
    MainIs {
        pid: Pid,
    },
    MainPidRefused {
        said: Option<Pid>,
    },
    NearLimit {
        limit: Limit,
    },
    OverLimit {
        limit: Limit,
    },
    Unhealthy {
        failures: u32,
        reason: String,
    },
    Stopping {
        reason: Reason,
    },
    Killing {
        reason: Reason,
    },
    Ended(Ended),
    Swept {
        processes: Vec<Swept>,
    },
    RestartsIn {
        seconds: f64,
    },
    /// Files that it watches, relative to the project: some of them, or none where they could not be counted.
    FilesChanged {
        paths: Vec<String>,
    },
    /// A start was taken back before there was a process.
    CutShort {
        during: String,
        reason: Reason,
    },
    /// A start was given up before there was a process.
    Refused {
        message: String,
        hint: Option<String>,
    },
    Stopped,
    Exited,
    Failed {
        message: String,
        hint: Option<String>,
    },
    Stuck {
        survivors: Vec<Survivor>,
    },
    /// The disk took nothing: so many records are missing here.
    Lost {
        records: u64,
    },
}

/// How a main process ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// `None`: it is not known, or there was no process.
    pub pid: Option<Pid>,
    pub code: Option<u8>,
    pub signal: Option<Signal>,
    pub reason: Reason,
    pub by: Actor,
    /// `None`: it was not seen.
    pub uptime_seconds: Option<f64>,
    pub was_ready: bool,
    #[serde(flatten)]
    pub last_words: LastWords,
}

impl Ended {
    /// Of which nothing else is known.
    pub fn new(reason: Reason, by: Actor) -> Self {
        Self { pid: None, code: None, signal: None, reason, by, uptime_seconds: None, was_ready: false, last_words: LastWords::default() }
    }

    pub fn exit(&self) -> Exit {
        self.code.map(Exit::Code).or(self.signal.map(Exit::Signal)).unwrap_or(Exit::Unobserved)
    }
}

/// The process that asked, as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asker {
    pub pid: Pid,
    pub uid: u32,
    pub command: String,
    /// The program that it was started from: a shell, cron, an editor.
    pub parent: Option<String>,
}

/// One process that `cleanup-workers` ended, in the words of its report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Removed {
    pub pid: Pid,
    pub command: String,
    pub kind: String,
    pub action: String,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survivor {
    pub pid: Pid,
    /// Its state, and what it waits in.
    pub doing: String,
}

/// Memory in MB, or CPU in percent of one core.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    pub of: String,
    pub used: f64,
    pub limit: f64,
}

impl From<&Measured> for Limit {
    fn from(measured: &Measured) -> Self {
        let (of, used, limit) = match *measured {
            Measured::Memory { used, limit } => ("memory", megabytes(used), megabytes(limit)),
            Measured::Cpu { used, limit } => ("cpu", tenths(used), limit),
        };
        Self { of: of.to_owned(), used, limit }
    }
}

impl Limit {
    /// `2051 MB of 2048 MB`, `85 % CPU of 80 %`.
    pub fn words(&self) -> String {
        match self.of.as_str() {
            "memory" => format!("{:.0} MB of {:.0} MB", self.used, self.limit),
            _ => format!("{:.0} % CPU of {:.0} %", self.used, self.limit),
        }
    }
}

pub(super) fn megabytes(bytes: u64) -> f64 {
    tenths(bytes as f64 / MIB)
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn thousandths(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

impl Record {
    /// `last_words` is asked for when a run has ended.
    pub fn of(at: Timestamp, service: &ServiceName, notice: &Notice, last_words: impl FnOnce() -> LastWords) -> Self {
        let words = |cause: &Cause| (cause.message.clone(), cause.hint.clone());
        let (run_id, happened) = match notice {
            Notice::SettingUp { command } => (None, Happened::SettingUp { command: command.clone() }),
            Notice::Hooking { hook, command } => (None, Happened::Hook { hook: hook.clone(), command: command.clone() }),
            Notice::HookFailed(cause) => {
                let (message, hint) = words(cause);
                (None, Happened::HookFailed { message, hint })
            }
            Notice::Watching { trouble } => (None, Happened::WatchTrouble { message: trouble.clone() }),
            Notice::WaitingFor(on) => (None, Happened::Waiting { on: on.clone() }),
            Notice::Clearing { pid, command, why } => {
                (None, Happened::Cleared { pid: *pid, command: command.clone(), reason: why.clone() })
            }
            Notice::Swept { run, processes } => (Some(*run), Happened::Swept { processes: processes.clone() }),
            Notice::Starting { run, main, log_offset } => (Some(*run), Happened::Starting { pid: main.pid, log_offset: Some(*log_offset) }),
            Notice::Ready { run, main, seconds } => (Some(*run), Happened::Ready { pid: main.pid, seconds: thousandths(*seconds) }),
            Notice::Present => (None, Happened::Present),
            Notice::Adopted { run, main } => (Some(*run), Happened::Adopted { pid: main.pid }),
            Notice::Late { run, main, seconds, .. } => (Some(*run), Happened::Late { pid: main.pid, seconds: *seconds }),
            Notice::MainIs { run, main } => (Some(*run), Happened::MainIs { pid: main.pid }),
            Notice::MainPidRefused { run, said } => (Some(*run), Happened::MainPidRefused { said: *said }),
            Notice::NearLimit { run, measured } => (Some(*run), Happened::NearLimit { limit: measured.into() }),
            Notice::OverLimit { run, measured } => (Some(*run), Happened::OverLimit { limit: measured.into() }),
            Notice::Unhealthy { run, failures, reason } => {
                (Some(*run), Happened::Unhealthy { failures: *failures, reason: reason.clone() })
            }
            Notice::Stopping { run, why } => (Some(*run), Happened::Stopping { reason: *why }),
            Notice::Killing { run, why } => (Some(*run), Happened::Killing { reason: *why }),
            Notice::Ended { run, main, exit, reason, by, seconds, was_ready, .. } => {
                let ended = Ended {
                    pid: main.map(|main| main.pid),
                    code: exit.code(),
                    signal: exit.signal(),
                    reason: *reason,
                    by: *by,
                    uptime_seconds: Some(thousandths(*seconds)),
                    was_ready: *was_ready,
                    last_words: last_words(),
                };
                (Some(*run), Happened::Ended(ended))
            }
            Notice::RestartsIn { seconds } => (None, Happened::RestartsIn { seconds: thousandths(*seconds) }),
            Notice::FilesChanged { paths } => (None, Happened::FilesChanged { paths: paths.clone() }),
            Notice::Refused(cause) => {
                let (message, hint) = words(cause);
                (None, Happened::Refused { message, hint })
            }
            Notice::CutShort { during, why } => (None, Happened::CutShort { during: during.clone(), reason: *why }),
            Notice::Stopped { .. } => (None, Happened::Stopped),
            Notice::Exited { .. } => (None, Happened::Exited),
            Notice::Failed(cause) => {
                let (message, hint) = words(cause);
                (None, Happened::Failed { message, hint })
            }
            Notice::Stuck { survivors } => {
                let survivor = |(pid, doing): &(Pid, String)| Survivor { pid: *pid, doing: doing.clone() };
                (None, Happened::Stuck { survivors: survivors.iter().map(survivor).collect() })
            }
        };
        Self { at, service: Some(service.clone()), run_id, happened }
    }

    /// An end that the ledger knows and no record tells: devstack was killed between the two.
    pub fn of_last_exit(service: &ServiceName, last: &LastExit) -> Self {
        let ended = Ended { code: last.exit.code(), signal: last.exit.signal(), ..Ended::new(last.reason, last.by) };
        Self { at: last.at, service: Some(service.clone()), run_id: Some(last.run), happened: Happened::Ended(ended) }
    }

    pub fn of_devstack(at: Timestamp, happened: Happened) -> Self {
        Self { at, service: None, run_id: None, happened }
    }

    /// One line, with its end.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// The records of a stretch of the journal, in order.
#[derive(Debug, Default, PartialEq)]
pub struct Records {
    pub records: Vec<Record>,
    /// Lines that are none: torn by a full disk, or of a later version.
    pub passed_over: usize,
}

impl Records {
    /// Whole lines; an unfinished one at the end is one that is being written.
    pub fn read(bytes: &[u8]) -> Self {
        let mut read = Self::default();
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            read.read_line(line);
        }
        read
    }

    /// One line, with its end.
    pub fn read_line(&mut self, line: &[u8]) {
        let Some(line) = line.strip_suffix(b"\n").filter(|line| !line.is_empty()) else { return };
        match serde_json::from_slice(line) {
            Ok(record) => self.records.push(record),
            Err(_) => self.passed_over += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> ServiceName {
        ServiceName::new("web").expect("a name")
    }

    #[test]
    fn a_record_is_one_line_that_reads_back() {
        let cause = Cause::new(crate::engine::CauseKind::PortTaken, "two\nlines \u{1b}[2J", None);
        let record = Record::of(Timestamp::UNIX_EPOCH, &service(), &Notice::Failed(cause), LastWords::default);
        let line = record.to_line();
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        assert_eq!(Records::read(&line), Records { records: vec![record], passed_over: 0 });
    }

    #[test]
    fn what_is_no_record_is_passed_over_and_counted_and_what_is_unfinished_waits() {
        let line = Record::of(Timestamp::UNIX_EPOCH, &service(), &Notice::Present, LastWords::default).to_line();
        let torn = &line[..line.len() / 2];
        let later = br#"{"at":"1970-01-01T00:00:00Z","service":null,"run_id":null,"event":"teleported","to":"mars"}"#;
        let bytes = [&line[..], torn, b"\n\n", &line, later, b"\n", torn].concat();
        let read = Records::read(&bytes);
        assert_eq!((read.records.len(), read.passed_over), (2, 2));
    }

    #[test]
    fn fields_that_a_later_version_added_do_no_harm() {
        let line = br#"{"at":"1970-01-01T00:00:00Z","service":"web","run_id":"1-2","event":"starting","pid":7,"mood":"good"}
"#;
        let read = Records::read(line);
        assert_eq!(read.records[0].happened, Happened::Starting { pid: 7, log_offset: None });
    }
}
