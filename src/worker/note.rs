//! A short text that any thread may read at any time.
//!
//! Without a lock: a thread that holds one while another forks holds it for ever in the child. Words that are atomic one by one, and a
//! length that is told last.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

const WORD: usize = 8;
const WORDS: usize = 64;

/// In bytes; of what is longer the rest is left out.
pub const LONGEST: usize = WORD * WORDS;

#[derive(Debug)]
pub struct Note {
    is_taken: AtomicBool,
    /// Bytes, and one more; 0: nothing is written.
    length: AtomicUsize,
    words: [AtomicU64; WORDS],
}

impl Default for Note {
    fn default() -> Self {
        Self { is_taken: AtomicBool::new(false), length: AtomicUsize::new(0), words: [const { AtomicU64::new(0) }; WORDS] }
    }
}

impl Note {
    /// Until it is cleared, the first one stays.
    pub fn set_first(&self, text: &str) {
        if self.is_taken.swap(true, SeqCst) {
            return;
        }
        let end = (0..=LONGEST.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let bytes = &text.as_bytes()[..end];
        for (word, part) in self.words.iter().zip(bytes.chunks(WORD)) {
            let mut padded = [0; WORD];
            padded[..part.len()].copy_from_slice(part);
            word.store(u64::from_ne_bytes(padded), Relaxed);
        }
        self.length.store(bytes.len() + 1, Release);
    }

    pub fn clear(&self) {
        self.length.store(0, SeqCst);
        self.is_taken.store(false, SeqCst);
    }

    pub fn get(&self) -> Option<String> {
        let length = self.length.load(Acquire).checked_sub(1)?;
        let bytes: Vec<u8> = self.words.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).take(length).collect();
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_text_stays_and_what_is_too_long_is_cut_between_characters() {
        let note = Note::default();
        assert_eq!(note.get(), None);
        note.set_first("");
        note.set_first("later");
        assert_eq!(note.get().as_deref(), Some(""));
        note.clear();
        note.set_first(&"ü".repeat(LONGEST));
        assert_eq!(note.get(), Some("ü".repeat(LONGEST / 2)));
        note.clear();
        note.set_first("signal_SIGTERM");
        assert_eq!(note.get().as_deref(), Some("signal_SIGTERM"));
    }
}
