//! Which files of a project are meant: globs relative to its folder, in which `*` stays within a name and `**` does not.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::path::{Path, PathBuf};

/// Of a service's `watch`. What names a folder means everything below it.
#[derive(Debug, Clone)]
pub struct Patterns {
    files: GlobSet,
    /// The folders in which such files may be, now or later.
    folders: GlobSet,
}

impl Patterns {
    /// # Errors
    /// When one of them is no glob: which, and why.
    pub fn new(patterns: &[String]) -> Result<Self, (usize, String)> {
        let (mut files, mut folders) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for (index, pattern) in patterns.iter().enumerate() {
            let glob =
                |text: &str| GlobBuilder::new(text).literal_separator(true).build().map_err(|error| (index, error.kind().to_string()));
            let pattern = pattern.trim_end_matches('/');
            let below = format!("{pattern}/**");
            files.add(glob(pattern)?).add(glob(&below)?);
            folders.add(glob(pattern)?).add(glob(&below)?);
            let mut above = PathBuf::new();
            for name in Path::new(pattern).components() {
                above.push(name);
                let text = above.to_string_lossy();
                // A part of a glob need not be one: `{a/b,c}`. Then every folder may hold what it means.
                folders.add(glob(&text).or_else(|_| glob("**"))?);
                if text.ends_with("**") {
                    break;
                }
            }
        }
        let set = |builder: GlobSetBuilder| builder.build().map_err(|error| (0, error.kind().to_string()));
        Ok(Self { files: set(files)?, folders: set(folders)? })
    }

    /// `path`: relative to the project.
    pub fn means(&self, path: &Path) -> bool {
        self.files.is_match(path)
    }

    pub fn may_be_below(&self, folder: &Path) -> bool {
        folder.as_os_str().is_empty() || self.folders.is_match(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(of: &[&str]) -> Patterns {
        Patterns::new(&of.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).expect("globs")
    }

    #[test]
    fn a_star_stays_within_a_name_two_do_not_and_a_folder_means_all_of_it() {
        for (pattern, meant, not_meant) in [
            ("apps/bot/**/*.py", &["apps/bot/a.py", "apps/bot/x/y/a.py"][..], &["apps/a.py", "apps/bot/a.txt", "apps/bots/a.py"][..]),
            ("*.py", &["a.py"], &["apps/a.py"]),
            ("apps/*/settings.toml", &["apps/bot/settings.toml"], &["apps/bot/x/settings.toml", "apps/settings.toml"]),
            ("apps/bot", &["apps/bot/a.py", "apps/bot/x/y.json"], &["apps/bot2/a.py"]),
            ("apps/bot/", &["apps/bot/a.py"], &["apps/a.py"]),
            ("{apps/bot,lib}/*.py", &["apps/bot/a.py", "lib/a.py"], &["apps/a.py"]),
            ("pyproject.toml", &["pyproject.toml"], &["apps/pyproject.toml"]),
        ] {
            let it = patterns(&[pattern]);
            for path in meant {
                assert!(it.means(Path::new(path)), "{pattern} {path}");
                for folder in Path::new(path).ancestors().skip(1) {
                    assert!(it.may_be_below(folder), "{pattern} {path}: {}", folder.display());
                }
            }
            for path in not_meant {
                assert!(!it.means(Path::new(path)), "{pattern} {path}");
            }
        }
    }

    #[test]
    fn folders_that_cannot_hold_anything_meant_are_not_entered() {
        let it = patterns(&["apps/bot/**/*.py", "lib/*.py"]);
        for folder in ["node_modules", "apps/web", "lib/x"] {
            assert!(!it.may_be_below(Path::new(folder)), "{folder}");
        }
        assert!(it.may_be_below(Path::new("apps/bot/x/y")));
    }

    #[test]
    fn what_is_no_glob_is_named() {
        let (which, why) = Patterns::new(&["a".to_owned(), "apps/[".to_owned()]).expect_err("no glob");
        assert!(which == 1 && why.contains("']'"), "{why}");
    }
}
