//! A TOML table read with an eye on every key: what is unknown, missing or of a wrong type is noted
//! with its place, and reading goes on, so that one pass over the file says all that is wrong.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::application_id::check_application_id;
use super::codes;
use super::key::{Key, Section, Takes, names};
use super::problem::{Problem, Problems, line, nearest};
use super::secret_ranges::SecretRanges;
use super::value::Raw;
use secret::SecretSource;

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
    /// Where the strings begin that a variable had a part in: they may be meant as numbers or
    /// booleans.
    pub filled: BTreeSet<usize>,
    /// Where the strings begin whose variables have no value: nothing more is said of them.
    pub unfilled: BTreeSet<usize>,
    /// Where secrets stand: no message shows them.
    pub hidden: SecretRanges,
}

impl<'a> Doc<'a> {
    /// A text of which nothing is known yet.
    pub fn new(text: &'a str, hidden: SecretRanges) -> Doc<'a> {
        Doc { text, problems: RefCell::default(), filled: BTreeSet::new(), unfilled: BTreeSet::new(), hidden }
    }

    /// Notes a problem of the kind `code`, one of [`codes`].
    pub fn wrong(&self, span: &Range<usize>, code: &'static str, message: impl Into<String>, fix: impl Into<String>) {
        let problem = Problem::at(self.text, span.clone(), code, message, fix);
        self.problems.borrow_mut().push((span.start, problem));
    }

    /// Notes a problem of a file that this one names at `span`.
    pub fn wrong_elsewhere(&self, span: &Range<usize>, problem: Problem) {
        self.problems.borrow_mut().push((span.start, problem));
    }

    /// The word at a byte of a string's value, where the string that stands at `span` spells it
    /// out; else the whole string.
    pub fn within(&self, span: &Range<usize>, value: &str, at: usize) -> Range<usize> {
        let spelt = self.text.get(span.clone()).filter(|_| !value.is_empty() && !self.filled.contains(&span.start));
        let Some(start) = spelt.and_then(|raw| raw.find(value)) else { return span.clone() };
        let rest = value.get(at..).unwrap_or_default();
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let word = word.max(rest.chars().next().map_or(1, char::len_utf8));
        let start = span.start + start + at.min(value.len());
        start..start + word
    }

    /// Whether anything was found wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// All problems in the file's order, with its text as it may be shown.
    pub fn into_problems(self, file: &str) -> Problems {
        let mut all = self.problems.into_inner();
        all.sort_by_key(|(at, _)| *at);
        self.hidden.problems(file, self.text, all.into_iter().map(|(_, p)| p).collect())
    }
}

/// One table of the file.
#[derive(Clone)]
pub struct Table<'d, 't> {
    doc: &'d Doc<'d>,
    table: &'t DeTable<'t>,
    /// Its name in messages: `[limits]`, `[[sink]]`.
    pub what: String,
    /// Its place.
    pub span: Range<usize>,
    keys: &'d [Key],
    known: Vec<&'static str>,
}

impl<'d, 't> Table<'d, 't> {
    /// The table with no look at its keys.
    pub fn new(doc: &'d Doc<'d>, table: &'t DeTable<'t>, what: impl Into<String>, span: Range<usize>) -> Self {
        Table { doc, table, what: what.into(), span, keys: &[], known: Vec::new() }
    }

    /// Notes every key that is none of `known`, and what is missing of those of `keys` that must be
    /// there.
    pub fn only(self, keys: &'d [Key], known: Vec<&'static str>) -> Self {
        self.only_or(keys, known, |_| false)
    }

    /// The same, where some keys have no name of ours: `others` knows them.
    pub fn only_or(mut self, keys: &'d [Key], known: Vec<&'static str>, others: fn(&str) -> bool) -> Self {
        (self.keys, self.known) = (keys, known);
        for key in self.unknown().filter(|key| !others(key.get_ref())) {
            let name: &str = key.get_ref();
            let hint = self.meant(name).map_or(String::new(), |k| format!("did you mean `{k}`? "));
            let fix = format!("{hint}the keys of {} are: {}", self.what, self.known.join(", "));
            self.doc.wrong(&key.span(), codes::UNKNOWN_KEY, format!("unknown key `{name}` in {}", self.what), fix);
        }
        // A key that is misspelt is told once.
        let meant: BTreeSet<&str> = self.unknown().filter_map(|key| self.meant(key.get_ref())).collect();
        for key in keys.iter().filter(|k| k.needed && !self.has(k.name) && !meant.contains(k.name)) {
            let fix = format!("add it: `{} = {}`", key.name, key.example);
            self.doc.wrong(&self.span, codes::MISSING_KEY, format!("{} has no `{}`", self.what, key.name), fix);
        }
        self
    }

    fn unknown(&self) -> impl Iterator<Item = &'t Spanned<std::borrow::Cow<'t, str>>> + use<'_, 'd, 't> {
        self.table.keys().filter(|key| !self.known.iter().any(|known| known == key.get_ref()))
    }

    fn meant(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.known.iter().copied())
    }

    /// Whether a key that is unknown is probably meant as one of `names`.
    pub fn misspells(&self, names: &[&str]) -> bool {
        self.unknown().any(|key| self.meant(key.get_ref()).is_some_and(|meant| names.contains(&meant)))
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Every key with its value, in the file's spelling; without those whose variables have no
    /// value.
    pub fn entries(&self) -> impl Iterator<Item = (At<&'t str>, &'t Spanned<DeValue<'t>>)> + use<'d, 't> {
        let doc = self.doc;
        let all = self.table.iter().map(|(k, v)| (At { value: k.get_ref().as_ref(), span: k.span() }, v));
        all.filter(|(_, v)| !doc.unfilled.contains(&v.span().start))
    }

    fn value(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key).filter(|v| !self.doc.unfilled.contains(&v.span().start))
    }

    /// A value of one of its keys, as TOML.
    pub fn example(&self, name: &str) -> &'static str {
        self.key(name).map_or("…", |key| key.example)
    }

    fn key(&self, name: &str) -> Option<&'d Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    fn wrong_type(&self, key: &str, found: &Spanned<DeValue<'_>>, wanted: &str, example: &str) {
        let message = format!("`{key}` of {} is {}, not {wanted}", self.what, kind(found.get_ref()));
        self.doc.wrong(&found.span(), codes::WRONG_TYPE, message, format!("write {wanted}: `{key} = {example}`"));
    }

    /// A string, if the key is there; what is wrong with it is noted.
    pub fn text(&self, name: &str) -> Option<At<&'t str>> {
        let key = self.key(name)?;
        let v = self.value(name)?;
        let Some(value) = v.get_ref().as_str() else {
            self.wrong_type(name, v, "a string", key.example);
            return None;
        };
        if value.is_empty() && key.needed {
            let fix = format!("write a value, for example `{name} = {}`", key.example);
            self.doc.wrong(&v.span(), codes::EMPTY_VALUE, format!("`{name}` of {} is empty", self.what), fix);
            return None;
        }
        if let Some((code, message, fix)) = complaint(key.takes, value) {
            self.doc.wrong(&v.span(), code, message, fix);
        }
        Some(At { value, span: v.span() })
    }

    /// A path, if the key is there, from the folder of the topology file `file`. An empty one is
    /// noted: nobody would know which file is meant, and a token file that is left out in silence
    /// would let everybody in.
    pub fn path(&self, name: &str, file: &str) -> Option<PathBuf> {
        let at = self.text(name)?;
        if at.value.is_empty() {
            let fix = format!("write the path, for example `{name} = {}`, or remove the key", self.example(name));
            self.doc.wrong(&at.span, codes::EMPTY_VALUE, format!("`{name}` of {} is empty", self.what), fix);
            return None;
        }
        Some(beside(file, at.value))
    }

    /// A string, if the key is there and holds one; nothing is noted.
    pub fn peek(&self, name: &str) -> Option<&'t str> {
        self.value(name)?.get_ref().as_str()
    }

    /// Where the value of a key stands, if the key is there.
    pub fn place(&self, name: &str) -> Option<Range<usize>> {
        self.value(name).map(Spanned::span)
    }

    /// The secret of the key `name`, or of the file that the key `<name>_file` names, and where it
    /// stands; an empty one is none. A path is taken from the folder of the topology file `file`.
    pub fn secret(&self, name: &str, file: &str) -> Option<(SecretSource, usize)> {
        let file_key = format!("{name}_file");
        let [value, path] = [name, file_key.as_str()].map(|key| self.text(key).filter(|at| !at.value.is_empty()));
        match (value, path) {
            (Some(_), Some(path)) => {
                let message = format!("`{name}` and `{file_key}` of {} are both set", self.what);
                self.doc.wrong(
                    &path.span,
                    codes::CONFLICTING_SETTINGS,
                    message,
                    format!("keep one of them: `{file_key}` keeps the secret out of this file"),
                );
                None
            }
            (Some(value), None) => Some((SecretSource::value(value.value), value.span.start)),
            (None, Some(path)) => {
                let at = line(self.doc.text, path.span.start);
                let named_by = format!("`{file_key}` of {} ({file}:{at})", self.what);
                Some((SecretSource::file(beside(file, path.value), named_by), path.span.start))
            }
            (None, None) => None,
        }
    }

    /// A whole number, if the key is there and holds one that may be.
    pub fn count(&self, name: &str) -> Option<At<u32>> {
        let key = self.key(name)?;
        let v = self.value(name)?;
        let Takes::Count(max) = key.takes else { return None };
        let text = v.get_ref().as_str().filter(|_| self.doc.filled.contains(&v.span().start));
        let Some(n) = integer(v.get_ref()).or_else(|| text?.trim().parse::<i64>().ok().map(i128::from)) else {
            match text {
                Some(text) => {
                    let message = format!("`{name}` of {} is `{text}`, not an integer", self.what);
                    let fix = format!("set the variable to an integer, for example {}", key.example);
                    self.doc.wrong(&v.span(), codes::WRONG_TYPE, message, fix);
                }
                None => self.wrong_type(name, v, "an integer", key.example),
            }
            return None;
        };
        let good = u32::try_from(n).ok().filter(|n| (1..=max).contains(n));
        if good.is_none() {
            let fix = format!("write a number from 1 to {max}");
            let message = format!("`{name}` of {} is {n}, not a number from 1 to {max}", self.what);
            self.doc.wrong(&v.span(), codes::INVALID_VALUE, message, fix);
        }
        good.map(|value| At { value, span: v.span() })
    }

    /// A value that is read as settings are, if the key is there; what is wrong with it is noted.
    pub fn setting<T>(&self, name: &str, read: impl FnOnce(Raw<'_>) -> Result<T, String>) -> Option<At<T>> {
        let key = self.key(name)?;
        let v = self.value(name)?;
        match read(raw(self.doc, v)) {
            Ok(value) => Some(At { value, span: v.span() }),
            Err(e) => {
                let fix = format!("write for example `{name} = {}`", key.example);
                self.doc.wrong(&v.span(), codes::INVALID_VALUE, format!("`{name}` of {}: {e}", self.what), fix);
                None
            }
        }
    }

    /// A list of strings, and whether all of it could be read; one string alone is a list of one,
    /// an absent key an empty list.
    pub fn strings(&self, name: &str) -> (Vec<At<&'t str>>, bool) {
        let (Some(key), Some(v)) = (self.key(name), self.value(name)) else {
            return (Vec::new(), !self.has(name) && !self.misspells(&[name]));
        };
        let one = |v: &'t Spanned<DeValue<'t>>| match v.get_ref().as_str() {
            _ if self.doc.unfilled.contains(&v.span().start) => None,
            Some(value) => Some(At { value, span: v.span() }),
            None => {
                self.wrong_type(name, v, "a list of strings", key.example);
                None
            }
        };
        match v.get_ref() {
            DeValue::Array(list) => {
                if list.is_empty() && key.needed {
                    let fix = format!("write at least one, for example `{name} = {}`", key.example);
                    self.doc.wrong(&v.span(), codes::EMPTY_VALUE, format!("`{name}` of {} is empty", self.what), fix);
                }
                let found: Vec<At<&str>> = list.iter().filter_map(one).collect();
                let is_whole = found.len() == list.len() && !(list.is_empty() && key.needed);
                (found, is_whole)
            }
            _ => {
                let found: Vec<At<&str>> = one(v).into_iter().collect();
                let is_whole = !found.is_empty();
                (found, is_whole)
            }
        }
    }

    /// The table under `key`, if it is there.
    pub fn table(&self, key: &str) -> Option<Table<'d, 't>> {
        let v = self.value(key)?;
        match v.get_ref() {
            DeValue::Table(t) => Some(Table::new(self.doc, t, format!("[{key}]"), v.span())),
            DeValue::Array(_) => {
                let fix = format!("write it once, with one bracket: `[{key}]`");
                self.doc.wrong(&v.span(), codes::WRONG_BRACKETS, format!("`{key}` is a list, not a table"), fix);
                None
            }
            _ => {
                self.wrong_type(key, v, "a table", "{ … }");
                None
            }
        }
    }

    /// The table of a section, its keys looked at.
    pub fn section(&self, section: &'static Section) -> Option<Table<'d, 't>> {
        self.table(section.name).map(|t| t.only(section.keys, names(section.keys)))
    }

    /// The tables of a section that there may be several of, in the file's order, and whether all
    /// could be read.
    pub fn sections(&self, section: &'static Section) -> (Vec<Table<'d, 't>>, bool) {
        self.tables(section.name, section.keys)
    }

    /// The tables of the list under `name`, with these keys, as [`Table::sections`] reads them.
    pub fn tables(&self, name: &'static str, keys: &'d [Key]) -> (Vec<Table<'d, 't>>, bool) {
        let outer = self.what.strip_prefix("[[").and_then(|what| what.strip_suffix("]]"));
        let what = outer.map_or(format!("[[{name}]]"), |outer| format!("[[{outer}.{name}]]"));
        let Some(v) = self.value(name) else { return (Vec::new(), !self.has(name)) };
        let DeValue::Array(list) = v.get_ref() else {
            let fix = format!("write it with two brackets, `{what}`, and add a `name`");
            let message = format!("`{name}` is {}, not a list of tables", kind(v.get_ref()));
            self.doc.wrong(&v.span(), codes::WRONG_BRACKETS, message, fix);
            return (Vec::new(), false);
        };
        let open = |v: &'t Spanned<DeValue<'t>>| match v.get_ref() {
            DeValue::Table(t) => {
                let table = Table::new(self.doc, t, what.clone(), v.span());
                Some(table.only(keys, names(keys)))
            }
            _ => {
                self.wrong_type(name, v, "a table", "[{ name = \"…\" }]");
                None
            }
        };
        let tables: Vec<Table<'d, 't>> = list.iter().filter_map(open).collect();
        let is_whole = tables.len() == list.len();
        (tables, is_whole)
    }
}

/// A path of a topology file, which is taken from the folder of that file.
pub fn beside(file: &str, path: &str) -> PathBuf {
    Path::new(file).parent().unwrap_or(Path::new("")).join(path)
}

/// Whether a text has only letters, digits and `more`, as a pattern says it too.
fn only(text: &str, more: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

/// The code, the message and the fix for a text that is not of the form that its key requires.
fn complaint(takes: Takes, text: &str) -> Option<(&'static str, String, String)> {
    match takes {
        Takes::Name if !only(text, "-_") => Some((
            codes::INVALID_NAME,
            format!("the name `{text}` has characters other than letters, digits, `-` and `_`"),
            "use letters, digits, `-` and `_` only: internal topics are named after it".to_owned(),
        )),
        Takes::Topic if text.len() > 249 || !only(text, "._-") || matches!(text, "." | "..") => Some((
            codes::INVALID_NAME,
            format!("`{text}` is not a valid name of a topic"),
            "use up to 249 letters, digits, `.`, `_` and `-`, as Kafka requires".to_owned(),
        )),
        Takes::Expression if text.trim().is_empty() => Some((
            codes::EMPTY_VALUE,
            "the expression is empty".to_owned(),
            "write an expression, or remove the key".to_owned(),
        )),
        Takes::Choice(known) if !known.split(", ").any(|choice| choice == text) => {
            let in_other_letters = known.split(", ").find(|choice| choice.eq_ignore_ascii_case(text));
            let meant = in_other_letters.or_else(|| nearest(text, known.split(", ")));
            let hint = meant.map_or(String::new(), |n| format!("did you mean `{n}`? "));
            Some((
                codes::INVALID_VALUE,
                format!("`{text}` is not one of {known}"),
                format!("{hint}write one of: {known}"),
            ))
        }
        Takes::Id(_) => {
            let fix = "write for example `application_id = \"helixstream\"`";
            check_application_id(text).err().map(|e| (codes::INVALID_NAME, e, fix.to_owned()))
        }
        _ => None,
    }
}

/// A value as settings are read: one that a variable had a part in may be meant as anything.
pub fn raw<'a>(doc: &Doc<'_>, v: &'a Spanned<DeValue<'_>>) -> Raw<'a> {
    match v.get_ref() {
        DeValue::String(s) if doc.filled.contains(&v.span().start) => Raw::Text(s),
        DeValue::String(s) => Raw::String(s),
        DeValue::Boolean(b) => Raw::Boolean(*b),
        other => integer(other).map_or(Raw::Other(kind(other)), Raw::Integer),
    }
}

/// The integer of a value that is one and fits 64 bits.
pub fn integer(v: &DeValue<'_>) -> Option<i128> {
    let i = v.as_integer()?;
    i64::from_str_radix(&i.as_str().replace('_', ""), i.radix()).ok().map(i128::from)
}

/// Name of a value's type in messages.
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
