//! What a stranger sees who follows the README: the demo stack, from a copy of the repository's own devstack.toml and example.

use crate::support::{TestStack, free_port, kill, proc_id};
use crate::wheel::wheel;
use crate::world::{is_alive, wait_until};
use devstack::model::ProcId;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// A copy in which only the ports are others, because 9091 and 8000 may be taken here.
pub fn copy_of_the_demo() -> (TestStack, u16) {
    let stack = TestStack::empty();
    stack.set("DEVSTACK_WHEEL", wheel().to_str().expect("text"));
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    copy(&repository.join("examples/analyticbot"), &stack.root.join("examples/analyticbot"));
    let (health, api) = (free_port(), free_port());
    let text = fs::read_to_string(repository.join("devstack.toml")).expect("the configuration");
    let text = text.replace("9091", &health.to_string()).replace("8000", &api.to_string());
    let (before, after) = (r#""--interval", "10"]"#, format!(r#""--interval", "10", "--health-port", "{health}"]"#));
    assert!(text.contains(before), "the command of mtproto has changed: {text}");
    stack.write("devstack.toml", &text.replace(before, &after));
    (stack, health)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let name = entry.file_name();
        match entry.file_type().expect("a type") {
            // What running it left in the repository.
            _ if [".venv", "var", "logs", "__pycache__", ".pytest_cache"].iter().any(|left| name == *left) => {}
            kind if kind.is_dir() => copy(&entry.path(), &to.join(name)),
            _ => drop(fs::copy(entry.path(), to.join(name)).expect("a copy")),
        }
    }
}

/// The processes of a service with their roles.
fn tree(stack: &TestStack, service: &str) -> Vec<(String, ProcId)> {
    let status: Value = serde_json::from_str(&stack.run(&format!("status --tree --json {service}")).stdout).expect("json");
    let all = status["services"][0]["tree"].as_array().cloned().unwrap_or_default();
    let one = |it: &Value| Some((it["role"].as_str()?.to_owned(), proc_id(i32::try_from(it["pid"].as_i64()?).ok()?)));
    all.iter().filter_map(one).collect()
}

fn pool(stack: &TestStack) -> Vec<ProcId> {
    tree(stack, "mtproto").into_iter().filter(|(role, _)| role == "pool_worker").map(|(_, id)| id).collect()
}

#[test]
fn the_demo_starts_shows_its_pool_survives_a_crash_and_leaves_nothing() {
    let (stack, health) = copy_of_the_demo();
    stack.run("start workers").ends_with(0).says("mtproto: ready in ").says("bot: ready in ").says("setting up: python3 bootstrap.py");
    let table = stack.run("status workers").ends_with(0).stdout;
    assert_eq!(table.matches("running").count(), 2, "{table}");
    assert_eq!(table.matches("healthy").count(), 2, "{table}");
    assert!(table.contains(&health.to_string()), "{table}");
    stack.run("status").ends_with(3);

    wait_until("the pool is there", || pool(&stack).len() == 2);
    let shown = stack.run("status --tree workers").stdout;
    assert_eq!((shown.matches("pool_worker").count(), shown.matches(" resource_tracker ").count()), (2, 1), "{shown}");
    wait_until("real work was done", || stack.log("mtproto").contains("messages by") && stack.log("bot").contains("city_transit"));
    assert!(stack.root.join("examples/analyticbot/var/analytics.sqlite3").exists());

    let (worker, old) = (stack.pid("mtproto"), tree(&stack, "mtproto"));
    let begun = Instant::now();
    kill(worker);
    wait_until("the old pool is gone", || !old.iter().any(|(_, id)| is_alive(*id)));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    wait_until("another one is healthy", || {
        let mtproto = stack.service("mtproto");
        mtproto["state"] == "running" && mtproto["health"]["status"] == "healthy" && mtproto["restarts"] == 1
    });
    stack.run("cleanup-workers").ends_with(0).says("Nothing to clean up.");

    stack.run("stop --supervisor").ends_with(0);
    assert_eq!(stack.processes(), []);
}

#[test]
fn the_configuration_of_the_demo_is_valid_and_its_groups_are_what_the_readme_says() {
    let (stack, _) = copy_of_the_demo();
    let done = stack.run("check --show").ends_with(0).says("devstack.toml is valid: 3 services, 1 group");
    for name in ["mtproto", "bot", "api", "workers"] {
        assert!(done.stdout.contains(name), "{name}: {done:?}");
    }
}
