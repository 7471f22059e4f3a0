//! The secrets of a text by where they stand, and the text as it may be shown: `[hidden]` stands in
//! the place of each.

use std::ops::Range;

use super::problem::{Problem, Problems};
use secret::HIDDEN;

/// The bytes of a text that are secrets; in its order, and none of them twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretRanges(Vec<Range<usize>>);

impl SecretRanges {
    /// These ranges in the order of the text, and none of them twice.
    pub(super) fn sorted(mut found: Vec<Range<usize>>) -> SecretRanges {
        found.retain(|range| !range.is_empty());
        found.sort_by_key(|range| range.start);
        found.dedup_by(|next, before| next.start < before.end);
        SecretRanges(found)
    }

    /// Whether a value that begins here is a secret. (A quote stands before what is hidden of a
    /// string.)
    pub fn covers(&self, start: usize) -> bool {
        self.0.iter().any(|range| range.start <= start + 3 && start < range.end)
    }

    /// Problems of the file `file` with its text as it may be shown, and each at the place that is
    /// its own there.
    pub fn problems(&self, file: &str, text: &str, list: Vec<Problem>) -> Problems {
        let moved = |p: Problem| match p.elsewhere {
            Some(_) => p,
            None => Problem { span: self.moved(text, p.span.start)..self.moved(text, p.span.end), ..p },
        };
        Problems { file: file.to_owned(), text: self.shown(text), list: list.into_iter().map(moved).collect() }
    }

    fn shown(&self, text: &str) -> String {
        let mut shown = String::new();
        let mut from = 0;
        for range in &self.0 {
            shown.push_str(&text[from..range.start]);
            shown.push_str(&cover(&text[range.clone()]));
            from = range.end;
        }
        shown + &text[from..]
    }

    /// Where a byte of the text is when it is shown.
    fn moved(&self, text: &str, at: usize) -> usize {
        let mut moved = at;
        for range in self.0.iter().take_while(|range| range.start < at) {
            let cover = cover(&text[range.clone()]).len();
            moved = match at < range.end {
                true => moved - (at - range.start) + cover.min(at - range.start),
                false => moved + cover - range.len(),
            };
        }
        moved
    }
}

/// Text in the place of a secret. Lines stay lines, so that those behind it keep their numbers.
fn cover(secret: &str) -> String {
    format!("{HIDDEN}{}", "\n".repeat(secret.matches('\n').count()))
}
