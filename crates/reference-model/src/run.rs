//! The outputs of a stream of records, each event's outputs computed from all events up to it
//! (docs/semantics.md, section 5).

use super::event::{Event, clock_json};
use super::json::{self, Json};
use super::order::{before, clock_before, has_clock, last_write_of_events};
use super::read::{Contending, Entry, Memory, Reading, in_conflict};
use super::strategy::{Pick, carried_importance};
use super::task::{Task, log_of};
use super::{Record, Settings, time};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A record of an output topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// Key.
    pub key: String,
    /// Value: canonical JSON.
    pub value: String,
    /// Timestamp, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Headers, in their order.
    pub headers: Vec<(String, String)>,
}

/// A record of the dead-letter topic: the source's bytes and headers, and what Kafka Streams'
/// headers say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The source record's key.
    pub key: Option<Vec<u8>>,
    /// The source record's value.
    pub value: Option<Vec<u8>>,
    /// The source record's own.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Timestamp of the dead letter, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Class of the exception.
    pub class: String,
    /// Topic of the source record.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, in milliseconds since 1970.
    pub source_timestamp_ms: i64,
}

/// All outputs, each topic's in order of emission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Resolved memories.
    pub snapshots: Vec<Emitted>,
    /// Conflict records.
    pub conflicts: Vec<Emitted>,
    /// Dead letters.
    pub dead_letters: Vec<DeadLetter>,
}

impl DeadLetter {
    /// The dead letter of a source record: its timestamp is that record's, at least 1, and the true
    /// one stands beside it.
    pub fn of(record: &Record, class: &str) -> DeadLetter {
        DeadLetter {
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.clone(),
            timestamp_ms: record.timestamp_ms.max(1),
            class: class.to_owned(),
            topic: record.topic.clone(),
            partition: record.partition,
            offset: record.offset,
            source_timestamp_ms: record.timestamp_ms,
        }
    }
}

impl Outputs {
    /// Adds what was emitted after these.
    pub fn append(&mut self, later: Outputs) {
        self.snapshots.extend(later.snapshots);
        self.conflicts.extend(later.conflicts);
        self.dead_letters.extend(later.dead_letters);
    }

    /// The same with conflict records normalised, see [`normalise_conflict`].
    pub fn normalised(mut self) -> Outputs {
        for conflict in &mut self.conflicts {
            conflict.value = normalise_conflict(&conflict.value);
        }
        self
    }
}

/// A conflict record without the free text (`reason`), and with contenders that are equal in all of
/// last-write order in the order of their JSON: docs/semantics.md leaves both open. Text that is no
/// conflict record stays as it is.
pub fn normalise_conflict(text: &str) -> String {
    let Ok(Json::Obj(mut record)) = json::parse(text.as_bytes(), 1000) else {
        return text.to_owned();
    };
    if let Some(Json::Arr(fields)) = record.get_mut("fields") {
        for field in fields {
            let Json::Obj(field) = field else { continue };
            field.remove("reason");
            if let Some(Json::Arr(contenders)) = field.get_mut("contenders") {
                let key = |c: &Json| -> Vec<String> {
                    let Json::Obj(members) = c else { return Vec::new() };
                    let names = ["timestamp", "version", "node_id", "event_id", "value"];
                    names.iter().map(|n| members.get(*n).map(Json::canonical).unwrap_or_default()).collect()
                };
                for tied in contenders.chunk_by_mut(|a, b| key(a) == key(b)) {
                    tied.sort_by_key(Json::canonical);
                }
            }
        }
    }
    Json::Obj(record).canonical()
}

/// Feeds the records in the order given to one task: an event at its own memory first, then its
/// absorbs, sorted by id. Sync requests are not answered here: `sync` says what answers them.
pub fn run(records: &[Record], settings: &Settings) -> Outputs {
    let mut task = Task::new(settings);
    let mut outputs = Outputs::default();
    for record in records {
        match log_of(record, settings) {
            Ok(log) => log.iter().for_each(|record| outputs.append(task.process(record))),
            Err(bad) => outputs.dead_letters.push(DeadLetter::of(record, bad.class)),
        }
    }
    outputs
}

/// An open conflict: who contended where, and what its superseding record repeats.
struct Open {
    repeated: BTreeMap<String, Json>,
    fields: BTreeMap<String, Vec<usize>>,
    /// Participants of delete against update; empty where there is none.
    standing: Vec<usize>,
}

/// A memory with its open conflicts.
pub struct Tracked {
    /// The memory.
    pub memory: Memory,
    open: Vec<Open>,
}

pub(super) fn emitted(kind: &str, key: &str, value: String, timestamp_ms: i64) -> Emitted {
    let headers = vec![("type".to_owned(), kind.to_owned()), ("schema_version".to_owned(), "1".to_owned())];
    Emitted { key: key.to_owned(), value, timestamp_ms, headers }
}

impl Tracked {
    /// A memory that no event has reached.
    pub fn new(memory_id: &str) -> Tracked {
        Tracked { memory: Memory { id: memory_id.to_owned(), entries: Vec::new() }, open: Vec::new() }
    }

    /// The outputs at the arrival of `entry`.
    pub fn arrive(&mut self, entry: Entry, timestamp_ms: i64, settings: &Settings) -> Outputs {
        let mut outputs = Outputs::default();
        let memory_id = self.memory.id.clone();
        let earlier = self.memory.resolved(settings).map(|json| json.canonical());
        if !self.memory.add(entry) {
            return outputs;
        }
        let now = self.memory.resolved(settings).map(|json| json.canonical());
        if let Some(value) = now.filter(|now| Some(now) != earlier.as_ref()) {
            outputs.snapshots.push(emitted("memory.resolved", &memory_id, value, timestamp_ms));
        }
        let reading = self.memory.read(settings);
        let arrived = self.memory.entries.len() - 1;
        let mut conflicts = self.supersede(&reading, arrived);
        if let Some((record, open)) = conflict_of(&self.memory, &reading, arrived, settings) {
            conflicts.push(record);
            self.open.push(open);
        }
        for record in conflicts {
            outputs.conflicts.push(emitted("memory.conflict", &memory_id, record.canonical(), timestamp_ms));
        }
        outputs
    }

    /// Closes the open conflicts that no longer stand, oldest first.
    fn supersede(&mut self, reading: &Reading, arrived: usize) -> Vec<Json> {
        let event = self.memory.event(arrived);
        let mut records = Vec::new();
        self.open.retain(|open| {
            if open.stands(&self.memory, reading) {
                return true;
            }
            let mut record = open.repeated.clone();
            record.insert("resolved_at".to_owned(), Json::Str(time::format(event.timestamp_ns)));
            record.insert("status".to_owned(), Json::str("superseded"));
            record.insert("superseded_by".to_owned(), Json::str(&event.event_id));
            records.push(Json::Obj(record));
            false
        });
        records
    }
}

impl Open {
    fn stands(&self, memory: &Memory, reading: &Reading) -> bool {
        let contend = self.fields.iter().any(|(path, contended)| {
            let now = reading.contenders.get(path).into_iter().flatten();
            let still: Vec<Contending> = now.filter(|w| contended.contains(&w.0)).cloned().collect();
            in_conflict(&still)
        });
        let left = |delete: bool| {
            self.standing.iter().any(|i| reading.left.contains(i) && memory.entries[*i].is_delete() == delete)
        };
        contend || (left(true) && left(false))
    }
}

/// The conflict record of the entry that has just arrived, if there is one.
fn conflict_of(memory: &Memory, reading: &Reading, arrived: usize, settings: &Settings) -> Option<(Json, Open)> {
    let contended = reading
        .contenders
        .iter()
        .filter(|(_, contending)| in_conflict(contending) && contending.iter().any(|w| w.0 == arrived));
    let fields: BTreeMap<String, Vec<Contending>> = contended.map(|(path, c)| (path.clone(), c.clone())).collect();

    let is_delete = |i: usize| memory.entries[i].is_delete();
    let mut standing: Vec<usize> = Vec::new();
    if reading.left.contains(&arrived) {
        standing.extend(reading.left.iter().filter(|i| is_delete(**i) != is_delete(arrived)));
    }
    let mut others: BTreeSet<usize> = fields.values().flatten().map(|w| w.0).filter(|i| *i != arrived).collect();
    others.extend(&standing);
    if others.is_empty() {
        return None;
    }
    if !standing.is_empty() {
        standing.push(arrived);
    }

    let event = memory.event(arrived);
    let repeated = repeated_members(memory, reading, arrived, &others, settings);
    let mut record = repeated.clone();
    let pending = fields.keys().any(|path| reading.picks[path].deferred);
    record.insert("resolved_at".to_owned(), Json::Str(time::format(event.timestamp_ns)));
    record.insert("status".to_owned(), Json::str(if pending { "pending" } else { "auto_resolved" }));
    record.insert("resolved_version".to_owned(), memory.resolved(settings).unwrap_or(Json::Null));
    let listed = fields.iter().map(|(path, c)| field_json(memory, path, c, &reading.picks[path], settings));
    record.insert("fields".to_owned(), Json::Arr(listed.collect()));
    if !standing.is_empty() {
        let ids = |delete: bool| {
            let side = standing.iter().filter(|i| is_delete(**i) == delete);
            let mut ids: Vec<&str> = side.map(|i| memory.event(*i).event_id.as_str()).collect();
            ids.sort_unstable();
            Json::Arr(ids.into_iter().map(Json::str).collect())
        };
        record.insert("delete_update".to_owned(), Json::obj([("deletes", ids(true)), ("updates", ids(false))]));
    }
    let positions = |c: &Vec<Contending>| c.iter().map(|w| w.0).collect();
    let open =
        Open { repeated, fields: fields.iter().map(|(path, c)| (path.clone(), positions(c))).collect(), standing };
    Some((Json::Obj(record), open))
}

/// The part of a conflict's first record that its superseding record repeats.
fn repeated_members(
    memory: &Memory,
    reading: &Reading,
    arrived: usize,
    others: &BTreeSet<usize>,
    settings: &Settings,
) -> BTreeMap<String, Json> {
    let event = memory.event(arrived);
    let name = format!("helixstream:conflict:{}:{}:{}", memory.id, event.event_id, event.timestamp_ns);
    let local = others.iter().map(|i| memory.event(*i)).max_by(|a, b| last_write_of_events(a, b));
    let mut members = BTreeMap::new();
    let mut put = |name: &str, value: Json| _ = members.insert(name.to_owned(), value);
    put("conflict_id", Json::Str(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()));
    put("memory_id", Json::str(&memory.id));
    put("conflict_type", Json::str(conflict_type(memory, arrived, others, settings)));
    put("local_event_id", local.map_or(Json::Null, |e| Json::str(&e.event_id)));
    put("remote_event_id", Json::str(&event.event_id));
    put("resolution_strategy", Json::str(settings.strategy.name()));
    put("resolved_by", Json::str(&settings.application_id));
    put("detected_at", Json::Str(time::format(event.timestamp_ns)));
    if let Some(user) = reading.user_id() {
        put("user_id", user);
    }
    members
}

/// The first type that fits among the arrived event and the other participants.
fn conflict_type(memory: &Memory, arrived: usize, others: &BTreeSet<usize>, settings: &Settings) -> &'static str {
    let e = memory.event(arrived);
    let any = |fits: &dyn Fn(&Entry) -> bool| others.iter().any(|i| fits(&memory.entries[*i]));
    let equivocates = |f: &Event| f.event_id == e.event_id || (has_clock(e) && has_clock(f) && e.clock == f.clock);
    let regresses = |f: &Event| {
        (clock_before(&e.clock, &f.clock) || clock_before(&f.clock, &e.clock))
            && !before(e, f, settings)
            && !before(f, e, settings)
    };
    if any(&|other| equivocates(&other.event)) {
        "equivocation"
    } else if any(&|other| regresses(&other.event)) {
        "clock_regression"
    } else if any(&|other| other.is_delete() != memory.entries[arrived].is_delete()) {
        "delete_update"
    } else {
        "concurrent_update"
    }
}

fn field_json(memory: &Memory, path: &str, contending: &[Contending], pick: &Pick, settings: &Settings) -> Json {
    let sorted = memory.sorted(contending);
    let listed = &sorted[sorted.len().saturating_sub(settings.max_contenders)..];
    let winner = pick.winners.first().map_or(Json::Null, |i| Json::str(&memory.event(*i).event_id));
    let mut field = BTreeMap::new();
    let mut put = |name: &str, value: Json| _ = field.insert(name.to_owned(), value);
    put("path", Json::str(path));
    put("winner_event_id", winner);
    put("value", pick.value.clone());
    put("reason", Json::str("the model gives none"));
    put("contenders", Json::Arr(listed.iter().map(|w| contender_json(memory.event(w.0), &w.1)).collect()));
    if listed.len() < sorted.len() {
        put("contenders_total", Json::Int(sorted.len() as i128));
    }
    Json::Obj(field)
}

fn contender_json(event: &Event, value: &Json) -> Json {
    let source = Json::obj([
        ("topic", Json::str(&event.source.topic)),
        ("partition", Json::Int(event.source.partition.into())),
        ("offset", Json::Int(event.source.offset.into())),
    ]);
    let mut contender = BTreeMap::new();
    let mut put = |name: &str, value: Json| _ = contender.insert(name.to_owned(), value);
    put("event_id", Json::str(&event.event_id));
    put("vector_clock", clock_json(&event.clock));
    put("version", Json::Int(event.version.into()));
    put("timestamp", Json::Str(time::format(event.timestamp_ns)));
    put("value", value.clone());
    put("source", source);
    if let Some(node) = &event.node_id {
        put("node_id", Json::str(node));
    }
    if let Some(importance) = carried_importance(event) {
        put("importance", importance);
    }
    Json::Obj(contender)
}
