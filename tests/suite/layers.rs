//! The shape of the source: who may know whom, who may touch the system, who may print, and how long a file may be.
//!
//! What only tests use is left out: the rules are about what runs.

use regex::Regex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Arrows point down only; neighbours of one layer do not know each other.
const LAYERS: [&[&str]; 5] =
    [&["model"], &["engine", "config", "cleanup", "export"], &["sys", "control", "http", "journal"], &["supervisor", "worker"], &["cli"]];

/// Modules that name everything and so nothing.
const SAYS_NOTHING: [&str; 8] = ["util", "utils", "helpers", "manager", "managers", "common", "misc", "shared"];

const LONGEST_FILE: usize = 400;

const SYSTEM: &str = "names the system outside sys";
const PRINTS: &str = "prints outside cli";
const LONG: &str = "too long";

/// What breaks a rule all the same: the file, the rule, and the reason. An entry that is no longer needed fails too.
const EXCEPTIONS: [(&str, &str, &str); 2] = [
    ("config/source.rs", SYSTEM, "O_NONBLOCK, so that a FIFO in place of a file hangs nobody; config stands below sys"),
    ("supervisor/supervise.rs", PRINTS, "its standard error is supervisor.log, read by whoever looks for what went wrong"),
];

struct Source {
    /// Below src, for instance `cli/logs/merge.rs`.
    path: String,
    /// `cli`, `logs`, `merge`.
    module: Vec<String>,
    lines: usize,
    /// Without comments, and without what is compiled for tests only.
    code: String,
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("src is readable") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every file of the crate's modules; `main.rs` and `lib.rs` only name them.
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let mut files = Vec::new();
    rust_files(&src(), &mut files);
    files.sort();
    let texts: Vec<(String, String)> = files
        .iter()
        .map(|file| {
            let path = file.strip_prefix(src()).expect("below src").to_str().expect("a plain name").to_owned();
            (path, std::fs::read_to_string(file).expect("readable"))
        })
        .collect();
    let test_modules = test_modules(&texts);
    let of = |(path, text): (String, String)| {
        let module = module_of(&path);
        (module.len() > 1 || path.ends_with("/mod.rs")).then_some(())?;
        (!test_modules.contains(&module)).then_some(())?;
        Some(Source { lines: text.lines().count(), code: running_code(&text), path, module })
    };
    texts.into_iter().filter_map(of).collect()
});

fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// Modules in files of their own that are declared under `#[cfg(test)]`.
fn test_modules(texts: &[(String, String)]) -> Vec<Vec<String>> {
    let declared = Regex::new(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([a-z]+\))? )?mod (\w+);").expect("a pattern");
    let below = |(path, text): &(String, String)| {
        let module = module_of(path);
        let named: Vec<_> =
            declared.captures_iter(text).map(|found| module.iter().cloned().chain([found[1].to_owned()]).collect()).collect();
        named
    };
    texts.iter().flat_map(below).collect()
}

fn running_code(text: &str) -> String {
    static TESTS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?m)^#\[cfg\(test\)\]\s*(?:#\[[^\n]*\]\s*)*mod \w+ \{").expect("a pattern"));
    static COMMENT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?m)(^|\s)//.*$").expect("a pattern"));
    let end = TESTS.find(text).map_or(text.len(), |found| found.start());
    COMMENT.replace_all(&text[..end], "").into_owned()
}

/// The modules of the crate that a file names, by `crate::` or by climbing out of its own.
fn named_modules(source: &Source) -> Vec<String> {
    let group = Regex::new(r"crate::\{([^;]*)\}").expect("a pattern");
    let single = Regex::new(r"crate::(\w+)").expect("a pattern");
    let climbing = Regex::new(r"((?:super::)+)(\w+)").expect("a pattern");
    let mut named: Vec<String> = single.captures_iter(&source.code).map(|found| found[1].to_owned()).collect();
    for found in group.captures_iter(&source.code) {
        named.extend(found[1].split(',').filter_map(|item| item.trim().split("::").next().map(str::to_owned)));
    }
    for found in climbing.captures_iter(&source.code) {
        if found[1].matches("super").count() == source.module.len() {
            named.push(found[2].to_owned());
        }
    }
    named
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Fails with every breach that no exception allows, and with every exception that allows nothing.
fn judge(rule: &str, breaches: &BTreeMap<String, String>) {
    let mut told = String::new();
    for (path, what) in breaches {
        if !EXCEPTIONS.iter().any(|(file, excepted, _)| file == path && *excepted == rule) {
            writeln!(told, "src/{path} {rule}: {what}").expect("a string");
        }
    }
    for (file, _, reason) in EXCEPTIONS.iter().filter(|(file, excepted, _)| *excepted == rule && !breaches.contains_key(*file)) {
        writeln!(told, "src/{file} is no longer an exception ({reason}); take it off the list").expect("a string");
    }
    assert!(told.is_empty(), "\n{told}");
}

fn breaches(what: impl Fn(&Source) -> Option<String>) -> BTreeMap<String, String> {
    SOURCES.iter().filter_map(|source| Some((source.path.clone(), what(source)?))).collect()
}

/// The first match of a pattern in the files outside one layer.
fn outside(home: &str, pattern: &str) -> BTreeMap<String, String> {
    let pattern = Regex::new(pattern).expect("a pattern");
    breaches(|source| (source.module[0] != home).then(|| pattern.find(&source.code).map(|found| found.as_str().to_owned()))?)
}

#[test]
fn every_module_has_its_layer() {
    let lib = std::fs::read_to_string(src().join("lib.rs")).expect("lib.rs");
    for line in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let module = line.trim_end_matches(';');
        // Knows all of them, and is not there in what runs.
        if module == "fuzzing" {
            continue;
        }
        assert!(layer_of(module).is_some(), "{module} has no layer");
        let head = std::fs::read_to_string(src().join(module).join("mod.rs")).unwrap_or_default();
        assert!(head.starts_with("//! "), "src/{module}/mod.rs does not say what it decides");
    }
}

#[test]
fn arrows_point_down_only() {
    let upwards = breaches(|source| {
        let own = &source.module[0];
        let layer = layer_of(own)?;
        named_modules(source).into_iter().find(|named| named != own && layer_of(named).is_some_and(|theirs| theirs >= layer))
    });
    judge("names a module that is not below it", &upwards);
}

#[test]
fn only_sys_knows_the_operating_system() {
    judge(SYSTEM, &outside("sys", r#"\b(nix|libc|rustix)::|\bunsafe\b|"/proc"#));
}

#[test]
fn only_the_command_line_prints() {
    judge(PRINTS, &outside("cli", r"\be?println!|\be?print!|\b(stdout|stderr)\(\)"));
}

#[test]
fn the_core_asks_no_clock_and_touches_no_file() {
    let pattern = Regex::new(r"\bstd::(fs|process|thread|env)\b|\bInstant\b|\bSystemTime\b|Timestamp::now|\btokio\b").expect("a pattern");
    let pure = ["model", "engine", "cleanup", "export"];
    let touched = breaches(|source| {
        pure.contains(&source.module[0].as_str()).then(|| pattern.find(&source.code))?.map(|found| found.as_str().to_owned())
    });
    judge("is not pure", &touched);
}

#[test]
fn names_say_what_a_module_is() {
    let vague = breaches(|source| source.module.iter().find(|name| SAYS_NOTHING.contains(&name.as_str())).cloned());
    judge("has a name that says nothing", &vague);
}

#[test]
fn files_fit_a_head() {
    judge(LONG, &breaches(|source| (source.lines > LONGEST_FILE).then(|| format!("{} lines", source.lines))));
}

/// The tests above would pass on an empty list.
#[test]
fn the_rules_see_the_code() {
    let sources = &*SOURCES;
    let linux = sources.iter().find(|source| source.path == "supervisor/linux.rs").expect("a file");
    assert!(["cleanup", "engine", "model", "sys"].iter().all(|module| named_modules(linux).iter().any(|named| named == module)));
    let words = sources.iter().find(|source| source.path == "cli/progress/words.rs").expect("a file");
    assert!(words.code.contains("pub fn step") && !words.code.contains("//!"));
    let sneaky = Source {
        path: String::new(),
        module: vec!["model".to_owned(), "x".to_owned()],
        lines: 1,
        code: "use super::super::sys; use crate::{cli, engine::Stack};".to_owned(),
    };
    assert_eq!(named_modules(&sneaky), ["cli", "engine", "sys"]);
    assert!(sources.iter().all(|source| !source.path.ends_with("tests.rs")), "tests are left out");
}
