//! The fields of an event that are writes: checked, and turned into paths with canonical values.

use super::super::json::{self, Kind, Value};
use super::super::number::Number;
use super::Write;
use super::bad::BadInput;
use super::fields::required;

const NULL: &[u8] = b"null";

/// The writes of an event, as its fields are read one by one.
#[derive(Default)]
pub(super) struct FieldWrites(Vec<Write>);

impl FieldWrites {
    fn push(&mut self, path: String, value: Vec<u8>) {
        self.0.push(Write { path, value });
    }

    /// Writes null for a field that is null. `Some` is a value still to be read: the field is there and says something.
    fn unless_null<'d>(&mut self, path: &str, value: Option<Value<'d>>) -> Option<Value<'d>> {
        let value = value?;
        if value.is_null() {
            self.push(path.to_owned(), NULL.to_vec());
            return None;
        }
        Some(value)
    }

    /// A string, empty or not.
    pub fn text(&mut self, path: &str, value: Option<Value<'_>>) -> Result<(), BadInput> {
        let Some(value) = self.unless_null(path, value) else { return Ok(()) };
        if value.kind() != Kind::String {
            return Err(BadInput::wrong_type(path, "a string", value));
        }
        self.push(path.to_owned(), value.canonical());
        Ok(())
    }

    /// A string that counts as absent when empty.
    pub fn name(&mut self, path: &str, value: Option<Value<'_>>) -> Result<(), BadInput> {
        self.text(path, value.filter(|v| v.as_str() != Some("")))
    }

    /// A number; gives it back.
    pub fn number(&mut self, path: &str, value: Option<Value<'_>>) -> Result<Option<Number>, BadInput> {
        let Some(value) = self.unless_null(path, value) else { return Ok(None) };
        let number = value.as_number().ok_or_else(|| BadInput::wrong_type(path, "a number", value))?;
        self.push(path.to_owned(), value.canonical());
        Ok(Some(number))
    }

    /// An array of numbers.
    pub fn numbers(&mut self, path: &str, value: Option<Value<'_>>) -> Result<(), BadInput> {
        let Some(value) = self.unless_null(path, value) else { return Ok(()) };
        for (index, item) in array(path, "an array of numbers", value)?.enumerate() {
            if item.kind() != Kind::Number {
                return Err(BadInput::wrong_type(&format!("{path}[{index}]"), "a number", item));
            }
        }
        self.push(path.to_owned(), value.canonical());
        Ok(())
    }

    /// An array of strings, kept as a set; gives the set back.
    pub fn set<'d>(&mut self, path: &str, value: Option<Value<'d>>) -> Result<Vec<&'d str>, BadInput> {
        let Some(value) = self.unless_null(path, value) else { return Ok(Vec::new()) };
        let items = array(path, "an array of strings", value)?;
        // Counted first: a list that doubles as it grows would take twice as much of a hostile array.
        let mut set = Vec::with_capacity(items.clone().count());
        for (index, item) in items.enumerate() {
            let wrong = || BadInput::wrong_type(&format!("{path}[{index}]"), "a string", item);
            set.push(item.as_str().ok_or_else(wrong)?);
        }
        set.sort_unstable();
        set.dedup();
        let mut out = vec![b'['];
        for (index, text) in set.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            json::write_string(&mut out, text);
        }
        out.push(b']');
        self.push(path.to_owned(), out);
        Ok(set)
    }

    /// An array of objects with an `id`, and maybe a number `weight` (an entity's confidence, a relationship's strength),
    /// which is dropped when null. Each object is a write of its own; null writes nothing.
    pub fn objects(&mut self, path: &str, weight: &str, value: Option<Value<'_>>) -> Result<(), BadInput> {
        let Some(value) = value.filter(|v| !v.is_null()) else { return Ok(()) };
        for (index, item) in array(path, "an array of objects", value)?.enumerate() {
            let at = |member: &str| format!("{path}[{index}]{member}");
            if item.kind() != Kind::Object {
                return Err(BadInput::wrong_type(&at(""), "an object", item));
            }
            let id = required(|| at(".id"), item.get("id"))?;
            let number = item.get(weight).filter(|v| !v.is_null());
            if let Some(found) = number.filter(|v| v.kind() != Kind::Number) {
                return Err(BadInput::wrong_type(&at(&format!(".{weight}")), "a number", found));
            }
            let mut out = Vec::new();
            item.write_canonical_without_null(weight, &mut out);
            self.push(keyed(path, id), out);
        }
        Ok(())
    }

    /// An object of any values, each key a write of its own; null writes nothing.
    pub fn map(&mut self, path: &str, value: Option<Value<'_>>) -> Result<(), BadInput> {
        let Some(value) = value.filter(|v| !v.is_null()) else { return Ok(()) };
        if value.kind() != Kind::Object {
            return Err(BadInput::wrong_type(path, "an object", value));
        }
        for (key, value) in value.sorted_members() {
            self.push(keyed(path, key), value.canonical());
        }
        Ok(())
    }

    /// The writes sorted by path; of an id that stands twice the last.
    pub fn sorted(self) -> Vec<Write> {
        let mut writes = self.0;
        writes.sort_by(|a, b| a.path.cmp(&b.path));
        writes.dedup_by(|later, kept| {
            let is_same = later.path == kept.path;
            if is_same {
                std::mem::swap(later, kept);
            }
            is_same
        });
        writes
    }
}

/// Writes null to each relationship that is written: what `relationship.deleted` does.
pub(super) fn clear_relationships(writes: &mut [Write]) {
    for write in writes.iter_mut().filter(|w| w.path.starts_with("relationships.")) {
        write.value = NULL.to_vec();
    }
}

fn keyed(container: &str, key: &str) -> String {
    [container, ".", key].concat()
}

fn array<'d>(path: &str, expected: &str, value: Value<'d>) -> Result<json::Items<'d>, BadInput> {
    if value.kind() == Kind::Array { Ok(value.items()) } else { Err(BadInput::wrong_type(path, expected, value)) }
}
