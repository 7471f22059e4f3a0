//! All of a user's active memories, at the ends of intervals of stream time
//! (docs/semantics.md, section 5, "User snapshot").

use super::event::clock_json;
use super::json::{self, Json};
use super::outputs::{Emitted, emitted};
use super::{Settings, time};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A record of a user's task: what has become of one memory for one user.
#[derive(Clone, Debug)]
pub struct Change {
    /// The user.
    pub user_id: String,
    /// The memory.
    pub memory_id: String,
    /// The resolved memory, active and of this user; `None` when it is no longer that.
    pub memory: Option<Json>,
    /// The record timestamp, in milliseconds: that of the resolved memory.
    pub timestamp_ms: i64,
}

/// The changes that resolved memories are to users, in their order: a memory that changes its user
/// leaves the old one first. Answers to sync requests are repetitions, and change nothing.
pub fn changes(snapshots: &[Emitted]) -> Vec<Change> {
    let mut owners: BTreeMap<&str, String> = BTreeMap::new();
    let mut changes = Vec::new();
    for snapshot in snapshots.iter().filter(|s| !s.headers.iter().any(|(name, _)| name == "sync_for")) {
        let memory = json::parse(snapshot.value.as_bytes(), 1000).unwrap_or(Json::Null);
        let change = |user_id: String, memory: Option<Json>| Change {
            user_id,
            memory_id: snapshot.key.clone(),
            memory,
            timestamp_ms: snapshot.timestamp_ms,
        };
        let user = user_of(&memory);
        let earlier = owners.remove(snapshot.key.as_str()).filter(|earlier| Some(earlier) != user.as_ref());
        changes.extend(earlier.map(|earlier| change(earlier, None)));
        if let Some(user) = user {
            owners.insert(&snapshot.key, user.clone());
            changes.push(change(user, Some(memory)));
        }
    }
    changes
}

/// The user in whose snapshot a resolved memory stands: that of an active memory, if it has one.
fn user_of(memory: &Json) -> Option<String> {
    let active = matches!(member(memory, "status"), Some(Json::Str(status)) if status == "active");
    match member(memory, "user_id") {
        Some(Json::Str(user)) if active && !user.is_empty() => Some(user.clone()),
        _ => None,
    }
}

/// All user snapshots that a task emits for `changes`, the records that it processes. Intervals are
/// in milliseconds.
pub fn user_snapshots(changes: &[Change], interval_ms: i64, settings: &Settings) -> Vec<Emitted> {
    let mut users = Users::new(interval_ms, settings);
    changes.iter().flat_map(|change| users.process(change)).collect()
}

/// The task of some users.
pub struct Users<'a> {
    settings: &'a Settings,
    interval_ms: i64,
    /// By user, then by memory id.
    memories: BTreeMap<String, BTreeMap<String, Json>>,
    /// The users of whom something has changed since their last snapshot.
    changed: BTreeSet<String>,
    /// `None` until the first record.
    stream_time_ms: Option<i64>,
}

impl<'a> Users<'a> {
    /// A task that has processed nothing.
    pub fn new(interval_ms: i64, settings: &'a Settings) -> Users<'a> {
        let memories = BTreeMap::new();
        let changed = BTreeSet::new();
        Users { settings, interval_ms, memories, changed, stream_time_ms: None }
    }

    /// Processes the next record. When it brings stream time to a multiple of the interval, or past
    /// it, the changed users are emitted once, as they are after it, at the last such multiple. The
    /// first record only starts the count.
    pub fn process(&mut self, change: &Change) -> Vec<Emitted> {
        self.apply(change);
        let before = self.stream_time_ms.unwrap_or(change.timestamp_ms);
        let now = before.max(change.timestamp_ms);
        self.stream_time_ms = Some(now);
        let boundary_ms = now / self.interval_ms * self.interval_ms;
        if boundary_ms <= before {
            return Vec::new();
        }
        let changed = std::mem::take(&mut self.changed);
        changed.iter().map(|user| self.emit(user, boundary_ms)).collect()
    }

    fn apply(&mut self, change: &Change) {
        let memories = self.memories.entry(change.user_id.clone()).or_default();
        let earlier = match &change.memory {
            Some(memory) => memories.insert(change.memory_id.clone(), memory.clone()),
            None => memories.remove(&change.memory_id),
        };
        if earlier.map(|json| json.canonical()) != change.memory.as_ref().map(Json::canonical) {
            self.changed.insert(change.user_id.clone());
        }
    }

    fn emit(&self, user_id: &str, boundary_ms: i64) -> Emitted {
        let memories: Vec<&Json> = self.memories.get(user_id).into_iter().flat_map(BTreeMap::values).collect();
        let value = snapshot(user_id, &memories, boundary_ms, &self.settings.application_id);
        emitted("user.snapshot", &format!("user:{user_id}"), value.canonical(), boundary_ms)
    }
}

/// The snapshot of a user of whom `memories`, sorted by id, are all that is active. The page puts
/// nothing in its `metadata`, so that it is always without a member, and absent.
pub fn snapshot(user_id: &str, memories: &[&Json], boundary_ms: i64, application_id: &str) -> Json {
    let boundary_ns = boundary_ms * 1_000_000;
    let name = format!("helixstream:snapshot:{user_id}:{boundary_ns}");
    let mut out = BTreeMap::new();
    let mut put = |name: &str, value: Json| _ = out.insert(name.to_owned(), value);
    put("snapshot_id", Json::Str(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()));
    put("timestamp", Json::Str(time::format(boundary_ns)));
    put("node_id", Json::str(application_id));
    put("user_id", Json::str(user_id));
    put("memories", Json::Arr(memories.iter().map(|memory| (*memory).clone()).collect()));
    put("vector_clock", joined_clock(memories));
    for container in ["entities", "relationships"] {
        let members = greatest_by_id(memories, container);
        if !members.is_empty() {
            put(container, Json::Arr(members.into_values().collect()));
        }
    }
    Json::Obj(out)
}

/// The members of a container of all memories, by id: one that stands in several is taken from the
/// memory greatest by (`updated_at`, `memory_id`). What has no id (only a custom resolver makes
/// such) is in no snapshot.
fn greatest_by_id(memories: &[&Json], container: &str) -> BTreeMap<String, Json> {
    let mut ascending = memories.to_vec();
    ascending.sort_by_key(|memory| (updated_at(memory), text(memory, "memory_id")));
    let mut by_id = BTreeMap::new();
    for memory in ascending {
        let Some(Json::Arr(members)) = member(memory, container) else { continue };
        let with_id = members.iter().filter(|m| matches!(member(m, "id"), Some(Json::Str(_))));
        by_id.extend(with_id.map(|m| (text(m, "id"), m.clone())));
    }
    by_id
}

/// In nanoseconds: as text, `20Z` would come after `20.5Z`.
fn updated_at(memory: &Json) -> i64 {
    time::parse(&text(memory, "updated_at")).unwrap_or_default()
}

/// The entry-wise maximum of the memories' clocks.
fn joined_clock(memories: &[&Json]) -> Json {
    let mut clock: BTreeMap<String, u64> = BTreeMap::new();
    for memory in memories {
        let Some(Json::Obj(entries)) = member(memory, "vector_clock") else { continue };
        for (node, count) in entries {
            let Json::Int(count) = count else { continue };
            let joined = clock.entry(node.clone()).or_default();
            *joined = (*joined).max(u64::try_from(*count).unwrap_or_default());
        }
    }
    clock_json(&clock)
}

fn member<'a>(object: &'a Json, name: &str) -> Option<&'a Json> {
    if let Json::Obj(members) = object { members.get(name) } else { None }
}

/// A member that is a string, else the empty one.
fn text(object: &Json, name: &str) -> String {
    if let Some(Json::Str(text)) = member(object, name) { text.clone() } else { String::new() }
}
