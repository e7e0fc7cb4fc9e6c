//! Bytes into lines of bounded length, whatever a worker writes.

use super::Error;

/// A longer line is shown in pieces, so that 100 MB without a newline cost no more memory than this.
pub const LONGEST: usize = 64 * 1024;

/// What a piece of a log ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Newline,
    /// The line goes on in the next piece.
    Cut,
    /// Nothing follows yet.
    Open,
}

#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
}

impl Lines {
    pub fn push(&mut self, mut bytes: &[u8], each: &mut impl FnMut(&[u8], End) -> Result<(), Error>) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = LONGEST.saturating_sub(self.partial.len());
            let window = &bytes[..bytes.len().min(room + 1)];
            let (piece, end, used) = match window.iter().position(|&byte| byte == b'\n') {
                Some(at) => (&bytes[..at], End::Newline, at + 1),
                None if bytes.len() > room => {
                    let at = whole_characters(bytes, room);
                    (&bytes[..at], End::Cut, at)
                }
                None => {
                    self.partial.extend_from_slice(bytes);
                    return Ok(());
                }
            };
            if self.partial.is_empty() {
                each(piece, end)?;
            } else {
                self.partial.extend_from_slice(piece);
                each(&self.partial, end)?;
                self.partial.clear();
            }
            bytes = &bytes[used..];
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.partial.is_empty()
    }

    /// What has been held back for want of its end.
    pub fn take_partial(&mut self) -> Option<Vec<u8>> {
        (!self.partial.is_empty()).then(|| std::mem::take(&mut self.partial))
    }
}

/// At most three bytes before `at`, where no character of UTF-8 is torn.
fn whole_characters(bytes: &[u8], at: usize) -> usize {
    let starts = |&at: &usize| bytes.get(at).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000);
    (at.saturating_sub(3)..=at).rev().find(starts).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(chunks: &[&[u8]]) -> (Vec<(usize, End)>, Option<Vec<u8>>) {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            let taken = lines.push(chunk, &mut |piece, end| {
                seen.push((piece.len(), end));
                Ok(())
            });
            assert!(taken.is_ok());
        }
        (seen, lines.take_partial())
    }

    #[test]
    fn lines_are_joined_over_chunks_and_the_open_one_is_held_back() {
        let expected = vec![(2, End::Newline), (0, End::Newline), (3, End::Newline)];
        assert_eq!(pieces(&[b"ab\n\nc", b"d", b"e\nf"]), (expected, Some(b"f".to_vec())));
    }

    #[test]
    fn a_line_without_end_is_cut_and_one_of_just_the_limit_is_not() {
        let exact = [vec![b'x'; LONGEST], b"\n".to_vec()].concat();
        assert_eq!(pieces(&[&exact]), (vec![(LONGEST, End::Newline)], None));
        assert_eq!(pieces(&[&exact[..LONGEST], b"\n"]), (vec![(LONGEST, End::Newline)], None));
        let endless = vec![b'x'; 3 * LONGEST + 10];
        assert_eq!(pieces(&[&endless]).0, vec![(LONGEST, End::Cut); 3]);
    }

    #[test]
    fn a_cut_does_not_tear_a_character() {
        let text = format!("x{}", "é".repeat(LONGEST));
        assert_eq!(pieces(&[text.as_bytes()]).0[0], (LONGEST - 1, End::Cut));
        let never_a_start = vec![0x80; LONGEST * 2];
        assert_eq!(pieces(&[&never_a_start]).0[0], (LONGEST, End::Cut));
    }
}
