//! Variables in the strings of a topology file: `${NAME}`, `${NAME:-default}`, and `$${` where `${`
//! itself is meant.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::codes;
use super::table::Doc;

/// Where the values of variables come from.
#[derive(Clone, Copy)]
pub enum Variables<'e> {
    /// From here; an empty one counts as none, as with the flags' variables.
    From(&'e dyn Fn(&str) -> Option<String>),
    /// From nowhere: they are filled in already, so `$` is a character like any other, and any
    /// string may be meant as a number.
    Filled,
}

/// The variables of this process.
pub fn of_process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Puts values in the place of variables; what has none is noted in `doc`.
pub fn fill<'t>(doc: &mut Doc<'_>, root: &mut DeTable<'t>, variables: Variables<'_>) {
    for (_, value) in root.iter_mut() {
        fill_value(doc, value, variables);
    }
}

fn fill_value<'t>(doc: &mut Doc<'_>, value: &mut Spanned<DeValue<'t>>, variables: Variables<'_>) {
    let span = value.span();
    match value.get_mut() {
        DeValue::Table(t) => fill(doc, t, variables),
        DeValue::Array(list) => list.iter_mut().for_each(|v| fill_value(doc, v, variables)),
        DeValue::String(text) => match variables {
            Variables::Filled => _ = doc.filled.insert(span.start),
            Variables::From(lookup) => fill_text(doc, text, &span, lookup),
        },
        _ => {}
    }
}

fn fill_text(doc: &mut Doc<'_>, text: &mut Cow<'_, str>, span: &Range<usize>, lookup: &dyn Fn(&str) -> Option<String>) {
    if !text.contains("${") {
        return;
    }
    let is_hidden = doc.hidden.covers(span.start);
    let mut filled = String::new();
    let mut from_variable = false;
    let mut wrong = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(part) => filled.push_str(part),
            Piece::Variable { whole, name, default } => {
                from_variable = true;
                match lookup(name).filter(|value| !value.is_empty()).or(default.map(str::to_owned)) {
                    Some(value) => filled.push_str(&value),
                    None => wrong.push((
                        whole,
                        codes::UNSET_VARIABLE,
                        format!("the environment variable `{name}` is not set"),
                        format!("set it, or write a default: `${{{name}:-default}}`"),
                    )),
                }
            }
            Piece::Broken(whole) => wrong.push((
                whole,
                codes::MALFORMED_VARIABLE,
                format!("`{}` is not a reference to a variable", if is_hidden { "${" } else { whole }),
                "write `${NAME}` or `${NAME:-default}`; for the characters `${` themselves write `$${`".to_owned(),
            )),
        }
    }
    let mut from = span.start;
    for (part, code, message, fix) in &wrong {
        // A string with escapes may spell the part otherwise: then the whole of it is meant.
        let found =
            doc.text.get(from..span.end).and_then(|raw| raw.find(part)).map(|at| from + at..from + at + part.len());
        from = found.as_ref().map_or(from, |f| f.end);
        doc.wrong(&found.unwrap_or_else(|| span.clone()), code, message, fix);
    }
    if !wrong.is_empty() {
        doc.unfilled.insert(span.start);
    } else if from_variable {
        doc.filled.insert(span.start);
    }
    *text = Cow::Owned(filled);
}

/// A part of a string.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    Variable {
        whole: &'t str,
        name: &'t str,
        default: Option<&'t str>,
    },
    /// It opens as a variable does and is none.
    Broken(&'t str),
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut rest = text;
    let mut found = Vec::new();
    while let Some(at) = rest.find("${") {
        // Of `$${` the second dollar belongs to the text.
        if rest[..at].ends_with('$') {
            found.push(Piece::Text(&rest[..at - 1]));
            found.push(Piece::Text("${"));
            rest = &rest[at + 2..];
            continue;
        }
        found.push(Piece::Text(&rest[..at]));
        let Some(end) = rest[at..].find('}').map(|i| at + i + 1) else {
            found.push(Piece::Broken(&rest[at..]));
            return found;
        };
        let whole = &rest[at..end];
        let inner = &rest[at + 2..end - 1];
        let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
        let is_name = !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        found.push(if is_name { Piece::Variable { whole, name, default } } else { Piece::Broken(whole) });
        rest = &rest[end..];
    }
    found.push(Piece::Text(rest));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_cut_into_text_and_variables() {
        let variable = |whole, name, default| Piece::Variable { whole, name, default };
        assert_eq!(pieces("a$b"), [Piece::Text("a$b")]);
        assert_eq!(
            pieces("x-${A}-${B_1:-c:-d}"),
            [
                Piece::Text("x-"),
                variable("${A}", "A", None),
                Piece::Text("-"),
                variable("${B_1:-c:-d}", "B_1", Some("c:-d")),
                Piece::Text(""),
            ]
        );
        assert_eq!(pieces("$${A}"), [Piece::Text(""), Piece::Text("${"), Piece::Text("A}")]);
        assert_eq!(pieces("${1A}"), [Piece::Text(""), Piece::Broken("${1A}"), Piece::Text("")]);
        assert_eq!(pieces("${A"), [Piece::Text(""), Piece::Broken("${A")]);
    }
}
