use super::{Asker, Ended, Happened, Limit, Record};
use crate::engine::Swept;
use crate::model::{Actor, Pid, Reason, RunId, ServiceName, Signal};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How one run ended, or a start before there was a run, put together from its records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// `None`: there was no process.
    pub run_id: Option<RunId>,
    #[serde(flatten)]
    pub ended: Ended,
    /// Who asked, where somebody did.
    pub asked_by: Option<Asker>,
    pub at: Timestamp,
    pub started_at: Option<Timestamp>,
    /// What was exceeded.
    pub limit: Option<Limit>,
    /// What the probes said, which files changed, which signal devstack was sent, or why it could not be started.
    pub detail: Option<String>,
    /// When it was asked to stop.
    pub stopping_at: Option<Timestamp>,
    /// It did not stop in time, or nobody waited for that.
    pub killed: bool,
    pub swept: Vec<Swept>,
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
    fn new(record: &Record, ended: Ended) -> Self {
        Self {
            run_id: record.run_id,
            ended,
            asked_by: None,
            at: record.at,
            started_at: None,
            limit: None,
            detail: None,
            stopping_at: None,
            killed: false,
            swept: Vec::new(),
            then: None,
        }
    }

    /// There was no process to end.
    fn refused(record: &Record, message: &str) -> Self {
        Self { detail: Some(message.to_owned()), ..Self::new(record, Ended::new(Reason::StartFailed, Actor::Devstack)) }
    }

    /// There was no process: why not is its detail.
    pub fn is_refusal(&self) -> bool {
        self.ended.pid.is_none() && (self.run_id.is_none() || self.ended.reason == Reason::StartFailed)
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

/// How somebody had devstack stop a service.
enum Wish {
    Asked(Asker),
    Signalled(Signal),
}

/// The ends of `service`, oldest first. A run that is told to have ended twice ended the first time.
pub fn ends(records: &[Record], service: &ServiceName) -> Vec<End> {
    let mut ends: Vec<End> = Vec::new();
    let mut course = Course::default();
    let mut wish = None;
    // Of the last one nothing is left but what its post_stop hook does, which is a run of its own.
    let mut is_over = false;
    for record in records {
        if let Happened::Asked { what, services, by } = &record.happened
            && what != "start"
            && (services.is_empty() || services.contains(service))
        {
            wish = Some(Wish::Asked(by.clone()));
        }
        if let Happened::Signalled { signal } = record.happened {
            wish = Some(Wish::Signalled(signal));
        }
        if record.service.as_ref() != Some(service) {
            continue;
        }
        if record.run_id.is_some() && record.run_id != course.run {
            course = Course { run: record.run_id, ..Course::default() };
        }
        let is_told = matches!(record.happened, Happened::Ended(_)) && ends.iter().any(|end| end.run_id == record.run_id);
        let last = ends.last_mut();
        match &record.happened {
            Happened::Starting { .. } => {
                // What was asked for before has come to its end, whether there was anything to end or not.
                wish = None;
                is_over = false;
                course.started_at = Some(record.at);
                if let (Some(last), Some(run_id)) = (last.filter(|last| is_open(last.then.as_ref())), record.run_id) {
                    let after_seconds = (record.at.duration_since(last.at).as_secs_f64() * 1000.0).round() / 1000.0;
                    last.then = Some(Then::Started { run_id, after_seconds });
                }
            }
            Happened::Hook { hook, .. } => is_over = hook == "post_stop",
            Happened::OverLimit { limit } => course.limit = Some(limit.clone()),
            Happened::Unhealthy { reason, .. } => course.detail = Some(reason.clone()),
            Happened::FilesChanged { paths } => course.changed = Some(paths.join(", ")).filter(|paths| !paths.is_empty()),
            Happened::Stopping { .. } => course.stopping_at = Some(record.at),
            Happened::Killing { .. } => course.killed = true,
            Happened::Ended(_) if is_told => {}
            Happened::Ended(ended) => {
                let course = std::mem::take(&mut course);
                let reason = ended.reason;
                let (asked_by, signalled) = match wish.take().filter(|_| reason == Reason::Requested) {
                    Some(Wish::Asked(by)) => (Some(by), None),
                    Some(Wish::Signalled(signal)) => (None, Some(format!("devstack was sent {signal}"))),
                    None => (None, None),
                };
                ends.push(End {
                    asked_by,
                    started_at: course.started_at.or_else(|| before(record.at, ended.uptime_seconds)),
                    limit: course.limit.filter(|_| matches!(reason, Reason::MemoryLimit | Reason::CpuLimit)),
                    detail: match reason {
                        Reason::Unhealthy => course.detail,
                        Reason::FilesChanged => course.changed,
                        Reason::Requested => signalled,
                        _ => None,
                    },
                    stopping_at: course.stopping_at,
                    killed: course.killed,
                    swept: course.swept,
                    ..End::new(record, ended.clone())
                });
            }
            // A set that is killed as a whole is told before its main process has ended.
            Happened::Swept { processes } => match ends.iter_mut().rfind(|end| end.run_id == record.run_id || is_over) {
                Some(end) => end.swept.extend(processes.iter().cloned()),
                None => course.swept.extend(processes.iter().cloned()),
            },
            Happened::CutShort { during, reason } => {
                let asked_by = match wish.take().filter(|_| *reason == Reason::Requested) {
                    Some(Wish::Asked(by)) => Some(by),
                    Some(Wish::Signalled(_)) | None => None,
                };
                let (by, cause) = match reason {
                    Reason::StartFailed => (Actor::Devstack, ", as devstack was killed"),
                    _ => (Actor::User, ""),
                };
                let detail = Some(format!("cut short during {during}{cause}"));
                ends.push(End { asked_by, detail, ..End::new(record, Ended::new(*reason, by)) });
            }
            Happened::Refused { message, .. } => ends.push(End::refused(record, message)),
            Happened::RestartsIn { seconds } => follow(last, Then::RestartsIn { seconds: *seconds }),
            Happened::Stopped => follow(last, Then::Stopped),
            Happened::Exited => follow(last, Then::Exited),
            Happened::Failed { message, hint } => {
                let then = Some(Then::Failed { message: message.clone(), hint: hint.clone() });
                match last.filter(|last| last.then.is_none()) {
                    Some(last) => last.then = then,
                    None => ends.push(End { then, ..End::refused(record, message) }),
                }
            }
            Happened::Stuck { survivors } => follow(last, Then::Stuck { pids: survivors.iter().map(|one| one.pid).collect() }),
            Happened::SupervisorStarted { .. }
            | Happened::SupervisorLeft { .. }
            | Happened::Asked { .. }
            | Happened::Signalled { .. }
            | Happened::SettingUp { .. }
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
