//! What a person reads before anything runs: help, version, completions, and answers to wrong usage.

use crate::support::TestStack;
use std::process::Command;

const VERBS: [&str; 8] = ["start", "stop", "restart", "status", "logs", "cleanup-workers", "check", "completions"];

#[test]
fn help_names_every_verb_and_needs_no_project() {
    let stack = TestStack::empty();
    let help = stack.run("--help").ends_with(0).stdout;
    for verb in VERBS {
        assert!(help.lines().any(|line| line.trim_start().starts_with(verb)), "{verb}: {help}");
        let own = stack.run(&format!("{verb} --help")).ends_with(0);
        assert!(own.stdout.contains("Usage: devstack") && own.stderr.is_empty(), "{own:?}");
    }
    assert!(!help.contains("supervise"), "that one is not for people: {help}");
    assert_eq!(stack.run("--version").ends_with(0).stdout, concat!("devstack ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn wrong_usage_is_exit_status_2_and_goes_to_standard_error() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    for line in ["", "strat", "start --no-such-option", "start --timeout soon", "logs -n many", "status -w --json", "stop --supervisor web"]
    {
        let done = stack.run(line).ends_with(2);
        assert!(done.stdout.is_empty() && !done.stderr.is_empty(), "{line}: {done:?}");
    }
    assert_eq!(stack.processes(), []);
}

#[test]
fn outside_of_a_project_every_verb_says_where_it_looked() {
    let stack = TestStack::empty();
    for verb in ["start", "stop", "restart", "status", "logs", "cleanup-workers", "check"] {
        stack.run(verb).ends_with(2).says("devstack.toml").says("hint: ");
    }
}

#[test]
fn completions_are_scripts_that_their_shells_accept() {
    let stack = TestStack::empty();
    for shell in ["bash", "zsh", "fish"] {
        let script = stack.run(&format!("completions {shell}")).ends_with(0).stdout;
        assert!(VERBS.iter().all(|verb| script.contains(verb)), "{shell}");
        stack.write("script", &script);
        let mut check = Command::new(shell);
        match stack.in_its_environment(check.args(["-n", "script"])).output() {
            Ok(output) => assert!(output.status.success(), "{shell}: {output:?}"),
            // Not every machine has every shell.
            Err(error) => assert!(error.kind() == std::io::ErrorKind::NotFound && shell != "bash", "{shell}: {error}"),
        }
    }
}

#[test]
fn a_project_is_found_from_a_folder_below_it_and_named_by_option_or_environment() {
    let stack = TestStack::new("[services.web]\ncommand = 'python3 worker.py web'");
    let below = stack.root.join("deep/below");
    std::fs::create_dir_all(&below).expect("folders");
    let mut from_below = stack.command("status");
    from_below.current_dir(&below);
    let mut by_option = stack.command("status --project");
    by_option.arg(&stack.root).current_dir("/");
    let mut by_environment = stack.command("status");
    by_environment.env("DEVSTACK_CONFIG", stack.root.join("devstack.toml")).current_dir("/");
    for command in [from_below, by_option, by_environment] {
        assert!(stack.begin_command(command).end().ends_with(3).stdout.contains("web"));
    }
}
