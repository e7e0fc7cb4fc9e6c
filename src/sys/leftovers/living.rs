//! Who lives and may need what looks left: those that have it open or mapped, and those that run Python.
//!
//! Decides nothing. A name for a person comes from here, the proof that nobody uses a file from the kernel itself (`usage`).

use crate::cleanup::leftovers::{Leftover, LivingPython};
use crate::cleanup::role_of;
use crate::model::{FileId, Pid};
use crate::sys::procfs::{self, Reader, Stat};
use rustix::fs::{AtFlags, CWD, StatxFlags};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Notes with each of them which of the processes that may be looked into have it open, mapped, or as their working folder, or
/// listen in it.
pub fn find_users(found: &mut [Leftover]) -> io::Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let sockets = bound_sockets();
    let is_in = |path: &[u8], one: &Leftover| Path::new(OsStr::from_bytes(path)).parent() == Some(one.path.as_path());
    let within = |one: &Leftover| sockets.iter().filter(|(path, _)| is_in(path, one)).map(|(_, socket)| *socket).collect();
    let within: Vec<Vec<FileId>> = found.iter().map(within).collect();
    for pid in procfs::pids()?.into_iter().filter(|pid| *pid != own_pid()) {
        let Some(place) = Reader::default().stat(pid).ok().and_then(|stat| place(&stat)) else { continue };
        let used = used_files(&place);
        for (one, within) in found.iter_mut().zip(&within) {
            if used.contains(&one.file) || within.iter().any(|socket| used.contains(socket)) {
                one.users.push(pid);
            }
        }
    }
    Ok(())
}

/// The path that each was bound to, and what a descriptor of it is open on. Only those of this network namespace.
fn bound_sockets() -> Vec<(Vec<u8>, FileId)> {
    let Ok(any) = UnixDatagram::unbound().and_then(|socket| Ok(rustix::fs::fstat(socket)?)) else { return Vec::new() };
    let text = fs::read("/proc/net/unix").unwrap_or_default();
    // `address: count protocol flags type state inode path`
    let parse = |line: &[u8]| {
        let slash = line.iter().position(|byte| *byte == b'/')?;
        let inode = std::str::from_utf8(&line[..slash]).ok()?.split_ascii_whitespace().nth(6)?.parse().ok()?;
        Some((line[slash..].to_vec(), FileId { dev: any.st_dev, ino: inode }))
    };
    text.split(|byte| *byte == b'\n').filter_map(parse).collect()
}

/// Everything of the asking user that runs Python.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn living_pythons() -> io::Result<Vec<LivingPython>> {
    let mut reader = Reader::default();
    let all = procfs::pids()?.into_iter().filter(|pid| *pid != own_pid());
    Ok(all.filter_map(|pid| python(&mut reader, pid)).collect())
}

fn python(reader: &mut Reader, pid: Pid) -> Option<LivingPython> {
    let stat = reader.stat(pid).ok().filter(|stat| !stat.is_kernel_thread())?;
    let place = place(&stat)?;
    is_mine(&place).then_some(())?;
    let argv = reader.argv(pid).unwrap_or_default();
    let (shares_memory, makes_folders) = match fs::read(place.join("maps")) {
        Ok(maps) => abilities(&maps)?,
        Err(error) if procfs::is_gone(&error) => return None,
        // Not for us to look into: a process that changed users, or that guards a secret. What it calls itself must do.
        Err(_) => says_python(&stat, &argv).then_some((true, true))?,
    };
    let (ppid, age, role) = (stat.ppid, procfs::age(stat.start_ticks), role_of(&argv));
    Some(LivingPython { pid, ppid, age, role, shares_memory, makes_folders })
}

/// Blocks of shared memory, temp folders; `None`: it does not run Python. Python loads what those need and never unloads it;
/// one that has loaded nothing at all may have it built in.
fn abilities(maps: &[u8]) -> Option<(bool, bool)> {
    let names = |word: &[u8]| maps.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word));
    if !names(b"python") && !names(b"pypy") {
        return None;
    }
    let built_in = !names(b"/lib-dynload/");
    Some((built_in || names(b"/_posixshmem."), built_in || names(b"/_multiprocessing.") || names(b"/_ctypes.")))
}

fn says_python(stat: &Stat, argv: &[Vec<u8>]) -> bool {
    let says = |text: &[u8]| [&b"python"[..], b"pypy"].iter().any(|word| text.windows(word.len()).any(|window| window == *word));
    says(&stat.comm) || argv.iter().take(2).any(|word| says(word))
}

/// Where its memory and descriptors are told. A main thread that ended before the others has none of its own any more.
fn place(stat: &Stat) -> Option<PathBuf> {
    let process = PathBuf::from(format!("/proc/{}", stat.pid));
    if !stat.is_zombie() {
        return Some(process);
    }
    let mut threads = fs::read_dir(process.join("task")).ok()?.flatten().map(|thread| thread.path());
    threads.find(|thread| !thread.ends_with(stat.pid.to_string()))
}

fn is_mine(place: &Path) -> bool {
    let text = fs::read(place.join("status")).unwrap_or_default();
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"));
    let me = crate::sys::socket::own_user().to_string();
    line.is_some_and(|line| line.split(u8::is_ascii_whitespace).any(|uid| uid == me.as_bytes()))
}

fn used_files(place: &Path) -> Vec<FileId> {
    let mut used: Vec<FileId> = fs::read(place.join("maps")).unwrap_or_default().split(|byte| *byte == b'\n').filter_map(mapped).collect();
    let descriptors = fs::read_dir(place.join("fd")).into_iter().flatten().flatten().map(|entry| entry.path());
    used.extend(descriptors.chain([place.join("cwd")]).filter_map(|link| target(&link)));
    used
}

/// `start-end protection offset major:minor inode path`; the path may be that of an earlier name.
fn mapped(line: &[u8]) -> Option<FileId> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).skip(3);
    let (major, minor) = std::str::from_utf8(fields.next()?).ok()?.split_once(':')?;
    let ino = std::str::from_utf8(fields.next()?).ok()?.parse().ok().filter(|ino| *ino != 0)?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    Some(FileId { dev: rustix::fs::makedev(number(major)?, number(minor)?), ino })
}

/// Without asking a server: that may be away, and the answer would not come.
fn target(link: &Path) -> Option<FileId> {
    let stat = rustix::fs::statx(CWD, link, AtFlags::STATX_DONT_SYNC, StatxFlags::INO).ok()?;
    Some(FileId { dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), ino: stat.stx_ino })
}

fn own_pid() -> Pid {
    nix::unistd::getpid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_a_process_has_mapped_open_and_as_its_folder_is_seen() {
        let file = tempfile::tempfile().expect("a file");
        let meta = file.metadata().expect("its number");
        let used = used_files(Path::new("/proc/self"));
        let exe = fs::metadata("/proc/self/exe").expect("ours");
        let cwd = fs::metadata(".").expect("ours");
        for (what, meta) in [("open", meta), ("mapped", exe), ("cwd", cwd)] {
            assert!(used.contains(&FileId { dev: meta.dev(), ino: meta.ino() }), "{what}");
        }
    }

    #[test]
    fn a_line_of_the_map_is_read_whatever_the_name_and_memory_without_a_file_is_none() {
        let line = b"7f66897ba000-7f66897bb000 rw-s 00000000 00:1b 7                          /dev/shm/sem.b R6 (deleted)";
        assert_eq!(mapped(line), Some(FileId { dev: rustix::fs::makedev(0, 0x1b), ino: 7 }));
        for line in [&b"7ffc8 rw-p 00000000 00:00 0 [stack]"[..], b"", b"x", b"a b c d e f"] {
            assert_eq!(mapped(line), None);
        }
    }

    #[test]
    fn what_a_python_can_make_shows_in_what_it_has_loaded() {
        assert_eq!(abilities(b"/usr/bin/bash\n/usr/lib/libc.so.6"), None);
        assert_eq!(abilities(b"/usr/bin/python3.11\n/x/lib-dynload/_json.cpython-311.so"), Some((false, false)));
        assert_eq!(abilities(b"/usr/bin/python3.11\n/x/lib-dynload/_posixshmem.cpython-311.so"), Some((true, false)));
        assert_eq!(abilities(b"/usr/bin/python3.11\n/x/lib-dynload/_multiprocessing.cpython-311.so"), Some((false, true)));
        assert_eq!(abilities(b"/opt/uv/python3.12"), Some((true, true)), "everything may be built in");
        assert_eq!(abilities(b"/opt/pypy3"), Some((true, true)));
    }
}
