//! Problems of a topology file, with everything that a person needs to mend them: file, line,
//! column, the text underlined, the fix.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// One thing that is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its code, one of [`super::codes`].
    pub code: &'static str,
    /// The bytes of the file that are meant; never more than one line.
    pub span: Range<usize>,
    /// The problem.
    pub message: String,
    /// The remedy.
    pub fix: String,
    /// The path and the text of the file that is meant, where it is not the topology file but one
    /// that this names.
    pub elsewhere: Option<Arc<(String, String)>>,
}

impl Problem {
    /// The same of another file.
    #[must_use]
    pub fn of(self, path: &str, text: &str) -> Problem {
        Problem { elsewhere: Some(Arc::new((path.to_owned(), text.to_owned()))), ..self }
    }

    /// A problem of the kind `code` at the byte range `span` of `source`, of which the first line
    /// is meant.
    pub fn at(
        source: &str,
        span: Range<usize>,
        code: &'static str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Problem {
        let start = floor(source, span.start);
        let line_end = source[start..].find('\n').map_or(source.len(), |i| start + i);
        let end = floor(source, span.end).clamp(start, line_end);
        let end = start + source[start..end].trim_end().len();
        Problem { code, span: start..end, message: message.into(), fix: fix.into(), elsewhere: None }
    }
}

fn floor(source: &str, at: usize) -> usize {
    (0..=at.min(source.len())).rev().find(|i| source.is_char_boundary(*i)).unwrap_or(0)
}

/// The line that a byte of `source` stands on, from 1.
pub fn line(source: &str, at: usize) -> usize {
    source.as_bytes()[..at.min(source.len())].iter().filter(|b| **b == b'\n').count() + 1
}

/// All that is wrong with one file, in the file's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file, as it was named.
    pub file: String,
    /// Its text.
    pub text: String,
    /// At least one.
    pub list: Vec<Problem>,
}

impl Problems {
    /// All of them for people, with the file's lines; `colour` where a terminal shows them.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let one = |p: &Problem| {
            let (file, text) = p.elsewhere.as_deref().map_or((&self.file, &self.text), |(file, text)| (file, text));
            let snippet = Snippet::source(text.as_str())
                .path(file.as_str())
                .annotation(AnnotationKind::Primary.span(p.span.clone()));
            let fix = Level::HELP.with_name("fix").message(p.fix.as_str());
            renderer.render(&[Level::ERROR.primary_title(p.message.as_str()).id(p.code).element(snippet).element(fix)])
        };
        self.list.iter().map(one).collect::<Vec<_>>().join("\n\n")
    }

    /// How many there are, in one line.
    pub fn summary(&self) -> String {
        match self.list.len() {
            1 => format!("{}: 1 problem", self.file),
            n => format!("{}: {n} problems", self.file),
        }
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// The known name nearest to what was written, if near enough that it may be a slip of the pen.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (found.chars().count() / 3).max(1);
    known.into_iter().map(|k| (distance(found, k), k)).filter(|(d, _)| *d <= limit).min().map(|(_, k)| k)
}

/// Levenshtein's distance in characters, where two that changed places count as one change.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_points_at_its_text() {
        let text = "a = 1\nbé = 2\n";
        let list = vec![Problem::at(text, 6..9, "HS0018", "bad", "mend")];
        let problems = Problems { file: "t".into(), text: text.into(), list };
        assert!(problems.render(true).contains('\u{1b}'));
        let shown = problems.to_string();
        assert!(!shown.contains('\u{1b}'), "no colours where there is no terminal");
        assert_eq!(shown, "error[HS0018]: bad\n --> t:2:1\n  |\n2 | bé = 2\n  | ^^\n  |\n  = fix: mend");
        assert_eq!(Problem::at("a", 9..12, "HS0018", "bad", "mend").span, 1..1);
        assert_eq!(Problem::at("a\nb", 0..3, "HS0018", "bad", "mend").span, 0..1);
    }

    #[test]
    fn a_slip_of_the_pen_finds_its_name() {
        assert_eq!(nearest("partition", ["topic", "partitions", "name"]), Some("partitions"));
        assert_eq!(nearest("form", ["topic", "from", "name"]), Some("from"));
        assert_eq!(nearest("colour", ["topic", "partitions"]), None);
    }
}
