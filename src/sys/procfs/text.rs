//! What the texts of `/proc` say; any bytes at all are answered, as much of them is chosen by the process they are about.

use crate::model::Mark;

/// The words of `cmdline` or any other list that NULs separate.
pub fn words(list: &[u8]) -> Vec<Vec<u8>> {
    let list = list.strip_suffix(b"\0").unwrap_or(list);
    if list.is_empty() {
        return Vec::new();
    }
    list.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect()
}

/// The values of several variables in `environ`; the first of a name counts, as getenv(3) has it.
pub fn values<const N: usize>(environ: &[u8], names: [&[u8]; N]) -> [Option<Vec<u8>>; N] {
    let mut values = [const { None }; N];
    for entry in environ.split(|&byte| byte == 0) {
        for (name, value) in names.iter().zip(&mut values) {
            if let Some(found) = entry.strip_prefix(*name).and_then(|rest| rest.strip_prefix(b"="))
                && value.is_none()
            {
                *value = Some(found.to_vec());
            }
        }
    }
    values
}

/// The mark of a run in `limits`, where one was set.
pub fn mark(limits: &[u8]) -> Option<Mark> {
    let line = limits.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Max realtime timeout"))?;
    let word = line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty())?;
    Mark::from_limit(std::str::from_utf8(word).ok()?.parse().ok()?)
}
