use serde::{Deserialize, Serialize};

/// So many lines of its log are kept of a run that ended.
const LINES: usize = 20;

/// The lines of a traceback that are kept: its beginning says where it came from, its end what it was.
const FIRST_FRAMES: usize = 10;
const LAST_FRAMES: usize = 40;

/// Characters of a line.
const LONGEST: usize = 500;

/// What a run leaves to be known by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LastWords {
    /// The most that was seen of the whole tree, or of its main process at its end; MB.
    pub peak_memory_mb: Option<f64>,
    /// The end of this run's log.
    #[serde(default)]
    pub last_lines: Vec<String>,
    /// The last Python traceback in it.
    #[serde(default)]
    pub traceback: Option<Vec<String>>,
}

impl LastWords {
    /// How many bytes of the log's end are worth reading.
    pub const REACH: usize = 64 * 1024;

    /// `log`: the end of what this run wrote, at most [`Self::REACH`] bytes; `is_whole`: it begins with a line's beginning.
    pub fn of(peak_bytes: Option<u64>, log: &[u8], is_whole: bool) -> Self {
        let text = String::from_utf8_lossy(log);
        let first = if is_whole { 0 } else { text.find('\n').map_or(text.len(), |at| at + 1) };
        let lines: Vec<&str> = text[first..].lines().collect();
        let mut last_lines: Vec<String> = lines[lines.len().saturating_sub(LINES)..].iter().map(|line| cut_line(line)).collect();
        if last_lines.is_empty() && !text.is_empty() {
            last_lines.push(end_of_line(&text));
        }
        Self { peak_memory_mb: peak_bytes.map(super::record::megabytes), last_lines, traceback: traceback(&lines) }
    }
}

/// The beginning of a line, as much as is shown of one.
pub fn cut_line(line: &str) -> String {
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// Of one that is longer than what was read.
fn end_of_line(text: &str) -> String {
    let line = text.trim_end_matches('\n');
    let at = line.char_indices().rev().nth(LONGEST - 1).map_or(0, |(at, _)| at);
    format!("…{}", &line[at..])
}

/// The last one, with those that it was raised from. Python writes the frames indented further than the line above them and the
/// line below, which names the exception.
fn traceback(lines: &[&str]) -> Option<Vec<String>> {
    let last = lines.iter().rposition(|line| begins_traceback(line))?;
    let mut from = last;
    // A chain: an earlier one, its exception, an empty line, a sentence that ends in a colon, an empty line.
    while let Some(earlier) = lines[..from].iter().rposition(|line| begins_traceback(line)) {
        let end = end_of(lines, earlier);
        let between = lines.get(end..from).unwrap_or_default();
        if !between.iter().all(|line| line.is_empty() || is_link(line)) || !between.iter().any(|line| is_link(line)) {
            break;
        }
        from = earlier;
    }
    let found = &lines[from..end_of(lines, last)];
    if found.len() <= FIRST_FRAMES + LAST_FRAMES + 1 {
        return Some(found.iter().map(|line| cut_line(line)).collect());
    }
    let left_out = found.len() - FIRST_FRAMES - LAST_FRAMES;
    let (first, last) = (&found[..FIRST_FRAMES], &found[found.len() - LAST_FRAMES..]);
    let middle = std::iter::once(format!("… {left_out} lines left out …"));
    Some(first.iter().map(|line| cut_line(line)).chain(middle).chain(last.iter().map(|line| cut_line(line))).collect())
}

fn begins_traceback(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("Traceback (most recent call last)")
        || line.ends_with("(most recent call first):")
        || line.starts_with("+ Exception Group Traceback (most recent call last)")
        || line.starts_with("Fatal Python error: ")
}

fn is_link(line: &str) -> bool {
    let line = line.trim();
    line.ends_with("another exception occurred:")
        || line.ends_with("direct cause of the following exception:")
        // What faulthandler puts before the threads.
        || line.starts_with("Python runtime state: ")
}

/// After the line that names the exception, or after the last frame where none does.
fn end_of(lines: &[&str], from: usize) -> usize {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let header = depth(lines[from]);
    if lines[from].trim_start().starts_with("Fatal Python error: ") {
        return from + 1;
    }
    let most_recent_first = lines[from].ends_with("(most recent call first):");
    let frames = lines[from + 1..].iter().take_while(|line| depth(line) > header || line.trim_start().starts_with(['|', '+'])).count();
    let end = from + 1 + frames;
    let names_it = !most_recent_first && lines.get(end).is_some_and(|line| !line.trim().is_empty());
    end + usize::from(names_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(log: &str) -> LastWords {
        LastWords::of(None, log.as_bytes(), true)
    }

    const ONE: &str = "Traceback (most recent call last):\n  File \"app.py\", line 3, in <module>\n    1 / 0\n    ~~^~~\nZeroDivisionError: division by zero\n";

    #[test]
    fn the_last_twenty_lines_are_kept_and_none_that_is_cut_in_two() {
        let log: String = (1..=30).map(|number| format!("line {number}\n")).collect();
        let said = words(&log).last_lines;
        assert_eq!((said.len(), said[0].as_str(), said[19].as_str()), (20, "line 11", "line 30"));
        assert_eq!(LastWords::of(None, b"ne 1\nline 2\nline", false).last_lines, ["line 2", "line"]);
        assert_eq!(words("").last_lines, Vec::<String>::new());
        assert_eq!(LastWords::of(None, b"of a very long line", false).last_lines, ["…of a very long line"]);
        let long = LastWords::of(None, format!("{}end\n", "x".repeat(10_000)).as_bytes(), false).last_lines;
        assert!(long[0].ends_with("xend") && long[0].chars().count() == LONGEST + 1, "{long:?}");
        assert!(words(&"x".repeat(10_000)).last_lines[0].len() < 600);
    }

    #[test]
    fn a_traceback_is_found_among_other_lines_and_the_last_one_counts() {
        let log = format!("starting\n{}more\n{ONE}bye\n", ONE.replace("ZeroDivisionError: division by zero", "KeyError: 'x'"));
        let found = words(&log).traceback.expect("there is one");
        assert_eq!(
            (found.len(), found[0].as_str(), found[4].as_str()),
            (5, ONE.lines().next().expect("a line"), "ZeroDivisionError: division by zero")
        );
        assert_eq!(words("nothing\nof the kind\n").traceback, None);
    }

    #[test]
    fn what_it_was_raised_from_belongs_to_it() {
        for link in [
            "During handling of the above exception, another exception occurred:",
            "The above exception was the direct cause of the following exception:",
        ] {
            let found = words(&format!("{ONE}noise\n{ONE}\n{link}\n\n{ONE}")).traceback.expect("there is one");
            assert_eq!(found.len(), 5 + 3 + 5, "{found:?}");
        }
    }

    #[test]
    fn what_faulthandler_writes_is_one_too() {
        let log = "ok\nFatal Python error: Segmentation fault\n\nCurrent thread 0x00007f (most recent call first):\n  File \"a.py\", line 1 in f\n  File \"a.py\", line 2 in <module>\n\nExtension modules: numpy\n";
        let found = words(log).traceback.expect("there is one");
        assert_eq!(found[found.len() - 2..], ["  File \"a.py\", line 1 in f", "  File \"a.py\", line 2 in <module>"]);
    }

    #[test]
    fn an_endless_recursion_is_kept_by_both_its_ends() {
        let frames = "  File \"a.py\", line 1, in f\n    f()\n".repeat(500);
        let found =
            words(&format!("Traceback (most recent call last):\n{frames}RecursionError: too deep\n")).traceback.expect("there is one");
        assert_eq!(found.len(), FIRST_FRAMES + LAST_FRAMES + 1);
        assert_eq!(found.last().map(String::as_str), Some("RecursionError: too deep"));
    }

    #[test]
    fn a_log_of_anything_at_all_harms_nobody() {
        for log in [
            "Traceback (most recent call last):",
            "\u{0}\u{1b}[2J\n\r\n",
            "Fatal Python error: x",
            " + Exception Group Traceback (most recent call last):\n",
        ] {
            let _ = words(log);
        }
        let _ = LastWords::of(Some(1), &[0xff, b'\n', 0xfe], true);
    }
}
