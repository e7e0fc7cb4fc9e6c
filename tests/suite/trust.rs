//! Whose files and whose words devstack believes: as root in somebody else's project, and with another user at its socket.

use crate::support::{DEVSTACK, TestStack};
use crate::world::is_alive;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const WEB: &str = "[services.web]\ncommand = 'python3 worker.py web'\n";
const NOBODY: u32 = 65534;

/// What these tests are about only root can bring about.
fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("not tested: only root can give files away and become somebody else");
    }
    root
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

struct Untrusted {
    what: &'static str,
    path: PathBuf,
    mode: u32,
    owner: (u32, u32),
    said: &'static str,
}

#[test]
fn root_touches_nothing_in_a_project_that_others_could_have_written() {
    if !is_root() {
        return;
    }
    let stack = TestStack::new(WEB);
    let (root, base) = (stack.root.clone(), stack.root.parent().expect("a folder").to_owned());
    let (config, local) = (root.join("devstack.toml"), root.join("devstack.local.toml"));
    stack.write("devstack.local.toml", "");
    let case = |what, path: &Path, mode, owner, said| Untrusted { what, path: path.to_owned(), mode, owner, said };
    let cases = [
        case("another user's file", &config, 0o644, (NOBODY, 0), "this file belongs to user 65534 (mode 0644)"),
        case("a file for everybody", &config, 0o666, (0, 0), "this file can be written by everybody (mode 0666)"),
        case("a file for a group", &config, 0o664, (0, NOBODY), "this file can be written by group 65534 (mode 0664)"),
        case("another user's local file", &local, 0o600, (NOBODY, 0), "this file belongs to user 65534 (mode 0600)"),
        case("another user's folder", &root, 0o755, (NOBODY, 0), "this folder belongs to user 65534 (mode 0755)"),
        case("a folder for everybody", &root, 0o777, (0, 0), "this folder can be written by everybody (mode 0777)"),
        case("a shared folder", &root, 0o1777, (0, 0), "this folder can be written by everybody (mode 1777)"),
        case("another user's folder above", &base, 0o755, (NOBODY, 0), "this folder belongs to user 65534 (mode 0755)"),
        case("a folder above for a group", &base, 0o775, (0, NOBODY), "this folder can be written by group 65534 (mode 0775)"),
    ];
    for one in cases {
        let before = one.path.metadata().expect("there");
        let change = |mode_: u32, (uid, gid): (u32, u32)| {
            chown(&one.path, Some(uid), Some(gid)).expect("chown");
            mode(&one.path, mode_);
        };
        change(one.mode, one.owner);
        for line in ["start", "stop", "restart", "status", "logs", "cleanup-workers", "stop --supervisor"] {
            let done = stack.run(line).ends_with(2).says("root does not act on what others could have written").says(one.said);
            assert!(done.stderr.contains(&format!("--> {}", shown(&one.path, &root))), "{}: {done:?}", one.what);
            let hint = if one.owner.0 == 0 { "take that right away" } else { "sudo -u '#65534' devstack" };
            assert!(done.stderr.contains(hint), "{}: {done:?}", one.what);
        }
        // Looking at it harms nobody.
        stack.run("check").ends_with(0);
        change(before.mode(), (before.uid(), before.gid()));
    }
    assert!(!root.join("logs").exists() && stack.processes().is_empty(), "nothing was done");

    // What only root can write may also be written by root's group, below a shared folder of root's.
    mode(&config, 0o664);
    mode(&base, 0o1777);
    stack.run("start").ends_with(0);
    mode(&base, 0o755);
}

fn shown(path: &Path, cwd: &Path) -> String {
    path.strip_prefix(cwd).map_or_else(|_| path.display().to_string(), |near| near.display().to_string()).trim_end_matches('/').to_owned()
}

#[test]
fn root_believes_a_link_only_if_both_its_ends_are_roots() {
    if !is_root() {
        return;
    }
    let stack = TestStack::new(WEB);
    let (config, elsewhere) = (stack.root.join("devstack.toml"), stack.root.with_file_name("elsewhere"));
    fs::create_dir(&elsewhere).expect("a folder");
    fs::rename(&config, elsewhere.join("real.toml")).expect("moved");
    std::os::unix::fs::symlink(elsewhere.join("real.toml"), &config).expect("a link");
    stack.run("status").ends_with(3);
    // Its owner can put another file in its place.
    chown(&elsewhere, Some(NOBODY), None).expect("chown");
    stack.run("status").ends_with(2).says("this folder belongs to user 65534");
    chown(&elsewhere, Some(0), None).expect("chown");
}

#[test]
fn root_starts_nothing_with_an_env_file_of_somebody_else() {
    if !is_root() {
        return;
    }
    let stack = TestStack::new(&format!("{WEB}env_file = 'web.env'\n"));
    stack.write("web.env", "LD_PRELOAD=/tmp/evil.so\n");
    chown(stack.root.join("web.env"), Some(NOBODY), None).expect("chown");
    let done = stack.run("start").ends_with(1).says("this file belongs to user 65534");
    assert!(!done.stderr.contains("evil.so") && stack.log("web").is_empty(), "{done:?}");
    chown(stack.root.join("web.env"), Some(0), None).expect("chown");
    stack.run("start").ends_with(0);
    // Who takes it over later gets nothing of the next start either.
    let worker = stack.pid("web");
    chown(stack.root.join("devstack.toml"), Some(NOBODY), None).expect("chown");
    stack.run("restart").ends_with(2);
    assert!(is_alive(worker));
    chown(stack.root.join("devstack.toml"), Some(0), None).expect("chown");
}

/// The program where everybody can run it, and its folders open for passage.
fn for_everybody(stack: &TestStack) -> PathBuf {
    let base = stack.root.parent().expect("a folder");
    for folder in [base, base.parent().expect("a folder"), &stack.root] {
        mode(folder, 0o755);
    }
    let program = base.join("devstack");
    if !program.exists() {
        // By another process: what this one had open for writing could not be executed while a child of another test holds it.
        assert!(Command::new("cp").arg(DEVSTACK).arg(&program).status().expect("cp").success());
        mode(&program, 0o755);
    }
    program
}

fn as_nobody(stack: &TestStack, line: &str, change: impl FnOnce(&mut Command)) -> crate::running::Done {
    let program = for_everybody(stack);
    let mut command = Command::new(program);
    stack.in_its_environment(&mut command).args(line.split_whitespace()).uid(NOBODY).gid(NOBODY);
    change(&mut command);
    stack.begin_command(command).end()
}

fn socket(stack: &TestStack) -> PathBuf {
    let projects = fs::read_dir(stack.root.with_file_name("runtime/devstack")).expect("a folder");
    projects.last().expect("one").expect("an entry").path().join("control.sock")
}

#[test]
fn another_user_cannot_talk_even_if_somebody_opened_the_socket_to_all() {
    if !is_root() {
        return;
    }
    let stack = TestStack::new(WEB);
    stack.run("start").ends_with(0);
    let socket = socket(&stack);
    let whole_way: Vec<PathBuf> =
        socket.ancestors().skip(1).take_while(|folder| *folder != stack.root.parent().expect("a folder")).map(Path::to_owned).collect();
    let connect = "import socket, sys
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
    s.sendall(b'{\"protocol\":1,\"version\":\"0.1.0\",\"pid\":1}\\n{\"request\":\"shutdown\",\"kill\":true,\"timeout_seconds\":null}\\n')
    print(repr(s.recv(100)))
except PermissionError:
    print('no permission')
except ConnectionError:
    print(repr(b''))";
    let answer = || {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", connect]).arg(&socket).uid(NOBODY).gid(NOBODY).current_dir("/");
        String::from_utf8(command.output().expect("it runs").stdout).expect("text").trim().to_owned()
    };
    for_everybody(&stack);
    assert_eq!(answer(), "no permission", "as it is made");
    for folder in &whole_way {
        mode(folder, 0o755);
    }
    assert_eq!(answer(), "no permission", "the socket itself is closed, too");
    mode(&socket, 0o666);
    assert_eq!(answer(), "b''", "and who gets through hears nothing");
    // Root, whose it is, does not use what others could have put there.
    stack.run("status").ends_with(1).says("must be yours alone").says("mode 0755");
    mode(&socket, 0o600);
    for folder in &whole_way {
        mode(folder, 0o700);
    }
    assert_eq!(stack.service("web")["state"], "running");
}

#[test]
fn what_is_made_is_private_whatever_the_umask() {
    for umask in ["0", "077"] {
        let stack = TestStack::new(WEB);
        let mut command = Command::new("sh");
        stack.in_its_environment(command.args(["-c", &format!("umask {umask}; exec \"$0\" start"), DEVSTACK]));
        stack.begin_command(command).end().ends_with(0);
        let state = stack.state_file("ledger.json").parent().expect("a folder").to_owned();
        let socket = socket(&stack);
        let mut seen = 0;
        for folder in [
            state.parent().expect("a folder"),
            &state,
            socket.parent().expect("a folder"),
            socket.parent().and_then(Path::parent).expect("one"),
        ] {
            assert_eq!(fs::metadata(folder).expect("there").mode() & 0o777, 0o700, "umask {umask}: {}", folder.display());
            for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
                let meta = entry.path().symlink_metadata().expect("there");
                assert_eq!(meta.mode() & 0o077, 0, "umask {umask}: {}", entry.path().display());
                seen += 1;
            }
        }
        assert!(seen >= 7, "{seen}");
        assert_eq!(fs::metadata(stack.log_file("web")).expect("there").mode() & 0o777, 0o600);
    }
}

#[test]
fn root_may_talk_to_the_supervisor_of_somebody_else() {
    if !is_root() {
        return;
    }
    let stack = TestStack::new(WEB);
    let base = stack.root.parent().expect("a folder").to_owned();
    let owned = ["project", "home", "state", "runtime", "project/devstack.toml", "project/worker.py"];
    for name in owned {
        chown(base.join(name), Some(NOBODY), Some(NOBODY)).expect("chown");
    }
    // Nobody has an interpreter of its own.
    let path = |command: &mut Command| {
        command.env("PATH", "/usr/bin:/bin");
    };
    as_nobody(&stack, "start", path).ends_with(0);
    let done = as_nobody(&stack, "status --json", path).ends_with(0);
    assert!(done.stdout.contains("\"running\""), "{done:?}");
    let mut client = UnixStream::connect(socket(&stack)).expect("root may");
    std::io::Write::write_all(
        &mut client,
        b"{\"protocol\":1,\"version\":\"0.1.0\",\"pid\":1}\n{\"request\":\"status\",\"services\":[],\"tree\":false}\n",
    )
    .expect("sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("\"reply\":\"snapshot\""), "{answer}");
    // But a command of root's does not act for that user.
    stack.run("status").ends_with(2).says("sudo -u '#65534' devstack");
    as_nobody(&stack, "stop --supervisor", path).ends_with(0);
    assert_eq!(stack.processes(), []);
    for name in owned {
        chown(base.join(name), Some(0), Some(0)).expect("chown");
    }
}
