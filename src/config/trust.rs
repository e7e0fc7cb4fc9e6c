//! Whose files are believed. A configuration says what runs, so whoever can write it has every right of whoever starts it.
//!
//! Decides by owner and mode of the very file that is read, and of every folder on the way to it: who can write to a folder can
//! put another file in place. Only root has rights to lose; everybody else believes what a project's folder holds.

use super::error::Problem;
use super::source::shown;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whom a configuration and its env files are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    Everybody,
    /// Nobody but root may be able to write them.
    RootAlone,
}

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

impl Trust {
    /// What a process of this effective user believes.
    pub fn of_user(uid: u32) -> Self {
        if uid == 0 { Self::RootAlone } else { Self::Everybody }
    }

    /// Of a file that is open, so that it is what will be read.
    ///
    /// # Errors
    /// When somebody else could have written it, or put it there.
    pub(super) fn believe(self, path: &Path, file: &Metadata) -> Result<(), Problem> {
        if self == Self::Everybody {
            return Ok(());
        }
        judge("file", path, file)?;
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        // Through a link, both its own folder and that of what it leads to decide what is read.
        for folder in [path, &real].into_iter().filter_map(Path::parent) {
            for (steps_up, folder) in folder.ancestors().enumerate() {
                // One that cannot be looked at cannot be vouched for, and root can look at everything.
                let Ok(found) = folder.metadata() else { return Err(Problem::new("this folder cannot be looked at").place(shown(folder))) };
                if steps_up == 0 || !is_shared_by_root(&found) {
                    judge("folder", folder, &found)?;
                }
            }
        }
        Ok(())
    }
}

/// As /tmp: everybody may add to it, nobody may replace what is another's.
fn is_shared_by_root(folder: &Metadata) -> bool {
    folder.uid() == 0 && folder.mode() & STICKY != 0
}

fn judge(what: &str, path: &Path, found: &Metadata) -> Result<(), Problem> {
    let (uid, gid, mode) = (found.uid(), found.gid(), found.mode());
    let foreign_group = mode & GROUP_WRITES != 0 && gid != 0;
    let whose = match () {
        () if uid != 0 => format!("belongs to user {uid}"),
        () if mode & OTHERS_WRITE != 0 => "can be written by everybody".to_owned(),
        () if foreign_group => format!("can be written by group {gid}"),
        () => return Ok(()),
    };
    let hint = match uid {
        0 => format!("take that right away, for instance with `chmod go-w {}`", shown(path)),
        _ => format!("run it as that user: `sudo -u '#{uid}' devstack …`; in a container, start that with `--user {uid}`"),
    };
    let message = format!("root does not act on what others could have written: this {what} {whose} (mode {:04o})", mode & 0o7777);
    Err(Problem::new(message).place(shown(path)).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_has_something_to_lose() {
        assert_eq!((Trust::of_user(0), Trust::of_user(1000)), (Trust::RootAlone, Trust::Everybody));
        let file = tempfile::NamedTempFile::new().expect("a file");
        let found = file.path().metadata().expect("its metadata");
        Trust::Everybody.believe(file.path(), &found).expect("anything is believed");
    }
}
