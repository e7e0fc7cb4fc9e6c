//! The wheel of the worker library: the one that `DEVSTACK_WHEEL` names, or the package as cargo builds it now.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

pub fn wheel() -> &'static Path {
    static WHEEL: LazyLock<PathBuf> = LazyLock::new(|| std::env::var_os("DEVSTACK_WHEEL").map_or_else(build, PathBuf::from));
    &WHEEL
}

/// A folder to import it from: no extension is imported from within an archive.
pub fn unpacked() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("library-{}", std::process::id()));
        succeed(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel()).arg(&folder));
        folder
    });
    &FOLDER
}

fn build() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder").join("debug");
    let mut cargo = Command::new(env!("CARGO"));
    succeed(cargo.args(["build", "--quiet", "--locked", "--package", "devstack-python"]).current_dir(repository));
    let package = tempfile::tempdir().expect("a folder");
    succeed(Command::new("cp").arg("-r").arg(repository.join("python/devstack")).arg(package.path()));
    std::fs::copy(target.join("lib_native.so"), package.path().join("devstack/_native.abi3.so")).expect("it was built");
    let wheel = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("devstack-{}.whl", std::process::id()));
    succeed(Command::new("python3").args(["-m", "zipfile", "-c"]).arg(&wheel).arg("devstack").current_dir(package.path()));
    wheel
}

fn succeed(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
