//! What the documents promise, tried: the first command of the README, every verb and option it names, its tables and its links.

use crate::demo::copy_of_the_demo;
use crate::support::TestStack;
use crate::world::wait_until;
use clap::Command as Cli;
use regex::Regex;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(repository().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The blocks of a language, in their order.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let fence = Regex::new(&format!(r"(?ms)^```{language}\n(.*?)^```$")).expect("a pattern");
    fence.captures_iter(document).map(|found| found[1].to_owned()).collect()
}

#[test]
fn the_first_commands_of_the_readme_do_what_it_says() {
    let readme = read("README.md");
    let commands = blocks(&readme, "sh");
    let (build, first) = commands[0].trim().split_once(" && ").expect("one line: build && start");
    assert_eq!(build, "cargo build --release --locked");
    let arguments = first.strip_prefix("target/release/devstack ").expect("the program that was built");

    let (demo, _) = copy_of_the_demo();
    let start = demo.run(arguments).ends_with(0);
    assert!(start.stdout.is_empty(), "progress is no data");
    for service in ["bot", "mtproto"] {
        for part in ["setting up: python3 bootstrap.py", "ready in "] {
            assert!(start.stderr.contains(&format!("{service}: {part}")), "{start:?}");
        }
        let seen = demo.service(service);
        assert_eq!((&seen["state"], &seen["health"]["status"]), (&"running".into(), &"healthy".into()), "{service}");
    }
    assert_eq!(demo.service("api")["state"], "stopped");
    wait_until("the worker logs its work", || demo.log("mtproto").contains("messages by"));
    demo.run(arguments).ends_with(0).says("already running");

    for line in commands[1].lines() {
        let arguments = line.strip_prefix("devstack ").expect("a command of devstack");
        // The API was not started, which `status` says.
        demo.run(arguments).ends_with(if arguments == "status" { 3 } else { 0 });
    }
    assert_eq!(demo.processes(), [], "nothing is left behind");
}

#[test]
fn the_configuration_in_the_readme_is_valid() {
    let stack = TestStack::empty();
    stack.write("devstack.toml", &blocks(&read("README.md"), "toml")[0]);
    let check = stack.run("check").ends_with(0);
    assert!(!check.stderr.contains("note:"), "the README shows what works: {check:?}");
}

/// The verbs that a person types.
fn verbs() -> Vec<Cli> {
    let mut command = devstack::cli::command();
    command.build();
    command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect()
}

fn long_options(command: &Cli) -> BTreeSet<String> {
    command.get_arguments().filter_map(|argument| argument.get_long().map(|long| format!("--{long}"))).collect()
}

/// Every verb has its section, every section names each option of its verbs, and none that does not exist.
#[test]
fn the_readme_names_every_verb_and_option_that_there_is() {
    let readme = read("README.md");
    let option = Regex::new(r"--[a-z][a-z-]+").expect("a pattern");
    let global = {
        let mut command = devstack::cli::command();
        command.build();
        long_options(&command)
    };
    let block = Regex::new(r"(?ms)^```(?:text|toml)\n.*?^```$").expect("a pattern");
    let readme = block.replace_all(&readme, "");
    let sections: Vec<(&str, &str)> = readme.split("\n### ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    for verb in verbs() {
        let (title, section) = sections
            .iter()
            .find(|(title, _)| title.split(", ").any(|name| name == verb.get_name()))
            .unwrap_or_else(|| panic!("no section about {}", verb.get_name()));
        let section = section.split("\n## ").next().unwrap_or_default();
        let named: BTreeSet<String> = option.find_iter(section).map(|found| found.as_str().to_owned()).collect();
        let own: BTreeSet<String> = long_options(&verb).difference(&global).cloned().collect();
        assert_eq!(own.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new(), "options that ### {title} does not name");
        let exist: BTreeSet<String> =
            verbs().iter().filter(|verb| title.split(", ").any(|name| name == verb.get_name())).flat_map(long_options).collect();
        assert_eq!(named.difference(&exist).collect::<Vec<_>>(), Vec::<&String>::new(), "options that {title} does not have");
    }
}

#[test]
fn every_command_line_in_the_documents_can_be_parsed_so_far() {
    let typed = Regex::new(r"(?m)(?:^|[`$ /])devstack ((?:-\S+ )*)([a-z][a-z_-]+)([^`\n]*)").expect("a pattern");
    let span = Regex::new(r"`(devstack [^`\n]+)`").expect("a pattern");
    let known = verbs();
    let mut seen = 0;
    for file in ["README.md", "ARCHITECTURE.md", "examples/analyticbot/README.md"] {
        let document = read(file);
        let fenced = blocks(&document, "sh").concat();
        let spans: String = span.captures_iter(&document).map(|found| found[1].to_owned() + "\n").collect();
        for found in typed.captures_iter(&(fenced + &spans)) {
            let (verb, rest) = (&found[2], &found[3]);
            let command = known.iter().find(|one| one.get_name() == verb || one.get_all_aliases().any(|alias| alias == verb));
            let command = command.unwrap_or_else(|| panic!("{file}: there is no `devstack {verb}`"));
            let own = rest.split_whitespace().take_while(|word| *word != "--");
            for option in own.filter(|word| word.starts_with("--")) {
                assert!(long_options(command).contains(option), "{file}: `devstack {verb}` has no {option}");
            }
            seen += 1;
        }
    }
    assert!(seen > 10, "the documents name {seen} commands");
}

/// docs/cli.md is the help of every verb.
#[test]
fn the_command_line_reference_is_the_help() {
    let mut reference = "# The command line\n\nWhat `--help` says; made by the tests with `UPDATE_GENERATED=1`.\n".to_owned();
    let mut command = devstack::cli::command().term_width(100);
    command.build();
    let mut add = |name: &str, command: &mut Cli| {
        let help = command.render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        reference.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim_end()));
    };
    add("devstack", &mut command.clone());
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        add(&format!("devstack {}", verb.get_name()), &mut verb.clone().term_width(100));
    }
    let path = repository().join("docs/cli.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, &reference).expect("written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == reference, "docs/cli.md is out of date; run the tests with UPDATE_GENERATED=1");
}

#[test]
fn the_table_of_exit_statuses_is_complete() {
    let constant = Regex::new(r"pub const \w+: u8 = (\d+);").expect("a pattern");
    let row = Regex::new(r"(?m)^\| (\d+) \|").expect("a pattern");
    let numbers = |pattern: &Regex, text: &str| pattern.captures_iter(text).map(|found| found[1].to_owned()).collect::<Vec<_>>();
    let readme = read("README.md");
    let table = readme.split("### Exit status").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    assert_eq!(numbers(&row, table), numbers(&constant, &read("src/cli/exit_code.rs")));
}

#[test]
fn links_lead_somewhere_and_named_files_exist() {
    let link = Regex::new(r"\]\(([^)#:]+)\)").expect("a pattern");
    let named = Regex::new(r"`((?:src|tests|scripts|examples|completions|docs)/[\w./-]+)`").expect("a pattern");
    for file in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "examples/analyticbot/README.md"] {
        let document = read(file);
        let folder = Path::new(file).parent().expect("a folder");
        for found in link.captures_iter(&document) {
            assert!(repository().join(folder).join(&found[1]).exists(), "{file} links to {}", &found[1]);
        }
        for found in named.captures_iter(&document) {
            assert!(repository().join(&found[1]).exists(), "{file} names {}", &found[1]);
        }
    }
}

#[test]
fn the_readme_says_the_oldest_rust_and_the_one_test_command() {
    let readme = read("README.md");
    let version = Regex::new(r#"rust-version = "([\d.]+)""#).expect("a pattern");
    let oldest = &version.captures(&read("Cargo.toml")).expect("rust-version")[1].to_owned();
    assert!(readme.contains(&format!("Rust ({oldest} or newer)")), "rust-version is {oldest}");
    let command = blocks(&readme, "sh").into_iter().find(|block| block.starts_with("scripts/")).expect("the command of the tests");
    assert!(read(".ci/run").lines().any(|line| line == command.trim()), "CI runs what the README says");
}

/// Every `#[test]` of the crate, by its name.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    let test = Regex::new(r"#\[test\]\s*(?:#\[[^\n]*\]\s*)*fn (\w+)").expect("a pattern");
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("readable");
            found.extend(test.captures_iter(&text).map(|captures| captures[1].to_owned()));
        }
    }
}

#[test]
fn every_fault_names_tests_that_exist() {
    let root = repository();
    let mut tests = BTreeSet::new();
    tests_below(&root.join("src"), &mut tests);
    tests_below(&root.join("tests"), &mut tests);
    let document = read("docs/faults.md");
    let (built, _) = document.split_once("## Not built yet").expect("what is missing is said");
    let mut rows = 0;
    for row in built.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |")) {
        let proofs = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let named: Vec<&str> = proofs.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test proves this row:\n{row}");
        for test in named {
            assert!(tests.contains(test), "there is no test `{test}`, named by:\n{row}");
        }
        rows += 1;
    }
    assert!(rows > 50, "the table has {rows} rows");
}

#[test]
fn every_event_of_the_journal_is_described_with_its_fields() {
    let (source, document) = (read("src/journal/record.rs"), read("docs/events.md"));
    let (_, events) = source.split_once("pub enum Happened {").expect("the events");
    let (events, structs) = events.split_once("\n}").expect("their end");
    let (structs, _) = structs.split_once("/// The records of a stretch").expect("what is no part of an event");
    let snake = |name: &str| Regex::new("([a-z])([A-Z])").expect("a pattern").replace_all(name, "${1}_${2}").to_lowercase();
    let variant = Regex::new(r"(?m)^    ([A-Z]\w+)").expect("a pattern");
    let fields = [(r"(?m)^        (\w+): ", events), (r"(?m)^    pub (\w+): ", structs)];
    let mut names: Vec<String> = variant.captures_iter(events).map(|found| snake(&found[1])).collect();
    assert!(names.len() > 25, "{names:?}");
    for (pattern, text) in fields {
        let field = Regex::new(pattern).expect("a pattern");
        names.extend(
            field.captures_iter(text).map(|found| found[1].to_owned()).filter(|name| !["what", "last_words"].contains(&name.as_str())),
        );
    }
    let missing: BTreeSet<&String> = names.iter().filter(|name| !document.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
