//! A memory with its open conflicts: what the arrival of an event emits (docs/semantics.md,
//! sections 4 and 5).

use super::event::{Event, clock_json};
use super::json::Json;
use super::order::{before, clock_before, has_clock, last_write_of_events};
use super::outputs::{Outputs, emitted};
use super::read::{Contending, Entry, Memory, Reading, in_conflict};
use super::strategy::{Pick, carried_importance};
use super::{Settings, time};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

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
