//! The limits that keeper and supervisor give themselves, and that nobody who comes after them inherits.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use std::sync::OnceLock;

/// Soft and hard, as this process was given them: open files, size of a core dump.
static GIVEN: OnceLock<[(Resource, rlim_t, rlim_t); 2]> = OnceLock::new();

/// A core dump of ours would hold the environment of every worker. Unlike 0, this also stops one that is piped to a program
/// (core(5)): the kernel takes 1 as the mark of such a program itself.
const NO_CORE: rlim_t = 1;

/// A supervisor needs descriptors for every worker, and leaves no core dump.
pub fn set_own() {
    let given = |what| getrlimit(what).map(|(soft, hard)| (what, soft, hard));
    let (Ok(files), Ok(core)) = (given(Resource::RLIMIT_NOFILE), given(Resource::RLIMIT_CORE)) else { return };
    // Called again after an exec that was refused, they are what was given back.
    let [files, core] = GIVEN.get_or_init(|| [files, core]);
    // Both are always allowed: neither goes above the hard limit.
    let _ = setrlimit(files.0, files.2, files.2);
    let _ = setrlimit(core.0, NO_CORE.min(core.2), core.2);
}

/// For whatever this process becomes. Only makes system calls, so it may be called between fork and exec.
pub fn give_back() {
    for (what, soft, hard) in GIVEN.get().into_iter().flatten() {
        let _ = setrlimit(*what, *soft, *hard);
    }
}
