//! A resolved state as the history of a memory keeps it: its members without the values of its
//! fields, and the fields that differ from the state before.
//!
//! A state has a bound: a long value is kept as its number of bytes, and members that are not whole
//! are named in `cut`.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use json::{ObjectWriter, rfc3339};
use memory::clock;

use crate::overlay::{Heading, writes_of};

/// The most bytes of a value that is kept, as canonical JSON.
const MAX_VALUE_BYTES: usize = 4 << 10;
/// The most bytes of all values of a state, and the most fields, that are kept.
const MAX_VALUES_BYTES: usize = 32 << 10;
const MAX_FIELDS: usize = 200;
/// The most bytes of a clock or a list of ids or paths, and of one path.
const MAX_LIST_BYTES: usize = 8 << 10;
const MAX_PATH_BYTES: usize = 256;

/// How a state came to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateSource {
    /// By the topic of resolved memories.
    Stream,
    /// By a user snapshot that a client has restored.
    Restore,
}

/// The state before.
pub(crate) struct StateBefore<'s> {
    /// The resolved memory as canonical JSON.
    pub json: &'s [u8],
    /// How it came.
    pub source: StateSource,
}

/// A state that is to be kept.
pub(crate) struct KeptState {
    /// The memory's user in the state before.
    pub old_user_id: Option<String>,
    /// The state as canonical JSON.
    pub json: String,
}

/// The members of a state, by name, and the names of those that are not whole.
#[derive(Default)]
struct StateMembers {
    written: BTreeMap<&'static str, Vec<u8>>,
    cut: BTreeSet<&'static str>,
}

impl StateMembers {
    fn put(&mut self, name: &'static str, value: impl Into<Vec<u8>>) {
        self.written.insert(name, value.into());
    }

    fn put_text(&mut self, name: &'static str, text: &str) {
        let mut out = Vec::with_capacity(text.len() + 2);
        json::write_string(&mut out, text);
        self.put(name, out);
    }

    /// Puts a list of texts up to its bound.
    fn put_texts<'t>(&mut self, name: &'static str, texts: impl IntoIterator<Item = &'t str>) {
        let mut out = vec![b'['];
        for text in texts {
            if out.len() + text.len() > MAX_LIST_BYTES {
                self.cut.insert(name);
                break;
            }
            if out.len() > 1 {
                out.push(b',');
            }
            json::write_string(&mut out, text);
        }
        out.push(b']');
        self.put(name, out);
    }

    fn put_time(&mut self, name: &'static str, nanos: u64) {
        self.put_text(name, &rfc3339::format(nanos));
    }

    /// All of them as one object.
    fn write(mut self) -> Result<String, String> {
        if !self.cut.is_empty() {
            let cut = std::mem::take(&mut self.cut);
            self.put_texts("cut", cut);
        }
        let mut out = Vec::with_capacity(1024);
        let mut object = ObjectWriter::new(&mut out);
        self.written.iter().for_each(|(name, value)| object.raw(name, value));
        object.end();
        String::from_utf8(out).map_err(|error| error.to_string())
    }
}

/// The state of a resolved memory, compared with the state before.
///
/// # Errors
/// The problem, for a person: a text is no resolved memory.
pub(crate) fn kept_state(
    before: Option<&StateBefore<'_>>,
    new: &[u8],
    source: StateSource,
    applied_at_ms: i64,
) -> Result<KeptState, String> {
    let heading = Heading::of(new)?;
    let old = before.map(|before| Heading::of(before.json)).transpose()?;
    let mut members = StateMembers::default();
    members.put_time("applied_at", u64::try_from(applied_at_ms).unwrap_or(0).saturating_mul(1_000_000));
    let old_fields = match (before, &old) {
        (Some(before), Some(old)) => fields_of(before.json, old)?,
        _ => Vec::new(),
    };
    let lists_removed = heading.status == "active" && old.as_ref().is_some_and(|old| old.status == "active");
    let changed = Changed::of(&old_fields, &fields_of(new, &heading)?, lists_removed);
    members.put("changed", changed.json);
    members.cut.extend(changed.is_cut.then_some("changed"));
    members.put_texts("conflicted_fields", heading.conflicted.iter().map(String::as_str));

    let ids: BTreeSet<&str> = heading.event_ids.iter().map(String::as_str).collect();
    let old_ids: BTreeSet<&str> = old.iter().flat_map(|old| &old.event_ids).map(String::as_str).collect();
    members.put_texts("entered", ids.difference(&old_ids).copied());
    members.put_texts("event_ids", ids.iter().copied());
    if let (Some(before), Some(old)) = (before, &old) {
        let is_of_stream = source == StateSource::Stream && before.source == StateSource::Stream;
        let follows = is_of_stream && holds_all_of(&heading, old);
        members.put("follows", follows.to_string());
        // An event of a frontier that is in the next one no longer has been superseded by one of
        // that: the greater set of events has it. Where no two events have one id, by one that has
        // entered, since no two events of a frontier are ordered.
        if follows && !members.cut.contains("entered") {
            members.put_texts("superseded", old_ids.difference(&ids).copied());
        }
    }
    for (name, text) in
        [("merged_into", &heading.merged_into), ("session_id", &heading.session_id), ("user_id", &heading.user_id)]
    {
        text.iter().for_each(|text| members.put_text(name, text));
    }
    members.put_text("source", if source == StateSource::Stream { "stream" } else { "restore" });
    members.put_text("status", &heading.status);
    members.put_time("updated_at", heading.updated_at);
    let entries: Vec<(&str, u64)> = heading.clock_entries().collect();
    let mut written = Vec::new();
    clock::write_clock(&mut written, &entries);
    if written.len() <= MAX_LIST_BYTES {
        members.put("vector_clock", written);
    } else {
        members.cut.insert("vector_clock");
    }
    members.put("version", heading.version.to_string());
    Ok(KeptState { old_user_id: old.and_then(|old| old.user_id), json: members.write()? })
}

/// The fields of a resolved memory, by path.
fn fields_of(json: &[u8], heading: &Heading) -> Result<Vec<(String, Vec<u8>)>, String> {
    let document = json::parse(json).map_err(|error| error.to_string())?;
    Ok(writes_of(document.root(), heading.status == "active"))
}

/// Whether a state holds all events that another one holds, as far as its joins show. A stream that
/// was reset, or that has forgotten a deleted memory, begins with fewer events.
fn holds_all_of(new: &Heading, old: &Heading) -> bool {
    let order = clock::compare(old.clock_entries(), new.clock_entries());
    matches!(order, Some(Ordering::Less | Ordering::Equal))
        && old.version <= new.version
        && old.created_at >= new.created_at
        && old.updated_at <= new.updated_at
}

/// The value of a field before and after, where it has one.
type Values<'v> = (Option<&'v [u8]>, Option<&'v [u8]>);

/// The fields that differ between two states.
struct Changed {
    /// A list of objects with `path`, and `value`, `bytes` or `removed`.
    json: Vec<u8>,
    /// Whether fields were left out.
    is_cut: bool,
}

impl Changed {
    /// Compares fields, which are sorted by their paths. Those of a memory that is not active are
    /// gone with it, and are not listed as removed.
    fn of(old: &[(String, Vec<u8>)], new: &[(String, Vec<u8>)], lists_removed: bool) -> Changed {
        let mut fields: BTreeMap<&str, Values<'_>> = BTreeMap::new();
        old.iter().for_each(|(path, value)| fields.entry(path).or_default().0 = Some(value));
        new.iter().for_each(|(path, value)| fields.entry(path).or_default().1 = Some(value));
        let mut changed = Changed { json: vec![b'['], is_cut: false };
        let (mut count, mut bytes) = (0, 0);
        for (path, (before, after)) in fields {
            if before == after || (after.is_none() && !lists_removed) {
                continue;
            }
            if count == MAX_FIELDS || path.len() > MAX_PATH_BYTES {
                changed.is_cut = true;
                continue;
            }
            if count > 0 {
                changed.json.push(b',');
            }
            count += 1;
            let mut object = ObjectWriter::new(&mut changed.json);
            match after {
                Some(value) if value.len() <= MAX_VALUE_BYTES && bytes + value.len() <= MAX_VALUES_BYTES => {
                    bytes += value.len();
                    object.str("path", path);
                    object.raw("value", value);
                }
                Some(value) => {
                    object.integer("bytes", value.len() as u64);
                    object.str("path", path);
                }
                None => {
                    object.str("path", path);
                    object.raw("removed", b"true");
                }
            }
            object.end();
        }
        changed.json.push(b']');
        changed
    }
}
