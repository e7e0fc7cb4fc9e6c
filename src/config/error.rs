//! What is wrong with a configuration, and how it is told: place, cause, next step, in the form that rustc made familiar.

use super::source::{Line, Sources, Span};
use crate::model::is_obeyed_by_terminals;
use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::fmt;
use std::ops::Range;

/// So many are told; a file that holds more (a binary, a log) gains nothing from the rest.
const MOST: usize = 50;
/// A longer line is named, not shown.
const LONGEST_LINE: usize = 2000;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    message: String,
    marks: Vec<Mark>,
    place: Option<String>,
    hint: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    span: Span,
    label: String,
}

impl Problem {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), marks: Vec::new(), place: None, hint: None }
    }

    /// Where it is; called again, what else it has to do with.
    pub fn at(self, span: &Span) -> Self {
        self.marked(span, "")
    }

    pub fn marked(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.marks.push(Mark { span: span.clone(), label: label.into() });
        self
    }

    /// For what lies in no line of a source.
    pub fn place(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A hint where none was given yet.
    pub fn or_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// The hint, unless there is nothing to say.
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    #[cfg(any(test, fuzzing))]
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        self.marks.iter().map(|mark| &mark.span)
    }

    /// By place in the sources; what has none comes first, as it usually explains the rest.
    fn order(&self) -> (usize, &str) {
        (self.marks.first().map_or(0, |mark| mark.span.start + 1), &self.message)
    }

    fn render(&self, sources: &Sources, renderer: &Renderer) -> String {
        let title = Level::ERROR.primary_title(visible(&self.message));
        let hint = self.hint.as_deref().map(|hint| Group::with_title(Level::HELP.with_name("hint").secondary_title(visible(hint))));
        let lines: Vec<(&Mark, Line<'_>)> =
            self.marks.iter().filter_map(|mark| sources.line(&mark.span).map(|line| (mark, line))).collect();
        if lines.is_empty() {
            // The renderer would draw the margin of a source that is not there.
            let place = self.place.as_deref().map(|place| format!("  --> {}", visible(place)));
            let parts = [Some(renderer.render(&[Group::with_title(title)])), place, hint.map(|hint| renderer.render(&[hint]))];
            return parts.into_iter().flatten().collect::<Vec<_>>().join("\n");
        }
        let mut main = Group::with_title(title);
        for (index, (_, line)) in lines.iter().enumerate() {
            let same = |other: &Line<'_>| other.file == line.file && other.number == line.number;
            if !lines[..index].iter().any(|(_, earlier)| same(earlier)) {
                let marks = lines.iter().enumerate().filter(|(_, (_, other))| same(other));
                main = show_line(main, line, marks.map(|(index, (mark, line))| (index == 0, &line.marked, mark.label.as_str())));
            }
        }
        renderer.render(&[Some(main), hint].into_iter().flatten().collect::<Vec<_>>())
    }
}

/// `(primary, part, label)` of each mark in it.
fn show_line<'a, 'b>(group: Group<'a>, line: &Line<'_>, marks: impl Iterator<Item = (bool, &'b Range<usize>, &'b str)>) -> Group<'a> {
    let file = visible(line.file);
    if line.text.len() > LONGEST_LINE {
        return group.element(Origin::path(file).line(line.number).char_column(line.column));
    }
    let snippet = Snippet::source(visible(&line.text)).path(file).line_start(line.number);
    group.element(snippet.annotations(marks.map(|(primary, part, label)| {
        let kind = if primary { AnnotationKind::Primary } else { AnnotationKind::Context };
        annotation(kind, &line.text, part, label)
    })))
}

/// Making text visible can change its length in bytes, so the marked part is measured after that.
fn annotation<'a>(kind: AnnotationKind, text: &str, marked: &Range<usize>, label: &str) -> Annotation<'a> {
    let start = visible(&text[..marked.start]).len();
    let end = start + visible(&text[marked.clone()]).len();
    let annotation = kind.span(start..end);
    if label.is_empty() { annotation } else { annotation.label(visible(label)) }
}

/// Everything that is wrong, at least one thing; its `Display` is plain text in full.
#[derive(Debug)]
pub struct Problems {
    sources: Sources,
    found: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(sources: Sources, mut found: Vec<Problem>) -> Self {
        found.sort_by(|a, b| a.order().cmp(&b.order()));
        found.dedup();
        Self { sources, found }
    }

    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Never true; here because `len` is.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// For a terminal when `color`, else plain.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut told: Vec<String> = self.found.iter().take(MOST).map(|problem| problem.render(&self.sources, &renderer)).collect();
        if self.found.len() > MOST {
            told.push(format!("error: {} more problems are not shown", self.found.len() - MOST));
        }
        told.join("\n\n") + "\n"
    }

    #[cfg(any(test, fuzzing))]
    pub fn all_inside_the_files(&self) -> bool {
        self.found.iter().flat_map(Problem::spans).all(|span| self.sources.holds(span))
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self::new(Sources::default(), vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

/// What a terminal would obey, one visible character for each, so that carets stay under what they mean.
fn visible(text: &str) -> String {
    let picture = |c: char| match c {
        '\t' | '\n' => c,
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        c if is_obeyed_by_terminals(c) => '\u{fffd}',
        // Not obeyed, but not seen either.
        '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{feff}' => '\u{fffd}',
        _ => c,
    };
    text.chars().map(picture).collect()
}
