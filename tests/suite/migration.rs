//! The README's "Moving a worker": each of its programs runs, stops when it is told to, and answers.

use crate::run_health_port::get;
use crate::support::{TestStack, free_port, send};
use crate::wheel::unpacked;
use crate::world::wait_until;
use devstack::model::Signal;

/// What the programs of the README leave to whoever moves a worker.
const WORK: &str = "
import time
def work(): print('works', flush=True)
async def work_async(): work()
";

fn section() -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the README");
    let begin = readme.find("## Moving a worker\n").expect("the section");
    readme[begin..].split("\n## ").next().expect("text").to_owned()
}

/// The fenced blocks of a language, in their order.
fn blocks(language: &str) -> Vec<String> {
    let section = section();
    let fence = format!("```{language}\n");
    section.split(&fence).skip(1).map(|block| block.split("```").next().expect("a block").to_owned()).collect()
}

#[test]
fn each_moved_worker_works_and_stops_when_it_is_told_to() {
    let moved: Vec<String> = blocks("python").into_iter().filter(|block| block.starts_with("# after")).collect();
    assert_eq!(moved.len(), 3, "an infinite loop, an asyncio worker, the old ProcessManager");
    let port = free_port();
    for program in moved {
        let stack = TestStack::new(&format!(
            "[services.web]\ncommand = ['python3', 'program.py']\nready = {{ notify = true }}\nenv = {{ PYTHONPATH = '{}' }}",
            unpacked().display()
        ));
        stack.write("program.py", &format!("{WORK}{}", program.replace("9091", &port.to_string())));
        stack.run("start").ends_with(0).says("web: ready in");
        wait_until("it works", || stack.log("web").contains("works"));
        if program.contains("HealthCheckServer") {
            assert_eq!(get(port, "/health").0, 200);
        }
        stack.run("stop").ends_with(0).says("web: stopped (exit status 0)");
    }
}

#[test]
fn a_script_that_stays_as_it_is_has_limits_and_a_health_port_through_run() {
    let [command] = blocks("sh").try_into().expect("one command");
    let port = free_port();
    let stack = TestStack::empty();
    stack.write("worker.py", &format!("{WORK}\nwork()\ntime.sleep(3600)"));
    let line = command.trim().strip_prefix("devstack ").expect("a command of devstack").replace("9091", &port.to_string());
    let devstack = stack.begin(&line);
    wait_until("it works", || devstack.stdout().contains("works"));
    wait_until("it is answered for", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() && get(port, "/health").0 == 200);
    let limits = serde_json::json!({ "max_runtime_hours": 24.0, "memory_limit_mb": 2048, "cpu_limit_percent": 80.0 });
    assert_eq!(get(port, "/metrics").1["limits"], limits);
    send(devstack.id(), Signal::TERM);
    devstack.end().ends_with(0);
}
