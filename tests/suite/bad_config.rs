//! Every file of `bad-config/` is refused, in exactly the words of the `.expected` beside it.
//!
//! `UPDATE_GENERATED=1 cargo test --test bad_config` writes the expectations anew; read them before committing.

use devstack::config::{Location, Trust, load};
use std::fs;
use std::path::{Path, PathBuf};

/// A project with what the cases speak of: a folder, a file, an env file, and links that lead out.
fn project(folder: &Path) -> PathBuf {
    let root = folder.join("project");
    fs::create_dir_all(root.join("apps")).expect("folders");
    fs::write(root.join("file.txt"), "").expect("file");
    fs::write(root.join(".env"), "A=1\n").expect("file");
    std::os::unix::fs::symlink("/usr", root.join("outside")).expect("link");
    std::os::unix::fs::symlink("loop", root.join("loop")).expect("link");
    root.canonicalize().expect("canonical")
}

/// What a person sees, with the folder of this run taken out.
fn refusal(case: &Path) -> String {
    let folder = tempfile::tempdir().expect("temp dir");
    let root = project(folder.path());
    fs::copy(case, root.join("devstack.toml")).expect("copy");
    let local = case.with_extension("local");
    if local.exists() {
        fs::copy(local, root.join("devstack.local.toml")).expect("copy");
    }
    let parent = folder.path().canonicalize().expect("canonical").display().to_string();
    let location = Location { config_file: root.join("devstack.toml"), root: root.clone() };
    let text = match load(&location, Trust::Everybody) {
        Ok(_) => "(accepted)\n".to_owned(),
        Err(problems) => problems.to_string(),
    };
    text.replace(&format!("{}/", root.display()), "").replace(&root.display().to_string(), "PROJECT").replace(&parent, "PARENT")
}

#[test]
fn every_bad_configuration_is_refused_in_the_expected_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/bad-config");
    let update = std::env::var_os("UPDATE_GENERATED").is_some();
    let mut cases: Vec<PathBuf> = fs::read_dir(&folder).expect("cases").map(|entry| entry.expect("entry").path()).collect();
    cases.retain(|case| case.extension().is_some_and(|extension| extension == "toml"));
    cases.sort();
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let found = refusal(case);
        let expected = case.with_extension("expected");
        assert!(!found.contains("(accepted)"), "{} is accepted", case.display());
        assert!(!found.contains("CANARY"), "{} shows the value of a variable:\n{found}", case.display());
        if update {
            fs::write(&expected, &found).expect("written");
        } else if fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong.push(format!("== {}\n{found}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{} differ from their .expected:\n{}", wrong.len(), wrong.join("\n"));
}

fn refused(make: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().expect("temp dir");
    let root = project(folder.path());
    let file = root.join("devstack.toml");
    make(&file);
    load(&Location { config_file: file, root }, Trust::Everybody).expect_err("a refusal").to_string()
}

#[test]
fn what_is_no_readable_file_is_refused_without_waiting() {
    let fifo = refused(|file| nix::unistd::mkfifo(file, nix::sys::stat::Mode::S_IRWXU).expect("fifo"));
    assert!(fifo.contains("not a regular file"), "{fifo}");
    let folder = refused(|file| fs::create_dir(file).expect("folder"));
    assert!(folder.contains("it is a folder"), "{folder}");
    let device = refused(|file| std::os::unix::fs::symlink("/dev/zero", file).expect("link"));
    assert!(device.contains("not a regular file"), "{device}");
    let missing = refused(|_| ());
    assert!(missing.contains("there is no such file"), "{missing}");
    let circle = refused(|file| std::os::unix::fs::symlink("devstack.toml", file).expect("link"));
    assert!(circle.contains("cannot be read: too many levels of symbolic links"), "{circle}");
    let dangling = refused(|file| {
        fs::write(file, "[services.a]\ncommand = ['x']\n").expect("file");
        fs::create_dir(file.with_file_name("devstack.local.toml")).expect("folder");
    });
    assert!(dangling.contains("devstack.local.toml"), "{dangling}");
}

#[test]
fn what_is_too_large_or_too_deep_is_refused_at_once() {
    let long = refused(|file| fs::write(file, "#".repeat((1 << 20) + 1)).expect("file"));
    assert!(long.contains("larger than 1 MiB"), "{long}");
    for deep in [
        format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("a = {}1{}", "{b=".repeat(100_000), "}".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
        format!("{}a = 1", "a.".repeat(100_000)),
        "[".repeat(1 << 20),
        "= \n".repeat(300_000),
        format!("[services.a]\n{}", "x = 1\n".repeat(100_000)),
    ] {
        let text = refused(|file| fs::write(file, &deep).expect("file"));
        assert!(text.len() < 100_000 && text.starts_with("error: "), "{} bytes of error", text.len());
    }
}

#[test]
fn a_chain_of_thousands_neither_overflows_nor_takes_long() {
    let mut chain: String = (0..8000).map(|n| format!("[services.s{n}]\ncommand=['x']\ndepends_on=['s{}']\n", n + 1)).collect();
    chain.push_str("[services.s8000]\ncommand=['x']\ndepends_on=['s0']\n");
    let text = refused(|file| fs::write(file, &chain).expect("file"));
    assert!(text.contains("in a circle: s0 -> s1 -> s2 -> s3 -> … -> s7999 -> s8000 -> s0"), "{text}");
}
