//! Old logs that were compressed.

use flate2::read::MultiGzDecoder;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// Of what is in it, as its last bytes say (RFC 1952, ISIZE): right below 4 GiB.
///
/// # Errors
/// When it cannot be read.
pub fn length(packed: &File) -> io::Result<u64> {
    let end = packed.metadata()?.len();
    let mut size = [0; 4];
    packed.read_exact_at(&mut size, end.checked_sub(4).ok_or(io::ErrorKind::UnexpectedEof)?)?;
    Ok(u32::from_le_bytes(size).into())
}

/// What is in it, in a file that has no name.
///
/// # Errors
/// When it is damaged, or there is no room in the folder for temporary files.
pub fn unpacked(mut packed: &File) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let mut plain = File::from(rustix::fs::open(std::env::temp_dir(), flags, Mode::RUSR | Mode::WUSR)?);
    packed.seek(SeekFrom::Start(0))?;
    io::copy(&mut MultiGzDecoder::new(packed), &mut plain)?;
    Ok(plain)
}
