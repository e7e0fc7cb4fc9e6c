//! Which devstack.toml a command means.

use super::error::{Problem, Problems};
use super::source::{cause, shown};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const FILE: &str = "devstack.toml";

/// A configuration and the folder that everything in it is relative to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Absolute.
    pub config_file: PathBuf,
    /// The folder of the file, canonical: what tells one checkout from another.
    pub root: PathBuf,
}

/// `--config`, then `--project`, then `$DEVSTACK_CONFIG`, then the nearest one from `cwd` upwards.
///
/// # Errors
/// When there is none, or the one that was named does not exist.
pub fn discover(config: Option<&Path>, project: Option<&Path>, cwd: &Path, env_config: Option<&OsStr>) -> Result<Location, Problems> {
    let found = if let Some(file) = config {
        named(&cwd.join(file), "--config")
    } else if let Some(folder) = project {
        in_folder(&cwd.join(folder))
    } else if let Some(file) = env_config.filter(|file| !file.is_empty()) {
        named(&cwd.join(file), "$DEVSTACK_CONFIG")
    } else {
        upwards(cwd)
    };
    Ok(found?)
}

fn named(file: &Path, by: &str) -> Result<Location, Problem> {
    match file.metadata() {
        Ok(found) if found.is_dir() => {
            let hint = format!("name the file in it, or use --project {}", shown(file));
            Err(Problem::new(format!("{by} names a folder")).place(shown(file)).hint(hint))
        }
        Ok(_) => location(file),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Problem::new("there is no such configuration file").place(shown(file)).hint(format!("it was named by {by}")))
        }
        Err(error) => Err(Problem::new(format!("the configuration cannot be read: {}", cause(&error))).place(shown(file))),
    }
}

fn in_folder(folder: &Path) -> Result<Location, Problem> {
    let file = folder.join(FILE);
    match folder.metadata() {
        Ok(found) if !found.is_dir() => Err(Problem::new("--project names a file").place(shown(folder)).hint("use --config for a file")),
        Ok(_) if file.symlink_metadata().is_ok() => location(&file),
        Ok(_) => {
            Err(Problem::new(format!("no {FILE} in this folder")).place(shown(folder)).hint("write one there, or name another folder"))
        }
        Err(error) => Err(Problem::new(format!("--project cannot be entered: {}", cause(&error))).place(shown(folder))),
    }
}

fn upwards(cwd: &Path) -> Result<Location, Problem> {
    let there = |folder: &&Path| folder.join(FILE).symlink_metadata().is_ok();
    match cwd.ancestors().find(there) {
        Some(folder) => location(&folder.join(FILE)),
        None => Err(Problem::new(format!("no {FILE} here or in any folder above"))
            .place(cwd.display().to_string())
            .hint("write one, or name one with --config FILE or --project DIR")),
    }
}

fn location(file: &Path) -> Result<Location, Problem> {
    let cannot = |error: std::io::Error| Problem::new(format!("the folder cannot be entered: {}", cause(&error))).place(shown(file));
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(Problem::new("this does not name a file").place(shown(file)));
    };
    let root = folder.canonicalize().map_err(cannot)?;
    Ok(Location { config_file: root.join(name), root })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_upwards_is_meant_unless_one_is_named() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = dir.path().canonicalize().expect("canonical");
        std::fs::create_dir_all(root.join("a/b")).expect("folders");
        std::fs::write(root.join(FILE), "").expect("file");
        std::fs::write(root.join("a/other.toml"), "").expect("file");
        let outer = Location { config_file: root.join(FILE), root: root.clone() };
        let other = Location { config_file: root.join("a/other.toml"), root: root.join("a") };
        let below = root.join("a/b");
        assert_eq!(discover(None, None, &below, None).expect("found"), outer);
        assert_eq!(discover(None, None, &below, Some(OsStr::new(""))).expect("found"), outer);
        assert_eq!(discover(None, None, &below, Some(OsStr::new("../other.toml"))).expect("found"), other);
        assert_eq!(discover(None, Some(Path::new("../..")), &below, Some(OsStr::new("x"))).expect("found"), outer);
        assert_eq!(discover(Some(Path::new("../other.toml")), None, &below, None).expect("found"), other);
        for (config, project) in [(Some("missing.toml"), None), (Some("."), None), (None, Some("missing")), (None, Some("."))] {
            assert!(discover(config.map(Path::new), project.map(Path::new), &below, None).is_err());
        }
    }
}
