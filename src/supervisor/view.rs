//! What status shows: the stack's states with what was measured beside them.

use super::activity::Look;
use super::run::Run;
use super::set::{self, Household};
use crate::control::{HealthView, LastExitView, Limits, MemoryTrend, ProcessView, ServiceView};
use crate::engine::health::Activity;
use crate::engine::{Now, Slot, Stack, State};
use crate::model::{BootTime, MIB, Probe, ProcId, Project, ReadyWhen, Service, ServiceName};
use crate::sys::cgroup::Group;
use crate::sys::procfs::{self, Stat};

/// Of one service. `run`: what the shell holds for it, if it runs.
pub fn service(project: &Project, stack: &Stack, name: &ServiceName, slot: &Slot, usage: Option<&Usage>, now: Now) -> ServiceView {
    let spec = &slot.spec;
    let process = slot.process.as_ref();
    let uptime = process.map(|process| now.boot.since(process.spawned_at).as_secs_f64());
    let recycle_at = match slot.state {
        State::Running { recycle_at, .. } => recycle_at,
        _ => None,
    };
    ServiceView {
        name: name.clone(),
        state: slot.state.word(),
        ready: slot.state.is_ready(),
        health: health(slot, usage.and_then(|usage| usage.activity.as_ref()), now),
        pid: process.map(|process| process.main.pid),
        run_id: slot.state.run().filter(|_| process.is_some()),
        started_at: process.map(|process| process.started_at),
        uptime_seconds: uptime.map(tenth),
        remaining_seconds: recycle_at.map(|at| tenth(at.since(now.boot).as_secs_f64())),
        restarts: slot.history.restarts,
        restarts_by_reason: slot.restarted.clone(),
        last_exit: slot.last_exit.as_ref().map(LastExitView::from),
        cpu_percent: usage.map(|usage| tenth(usage.cpu_percent)),
        memory_mb: usage.map(|usage| tenth(usage.memory_bytes as f64 / MIB)),
        processes: usage.map_or(0, |usage| count(usage.tree.len() + usage.strays.len())),
        threads: usage.map_or(0, |usage| usage.tree.iter().chain(&usage.strays).map(|stat| stat.threads).sum()),
        memory_trend: usage.and_then(|usage| usage.trend.clone()),
        limits: limits(spec),
        ports: spec.ports.clone(),
        log_file: spec.log_file.strip_prefix(&project.root).unwrap_or(&spec.log_file).display().to_string(),
        strays: usage.map_or(0, |usage| count(usage.strays.len())),
        detail: detail(stack, name, slot, now),
        status_text: slot.heard.status_text.clone().filter(|_| process.is_some()),
        external: spec.external,
        tree: Vec::new(),
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn limits(spec: &Service) -> Limits {
    Limits {
        max_runtime_hours: spec.max_runtime.map(|longest| longest.as_secs_f64() / 3600.0),
        memory_limit_mb: spec.memory_limit.map(|bytes| bytes as f64 / MIB),
        cpu_limit_percent: spec.cpu_limit,
    }
}

fn health(slot: &Slot, activity: Option<&Activity>, now: Now) -> HealthView {
    let last = slot.health.last.as_ref();
    let (word, why) = slot.wellbeing(activity, now);
    let (status, reason) = match &slot.state {
        State::Present => ("healthy", "healthy"),
        State::Running { .. } if slot.heard.stopping => ("stopping", "it_says_so"),
        State::Running { .. } => (word.word(), why.as_str()),
        State::Starting { late_at: None, .. } => ("unhealthy", "not_ready_in_time"),
        State::Starting { .. } | State::Spawning { .. } | State::SettingUp { .. } | State::Waiting => ("starting", "not_ready"),
        State::Clearing { .. } | State::PreStart { .. } => ("starting", "not_ready"),
        State::Stopping { .. } | State::Killing { .. } | State::PostStop { .. } => ("stopping", "shutdown_requested"),
        State::Stopped => ("stopped", "not_running"),
        State::Draining { .. } | State::Stuck { .. } | State::Backoff { .. } | State::Exited { .. } | State::Failed { .. } => {
            ("dead", "not_running")
        }
    };
    let seen = last.filter(|_| slot.process.is_some());
    HealthView {
        status: status.to_owned(),
        reason: reason.to_owned(),
        checked_at: if slot.process.is_some() { Some(seen.map_or(now.wall, |probed| probed.at)) } else { None },
        heartbeat_age_seconds: slot.heard.beat_age(now).filter(|_| slot.process.is_some()).map(|age| tenth(age.as_secs_f64())),
        latency_ms: seen.map(|probed| (probed.latency.as_secs_f64() * 10_000.0).round() / 10.0),
    }
}

fn detail(stack: &Stack, name: &ServiceName, slot: &Slot, now: Now) -> Option<String> {
    match &slot.state {
        State::Waiting => {
            let blockers: Vec<String> = stack.blockers(name).iter().map(ToString::to_string).collect();
            Some(format!("waits for {}", blockers.join(", ")))
        }
        State::SettingUp { .. } => Some("its set-up runs".to_owned()),
        State::PreStart { .. } => Some("its pre_start hook runs".to_owned()),
        State::PostStop { .. } => Some("its post_stop hook runs".to_owned()),
        State::Starting { .. } => Some(format!("waits until {}", wanted(&slot.spec))),
        State::Backoff { start_at } => Some(format!("starts again in {:.1} s", start_at.since(now.boot).as_secs_f64())),
        State::Failed { cause } => Some(cause.message.clone()),
        State::Stuck { survivors, .. } => {
            let named: Vec<String> = survivors.iter().map(|(pid, state)| format!("pid {pid} ({state})")).collect();
            Some(format!("survived SIGKILL: {}", named.join(", ")))
        }
        _ => None,
    }
}

/// What a service is waited for, as the rest of a sentence.
pub fn wanted(service: &Service) -> String {
    match &service.ready.when {
        ReadyWhen::Probe(Probe::Http(url)) => format!("{url} answers"),
        ReadyWhen::Probe(Probe::Tcp(address)) => format!("{address} accepts a connection"),
        ReadyWhen::Probe(Probe::Exec(command)) => format!("`{}` succeeds", command.join(" ")),
        ReadyWhen::Log(pattern) => format!("its log has a line that matches {pattern:?}"),
        ReadyWhen::Notify => "it says READY=1".to_owned(),
        ReadyWhen::Delay(delay) => format!("it has lived for {} s", delay.as_secs_f64()),
    }
}

/// What a run uses: its tree, and what has left the tree.
pub struct Usage {
    /// The main process first.
    pub tree: Vec<Stat>,
    pub strays: Vec<Stat>,
    pub memory_bytes: u64,
    pub cpu_percent: f64,
    /// Since processor time was last used; `None` for who sees it for the first time.
    pub activity: Option<Activity>,
    pub trend: Option<MemoryTrend>,
}

/// Looks at the processes of a run; the share of a core is the mean since the last look, at first since its start.
pub fn measure(run: &mut Run, household: &Household, now: BootTime) -> Option<Usage> {
    let main = run.main()?;
    let (tree, strays) = set::tree_and_strays(&run.traits, household);
    run.traits.record(tree.iter().chain(&strays));
    let since_start = || run.traits.pin.map(|pin| (0.0, procfs::started_at(pin.start_ticks)));
    let before = run.sampled.or_else(since_start);
    let (usage, seconds) = usage(main, tree, strays, run.traits.group.as_ref(), before, now)?;
    run.sampled = Some((seconds, now));
    Some(Usage { activity: activity(run, &usage.tree, now), trend: trend(run), ..usage })
}

fn activity(run: &mut Run, tree: &[Stat], now: BootTime) -> Option<Activity> {
    let look = Look::of(tree, now)?;
    let activity = run.quiet_since.as_ref().map(|before| look.since(before));
    if activity.is_none_or(|activity| !activity.cpu.is_zero()) {
        run.quiet_since = Some(look);
    }
    activity
}

fn trend(run: &Run) -> Option<MemoryTrend> {
    let (trend, limit) = (run.monitor.as_ref()?.trend(), run.service.memory_limit?);
    Some(MemoryTrend {
        peak_mb: tenth(trend.peak()? as f64 / MIB),
        slope_mb_per_hour: trend.slope().map(|slope| tenth(slope * 3600.0 / MIB)),
        limit_in_seconds: trend.reaches(limit).map(|left| left.as_secs_f64().round()),
    })
}

/// As [`measure`], by somebody who knows nothing but the main process.
pub fn measure_tree(main: ProcId, now: BootTime) -> Option<Usage> {
    usage(main, set::tree(main.pid), Vec::new(), None, None, now).map(|(usage, _)| usage)
}

fn usage(
    main: ProcId,
    tree: Vec<Stat>,
    strays: Vec<Stat>,
    group: Option<&Group>,
    before: Option<(f64, BootTime)>,
    now: BootTime,
) -> Option<(Usage, f64)> {
    if tree.first().is_none_or(|first| first.start_ticks != main.start_ticks) {
        return None;
    }
    let all = || tree.iter().chain(&strays);
    let seconds = cpu_seconds(group, all());
    let (used, since) = before.unwrap_or((0.0, procfs::started_at(main.start_ticks)));
    let elapsed = now.since(since).as_secs_f64();
    let cpu_percent = if elapsed > 0.0 { ((seconds - used) / elapsed * 100.0).max(0.0) } else { 0.0 };
    let memory_bytes = all().map(Stat::rss_bytes).sum();
    Some((Usage { tree, strays, memory_bytes, cpu_percent, activity: None, trend: None }, seconds))
}

/// Processor time of a run since its start. The kernel's own sum where there is a group; otherwise that of its processes, where
/// children that ended are counted by whoever waited for them.
pub fn cpu_seconds<'a>(group: Option<&Group>, processes: impl IntoIterator<Item = &'a Stat>) -> f64 {
    let ticks = |stat: &Stat| stat.utime + stat.stime + stat.cutime + stat.cstime;
    let of_processes = || procfs::started_at(processes.into_iter().map(ticks).sum()).as_nanos() as f64 / 1e9;
    group.and_then(Group::cpu_time).map_or_else(of_processes, |time| time.as_secs_f64())
}

/// The processes of a tree for a person, parents before children.
pub fn processes(usage: &Usage, now: BootTime) -> Vec<ProcessView> {
    let main = usage.tree.first().map(|stat| stat.pid);
    let view = |stat: &Stat| {
        let argv = procfs::argv(stat.pid).unwrap_or_default();
        let command = argv.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ");
        ProcessView {
            pid: stat.pid,
            ppid: stat.ppid,
            role: if Some(stat.pid) == main { "main".to_owned() } else { crate::cleanup::role_of(&argv).word().to_owned() },
            command,
            memory_mb: tenth(stat.rss_bytes() as f64 / MIB),
            uptime_seconds: tenth(now.since(procfs::started_at(stat.start_ticks)).as_secs_f64()),
        }
    };
    usage.tree.iter().chain(&usage.strays).map(view).collect()
}
