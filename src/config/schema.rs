//! The mirror of devstack.toml: every key, its type, its words for an editor. What the keys mean together is `resolve`'s.
//!
//! One declaration makes the reader, the list of expected keys in an error, and `completions/devstack.schema.json`.

use super::probe::{Address, Pattern, Url};
use super::quantities::{Hours, Megabytes, Percent, Seconds};
use super::read::{At, Faults, Read, field, unknown_keys};
use super::tree::{Node, Value};
use super::value::{Argv, Choice, Count, EnvFiles, Environment, MaybePort, Port, Venv};
use crate::model::{KillMode, RestartPolicy, Signal};
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use std::collections::BTreeMap;

/// A table with a fixed set of keys, each of which may be silent.
macro_rules! table {
    ($(#[$about:meta])* $name:ident = $example:literal { $( $(#[$help:meta])* $key:ident: $type:ty, )* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Default, JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub struct $name {
            $( $(#[$help])* pub $key: Option<At<$type>>, )*
            /// Something in it could not be read, so nothing should be said about what is missing.
            #[schemars(skip)]
            pub broken: bool,
        }

        impl $name {
            /// Without the `r#` that lets a keyword be a field.
            pub const KEYS: &[&str] = &[$( {
                let key = stringify!($key).as_bytes();
                match key {
                    [b'r', b'#', bare @ ..] => match std::str::from_utf8(bare) { Ok(key) => key, Err(_) => "" },
                    _ => stringify!($key),
                }
            } ),*];
        }

        impl Read for $name {
            const WHAT: &'static str = "a table";
            const EXAMPLE: &'static str = $example;
            fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
                let Value::Table(table) = &node.value else {
                    faults.mismatch::<Self>(node, name);
                    return None;
                };
                let mut broken = unknown_keys(table, name, Self::KEYS, faults);
                let mut keys = Self::KEYS.iter();
                $( let $key = field(table, keys.next().copied().unwrap_or_default(), &mut broken, faults); )*
                Some(Self { $( $key, )* broken })
            }
        }
    };
}

table! {
    /// The workers of a project and what supervises them: devstack.toml.
    File = "" {
        /// What holds for the project as a whole.
        project: Project,
        /// One endpoint for the whole project: /metrics, /health, /ready, /api/v1/… and the dashboard. Off by default.
        http: Http,
        /// Any key of a service; holds for every service that does not set it itself. `env` is joined with the service's own.
        defaults: Service,
        /// The services, by name: 1 to 63 characters of a-z, 0-9, `_` and `-`.
        services: BTreeMap<String, At<Service>>,
        /// Names for several services at once.
        groups: BTreeMap<String, At<Vec<At<String>>>>,
    }
}

table! {
    /// What holds for the project as a whole.
    Project = "[project]" {
        /// Default: the folder's name.
        name: String,
        /// Where the logs are. Default: "logs".
        log_dir: String,
        /// What all logs together may take; beyond it the oldest old ones go. 0: any. Default: "10GB".
        log_limit: Megabytes,
        /// The virtual environment whose bin/ leads PATH; false: none. Default: .venv, then venv, if there.
        venv: Venv,
        /// Files of KEY=value lines, read again at every (re)start; a name ending in "?" may be missing.
        env_file: EnvFiles,
    }
}

table! {
    /// One endpoint for the whole project.
    Http = "[http]\nlisten = \"127.0.0.1:9464\"" {
        /// Address and port, for instance "127.0.0.1:9464".
        listen: Address,
    }
}

table! {
    /// One worker, or something outside that workers depend on.
    Service = "[services.bot]\ncommand = [\"python\", \"-m\", \"apps.bot\"]" {
        /// The program and its arguments: a list, or a string split as a shell splits words. No shell runs.
        command: Argv,
        /// Not run by devstack, only checked; `command`, if any, is run once when the check fails.
        external: bool,
        /// The folder it runs in. Default: the project's.
        cwd: String,
        /// Environment variables; they win over env_file.
        env: Environment,
        /// Files of KEY=value lines, read after the project's own.
        env_file: EnvFiles,
        /// The virtual environment, if not the project's; false: none.
        venv: Venv,
        /// Services that must be ready before it starts.
        depends_on: Vec<At<String>>,
        /// Run before a start, while what it creates is missing.
        setup: Setup,
        /// The command line by which a copy started by hand is recognised. Default: `command`.
        r#match: Argv,
        /// Ports that must be free before a start.
        ports: Vec<At<Port>>,
        /// Asked again and again while it runs: a URL, or a table.
        health: Health,
        /// When it counts as started. Default: the health check passes, or else it is still alive after 500 ms.
        ready: Ready,
        /// Restart when no heartbeat came for so long; 0: never.
        heartbeat_timeout: Seconds,
        /// Restart after so long; a bare number is hours. 0: never.
        max_runtime: Hours,
        /// By how much a run may end earlier, so that a group does not restart together.
        max_runtime_jitter: Percent,
        /// Of the whole process tree; a bare number is MB (1024 × 1024 bytes). 0: none.
        memory_limit: Megabytes,
        /// Percent of one core, mean over cpu_window. 0: none.
        cpu_limit: Percent,
        /// Default: "10s".
        cpu_window: Seconds,
        /// What happens after it ended by itself. Default: "on-failure".
        restart: Choice<RestartPolicy>,
        /// Before an automatic start; doubles up to restart_delay_max, and back after a stable minute. By up to a tenth longer,
        /// so that what failed together does not come back together. 0: at once. Default: "1s".
        restart_delay: Seconds,
        /// Default: "60s".
        restart_delay_max: Seconds,
        /// At most so many automatic starts in an interval. Default: 5 in 600 s.
        start_limit: StartLimit,
        /// Default: "SIGTERM".
        stop_signal: Signal,
        /// How long it may take to stop before it is killed. Default: "30s".
        stop_timeout: Seconds,
        /// Who gets the stop signal and who is killed after it, in systemd's words. Default: "mixed".
        kill_mode: Choice<KillMode>,
        /// devstack serves /health, /metrics and /ready here, for a worker that does not. 0: none.
        health_port: MaybePort,
        /// Default: "logs/dev_{service}.log".
        log_file: String,
        /// When the log is rotated and how many old ones are kept. Default: 50 MB, 5.
        log_rotate: LogRotate,
        /// Globs relative to the project: started again when one of these files changes. `*` stays within a name, `**` does not; a
        /// folder means all of it. What git ignores, `__pycache__`, the venv and logs are left out.
        watch: Vec<At<String>>,
        /// Commands around a run.
        hooks: Hooks,
    }
}

table! {
    /// Run before a start, while what it creates is missing.
    Setup = "{} = { command = [\"make\", \"venv\"], creates = \".venv/bin/python\" }" {
        command: Argv,
        /// Done once this exists.
        creates: String,
    }
}

table! {
    /// The exact form of a health check: one of url, tcp, exec.
    HealthTable = "{} = { url = \"http://127.0.0.1:9091/health\" }" {
        /// Healthy on a 2xx answer. http only.
        url: Url,
        /// "host:port"; healthy when a connection opens.
        tcp: Address,
        /// A command; healthy when it exits 0.
        exec: Argv,
        /// Default: "5s".
        interval: Seconds,
        /// Default: "2s".
        timeout: Seconds,
        /// So many failures in a row make it unhealthy. Default: 3.
        failures: Count,
        /// Failures before this age of a run, or before its first success, do not count. Default: ready.timeout.
        start_period: Seconds,
    }
}

table! {
    /// When a service counts as started: one of http, tcp, exec, log, notify, delay.
    Ready = "{} = { http = \"http://127.0.0.1:9091/ready\", timeout = \"30s\" }" {
        /// A URL; ready on a 2xx answer. http only.
        http: Url,
        /// "host:port"; ready when a connection opens.
        tcp: Address,
        /// A command; ready when it exits 0.
        exec: Argv,
        /// A regular expression; ready when a line of the log matches.
        log: Pattern,
        /// true: the service says READY=1, as sd_notify(3) does.
        notify: bool,
        /// Ready when still alive after so long.
        delay: Seconds,
        /// How long a start waits for it. Default: "30s".
        timeout: Seconds,
    }
}

table! {
    /// At most `burst` automatic starts within `interval`.
    StartLimit = "{} = { burst = 5, interval = \"600s\" }" {
        burst: Count,
        interval: Seconds,
    }
}

table! {
    /// When the log is rotated and how many old ones are kept.
    LogRotate = "{} = { size = \"50MB\", keep = 5 }" {
        /// A bare number is MB. 0: never rotated.
        size: Megabytes,
        keep: Count,
        /// Also once the last rotation is so long ago and something is written. Default: however long.
        age: Seconds,
        /// Old logs from the second one on, as NAME.2.gz. Default: false.
        compress: bool,
    }
}

table! {
    /// Commands around a run.
    Hooks = "{} = { pre_start = [\"make\", \"migrate\"] }" {
        /// Before each start, automatic ones too, within ready.timeout; the start fails with it.
        pre_start: Argv,
        /// After each end, and after a start that failed once pre_start had begun; within stop_timeout, at least 5 s.
        /// In its environment: DEVSTACK_EXIT_REASON, and DEVSTACK_EXIT_CODE or DEVSTACK_EXIT_SIGNAL.
        post_stop: Argv,
    }
}

/// A URL alone, or all of it.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
pub enum Health {
    Url(Url),
    Table(Box<HealthTable>),
}

impl Read for Health {
    const WHAT: &'static str = "a URL or a table";
    const EXAMPLE: &'static str = HealthTable::EXAMPLE;
    fn read(node: &Node, name: &str, faults: &mut Faults) -> Option<Self> {
        match &node.value {
            Value::Text(_) => Url::read(node, name, faults).map(Self::Url),
            Value::Table(_) => HealthTable::read(node, name, faults).map(|table| Self::Table(Box::new(table))),
            _ => {
                faults.mismatch::<Self>(node, name);
                None
            }
        }
    }
}

/// What is missing in the service is taken from `[defaults]`.
macro_rules! take_missing {
    ($service:expr, $defaults:expr, $($key:ident)*) => {
        $( if $service.$key.is_none() { $service.$key.clone_from(&$defaults.$key); } )*
    };
}

impl Service {
    /// A key that the service sets wins; only `env` is joined, variable by variable.
    pub fn with_defaults(mut self, defaults: &Self) -> Self {
        if let (Some(own), Some(shared)) = (&mut self.env, &defaults.env) {
            for (key, value) in &shared.value.0 {
                own.value.0.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        take_missing!(self, defaults, command external cwd env env_file venv depends_on setup r#match ports health ready
            heartbeat_timeout max_runtime max_runtime_jitter memory_limit cpu_limit cpu_window restart restart_delay
            restart_delay_max start_limit stop_signal stop_timeout kill_mode health_port log_file log_rotate watch hooks);
        self.broken |= defaults.broken;
        self
    }
}

/// `completions/devstack.schema.json`: what an editor needs to complete and check devstack.toml.
pub fn json_schema() -> String {
    let settings = schemars::generate::SchemaSettings::draft07().with_transform(RecursiveTransform(without_null));
    let mut schema = settings.into_generator().into_root_schema_for::<File>();
    schema.insert("title".to_owned(), "devstack.toml".into());
    format!("{:#}\n", schema.as_value())
}

/// A key that may be silent is an `Option` here; in TOML there is no null.
fn without_null(schema: &mut Schema) {
    let null = serde_json::json!("null");
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(types) = object.get_mut("type").and_then(|types| types.as_array_mut()) {
        types.retain(|kind| *kind != null);
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(words) = object.get_mut("enum").and_then(|words| words.as_array_mut()) {
        words.retain(|word| !word.is_null());
    }
    let Some(choices) = object.get_mut("anyOf").and_then(|choices| choices.as_array_mut()) else { return };
    choices.retain(|choice| choice.get("type") != Some(&null));
    // Draft 7 ignores what stands beside a `$ref`, so the description keeps it inside `allOf`.
    if choices.len() == 1 {
        let only = std::mem::take(choices);
        object.remove("anyOf");
        object.insert("allOf".to_owned(), only.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_GENERATED=1 cargo test` writes it anew.
    #[test]
    fn the_schema_for_editors_is_the_one_of_these_types() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("completions/devstack.schema.json");
        let generated = json_schema();
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("folder");
            std::fs::write(&file, &generated).expect("written");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), generated, "{} is out of date", file.display());
        assert!(!generated.contains("null"), "TOML has no null");
    }

    #[test]
    fn every_key_has_words_for_an_editor() {
        let schema: serde_json::Value = serde_json::from_str(&json_schema()).expect("JSON");
        for (key, value) in schema["definitions"]["Service"]["properties"].as_object().expect("keys") {
            assert!(value["description"].is_string(), "{key}");
        }
    }
}
