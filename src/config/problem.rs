//! What is wrong with a topology file, said so that a person can mend it: file, line, column, the text, the fix.

use std::fmt;
use std::ops::Range;

/// One thing that is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line's text.
    pub text: String,
    /// How many characters of it are meant, at least 1.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub fix: String,
}

impl Problem {
    /// A problem at the byte range `span` of `source`.
    pub fn at(source: &str, span: Range<usize>, message: impl Into<String>, fix: impl Into<String>) -> Problem {
        let start = floor(source, span.start);
        let line_start = source[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |i| start + i);
        let end = floor(source, span.end).clamp(start, line_end);
        Problem {
            line: source[..start].matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            text: source[line_start..line_end].trim_end().to_owned(),
            width: source[start..end].trim_end().chars().count().max(1),
            message: message.into(),
            fix: fix.into(),
        }
    }
}

fn floor(source: &str, at: usize) -> usize {
    (0..=at.min(source.len())).rev().find(|i| source.is_char_boundary(*i)).unwrap_or(0)
}

/// All that is wrong with one file, in the file's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file, as it was named.
    pub file: String,
    /// At least one.
    pub list: Vec<Problem>,
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, p) in self.list.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            let gutter = p.line.to_string();
            let blank = " ".repeat(gutter.len());
            let pad = " ".repeat(p.column - 1);
            let marks = "^".repeat(p.width);
            writeln!(f, "{}:{}:{}: {}", self.file, p.line, p.column, p.message)?;
            writeln!(f, "  {gutter} | {}", p.text)?;
            writeln!(f, "  {blank} | {pad}{marks}")?;
            write!(f, "  fix: {}", p.fix)?;
        }
        Ok(())
    }
}

/// The known name nearest to what was written, if near enough that it may be a slip of the pen.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (found.chars().count() / 3).max(1);
    known.into_iter().map(|k| (distance(found, k), k)).filter(|(d, _)| *d <= limit).min().map(|(_, k)| k)
}

/// Levenshtein's distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_points_at_its_text() {
        let p = Problem::at("a = 1\nbé = 2\n", 6..9, "bad", "mend");
        assert_eq!((p.line, p.column, p.width, p.text.as_str()), (2, 1, 2, "bé = 2"));
        let end = Problem::at("a", 9..12, "bad", "mend");
        assert_eq!((end.line, end.column, end.width), (1, 2, 1));
    }

    #[test]
    fn a_slip_of_the_pen_finds_its_name() {
        assert_eq!(nearest("partition", ["topic", "partitions", "name"]), Some("partitions"));
        assert_eq!(nearest("colour", ["topic", "partitions"]), None);
    }
}
