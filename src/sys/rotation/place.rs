//! Where a log may be cut.
//!
//! Best where a line ends with a block: the file then begins with a whole line, and nothing else. Lines that differ in length end
//! there once in a while, and it costs nothing to wait for one.

use rustix::fs::fstatfs;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that are cut off come in multiples of this: the block of the common file systems, and a multiple of the smaller ones.
pub const BLOCK: u64 = 4096;

/// statfs(2): file systems that can cut blocks off a file's head (fallocate(2), `FALLOC_FL_COLLAPSE_RANGE`).
const EXT4: i64 = 0xEF53;
const XFS: i64 = 0x5846_5342;
const F2FS: i64 = 0xF2F5_2010;

/// Whether this file system is one that can. It may still refuse.
pub fn can_collapse(file: &File) -> bool {
    fstatfs(file).is_ok_and(|found| {
        let kind = found.f_type & 0xFFFF_FFFF;
        [EXT4, XFS, F2FS].contains(&kind) && BLOCK.is_multiple_of(u64::try_from(found.f_bsize).unwrap_or(u64::MAX))
    })
}

/// Bytes that its file system takes without being full.
pub fn room(file: &File) -> Option<u64> {
    let found = rustix::fs::fstatvfs(file).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize) / 10 * 9)
}

/// How much longer than it should be a log may become before it is cut where a line ends inside of a block.
const PATIENCE: u64 = 2;

/// The place before which everything may go, of a log whose bytes `start..end` are to be kept; `None`: none yet.
pub fn to_cut(file: &File, start: u64, end: u64, size: u64) -> io::Result<Option<u64>> {
    let collapses = can_collapse(file);
    // Old logs of less than half the size would be more of them than anybody expects.
    let floor = (start + size / 2).max(if collapses { BLOCK } else { 0 });
    if collapses && let Some(place) = line_end_with_block(file, floor, end)? {
        return Ok(Some(place));
    }
    let is_overdue = end - start >= size.saturating_mul(PATIENCE);
    if collapses && !is_overdue {
        return Ok(None);
    }
    match last_line_end(file, floor, end)? {
        Some(place) => Ok(Some(place)),
        // One endless line, which reads on in the next file.
        None if is_overdue => Ok(Some(end / BLOCK * BLOCK).filter(|place| *place > floor)),
        None => Ok(None),
    }
}

fn line_end_with_block(file: &File, floor: u64, end: u64) -> io::Result<Option<u64>> {
    let mut byte = [0];
    let mut place = end / BLOCK * BLOCK;
    while place > floor.max(BLOCK) {
        // All of the file cannot be cut off.
        if place < end {
            file.read_exact_at(&mut byte, place - 1)?;
            if byte == *b"\n" {
                return Ok(Some(place));
            }
        }
        place -= BLOCK;
    }
    Ok(None)
}

/// After the last newline that something else than a zero follows: what lies before the first byte that is none would be taken for
/// the rest of the hole.
fn last_line_end(file: &File, floor: u64, end: u64) -> io::Result<Option<u64>> {
    const WINDOW: u64 = 64 << 10;
    let mut upper = end;
    while upper > floor + 1 {
        let lower = upper.saturating_sub(WINDOW).max(floor);
        let mut bytes = vec![0; (upper - lower) as usize];
        file.read_exact_at(&mut bytes, lower)?;
        if let Some(at) = bytes.windows(2).rposition(|pair| pair[0] == b'\n' && pair[1] != 0) {
            return Ok(Some(lower + at as u64 + 1));
        }
        // The byte at the border is looked at with both of its neighbours.
        upper = if lower == floor { floor } else { lower + 1 };
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file_with(folder: &str, content: &[u8]) -> File {
        let mut file = tempfile::tempfile_in(folder).expect("a file");
        file.write_all(content).expect("written");
        file
    }

    #[test]
    fn a_line_that_ends_with_a_block_is_the_place_and_without_one_it_waits_for_it() {
        let file = file_with("/dev/shm", b"");
        let collapses = can_collapse(&file);
        assert!(!collapses, "tmpfs cannot");
        let lines = |length: usize, count: usize| [&vec![b'x'; length - 1][..], b"\n"].concat().repeat(count);
        // Lines of 24 bytes end with a block every three blocks.
        let content = lines(24, 4096);
        let file = file_with("/dev/shm", &content);
        assert_eq!(line_end_with_block(&file, 0, content.len() as u64).expect("read"), Some(7 * 3 * BLOCK));
        assert_eq!(line_end_with_block(&file, 7 * 3 * BLOCK, content.len() as u64).expect("read"), None);
        assert_eq!(last_line_end(&file, 0, content.len() as u64).expect("read"), Some(content.len() as u64 - 24));
    }

    #[test]
    fn a_line_end_is_found_from_the_end_and_zeros_are_never_cut_off_from_before_a_line() {
        let end_of = |content: &[u8]| last_line_end(&file_with("/dev/shm", content), 0, content.len() as u64).expect("read");
        assert_eq!(end_of(b"a\nb\nc"), Some(4));
        assert_eq!(end_of(b"a\nb\n"), Some(2), "something has to stay");
        assert_eq!(end_of(b"a\nb\n\0c"), Some(2));
        assert_eq!((end_of(b"abc"), end_of(b""), end_of(b"\n")), (None, None, None));
        let long = [b"a\n".to_vec(), vec![b'x'; 200_000]].concat();
        assert_eq!(end_of(&long), Some(2));
        let at_border = [vec![b'x'; 9_999], b"\n".to_vec(), vec![b'y'; 64 << 10]].concat();
        assert_eq!(end_of(&at_border), Some(10_000));
    }

    #[test]
    fn one_endless_line_is_cut_once_the_log_is_twice_as_long_as_it_should_be() {
        let content = vec![b'x'; 10 * BLOCK as usize + 5];
        let file = file_with("/dev/shm", &content);
        assert_eq!(to_cut(&file, 0, content.len() as u64, 6 * BLOCK).expect("read"), None);
        assert_eq!(to_cut(&file, 0, content.len() as u64, 5 * BLOCK).expect("read"), Some(10 * BLOCK));
    }
}
