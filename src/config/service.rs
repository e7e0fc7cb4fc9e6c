//! One service: defaults filled in, and what its keys mean together.

use super::error::Problem;
use super::paths::Paths;
use super::probe::{Address, Url};
use super::quantities::Seconds;
use super::read::{At, Faults};
use super::schema::{self, Health, HealthTable};
use super::value::{Argv, Count};
use crate::model::{
    EnvFile, HealthCheck, Hooks, KillMode, LogRotate, Patterns, Probe, Ready, ReadyWhen, RestartPolicy, Service, ServiceName, Setup,
    Signal, StartLimit,
};
use std::path::PathBuf;
use std::time::Duration;

/// What the services of a project share.
pub struct Shared<'a> {
    pub paths: Paths<'a>,
    pub root: PathBuf,
    pub log_dir: PathBuf,
    pub venv: Option<PathBuf>,
    pub env_files: Vec<EnvFile>,
}

const SECOND: Duration = Duration::from_secs(1);
const MIB: u64 = 1 << 20;
const ALIVE_AFTER: Duration = Duration::from_millis(500);

/// Mistakes are noted; the result is only of use when there are none.
pub fn resolve(name: &ServiceName, at: &At<schema::Service>, shared: &mut Shared<'_>, faults: &mut Faults) -> Service {
    let given = &at.value;
    let external = given.external.as_ref().is_some_and(|external| external.value);
    let command = argv(&given.command);
    if command.is_empty() && !external && !given.broken {
        let problem = Problem::new(format!("`{name}` has no command")).at(&at.key);
        faults.add(problem.hint("add for instance command = [\"python\", \"-m\", \"apps.worker\"], or external = true"));
    }
    let timeout = given.ready.as_ref().and_then(|ready| ready.value.timeout.clone());
    let ready_timeout = positive(&timeout, 30 * SECOND, "timeout", faults);
    let health = given.health.as_ref().and_then(|health| health_check(health, ready_timeout, faults));
    let when = ready_when(given, health.as_ref(), faults);
    if external && given.ready.is_none() && given.health.is_none() && !given.broken {
        let problem = Problem::new(format!("nothing says how to tell that external `{name}` is there")).at(&at.key);
        faults.add(problem.hint("add for instance ready = { tcp = \"127.0.0.1:5432\" }"));
    }
    let (restart_delay, restart_delay_max) = restart_delays(given, faults);
    Service {
        name: name.clone(),
        external,
        match_argv: given.r#match.as_ref().map_or_else(|| command.clone(), |words| words.value.0.clone()),
        command,
        cwd: given.cwd.as_ref().and_then(|cwd| shared.paths.folder(cwd, "cwd", faults)).unwrap_or_else(|| shared.root.clone()),
        env: given.env.as_ref().map(|env| env.value.0.clone()).unwrap_or_default(),
        env_files: env_files(given, shared, faults),
        venv: match &given.venv {
            Some(venv) => venv.value.0.as_ref().map(|folder| shared.paths.venv(folder)),
            None => shared.venv.clone(),
        },
        // Filled in by `references`, which knows the other services.
        depends_on: Vec::new(),
        groups: Vec::new(),
        setup: given.setup.as_ref().and_then(|setup| set_up(setup, shared, faults)),
        ports: given.ports.iter().flat_map(|ports| ports.value.iter().map(|port| port.value.0)).collect(),
        ready: Ready { when, timeout: ready_timeout },
        health,
        heartbeat_timeout: given.heartbeat_timeout.as_ref().map(|at| at.value.0).filter(|time| !time.is_zero()),
        max_runtime: given.max_runtime.as_ref().map(|at| at.value.0).filter(|time| !time.is_zero()),
        max_runtime_jitter: jitter(given, faults),
        memory_limit: given.memory_limit.as_ref().map(|at| at.value.0).filter(|bytes| *bytes > 0),
        cpu_limit: given.cpu_limit.as_ref().map(|at| at.value.0).filter(|percent| *percent > 0.0),
        cpu_window: positive(&given.cpu_window, 10 * SECOND, "cpu_window", faults),
        restart: given.restart.as_ref().map_or(RestartPolicy::OnFailure, |at| at.value.0),
        restart_delay,
        restart_delay_max,
        start_limit: start_limit(given, faults),
        stop_signal: given.stop_signal.as_ref().map_or(Signal::TERM, |at| at.value),
        stop_timeout: seconds(&given.stop_timeout, 30 * SECOND),
        kill_mode: given.kill_mode.as_ref().map_or(KillMode::Mixed, |at| at.value.0),
        health_port: given.health_port.as_ref().and_then(|at| at.value.0),
        log_file: log_file(name, at, shared, faults),
        log_rotate: log_rotate(given),
        watch: watch(given, shared, faults),
        hooks: hooks(given),
    }
}

fn argv(given: &Option<At<Argv>>) -> Vec<String> {
    given.as_ref().map(|words| words.value.0.clone()).unwrap_or_default()
}

fn seconds(given: &Option<At<Seconds>>, default: Duration) -> Duration {
    given.as_ref().map_or(default, |at| at.value.0)
}

fn positive(given: &Option<At<Seconds>>, default: Duration, name: &str, faults: &mut Faults) -> Duration {
    if let Some(at) = given.as_ref().filter(|at| at.value.0.is_zero()) {
        faults.add(
            Problem::new(format!("`{name}` must be longer than 0"))
                .at(&at.span)
                .hint(format!("remove the key to get its default, {}", humantime::format_duration(default))),
        );
    }
    seconds(given, default)
}

fn at_least_one(given: &Option<At<Count>>, default: u32, name: &str, faults: &mut Faults) -> u32 {
    if let Some(at) = given.as_ref().filter(|at| at.value.0 == 0) {
        let problem = Problem::new(format!("`{name}` must be at least 1")).at(&at.span);
        faults.add(problem.hint(format!("remove the key to get its default, {default}")));
    }
    given.as_ref().map_or(default, |at| at.value.0)
}

fn health_check(at: &At<Health>, ready_timeout: Duration, faults: &mut Faults) -> Option<HealthCheck> {
    let url_alone;
    let table: &HealthTable = match &at.value {
        Health::Table(table) => table,
        Health::Url(url) => {
            let url = At { key: at.key.clone(), span: at.span.clone(), value: url.clone() };
            url_alone = HealthTable { url: Some(url), ..HealthTable::default() };
            &url_alone
        }
    };
    let probes = probes(&table.url, &table.tcp, &table.exec);
    let probe = exactly_one("health", at, probes, table.broken, "{ url = \"http://127.0.0.1:9091/health\" }", faults);
    let check = HealthCheck {
        probe: Probe::Tcp(String::new()),
        interval: positive(&table.interval, 5 * SECOND, "interval", faults),
        timeout: positive(&table.timeout, 2 * SECOND, "timeout", faults),
        failures: at_least_one(&table.failures, 3, "failures", faults),
        start_period: seconds(&table.start_period, ready_timeout),
    };
    probe.map(|probe| HealthCheck { probe, ..check })
}

fn probes(url: &Option<At<Url>>, tcp: &Option<At<Address>>, exec: &Option<At<Argv>>) -> Vec<At<Probe>> {
    let url = url.as_ref().map(|at| with(at, Probe::Http(at.value.0.clone())));
    let tcp = tcp.as_ref().map(|at| with(at, Probe::Tcp(at.value.0.clone())));
    let exec = exec.as_ref().map(|at| with(at, Probe::Exec(at.value.0.clone())));
    [url, tcp, exec].into_iter().flatten().collect()
}

fn with<T, U>(at: &At<T>, value: U) -> At<U> {
    At { key: at.key.clone(), span: at.span.clone(), value }
}

fn exactly_one<T, C>(name: &str, at: &At<C>, mut found: Vec<At<T>>, broken: bool, example: &str, faults: &mut Faults) -> Option<T> {
    match found.as_slice() {
        [] if !broken => {
            let problem = Problem::new(format!("`{name}` does not say what to check")).at(&at.key);
            faults.add(problem.hint(format!("for instance {name} = {example}")));
        }
        [first, second, ..] => {
            let problem = Problem::new(format!("`{name}` has more than one check")).marked(&second.key, "and here");
            faults.add(problem.marked(&first.key, "one here").hint("keep one of them"));
        }
        _ => {}
    }
    (found.len() == 1).then(|| found.swap_remove(0).value)
}

fn ready_when(given: &schema::Service, health: Option<&HealthCheck>, faults: &mut Faults) -> ReadyWhen {
    let silent = || health.map_or(ReadyWhen::Delay(ALIVE_AFTER), |health| ReadyWhen::Probe(health.probe.clone()));
    let Some(at) = &given.ready else { return silent() };
    let ready = &at.value;
    if let Some(notify) = ready.notify.as_ref().filter(|notify| !notify.value) {
        faults.add(Problem::new("`notify` can only be true").at(&notify.span).hint("remove it to use the default"));
    }
    let mut found: Vec<At<ReadyWhen>> =
        probes(&ready.http, &ready.tcp, &ready.exec).into_iter().map(|at| with(&at, ReadyWhen::Probe(at.value.clone()))).collect();
    found.extend(ready.log.as_ref().map(|at| with(at, ReadyWhen::Log(at.value.0.clone()))));
    found.extend(ready.notify.as_ref().map(|at| with(at, ReadyWhen::Notify)));
    found.extend(ready.delay.as_ref().map(|at| with(at, ReadyWhen::Delay(at.value.0))));
    // `ready = { timeout = "60s" }` gives the default check more time.
    if found.is_empty() && ready.timeout.is_some() {
        return silent();
    }
    let example = "{ tcp = \"127.0.0.1:9091\" }";
    exactly_one("ready", at, found, ready.broken, example, faults).unwrap_or_else(silent)
}

fn restart_delays(given: &schema::Service, faults: &mut Faults) -> (Duration, Duration) {
    let delay = seconds(&given.restart_delay, SECOND);
    let most = seconds(&given.restart_delay_max, delay.max(60 * SECOND));
    if let Some(at) = given.restart_delay_max.as_ref().filter(|_| most < delay) {
        let problem = Problem::new("`restart_delay_max` is shorter than `restart_delay`").at(&at.span);
        let problem = given.restart_delay.as_ref().map_or(problem.clone(), |delay| problem.marked(&delay.span, "the delay"));
        faults.add(problem.hint("the delay doubles from restart_delay up to restart_delay_max"));
    }
    (delay, most)
}

fn jitter(given: &schema::Service, faults: &mut Faults) -> f64 {
    let Some(at) = &given.max_runtime_jitter else { return 0.0 };
    if at.value.0 > 100.0 {
        faults.add(Problem::new("`max_runtime_jitter` is more than 100%").at(&at.span).hint("for instance max_runtime_jitter = \"5%\""));
    }
    at.value.0 / 100.0
}

fn start_limit(given: &schema::Service, faults: &mut Faults) -> StartLimit {
    let limit = given.start_limit.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    StartLimit {
        burst: at_least_one(&limit.burst, 5, "burst", faults),
        interval: positive(&limit.interval, 600 * SECOND, "interval", faults),
    }
}

fn log_rotate(given: &schema::Service) -> LogRotate {
    let rotate = given.log_rotate.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    let size = rotate.size.map_or(50 * MIB, |at| at.value.0);
    LogRotate {
        size: (size > 0).then_some(size),
        keep: rotate.keep.map_or(5, |at| at.value.0),
        age: rotate.age.map(|at| at.value.0).filter(|age| !age.is_zero()),
        compress: rotate.compress.is_some_and(|at| at.value),
    }
}

fn hooks(given: &schema::Service) -> Hooks {
    let hooks = given.hooks.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    Hooks { pre_start: hooks.pre_start.map(|at| at.value.0), post_stop: hooks.post_stop.map(|at| at.value.0) }
}

fn env_files(given: &schema::Service, shared: &Shared<'_>, faults: &mut Faults) -> Vec<EnvFile> {
    let own = given.env_file.iter().flat_map(|files| &files.value.0);
    let own: Vec<EnvFile> = own.filter_map(|file| shared.paths.env_file(file, faults)).collect();
    shared.env_files.iter().cloned().chain(own).collect()
}

fn set_up(at: &At<schema::Setup>, shared: &Shared<'_>, faults: &mut Faults) -> Option<Setup> {
    let Some(command) = &at.value.command else {
        if !at.value.broken {
            let problem = Problem::new("`setup` has no command").at(&at.key);
            faults.add(problem.hint("for instance setup = { command = [\"make\", \"venv\"], creates = \".venv/bin/python\" }"));
        }
        return None;
    };
    let creates = at.value.creates.as_ref().and_then(|path| shared.paths.inside(&path.value, &path.span, "creates", faults));
    Some(Setup { command: command.value.0.clone(), creates })
}

fn watch(given: &schema::Service, shared: &Shared<'_>, faults: &mut Faults) -> Vec<String> {
    let patterns = given.watch.iter().flat_map(|patterns| &patterns.value);
    let mut inside = |pattern: &At<String>| {
        let path = shared.paths.inside(&pattern.value, &pattern.span, "watch", faults)?;
        let text = path.strip_prefix(&shared.root).ok()?.to_str()?.to_owned();
        if let Err((_, why)) = Patterns::new(std::slice::from_ref(&text)) {
            let problem = Problem::new(format!("`watch` has a pattern that cannot be understood: {why}")).at(&pattern.span);
            faults.add(problem.hint("for instance watch = [\"apps/mtproto/**/*.py\"]"));
        }
        Some(text)
    };
    patterns.filter_map(&mut inside).collect()
}

fn log_file(name: &ServiceName, at: &At<schema::Service>, shared: &mut Shared<'_>, faults: &mut Faults) -> PathBuf {
    let default = shared.log_dir.join(format!("dev_{name}.log"));
    let Some(given) = &at.value.log_file else {
        return default;
    };
    let text = given.value.replace("{service}", name.as_str());
    if text.contains(['{', '}']) {
        let problem = Problem::new("`log_file` has a placeholder other than {service}").at(&given.span);
        faults.add(problem.hint("for instance log_file = \"logs/dev_{service}.log\""));
    }
    let path = shared.paths.log(&text, &given.span, faults).unwrap_or(default);
    if path.is_dir() {
        let problem = Problem::new(format!("`log_file` is a folder: {}", path.display())).at(&given.span);
        faults.add(problem.hint("name a file in it: \"logs/dev_{service}.log\""));
    }
    path
}
