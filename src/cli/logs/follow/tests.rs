use super::*;
use std::fs::OpenOptions;
use std::io::Write;

struct Scene {
    folder: tempfile::TempDir,
    follower: Follower,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let follower = Follower::new(&[folder.path().join("logs/x.log")]);
        Self { folder, follower }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("logs").join(name)
    }

    fn append(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path("")).expect("folder");
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(name)).expect("open");
        file.write_all(text.as_bytes()).expect("write");
    }

    /// What the kernel announces, not what is there: a change without a wake-up would be missed by a real follower.
    fn news(&mut self) -> String {
        let mut seen = String::new();
        let read = self.follower.read(&mut |_, news| {
            match news {
                News::Bytes(bytes) => seen.push_str(&String::from_utf8_lossy(bytes)),
                News::Restarted => seen.push('|'),
            }
            Ok(())
        });
        read.expect("read");
        seen
    }
}

#[test]
fn a_log_is_waited_for_and_followed_through_every_rotation() {
    let mut scene = Scene::new();
    assert_eq!(scene.news(), "");
    scene.append("x.log", "one\n");
    assert_eq!(scene.news(), "one\n");
    scene.append("x.log", "two\n");
    assert_eq!(scene.news(), "two\n");

    std::fs::rename(scene.path("x.log"), scene.path("x.log.1")).expect("rename");
    scene.append("x.log.1", "late\n");
    assert_eq!(scene.news(), "late\n");
    scene.append("x.log", "three\n");
    assert_eq!(scene.news(), "|three\n");
    scene.append("x.log.1", "very late\n");
    assert_eq!(scene.news(), "very late\n");

    OpenOptions::new().write(true).truncate(true).open(scene.path("x.log")).expect("truncate");
    scene.append("x.log", "4\n");
    assert_eq!(scene.news(), "|4\n");
    OpenOptions::new().write(true).truncate(true).open(scene.path("x.log")).expect("truncate");
    scene.append("x.log", "longer than before\n");
    assert_eq!(scene.news(), "|longer than before\n");

    std::fs::remove_dir_all(scene.path("")).expect("remove");
    assert_eq!(scene.news(), "");
    scene.append("x.log", "again\n");
    assert_eq!(scene.news(), "|again\n");
    scene.append("x.log", "and again\n");
    assert_eq!(scene.news(), "and again\n");
}

#[test]
fn a_head_that_is_cut_off_repeats_and_loses_nothing() {
    let mut scene = Scene::new();
    let numbered: String = (0..5000).map(|line| format!("line {line:06}\n")).collect();
    scene.append("x.log", &numbered);
    assert_eq!(scene.news(), numbered);
    // What FALLOC_FL_COLLAPSE_RANGE leaves, on any file system.
    let cut = [&numbered.as_bytes()[8 * 4096..], b"more\n"].concat();
    std::fs::write(scene.path("x.log"), &cut).expect("write");
    assert_eq!(scene.news(), "more\n");
}

#[test]
fn what_takes_the_place_of_a_log_is_not_followed_blindly() {
    let mut scene = Scene::new();
    scene.append("x.log", "one\n");
    scene.news();
    std::fs::remove_file(scene.path("x.log")).expect("remove");
    std::os::unix::fs::symlink("/etc/passwd", scene.path("x.log")).expect("link");
    let refused = scene.follower.read(&mut |_, _| Ok(())).expect_err("a link");
    assert_eq!(refused.exit_code(), 1);
}
