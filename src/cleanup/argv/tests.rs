use super::*;

fn words(line: &str) -> Vec<Vec<u8>> {
    shell_words::split(line).expect("a command line").into_iter().map(String::into_bytes).collect()
}

fn pattern(line: &str) -> Pattern<'static> {
    let (cwd, root) = (Path::new("/proj"), Path::new("/proj"));
    Pattern { argv: words(line), cwd, root, venv: Some(Path::new("/proj/.venv")) }
}

fn is_copy(wanted: &str, exe: &str, line: &str) -> bool {
    let argv = words(line);
    pattern(wanted).is_copy(Candidate { argv: &argv, exe: Some(Path::new(exe)), cwd: Some(Path::new("/proj")) })
}

const PYTHON: &str = "/usr/bin/python3.11";

#[test]
fn a_module_is_recognised_whatever_interpreter_and_options_run_it() {
    for line in [
        "python -m apps.mtproto.worker",
        "/proj/.venv/bin/python3 -u -m apps.mtproto.worker --interval 10",
        "python3.11 -B -X dev -W ignore -Wdefault -Xutf8 -I -m apps.mtproto.worker",
        "python -Bum apps.mtproto.worker",
        "python --check-hash-based-pycs never -mapps.mtproto.worker x",
    ] {
        assert!(is_copy("python -m apps.mtproto.worker", PYTHON, line), "{line}");
    }
}

#[test]
fn what_merely_mentions_a_module_is_no_copy_of_it() {
    for (exe, line) in [
        ("/usr/bin/tail", "tail -f apps/mtproto/worker.py"),
        ("/usr/bin/bash", "bash -c 'python -m apps.mtproto.worker'"),
        ("/usr/bin/grep", "grep -r apps.mtproto.worker"),
        ("/usr/bin/ssh", "ssh host python -m apps.mtproto.worker"),
        (PYTHON, "python -c 'import time; time.sleep(9) # apps.mtproto.worker'"),
        (PYTHON, "python -m apps.mtproto.worker2"),
        (PYTHON, "python -m pdb -m apps.mtproto.worker"),
        (PYTHON, "python script.py -m apps.mtproto.worker"),
        (PYTHON, "python -X -m apps.mtproto.worker"),
        (PYTHON, "python"),
        (PYTHON, "python -m"),
        ("/usr/bin/sleep", "python -m apps.mtproto.worker"),
        ("/usr/local/bin/devstack", "devstack run -- python -m apps.mtproto.worker"),
    ] {
        assert!(!is_copy("python -m apps.mtproto.worker", exe, line), "{line}");
    }
}

#[test]
fn arguments_of_the_pattern_must_come_first_and_in_order() {
    let wanted = "python -m apps.mtproto.worker --shard 1";
    assert!(is_copy(wanted, PYTHON, "python -m apps.mtproto.worker --shard 1 --verbose"));
    assert!(!is_copy(wanted, PYTHON, "python -m apps.mtproto.worker --shard 10"));
    assert!(!is_copy(wanted, PYTHON, "python -m apps.mtproto.worker --verbose --shard 1"));
}

#[test]
fn an_entry_point_of_the_venv_is_its_own_command() {
    let wanted = "uvicorn apps.api.main:app";
    assert!(is_copy(wanted, PYTHON, "/proj/.venv/bin/python /proj/.venv/bin/uvicorn apps.api.main:app --port 8000"));
    assert!(is_copy(wanted, PYTHON, "python .venv/bin/uvicorn apps.api.main:app"));
    for other in [
        "/other/.venv/bin/python /other/.venv/bin/uvicorn apps.api.main:app",
        "python /proj/uvicorn apps.api.main:app",
        "python /proj/.venv/bin/uvicorn apps.api.main:app2",
        "python /proj/.venv/bin/gunicorn apps.api.main:app",
    ] {
        assert!(!is_copy(wanted, PYTHON, other), "{other}");
    }
}

#[test]
fn scripts_and_programs_are_compared_as_files() {
    assert!(is_copy("python worker.py", PYTHON, "python3 /proj/worker.py --fast"));
    assert!(is_copy("python ./x/../worker.py", PYTHON, "python3 worker.py"));
    assert!(!is_copy("python worker.py", PYTHON, "python3 /elsewhere/worker.py"));
    assert!(is_copy("./run.sh --fast", "/usr/bin/dash", "/bin/sh ./run.sh --fast"));
    assert!(is_copy("node server.js", "/usr/bin/node", "node server.js"));
    assert!(!is_copy("node server.js", "/usr/bin/vim", "vim server.js"));
}

#[test]
fn the_parts_of_a_pool_are_told_by_the_code_they_run() {
    let part = |line: &str| pool_part(&words(line), Some(Path::new(PYTHON)));
    let spawn = "'from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=6, pipe_handle=8)' --multiprocessing-fork";
    assert_eq!(part(&format!("/v/bin/python -B -c {spawn}")), Some(PoolPart::SpawnChild));
    assert_eq!(part(&format!("python -c {spawn}")), Some(PoolPart::SpawnChild));
    let tracker = "python -c 'from multiprocessing.resource_tracker import main;main(5)'";
    assert_eq!(part(tracker), Some(PoolPart::ResourceTracker));
    assert_eq!(part("python -c 'from multiprocessing.forkserver import main; main(5, 7, [])'"), Some(PoolPart::Forkserver));
    assert_eq!(part("grep -c 'from multiprocessing.spawn import spawn_main' x"), None);
    assert_eq!(pool_part(&words(tracker), Some(Path::new("/usr/bin/vim"))), None);
    assert_eq!(part("python -c 'print(1) # from multiprocessing.spawn import spawn_main' --multiprocessing-fork"), None);
}

#[test]
fn a_mention_is_a_whole_word() {
    let wanted = pattern("python -m apps.mtproto.worker");
    assert!(wanted.is_mentioned_by(&words("bash -c 'cd x && python -m apps.mtproto.worker --fast'")));
    assert!(wanted.is_mentioned_by(&words("grep apps.mtproto.worker")));
    assert!(!wanted.is_mentioned_by(&words("python -m apps.mtproto.worker2")));
    assert!(!wanted.is_mentioned_by(&words("tail -f apps/mtproto/worker.py")));
    assert!(!wanted.is_mentioned_by(&words("python -m http.server")));
}

#[test]
fn a_module_or_code_in_one_word_with_its_option_passes_the_first_look() {
    assert!(pattern("python -m apps.mtproto.worker").could_be(&words("python3 -mapps.mtproto.worker")));
    assert!(could_be_python(&words("worker '-cfrom multiprocessing.spawn import spawn_main; spawn_main()'")));
}
