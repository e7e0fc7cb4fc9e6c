//! What each target is given, read back by the little that can be read here; the real readers are asked in tests/suite/export.rs.

use super::*;
use crate::model::{
    EnvFile, HealthCheck, Hooks, KillMode, LogRotate, Probe, ProjectId, Ready, ReadyWhen, RestartPolicy, Service, Signal, StartLimit,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn service(name: &str) -> Service {
    Service {
        name: ServiceName::new(name).expect("a name"),
        external: false,
        command: vec!["python3".to_owned(), "-m".to_owned(), "apps.worker".to_owned()],
        cwd: "/srv/shop".into(),
        env: BTreeMap::new(),
        env_files: Vec::new(),
        venv: None,
        depends_on: Vec::new(),
        groups: Vec::new(),
        setup: None,
        match_argv: Vec::new(),
        ports: Vec::new(),
        health: None,
        ready: Ready { when: ReadyWhen::Delay(Duration::ZERO), timeout: Duration::from_secs(30) },
        heartbeat_timeout: None,
        max_runtime: None,
        max_runtime_jitter: 0.0,
        memory_limit: None,
        cpu_limit: None,
        cpu_window: Duration::from_secs(10),
        restart: RestartPolicy::Always,
        restart_delay: Duration::from_secs(1),
        restart_delay_max: Duration::from_secs(60),
        start_limit: StartLimit { burst: 5, interval: Duration::from_secs(600) },
        stop_signal: Signal::TERM,
        stop_timeout: Duration::from_secs(10),
        kill_mode: KillMode::Mixed,
        health_port: None,
        log_file: "/srv/shop/logs/dev_web.log".into(),
        log_rotate: LogRotate { size: Some(50 << 20), keep: 5, age: None, compress: false },
        watch: Vec::new(),
        hooks: Hooks::default(),
    }
}

fn project(services: Vec<Service>) -> Project {
    Project {
        name: "shop".to_owned(),
        id: ProjectId("shop-1f".to_owned()),
        root: "/srv/shop".into(),
        config_file: "/srv/shop/devstack.toml".into(),
        log_dir: "/srv/shop/logs".into(),
        log_limit: None,
        http_listen: None,
        services: services.into_iter().map(|service| (service.name.clone(), Arc::new(service))).collect(),
        groups: BTreeMap::new(),
    }
}

fn limited() -> Service {
    Service {
        max_runtime: Some(Duration::from_secs(24 * 3600)),
        max_runtime_jitter: 0.1,
        memory_limit: Some(2048 << 20),
        cpu_limit: Some(80.0),
        heartbeat_timeout: Some(Duration::from_secs(60)),
        ready: Ready { when: ReadyWhen::Notify, timeout: Duration::from_secs(30) },
        env_files: vec![EnvFile { path: "/srv/shop/.env".into(), optional: true }],
        depends_on: vec![ServiceName::new("db").expect("a name")],
        health: Some(HealthCheck {
            probe: Probe::Http("http://127.0.0.1:9091/health".to_owned()),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            failures: 3,
            start_period: Duration::ZERO,
        }),
        ..service("web")
    }
}

fn text(target: Target, project: &Project) -> String {
    let export = export(target, project, &Options { devstack: "devstack".into(), ..Options::default() });
    export.files.iter().map(|file| file.content.clone()).collect()
}

#[test]
fn every_limit_and_policy_has_its_line_in_the_unit() {
    let text = text(Target::Systemd, &project(vec![limited(), service("db")]));
    for line in [
        "Type=notify",
        "After=shop-db.service network.target",
        "Requires=shop-db.service",
        "StartLimitIntervalSec=600s",
        "Restart=always",
        "RestartSec=1s",
        "TimeoutStopSec=10s",
        "KillMode=mixed",
        "KillSignal=SIGTERM",
        "WatchdogSec=60s",
        "RuntimeMaxSec=77760s",
        "RuntimeRandomizedExtraSec=8640s",
        "MemoryHigh=2048M",
        "MemoryMax=2560M",
        "CPUQuota=80%",
        "EnvironmentFile=-/srv/shop/.env",
        "User=shop",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ReadWritePaths=/srv/shop",
        "WantedBy=shop.target",
        "Wants=shop-db.service shop-web.service",
    ] {
        assert!(text.lines().any(|seen| seen == line), "{line}\n{text}");
    }
    let unit = text.split("Description=shop: web").nth(1).expect("the unit");
    let (head, rest) = unit.split_once("[Service]").expect("sections");
    assert!(head.contains("StartLimitBurst=") && !rest.contains("StartLimit"), "where systemd reads it");
}

#[test]
fn what_supervisord_cannot_do_runs_through_devstack_and_says_why() {
    let text = text(Target::Supervisor, &project(vec![limited(), service("db")]));
    assert!(text.contains("[group:shop]\nprograms=db,web\n"), "{text}");
    let web = text.split("[program:web]").nth(1).expect("a program");
    assert!(web.contains("; through devstack: supervisord has no memory_limit, cpu_limit, max_runtime, health"), "{web}");
    assert!(web.contains("command=devstack --config /srv/shop/devstack.toml run web\n") && web.contains("stopwaitsecs=15\n"), "{web}");
    let db = text.split("[program:db]").nth(1).expect("a program").split("[program").next().expect("text");
    assert!(db.contains("command=python3 -m apps.worker\n") && db.contains("stopasgroup=true\nkillasgroup=true\n"), "{db}");
}

#[test]
fn what_is_lost_is_told_and_no_value_of_an_env_file_is_in_any_export() {
    let project = project(vec![limited(), service("db")]);
    for (target, word) in
        [(Target::Systemd, "cpu_limit"), (Target::Supervisor, "depends_on"), (Target::Kubernetes, "env_file"), (Target::Prometheus, "")]
    {
        let export = export(target, &project, &Options::default());
        assert_eq!(export.losses.iter().any(|loss| loss.what.contains(word)), !word.is_empty(), "{target:?}: {:?}", export.losses);
    }
}

/// As systemd.syntax(7) and the chapter on command lines in systemd.service(5) say.
fn systemd_reads(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    while chars.peek().is_some() {
        let mut word = String::new();
        let quoted = chars.next_if_eq(&'"').is_some();
        while let Some(it) = chars.next() {
            match it {
                '"' if quoted => break,
                ' ' if !quoted => break,
                '\\' => match chars.next().expect("an escape") {
                    'n' => word.push('\n'),
                    't' => word.push('\t'),
                    'x' => {
                        let number: String = chars.by_ref().take(2).collect();
                        word.push(char::from(u8::from_str_radix(&number, 16).expect("hexadecimal")));
                    }
                    it => word.push(it),
                },
                '%' | '$' => {
                    assert_eq!(chars.next(), Some(it), "a single {it} is a specifier or a variable: {line}");
                    word.push(it);
                }
                it => word.push(it),
            }
        }
        if quoted {
            chars.next_if_eq(&' ');
        }
        words.push(word);
    }
    words
}

proptest! {
    #[test]
    fn any_argument_survives_a_unit(words in prop::collection::vec("[^\\x00]{0,12}", 1..5)) {
        let command: Vec<String> = std::iter::once("/bin/true".to_owned()).chain(words).collect();
        let text = text(Target::Systemd, &project(vec![Service { command: command.clone(), ..service("web") }]));
        let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
        prop_assert_eq!(systemd_reads(line), command);
    }

    #[test]
    fn any_argument_survives_supervisord_or_goes_through_devstack(words in prop::collection::vec("[^\\x00-\\x1f]{0,12}", 1..5)) {
        let command: Vec<String> = std::iter::once("/bin/true".to_owned()).chain(words).collect();
        let text = text(Target::Supervisor, &project(vec![Service { command: command.clone(), ..service("web") }]));
        let line = text.lines().find_map(|line| line.strip_prefix("command=")).expect("a command");
        let read = shell_words::split(&line.replace("%%", "%")).expect("words");
        if text.contains("; through devstack: supervisord has no way to say this command\n") {
            prop_assert!(read.ends_with(&["run".to_owned(), "web".to_owned()]));
        } else {
            prop_assert_eq!(read, command);
        }
    }
}
