//! Settles a conflict: builds the event that ends it from its record and a decision.
//!
//! The event has seen every contender: its clock is the join of theirs and an entry of its own, its
//! version is above theirs. Where the record does not list all who took part (more contenders than
//! it holds, or a delete against an update), the resolved memory's clock and version stand for
//! them. Nothing of it hangs on when or where it is made: the same decision makes the same bytes,
//! and publishing them again is a redelivery.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use json::rfc3339;
use json::{self, Document};
use memory::event::{self, Limits};
use memory::view::{ObjectWriter, write_clock};

/// A conflict record, or the one that ends a conflict, as far as it is needed here.
#[derive(Debug, Deserialize)]
pub struct Conflict<'r> {
    /// Its id.
    pub conflict_id: String,
    /// The memory.
    pub memory_id: String,
    /// Its user at the time.
    pub user_id: Option<String>,
    /// Its kind.
    pub conflict_type: String,
    /// `pending`, `auto_resolved` or `superseded`.
    pub status: String,
    /// When the event that made it was written.
    pub detected_at: String,
    /// The event that ended it.
    pub superseded_by: Option<String>,
    /// The fields; none in the record that ends it.
    #[serde(borrow, default)]
    pub fields: Vec<FieldOf<'r>>,
    /// Deletes against updates.
    #[serde(borrow)]
    pub delete_update: Option<&'r RawValue>,
    /// The resolved memory.
    pub resolved_version: Option<Seen>,
}

/// A field of a conflict.
#[derive(Debug, Deserialize)]
pub struct FieldOf<'r> {
    /// Its path.
    pub path: String,
    /// Its resolved value.
    #[serde(borrow)]
    pub value: &'r RawValue,
    /// Why.
    pub reason: String,
    /// The contenders, the least in last-write order first.
    #[serde(borrow)]
    pub contenders: Vec<ContenderOf<'r>>,
    /// How many contend, where not all are listed.
    pub contenders_total: Option<u64>,
}

/// A contender.
#[derive(Debug, Deserialize)]
pub struct ContenderOf<'r> {
    /// Its event.
    pub event_id: String,
    /// Its writer.
    pub node_id: Option<String>,
    /// When it was written.
    pub timestamp: String,
    /// The value that it wrote.
    #[serde(borrow)]
    pub value: &'r RawValue,
    /// The vector clock of what it had seen.
    pub vector_clock: BTreeMap<String, u64>,
    /// Its version.
    pub version: u64,
}

/// A clock and a version.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Seen {
    /// Entries by name.
    pub vector_clock: BTreeMap<String, u64>,
    /// The version.
    pub version: u64,
}

impl Seen {
    fn join(&mut self, other: &ContenderOf<'_>) {
        for (name, counter) in &other.vector_clock {
            let mine = self.vector_clock.entry(name.clone()).or_default();
            *mine = (*mine).max(*counter);
        }
        self.version = self.version.max(other.version);
    }
}

/// A decision about a conflict.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decision<'d> {
    /// Values by path.
    pub values: &'d [(String, String)],
    /// The event whose values win in all other fields in which it contends.
    pub winner: Option<&'d str>,
}

/// The event that ends a conflict.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Its id.
    pub event_id: String,
    /// The event, bare JSON.
    pub event: Vec<u8>,
    /// The values that it writes, by path: canonical JSON.
    pub fields: Vec<(String, Vec<u8>)>,
}

/// The id of the event that settles a conflict.
pub fn event_id(conflict_id: &str) -> String {
    format!("resolve-{conflict_id}")
}

/// Makes the event.
///
/// # Errors
/// The text names the part of the decision that does not fit the conflict.
pub fn settle_conflict(
    conflict: &Conflict<'_>,
    decision: &Decision<'_>,
    limits: &Limits,
) -> Result<Settlement, String> {
    let fields = decide(conflict, decision)?;
    let seen = seen(conflict);
    let nanos = |text: &str| {
        rfc3339::parse(text)
            .map_err(|e| format!("the conflict record has the time `{text}`, which cannot be read: {e}"))
    };
    let mut latest = nanos(&conflict.detected_at)?;
    for contender in conflict.fields.iter().flat_map(|field| &field.contenders) {
        latest = latest.max(nanos(&contender.timestamp)?);
    }
    let event_id = event_id(&conflict.conflict_id);
    let actor = format!("resolver:{}", conflict.conflict_id);
    let mut clock: BTreeMap<&str, u64> = seen.vector_clock.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    clock.insert(&actor, 1);
    let clock: Vec<(&str, u64)> = clock.into_iter().collect();
    let mut members = members(&fields)?;
    members.insert("event_id", text(&event_id));
    members.insert("event_type", text("memory.updated"));
    members.insert("memory_id", text(&conflict.memory_id));
    members.insert("node_id", text(&actor));
    members.insert("timestamp", text(&rfc3339::format(latest.saturating_add(1).min(rfc3339::MAX_NANOS))));
    members.insert("version", seen.version.saturating_add(1).min(i64::MAX as u64).to_string().into_bytes());
    let mut written = Vec::new();
    write_clock(&mut written, &clock);
    members.insert("vector_clock", written);
    let mut event = Vec::new();
    let mut object = ObjectWriter::new(&mut event);
    members.iter().for_each(|(name, value)| object.raw(name, value));
    object.end();
    event::decode(Some(&event), 1, limits)
        .map_err(|bad| format!("an event with this decision would not be valid: {}", bad.message))?;
    Ok(Settlement { event_id, event, fields })
}

fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    json::write_string(&mut out, text);
    out
}

/// The vector clock that the event must have seen.
fn seen(conflict: &Conflict<'_>) -> Seen {
    let is_listed = conflict.delete_update.is_none() && conflict.fields.iter().all(|f| f.contenders_total.is_none());
    let mut seen = Seen::default();
    if !is_listed && let Some(resolved) = &conflict.resolved_version {
        return resolved.clone();
    }
    conflict.fields.iter().flat_map(|field| &field.contenders).for_each(|contender| seen.join(contender));
    seen
}

/// The value of each field: as it was decided, else as it shows.
fn decide(conflict: &Conflict<'_>, decision: &Decision<'_>) -> Result<Vec<(String, Vec<u8>)>, String> {
    let paths = || conflict.fields.iter().map(|f| f.path.as_str()).collect::<Vec<_>>().join(", ");
    for (path, _) in decision.values {
        if !conflict.fields.iter().any(|f| f.path == *path) {
            return Err(format!("`{path}` is not a field in conflict; the fields in conflict are: {}", paths()));
        }
    }
    let contends = |winner: &str| conflict.fields.iter().flat_map(|f| &f.contenders).any(|c| c.event_id == winner);
    if let Some(winner) = decision.winner.filter(|winner| !contends(winner)) {
        return Err(format!("the event `{winner}` is not one of the contenders"));
    }
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    for field in &conflict.fields {
        let named = decision.values.iter().rev().find(|(path, _)| *path == field.path).map(|(_, value)| value.as_str());
        let won = || {
            let winner = decision.winner?;
            field.contenders.iter().rev().find(|c| c.event_id == winner).map(|c| c.value.get())
        };
        let value = match named.or_else(won) {
            Some(value) => canonical(value).map_err(|e| format!("the value of `{}`: {e}", field.path))?,
            None if decision.winner.is_none() && decision.values.is_empty() => {
                return Err(format!("the decision is missing: name a --winner, or a --value for {}", paths()));
            }
            None => canonical(field.value.get())?,
        };
        fields.push((field.path.clone(), value));
    }
    keep_no_stale_embedding(conflict, decision, &mut fields);
    Ok(fields)
}

/// An embedding belongs to a text: one that nobody chose goes where the text becomes another than
/// shows.
fn keep_no_stale_embedding(conflict: &Conflict<'_>, decision: &Decision<'_>, fields: &mut [(String, Vec<u8>)]) {
    let shows = conflict.fields.iter().find(|f| f.path == "content").and_then(|f| canonical(f.value.get()).ok());
    let Some((_, content)) = fields.iter().find(|(path, _)| path == "content") else { return };
    let is_other = shows.is_some_and(|shows| shows != *content);
    let contends = |winner: &str| {
        let embedding = conflict.fields.iter().find(|f| f.path == "embedding");
        embedding.is_some_and(|f| f.contenders.iter().any(|c| c.event_id == winner))
    };
    let is_chosen =
        decision.values.iter().any(|(path, _)| path == "embedding") || decision.winner.is_some_and(contends);
    if is_other && !is_chosen {
        let stale = fields.iter_mut().filter(|(path, _)| path == "embedding");
        stale.for_each(|(_, value)| *value = b"null".to_vec());
    }
}

fn canonical(text: &str) -> Result<Vec<u8>, String> {
    let document: Document<'_> = json::parse(text.as_bytes()).map_err(|e| format!("{text} is not JSON: {e}"))?;
    Ok(document.root().canonical())
}

/// The members of an event that writes these fields.
fn members(fields: &[(String, Vec<u8>)]) -> Result<BTreeMap<&str, Vec<u8>>, String> {
    let mut members: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let mut metadata = BTreeMap::new();
    let mut lists: BTreeMap<&str, Vec<&[u8]>> = BTreeMap::new();
    for (path, value) in fields {
        match path.split_once('.') {
            Some(("metadata", key)) => _ = metadata.insert(key, value),
            Some((container, id)) => {
                let fits = json::parse(value).is_ok_and(|d| d.root().get("id").and_then(|v| v.as_str()) == Some(id));
                if !fits {
                    return Err(format!("the value of `{path}` must be an object whose `id` is `{id}`"));
                }
                lists.entry(container).or_default().push(value);
            }
            None => _ = members.insert(path, value.clone()),
        }
    }
    if !metadata.is_empty() {
        let mut out = Vec::new();
        let mut object = ObjectWriter::new(&mut out);
        metadata.iter().for_each(|(key, value)| object.raw(key, value));
        object.end();
        members.insert("metadata", out);
    }
    for (container, items) in lists {
        members.insert(container, [&b"["[..], &items.join(&b","[..]), b"]"].concat());
    }
    Ok(members)
}
