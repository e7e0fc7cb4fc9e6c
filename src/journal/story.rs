use super::record::exit_of;
use super::{Asker, Happened, LastWords, Limit, Record};
use crate::engine::Swept;
use crate::model::{Actor, Exit, Pid, Reason, RunId, ServiceName, Signal};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How one run ended, or a start before there was a run, put together from its records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// `None`: there was no process.
    pub run_id: Option<RunId>,
    pub pid: Option<Pid>,
    pub code: Option<u8>,
    pub signal: Option<Signal>,
    pub reason: Reason,
    pub by: Actor,
    /// Who asked, where somebody did.
    pub asked_by: Option<Asker>,
    pub at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub uptime_seconds: Option<f64>,
    pub was_ready: bool,
    /// What was exceeded.
    pub limit: Option<Limit>,
    /// What the probes said, which files changed, or why it could not be started.
    pub detail: Option<String>,
    /// When it was asked to stop.
    pub stopping_at: Option<Timestamp>,
    /// It did not stop in time, or nobody waited for that.
    pub killed: bool,
    pub swept: Vec<Swept>,
    #[serde(flatten)]
    pub last_words: LastWords,
    /// `None`: that is not known, or not yet.
    pub then: Option<Then>,
}

/// What followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Then {
    /// By devstack or by somebody, so long afterwards.
    Started {
        run_id: RunId,
        after_seconds: f64,
    },
    RestartsIn {
        seconds: f64,
    },
    Stopped,
    Exited,
    Failed {
        message: String,
        hint: Option<String>,
    },
    Stuck {
        pids: Vec<Pid>,
    },
}

impl End {
    fn new(record: &Record, reason: Reason, by: Actor) -> Self {
        Self {
            run_id: record.run_id,
            pid: None,
            code: None,
            signal: None,
            reason,
            by,
            asked_by: None,
            at: record.at,
            started_at: None,
            uptime_seconds: None,
            was_ready: false,
            limit: None,
            detail: None,
            stopping_at: None,
            killed: false,
            swept: Vec::new(),
            last_words: LastWords::default(),
            then: None,
        }
    }

    pub fn exit(&self) -> Exit {
        exit_of(self.code, self.signal)
    }

    /// There was no process to end.
    pub fn is_refusal(&self) -> bool {
        self.reason == Reason::StartFailed && self.pid.is_none()
    }
}

/// What is known of the present run before it ends.
#[derive(Default)]
struct Course {
    run: Option<RunId>,
    started_at: Option<Timestamp>,
    limit: Option<Limit>,
    detail: Option<String>,
    changed: Option<String>,
    stopping_at: Option<Timestamp>,
    killed: bool,
    swept: Vec<Swept>,
}

/// The ends of `service`, oldest first. A run that is told to have ended twice ended the first time.
pub fn ends(records: &[Record], service: &ServiceName) -> Vec<End> {
    let mut ends: Vec<End> = Vec::new();
    let mut course = Course::default();
    let mut asked = None;
    for record in records {
        if let Happened::Asked { services, by, .. } = &record.happened
            && (services.is_empty() || services.contains(service))
        {
            asked = Some(by.clone());
        }
        if record.service.as_ref() != Some(service) {
            continue;
        }
        if record.run_id.is_some() && record.run_id != course.run {
            course = Course { run: record.run_id, ..Course::default() };
        }
        let is_told = matches!(record.happened, Happened::Ended { .. }) && ends.iter().any(|end| end.run_id == record.run_id);
        let last = ends.last_mut();
        match &record.happened {
            Happened::Starting { .. } => {
                course.started_at = Some(record.at);
                if let (Some(last), Some(run_id)) = (last.filter(|last| is_open(last.then.as_ref())), record.run_id) {
                    let after_seconds = (record.at.duration_since(last.at).as_secs_f64() * 1000.0).round() / 1000.0;
                    last.then = Some(Then::Started { run_id, after_seconds });
                }
            }
            Happened::OverLimit { limit } => course.limit = Some(limit.clone()),
            Happened::Unhealthy { reason, .. } => course.detail = Some(reason.clone()),
            Happened::FilesChanged { paths } => course.changed = Some(paths.join(", ")).filter(|paths| !paths.is_empty()),
            Happened::Stopping { .. } => course.stopping_at = Some(record.at),
            Happened::Killing { .. } => course.killed = true,
            Happened::Ended { .. } if is_told => {}
            Happened::Ended { pid, code, signal, reason, by, uptime_seconds, was_ready, last_words } => {
                let course = std::mem::take(&mut course);
                let explains = |wanted: Reason| *reason == wanted;
                ends.push(End {
                    pid: *pid,
                    code: *code,
                    signal: *signal,
                    asked_by: asked.take().filter(|_| explains(Reason::Requested)),
                    started_at: course.started_at.or_else(|| before(record.at, *uptime_seconds)),
                    uptime_seconds: *uptime_seconds,
                    was_ready: *was_ready,
                    limit: course.limit.filter(|_| explains(Reason::MemoryLimit) || explains(Reason::CpuLimit)),
                    detail: match reason {
                        Reason::Unhealthy => course.detail,
                        Reason::FilesChanged => course.changed,
                        _ => None,
                    },
                    stopping_at: course.stopping_at,
                    killed: course.killed,
                    swept: course.swept,
                    last_words: last_words.clone(),
                    ..End::new(record, *reason, *by)
                });
            }
            // A set that is killed as a whole is told before its main process has ended.
            Happened::Swept { processes } => match ends.iter_mut().rfind(|end| end.run_id == record.run_id) {
                Some(end) => end.swept.extend(processes.iter().cloned()),
                None => course.swept.extend(processes.iter().cloned()),
            },
            Happened::Refused { message, .. } => {
                ends.push(End { detail: Some(message.clone()), ..End::new(record, Reason::StartFailed, Actor::Devstack) });
            }
            Happened::RestartsIn { seconds } => follow(last, Then::RestartsIn { seconds: *seconds }),
            Happened::Stopped => follow(last, Then::Stopped),
            Happened::Exited => follow(last, Then::Exited),
            Happened::Failed { message, hint } => match last.filter(|last| last.then.is_none()) {
                Some(last) => last.then = Some(Then::Failed { message: message.clone(), hint: hint.clone() }),
                None => ends.push(End {
                    detail: Some(message.clone()),
                    then: Some(Then::Failed { message: message.clone(), hint: hint.clone() }),
                    ..End::new(record, Reason::StartFailed, Actor::Devstack)
                }),
            },
            Happened::Stuck { survivors } => follow(last, Then::Stuck { pids: survivors.iter().map(|one| one.pid).collect() }),
            Happened::SupervisorStarted { .. }
            | Happened::SupervisorLeft { .. }
            | Happened::Asked { .. }
            | Happened::SettingUp { .. }
            | Happened::Hook { .. }
            | Happened::HookFailed { .. }
            | Happened::WatchTrouble { .. }
            | Happened::Waiting { .. }
            | Happened::Cleared { .. }
            | Happened::Cleaned(_)
            | Happened::Ready { .. }
            | Happened::Present
            | Happened::Adopted { .. }
            | Happened::Late { .. }
            | Happened::MainIs { .. }
            | Happened::MainPidRefused { .. }
            | Happened::NearLimit { .. }
            | Happened::Lost { .. } => {}
        }
    }
    ends
}

fn before(at: Timestamp, seconds: Option<f64>) -> Option<Timestamp> {
    at.checked_sub(SignedDuration::try_from_secs_f64(seconds?).ok()?).ok()
}

fn is_open(then: Option<&Then>) -> bool {
    matches!(then, None | Some(Then::RestartsIn { .. } | Then::Stuck { .. }))
}

fn follow(end: Option<&mut End>, then: Then) {
    if let Some(end) = end.filter(|end| is_open(end.then.as_ref())) {
        end.then = Some(then);
    }
}

#[cfg(test)]
mod tests;
