//! What an argument vector *is*: element by element, never a search in text.
//!
//! Knows how CPython reads its command line and how `multiprocessing` writes one. Knows nothing of who a process belongs to.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The part that a process plays in a `multiprocessing` pool, by the code it was told to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolPart {
    SpawnChild,
    /// The fork server, or one of its children: they show the same arguments.
    Forkserver,
    ResourceTracker,
}

/// What an interpreter was told to run, its own options left out.
#[derive(Debug, PartialEq, Eq)]
enum Program<'a> {
    Code(&'a [u8], &'a [Vec<u8>]),
    Module(&'a [u8], &'a [Vec<u8>]),
    Script(&'a [u8], &'a [Vec<u8>]),
}

/// A process as far as recognising it goes.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub argv: &'a [Vec<u8>],
    pub exe: Option<&'a Path>,
    pub cwd: Option<&'a Path>,
}

/// What a service's copies look like.
#[derive(Debug, Clone)]
pub struct Pattern<'a> {
    pub argv: Vec<Vec<u8>>,
    pub cwd: &'a Path,
    pub root: &'a Path,
    pub venv: Option<&'a Path>,
}

/// By what runs, not by what it calls itself: `exec -a python tail` is no interpreter. The name counts only where the program
/// cannot be read.
pub fn is_python(argv: &[Vec<u8>], exe: Option<&Path>) -> bool {
    match exe {
        Some(exe) => is_python_name(file_name(exe.as_os_str().as_bytes())),
        None => argv.first().is_some_and(|name| is_python_name(file_name(name))),
    }
}

/// `python`, `python3`, `python3.11`, `python3.13t`, also of a program that was replaced on disk meanwhile.
fn is_python_name(name: &[u8]) -> bool {
    let name = name.strip_suffix(b" (deleted)").unwrap_or(name);
    let Some(version) = name.strip_prefix(b"python") else { return false };
    let version = version.strip_suffix(b"t").unwrap_or(version);
    version.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

fn is_shell_name(name: &[u8]) -> bool {
    [&b"sh"[..], b"bash", b"dash", b"zsh", b"ksh"].contains(&name)
}

fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// CPython's own reading: flags may be joined, `-X` and `-W` take a value, `-c` and `-m` end the options.
fn program(argv: &[Vec<u8>]) -> Option<Program<'_>> {
    let mut index = 1;
    while let Some(word) = argv.get(index) {
        index += 1;
        let Some(flags) = word.strip_prefix(b"-").filter(|flags| !flags.is_empty()) else {
            return Some(Program::Script(word, &argv[index..]));
        };
        if flags == b"-check-hash-based-pycs" {
            index += 1;
            continue;
        }
        if flags.starts_with(b"-") {
            continue;
        }
        let Some(at) = flags.iter().position(|flag| b"cmXW".contains(flag)) else { continue };
        let joined = &flags[at + 1..];
        let value = if joined.is_empty() {
            index += 1;
            argv.get(index - 1)?.as_slice()
        } else {
            joined
        };
        match flags[at] {
            b'c' => return Some(Program::Code(value, argv.get(index..)?)),
            b'm' => return Some(Program::Module(value, argv.get(index..)?)),
            _ => {}
        }
    }
    None
}

const POOL_CODE: &[u8] = b"from multiprocessing.";

/// Cheap, and true of every part of a pool and every Python program under its own name.
pub fn could_be_python(argv: &[Vec<u8>]) -> bool {
    // Also behind the option itself, in one word.
    let pool_code = |word: &Vec<u8>| word.windows(POOL_CODE.len()).any(|part| part == POOL_CODE);
    argv.first().is_some_and(|name| is_python_name(file_name(name))) || argv.iter().any(pool_code)
}

/// The texts that CPython 3.9 to 3.14 writes after `-c`.
pub fn pool_part(argv: &[Vec<u8>], exe: Option<&Path>) -> Option<PoolPart> {
    let Some(Program::Code(code, rest)) = program(argv) else { return None };
    let part = if code.starts_with(b"from multiprocessing.spawn import spawn_main") {
        rest.first().is_some_and(|word| word == b"--multiprocessing-fork").then_some(PoolPart::SpawnChild)
    } else if code.starts_with(b"from multiprocessing.resource_tracker import main") {
        Some(PoolPart::ResourceTracker)
    } else if code.starts_with(b"from multiprocessing.forkserver import main") {
        Some(PoolPart::Forkserver)
    } else {
        None
    };
    part.filter(|_| is_python(argv, exe))
}

impl Pattern<'_> {
    /// Whether this process is what the pattern describes, further arguments allowed.
    pub fn is_copy(&self, it: Candidate<'_>) -> bool {
        let (Some(wanted), Some(first)) = (self.argv.first(), it.argv.first()) else { return false };
        if is_python_name(file_name(wanted)) {
            return is_python(it.argv, it.exe) && self.same_program(it);
        }
        if is_python(it.argv, it.exe) {
            let Some(Program::Script(script, rest)) = program(it.argv) else { return false };
            return self.is_entry_point(wanted, script, it.cwd) && begins_with(rest, &self.argv[1..]);
        }
        let as_script = it.argv.get(1).filter(|_| is_shell_name(file_name(first)) && wanted.contains(&b'/'));
        if as_script.is_some_and(|script| same_path(self.cwd, wanted, it.cwd, script)) {
            return begins_with(&it.argv[2..], &self.argv[1..]);
        }
        let same_name = if wanted.contains(&b'/') { same_path(self.cwd, wanted, it.cwd, first) } else { file_name(first) == &wanted[..] };
        same_name && begins_with(&it.argv[1..], &self.argv[1..])
    }

    fn same_program(&self, it: Candidate<'_>) -> bool {
        match (program(&self.argv), program(it.argv)) {
            (Some(Program::Module(wanted, before)), Some(Program::Module(found, after)))
            | (Some(Program::Code(wanted, before)), Some(Program::Code(found, after))) => wanted == found && begins_with(after, before),
            (Some(Program::Script(wanted, before)), Some(Program::Script(found, after))) => {
                same_path(self.cwd, wanted, it.cwd, found) && begins_with(after, before)
            }
            _ => false,
        }
    }

    /// `python /…/venv/bin/uvicorn` is what running `uvicorn` becomes, by its first line.
    fn is_entry_point(&self, wanted: &[u8], script: &[u8], cwd: Option<&Path>) -> bool {
        if wanted.contains(&b'/') {
            return same_path(self.cwd, wanted, cwd, script);
        }
        let path = resolve(cwd.unwrap_or(Path::new("/")), script);
        let in_bin = path.parent().and_then(Path::file_name) == Some(OsStr::new("bin"));
        // Without a venv, any folder of PATH may have held it.
        let reachable = path.starts_with(self.root) || self.venv.is_none_or(|venv| path.starts_with(venv));
        file_name(script) == wanted && in_bin && reachable
    }

    /// Cheap, and true of every copy and every mention: whether a closer look could find either.
    pub fn could_be(&self, argv: &[Vec<u8>]) -> bool {
        let wanted = self.argv.first().map(|first| file_name(first));
        let leads = argv.iter().take(2).any(|word| Some(file_name(word)) == wanted);
        leads || self.is_mentioned_by(argv)
    }

    /// Whether some argument holds the pattern's most telling word: enough to show, never enough to act.
    pub fn is_mentioned_by(&self, argv: &[Vec<u8>]) -> bool {
        let tellable = self.argv.iter().enumerate().filter(|(index, word)| {
            let interpreter = *index == 0 && (is_python_name(file_name(word)) || self.argv.len() > 1);
            !interpreter && !word.starts_with(b"-") && word.len() >= 4
        });
        let Some((_, telling)) = tellable.max_by_key(|(_, word)| word.len()) else { return false };
        // `-mapps.worker` is one word.
        argv.iter().any(|word| holds_word(word, telling) || (word.starts_with(b"-") && word.ends_with(telling)))
    }
}

fn begins_with(argv: &[Vec<u8>], expected: &[Vec<u8>]) -> bool {
    argv.starts_with(expected)
}

/// Two spellings of one file, each from where it was written.
fn same_path(from: &Path, one: &[u8], other_from: Option<&Path>, other: &[u8]) -> bool {
    match other_from {
        Some(other_from) => resolve(from, one) == resolve(other_from, other),
        None => one == other,
    }
}

fn resolve(from: &Path, path: &[u8]) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in from.join(OsStr::from_bytes(path)).components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::CurDir => {}
            part => resolved.push(part),
        }
    }
    resolved
}

fn holds_word(text: &[u8], word: &[u8]) -> bool {
    let inside = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    text.windows(word.len()).enumerate().any(|(at, window)| {
        window == word && !inside(at.checked_sub(1).and_then(|before| text.get(before))) && !inside(text.get(at + word.len()))
    })
}

#[cfg(test)]
mod tests;
