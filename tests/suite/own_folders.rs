//! Where devstack keeps its own files: in folders of the user's alone, found in the documented order, and nowhere else.

use crate::support::TestStack;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

const WEB: &str = "[services.web]\ncommand = 'python3 worker.py web'\n";

fn beside(stack: &TestStack, name: &str) -> PathBuf {
    stack.root.with_file_name(name)
}

fn run(stack: &TestStack, line: &str, variables: &[(&str, Option<&Path>)]) -> crate::running::Done {
    let mut command = stack.command(line);
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    stack.begin_command(command).end()
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    found.sort();
    found
}

/// What may stand where a folder of devstack's should, how it is put there, and what is said of it.
type Obstacle = (&'static str, Box<dyn Fn(&Path)>, &'static str);

fn obstacles(stack: &TestStack) -> Vec<Obstacle> {
    let elsewhere = beside(stack, "elsewhere");
    fs::create_dir_all(&elsewhere).expect("a folder");
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o700)).expect("private");
    let folder = |mode: u32| {
        move |at: &Path| {
            fs::create_dir(at).expect("a folder");
            fs::set_permissions(at, fs::Permissions::from_mode(mode)).expect("chmod");
        }
    };
    let mut all: Vec<Obstacle> = vec![
        ("a link", Box::new(move |at: &Path| symlink(&elsewhere, at).expect("a link")), "is a symbolic link"),
        ("a file", Box::new(|at: &Path| fs::write(at, "mine").expect("a file")), "is no folder"),
        ("open to a group", Box::new(folder(0o770)), "must be yours alone"),
        ("open to all", Box::new(folder(0o707)), "must be yours alone"),
    ];
    if nix::unistd::geteuid().is_root() {
        all.push((
            "of somebody else",
            Box::new(move |at: &Path| {
                folder(0o700)(at);
                chown(at, Some(65534), None).expect("chown");
            }),
            "it belongs to user 65534",
        ));
    } else {
        eprintln!("not tested: only root can give a folder away");
    }
    all
}

#[test]
fn a_folder_of_devstacks_that_is_not_the_users_alone_is_refused_and_not_followed() {
    let stack = TestStack::new(WEB);
    let id = devstack::config::project_id(&stack.root).0;
    let places = [
        ("XDG_STATE_HOME", PathBuf::from("devstack")),
        ("XDG_STATE_HOME", Path::new("devstack").join(&id)),
        ("XDG_RUNTIME_DIR", PathBuf::from("devstack")),
        ("XDG_RUNTIME_DIR", Path::new("devstack").join(&id)),
    ];
    for (index, (variable, place)) in places.iter().enumerate() {
        for (number, (what, put, said)) in obstacles(&stack).into_iter().enumerate() {
            let home = beside(&stack, &format!("home-{index}-{number}"));
            fs::DirBuilder::new().recursive(true).mode(0o700).create(home.join(place).parent().expect("a folder")).expect("folders");
            put(&home.join(place));
            for line in ["start", "status", "stop", "cleanup-workers"] {
                let done = run(&stack, line, &[(variable, Some(&home))]).ends_with(1);
                assert!(done.stderr.contains(said), "{variable}/{}, {what}, {line}: {done:?}", place.display());
            }
            assert_eq!(below(&beside(&stack, "elsewhere")), [] as [PathBuf; 0], "{what} was followed");
        }
    }
    assert!(!stack.root.join("logs").exists() && stack.processes().is_empty());
}

#[test]
fn a_runtime_folder_that_cannot_be_used_is_passed_over() {
    let stack = TestStack::new(WEB);
    let foreign = beside(&stack, "foreign");
    fs::create_dir(&foreign).expect("a folder");
    let missing = beside(&stack, "missing");
    let mut unusable = vec![None, Some(Path::new("relative")), Some(missing.as_path()), Some(Path::new("/etc/passwd"))];
    if nix::unistd::geteuid().is_root() {
        chown(&foreign, Some(65534), None).expect("chown");
        unusable.push(Some(&foreign));
    }
    for runtime in unusable {
        run(&stack, "start", &[("XDG_RUNTIME_DIR", runtime)]).ends_with(0);
        assert!(stack.state_file("run/control.sock").exists(), "{runtime:?}");
        run(&stack, "stop --supervisor", &[("XDG_RUNTIME_DIR", runtime)]).ends_with(0);
    }
    assert!(!stack.root.join("relative").exists() && !missing.exists() && below(&foreign).is_empty());
}

#[test]
fn without_a_state_folder_named_it_is_below_the_home_folder_and_a_foreign_or_missing_home_is_not_used() {
    let stack = TestStack::new(WEB);
    let home = beside(&stack, "home");
    let unset = ("XDG_STATE_HOME", None);
    run(&stack, "start", &[unset, ("HOME", Some(&home))]).ends_with(0);
    assert!(home.join(".local/state/devstack").is_dir());
    run(&stack, "stop --supervisor", &[unset, ("HOME", Some(&home))]).ends_with(0);
    let relative = ("XDG_STATE_HOME", Some(Path::new("relative")));
    run(&stack, "status", &[relative, ("HOME", Some(&home))]).ends_with(3);
    assert!(!stack.root.join("relative").exists());

    // The user database knows where home is; nothing is made where HOME says.
    let said = |home: Option<&Path>| run(&stack, "-v status", &[unset, ("HOME", home)]).ends_with(3).stderr;
    let by_database = said(None);
    let foreign = beside(&stack, "foreign-home");
    fs::create_dir(&foreign).expect("a folder");
    let missing = beside(&stack, "missing");
    let mut unusable = vec![missing.clone(), PathBuf::from("relative"), PathBuf::from("/etc/passwd")];
    if nix::unistd::geteuid().is_root() {
        chown(&foreign, Some(65534), None).expect("chown");
        unusable.push(foreign.clone());
    }
    for home in &unusable {
        assert_eq!(said(Some(home)), by_database, "{}", home.display());
    }
    assert!(!missing.exists() && below(&foreign).is_empty());
}

#[test]
fn root_leaves_nothing_in_the_state_folder_of_somebody_else() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("not tested: only root can give a folder away");
    }
    let stack = TestStack::new(WEB);
    let foreign = beside(&stack, "foreign");
    fs::create_dir(&foreign).expect("a folder");
    chown(&foreign, Some(65534), None).expect("chown");
    for named in [foreign.clone(), foreign.join(".local/state")] {
        let done = run(&stack, "start", &[("XDG_STATE_HOME", Some(&named))]).ends_with(1);
        assert!(done.stderr.contains("belongs to user 65534, who could replace what is in it"), "{done:?}");
    }
    assert_eq!(below(&foreign), [] as [PathBuf; 0]);
}

#[test]
fn a_log_folder_that_became_a_link_and_whatever_stands_in_place_of_a_log_is_refused_before_anything_runs() {
    let stack = TestStack::new(WEB);
    let (logs, log) = (stack.root.join("logs"), stack.log_file("web"));
    let outside = beside(&stack, "outside");
    fs::create_dir(&outside).expect("a folder");
    fs::write(outside.join("victim"), "untouched").expect("a file");
    let inside = stack.root.join("inside");
    fs::create_dir(&inside).expect("a folder");
    let victim = outside.join("victim");
    type Case<'a> = (&'a str, Box<dyn Fn() + 'a>, i32, &'a str);
    let cases: Vec<Case> = vec![
        ("a link out", Box::new(|| symlink(&outside, &logs).expect("a link")), 2, "leaves the project through a link"),
        ("a link inside", Box::new(|| symlink(&inside, &logs).expect("a link")), 1, "a folder on the way is a symbolic link"),
        ("a file", Box::new(|| fs::write(&logs, "").expect("a file")), 1, "something on the way is no folder"),
        (
            "a linked log",
            Box::new(|| {
                fs::create_dir(&logs).expect("logs");
                symlink(&victim, &log).expect("a link")
            }),
            1,
            "it is a symbolic link",
        ),
        (
            "a log linked inside",
            Box::new(|| {
                fs::create_dir(&logs).expect("logs");
                symlink(stack.root.join("worker.py"), &log).expect("a link")
            }),
            1,
            "it is a symbolic link",
        ),
        (
            "a second name",
            Box::new(|| {
                fs::create_dir(&logs).expect("logs");
                fs::hard_link(&victim, &log).expect("a link")
            }),
            1,
            "it has a second name (a hard link)",
        ),
        (
            "a FIFO",
            Box::new(|| {
                fs::create_dir(&logs).expect("logs");
                nix::unistd::mkfifo(&log, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO")
            }),
            1,
            "it is a FIFO or a socket",
        ),
        ("a folder", Box::new(|| fs::create_dir_all(&log).expect("a folder")), 1, "Is a directory"),
    ];
    for (what, put, code, said) in cases {
        put();
        let done = stack.run("start");
        assert_eq!(done.code, Some(code), "{what}: {done:?}");
        assert!(done.stderr.contains(said), "{what}: {done:?}");
        stack.run("stop --supervisor");
        assert_eq!(fs::read_to_string(&victim).expect("there"), "untouched", "{what}");
        if logs.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            fs::remove_dir_all(&logs).expect("removed");
        } else {
            fs::remove_file(&logs).expect("removed");
        }
    }
    assert_eq!((below(&outside).len(), below(&inside).len()), (1, 0));
    assert!(!fs::read_to_string(stack.root.join("worker.py")).expect("there").contains("started 1"));
    stack.run("start").ends_with(0);
}

#[test]
fn a_device_in_place_of_a_log_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("not tested: only root can make a device");
    }
    let stack = TestStack::new(WEB);
    fs::create_dir(stack.root.join("logs")).expect("a folder");
    let null = nix::sys::stat::makedev(1, 3);
    nix::sys::stat::mknod(&stack.log_file("web"), nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::S_IRWXU, null).expect("a device");
    stack.run("start").ends_with(1).says("it is not a plain file");
}
