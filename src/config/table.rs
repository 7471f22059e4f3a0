//! A TOML table read with an eye on every key: what is unknown, missing or of a wrong type is noted with its place, and
//! reading goes on, so that one pass over the file says all that is wrong.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, nearest};

/// A value and the bytes of the file that it stands in.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Range<usize>,
}

/// The file's text and what was found wrong with it so far.
pub struct Doc<'a> {
    /// The whole text.
    pub text: &'a str,
    problems: RefCell<Vec<(usize, Problem)>>,
}

impl<'a> Doc<'a> {
    /// A text of which nothing is known yet.
    pub fn new(text: &'a str) -> Doc<'a> {
        Doc { text, problems: RefCell::new(Vec::new()) }
    }

    /// Notes a problem.
    pub fn wrong(&self, span: &Range<usize>, message: impl Into<String>, fix: impl Into<String>) {
        let problem = Problem::at(self.text, span.clone(), message, fix);
        self.problems.borrow_mut().push((span.start, problem));
    }

    /// Whether anything was found wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// All problems in the file's order.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut all = self.problems.into_inner();
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, p)| p).collect()
    }
}

/// One table of the file.
#[derive(Clone)]
pub struct Table<'d, 't> {
    doc: &'d Doc<'d>,
    table: &'t DeTable<'t>,
    /// What a message calls it: `[limits]`, `[[sink]]`.
    pub what: String,
    /// Its place.
    pub span: Range<usize>,
}

impl<'d, 't> Table<'d, 't> {
    /// The table with no look at its keys.
    pub fn new(doc: &'d Doc<'d>, table: &'t DeTable<'t>, what: impl Into<String>, span: Range<usize>) -> Self {
        Table { doc, table, what: what.into(), span }
    }

    /// Notes every key that is none of `known`.
    pub fn only(self, known: &[&str]) -> Self {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let hint =
                    nearest(name, known.iter().copied()).map_or(String::new(), |k| format!("did you mean `{k}`? "));
                let fix = format!("{hint}known keys of {}: {}", self.what, known.join(", "));
                self.doc.wrong(&key.span(), format!("unknown key `{name}` in {}", self.what), fix);
            }
        }
        self
    }

    /// Every key with its value, in the file's spelling.
    pub fn entries(&self) -> impl Iterator<Item = (At<&'t str>, &'t Spanned<DeValue<'t>>)> + use<'t> {
        self.table.iter().map(|(k, v)| (At { value: k.get_ref().as_ref(), span: k.span() }, v))
    }

    /// Whether the key is absent or an empty list.
    pub fn lacks(&self, key: &str) -> bool {
        self.table.get(key).is_none_or(|v| matches!(v.get_ref(), DeValue::Array(list) if list.is_empty()))
    }

    fn wrong_type(&self, key: &str, found: &Spanned<DeValue<'_>>, wanted: &str, example: &str) {
        let message = format!("`{key}` of {} is {}, not {wanted}", self.what, kind(found.get_ref()));
        self.doc.wrong(&found.span(), message, format!("write {wanted}: `{key} = {example}`"));
    }

    /// A string, if the key is there.
    pub fn string(&self, key: &str, example: &str) -> Option<At<&'t str>> {
        let v = self.table.get(key)?;
        let s = v.get_ref().as_str();
        if s.is_none() {
            self.wrong_type(key, v, "a string", &format!("\"{example}\""));
        }
        s.map(|value| At { value, span: v.span() })
    }

    /// A string that must be there and not be empty.
    pub fn required(&self, key: &str, example: &str) -> Option<At<&'t str>> {
        if !self.table.contains_key(key) {
            self.doc.wrong(&self.span, format!("{} has no `{key}`", self.what), format!("add `{key} = \"{example}\"`"));
        }
        let found = self.string(key, example)?;
        if found.value.is_empty() {
            self.doc.wrong(
                &found.span,
                format!("`{key}` of {} is empty", self.what),
                format!("name it, as in `{key} = \"{example}\"`"),
            );
            return None;
        }
        Some(found)
    }

    /// An integer from 1 to `max`, if the key is there.
    pub fn count(&self, key: &str, max: i64, example: i64) -> Option<At<i64>> {
        let v = self.table.get(key)?;
        let Some(n) = integer(v.get_ref()) else {
            self.wrong_type(key, v, "an integer", &example.to_string());
            return None;
        };
        if n < 1 || n > i128::from(max) {
            self.doc.wrong(
                &v.span(),
                format!("`{key}` of {} is {n}", self.what),
                format!("choose a number from 1 to {max}"),
            );
            return None;
        }
        i64::try_from(n).ok().map(|value| At { value, span: v.span() })
    }

    /// A list of strings; one string alone is a list of one; an absent key is an empty list.
    pub fn strings(&self, key: &str, example: &str) -> Vec<At<&'t str>> {
        let Some(v) = self.table.get(key) else { return Vec::new() };
        let one = |v: &'t Spanned<DeValue<'t>>| match v.get_ref().as_str() {
            Some(value) => Some(At { value, span: v.span() }),
            None => {
                self.wrong_type(key, v, "a list of strings", &format!("[\"{example}\"]"));
                None
            }
        };
        match v.get_ref() {
            DeValue::Array(list) => list.iter().filter_map(one).collect(),
            _ => one(v).into_iter().collect(),
        }
    }

    /// The table under `key`, if it is there.
    pub fn table(&self, key: &str) -> Option<Table<'d, 't>> {
        let v = self.table.get(key)?;
        match v.get_ref() {
            DeValue::Table(t) => Some(Table::new(self.doc, t, format!("[{key}]"), v.span())),
            _ => {
                self.wrong_type(key, v, "a table", "{ … }");
                None
            }
        }
    }

    /// The tables of `[[key]]`, in the file's order.
    pub fn tables(&self, key: &str, known: &[&str]) -> Vec<Table<'d, 't>> {
        let Some(v) = self.table.get(key) else { return Vec::new() };
        let DeValue::Array(list) = v.get_ref() else {
            let fix = format!("open it with two brackets, `[[{key}]]`, and give it a `name`");
            self.doc.wrong(&v.span(), format!("`{key}` is {}, not a list of tables", kind(v.get_ref())), fix);
            return Vec::new();
        };
        let open = |v: &'t Spanned<DeValue<'t>>| match v.get_ref() {
            DeValue::Table(t) => Some(Table::new(self.doc, t, format!("[[{key}]]"), v.span()).only(known)),
            _ => {
                self.wrong_type(key, v, "a table", "[{ name = \"…\" }]");
                None
            }
        };
        list.iter().filter_map(open).collect()
    }
}

/// The integer of a value that is one and fits 64 bits.
pub fn integer(v: &DeValue<'_>) -> Option<i128> {
    let i = v.as_integer()?;
    i64::from_str_radix(&i.as_str().replace('_', ""), i.radix()).ok().map(i128::from)
}

/// What a message calls a value's type.
pub fn kind(v: &DeValue<'_>) -> &'static str {
    match v {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
