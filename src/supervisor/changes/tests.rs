use super::*;
use std::fs;

/// A project with these files, and who of them is meant.
fn meant(patterns: &[&str], files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().canonicalize().expect("a path");
    for (file, content) in files {
        fs::create_dir_all(root.join(file).parent().expect("a folder")).expect("a folder");
        fs::write(root.join(file), content).expect("a file");
    }
    let patterns = Patterns::new(&patterns.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).expect("globs");
    let mut it = Files::new(&root, patterns, Some(root.join("env")), vec![root.join("logs/dev_web.log")]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let mut watch = TreeWatch::new().expect("inotify");
    let (found, refused) = runtime.block_on(it.enter(&mut watch, vec![root.clone()]));
    assert!(refused.is_none());
    let mut found: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
    found.sort();
    found
}

#[test]
fn what_git_ignores_what_python_makes_the_environment_and_logs_are_left_out() {
    let files = [
        (".gitignore", "/build/\n*.gen.py\n!kept.gen.py\n"),
        ("app.py", ""),
        ("x.gen.py", ""),
        ("kept.gen.py", ""),
        ("build/app.py", ""),
        ("lib/build/app.py", ""),
        ("lib/.gitignore", "secret.py\n!x.gen.py\n"),
        ("lib/secret.py", ""),
        ("lib/x.gen.py", ""),
        ("lib/__pycache__/app.py", ""),
        ("env/site.py", ""),
        (".git/hook.py", ""),
        ("lib/app.py", ""),
        ("lib/app.py~", ""),
        ("lib/.#app.py", ""),
    ];
    assert_eq!(meant(&["**/*.py"], &files), ["app.py", "kept.gen.py", "lib/app.py", "lib/build/app.py", "lib/x.gen.py"]);
    assert_eq!(meant(&["logs/**"], &[("logs/dev_web.log", ""), ("logs/dev_web.log.1", ""), ("logs/notes.txt", "")]), ["logs/notes.txt"]);
}

#[test]
fn a_repository_that_the_project_is_a_part_of_has_its_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = folder.path().canonicalize().expect("a path");
    fs::create_dir_all(base.join("repo/.git")).expect("a folder");
    fs::create_dir_all(base.join("repo/project")).expect("a folder");
    fs::write(base.join("repo/.gitignore"), "x.py\n").expect("a file");
    fs::write(base.join(".gitignore"), "y.py\n").expect("a file");
    let root = base.join("repo/project");
    let mut it = Files::new(&root, Patterns::new(&["*.py".to_owned()]).expect("a glob"), None, Vec::new());
    assert!(!it.means(&root.join("x.py")) && it.means(&root.join("y.py")), "not those above it");
    assert!(!it.means(&base.join("repo/z.py")), "nothing outside the project");
}

#[test]
fn rules_that_change_count_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().canonicalize().expect("a path");
    let mut it = Files::new(&root, Patterns::new(&["*.py".to_owned()]).expect("a glob"), None, Vec::new());
    assert!(it.means(&root.join("x.py")));
    fs::write(root.join(".gitignore"), "x.py\n").expect("a file");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let mut watch = TreeWatch::new().expect("inotify");
    runtime.block_on(it.enter(&mut watch, vec![root.clone()]));
    assert!(!it.means(&root.join("x.py")));
}
