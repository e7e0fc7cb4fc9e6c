/// What a terminal obeys instead of showing it: C0 and C1 controls, DEL, line and paragraph separators, and the marks and
/// overrides that reorder what is read. Text from elsewhere is never shown with any of these in it.
pub fn is_obeyed_by_terminals(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
