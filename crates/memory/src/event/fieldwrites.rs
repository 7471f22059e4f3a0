//! The fields of an event that are writes: checked, and turned into paths with canonical values.

use super::FieldWrite;
use super::fields::required;
use super::rejection::BadInput;
use json::Number;
use json::{self, Value, ValueKind};

const NULL: &[u8] = b"null";

/// The writes of an event, as its fields are read one by one.
pub(super) struct FieldWrites {
    writes: Vec<FieldWrite>,
    /// Where a value is written first, so that it is kept in a block of its exact size.
    scratch: Vec<u8>,
}

impl FieldWrites {
    /// None yet, with room for a usual event's.
    pub fn new() -> FieldWrites {
        FieldWrites { writes: Vec::with_capacity(12), scratch: Vec::with_capacity(512) }
    }

    fn push(&mut self, path: String, write: impl FnOnce(&mut Vec<u8>)) {
        self.scratch.clear();
        write(&mut self.scratch);
        self.writes.push(FieldWrite { path, value: self.scratch.to_vec() });
    }

    /// Writes null for a field that is null. `Some` is a value still to be read: the field is there
    /// and says something.
    fn unless_null<'d>(&mut self, path: &str, value: Option<Value<'d>>) -> Option<Value<'d>> {
        let value = value?;
        if value.is_null() {
            self.push(path.to_owned(), |out| out.extend_from_slice(NULL));
            return None;
        }
        Some(value)
    }

    /// A string, empty or not.
    pub fn text(&mut self, path: &str, value: Option<Value<'_>>) -> Result<(), BadInput> {
        let Some(value) = self.unless_null(path, value) else { return Ok(()) };
        if value.kind() != ValueKind::String {
            return Err(BadInput::wrong_type(path, "a string", value));
        }
        self.push(path.to_owned(), |out| value.write_canonical(out));
        Ok(())
    }

    /// A string that counts as absent when empty.
    pub fn name(&mut self, path: &str, value: Option<Value<'_>>) -> Result<(), BadInput> {
        self.text(path, value.filter(|v| v.as_str() != Some("")))
    }

    /// A number, which is returned.
    pub fn number(&mut self, path: &str, value: Option<Value<'_>>) -> Result<Option<Number>, BadInput> {
        let Some(value) = self.unless_null(path, value) else { return Ok(None) };
        let number = value.as_number().ok_or_else(|| BadInput::wrong_type(path, "a number", value))?;
        self.push(path.to_owned(), |out| value.write_canonical(out));
        Ok(Some(number))
    }

    /// An array of numbers.
    pub fn numbers(&mut self, path: &str, value: Option<Value<'_>>) -> Result<(), BadInput> {
        let Some(value) = self.unless_null(path, value) else { return Ok(()) };
        for (index, item) in array(path, "an array of numbers", value)?.enumerate() {
            if item.kind() != ValueKind::Number {
                return Err(BadInput::wrong_type(&format!("{path}[{index}]"), "a number", item));
            }
        }
        self.push(path.to_owned(), |out| value.write_canonical(out));
        Ok(())
    }

    /// An array of strings, kept as a set, which is returned.
    pub fn set<'d>(&mut self, path: &str, value: Option<Value<'d>>) -> Result<Vec<&'d str>, BadInput> {
        let Some(value) = self.unless_null(path, value) else { return Ok(Vec::new()) };
        let items = array(path, "an array of strings", value)?;
        // Counted first: a list that doubles as it grows would take twice as much of a hostile
        // array.
        let mut set = Vec::with_capacity(items.clone().count());
        for (index, item) in items.enumerate() {
            let wrong = || BadInput::wrong_type(&format!("{path}[{index}]"), "a string", item);
            set.push(item.as_str().ok_or_else(wrong)?);
        }
        set.sort_unstable();
        set.dedup();
        self.push(path.to_owned(), |out| {
            out.push(b'[');
            for (index, text) in set.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                json::write_string(out, text);
            }
            out.push(b']');
        });
        Ok(set)
    }

    /// An array of objects with an `id`, and maybe a number `weight` (an entity's confidence, a
    /// relationship's strength), which is dropped when null. Each object is a write of its own;
    /// null writes nothing.
    pub fn objects(&mut self, path: &str, weight: &str, value: Option<Value<'_>>) -> Result<(), BadInput> {
        let Some(value) = value.filter(|v| !v.is_null()) else { return Ok(()) };
        let items = array(path, "an array of objects", value)?;
        let ids: Result<Vec<&str>, BadInput> =
            items.clone().enumerate().map(|(index, item)| checked_id(path, index, weight, item)).collect();
        let ids = ids?;
        self.writes.reserve(ids.len());
        for (id, item) in ids.into_iter().zip(items) {
            self.push(keyed(path, id), |out| item.write_canonical_without_null(weight, out));
        }
        Ok(())
    }

    /// An object of any values, each key a write of its own; null writes nothing.
    pub fn map(&mut self, path: &str, value: Option<Value<'_>>) -> Result<(), BadInput> {
        let Some(value) = value.filter(|v| !v.is_null()) else { return Ok(()) };
        if value.kind() != ValueKind::Object {
            return Err(BadInput::wrong_type(path, "an object", value));
        }
        let members = value.sorted_members();
        self.writes.reserve(members.len());
        for (key, value) in members {
            self.push(keyed(path, key), |out| value.write_canonical(out));
        }
        Ok(())
    }

    /// The writes sorted by path; of an id that stands twice the last.
    pub fn sorted(self) -> Vec<FieldWrite> {
        let mut writes = self.writes;
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
pub(super) fn clear_relationships(writes: &mut [FieldWrite]) {
    for write in writes.iter_mut().filter(|w| w.path.starts_with("relationships.")) {
        write.value = NULL.to_vec();
    }
}

/// The id of an entity or relationship, which stands at `index` of `path` and breaks no rule.
fn checked_id<'d>(path: &str, index: usize, weight: &str, item: Value<'d>) -> Result<&'d str, BadInput> {
    let at = |member: &str| format!("{path}[{index}]{member}");
    if item.kind() != ValueKind::Object {
        return Err(BadInput::wrong_type(&at(""), "an object", item));
    }
    let id = required(|| at(".id"), item.get("id"))?;
    match item.get(weight).filter(|v| !matches!(v.kind(), ValueKind::Null | ValueKind::Number)) {
        Some(found) => Err(BadInput::wrong_type(&at(&format!(".{weight}")), "a number", found)),
        None => Ok(id),
    }
}

fn keyed(container: &str, key: &str) -> String {
    [container, ".", key].concat()
}

fn array<'d>(path: &str, expected: &str, value: Value<'d>) -> Result<json::Items<'d>, BadInput> {
    if value.kind() == ValueKind::Array { Ok(value.items()) } else { Err(BadInput::wrong_type(path, expected, value)) }
}
