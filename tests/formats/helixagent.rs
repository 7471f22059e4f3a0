//! Everything that `topologies/helixagent.toml` emits is read and applied by the nodes' rules, and
//! says what the same record of `memory.toml` says.

use crate::drive::{Out, run, samples, shipped};
use crate::go::{self, Applied};
use crate::schemas::Schemas;
use reference_model::{generate, generate_time};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

const NODE: &str = "helixstream-nodes";

/// Holds every output of records against the JSON one; how many there were, of memories, conflicts
/// and users.
#[track_caller]
fn hold(records: &[reference_model::Record], pairs: &[String], schemas: &Schemas) -> [usize; 3] {
    let plain = run(&shipped("memory.toml", &[&[], pairs].concat()), records);
    let theirs = run(&shipped("helixagent.toml", pairs), records);
    assert_eq!(plain.len(), theirs.len());
    let (mut counts, mut clock) = ([0; 3], BTreeMap::new());
    for (plain, theirs) in plain.iter().zip(&theirs) {
        assert_eq!(
            (&plain.key, plain.timestamp_ms, &plain.headers),
            (&theirs.key, theirs.timestamp_ms, &theirs.headers)
        );
        let said: Map<String, Value> = serde_json::from_slice(&plain.value).unwrap();
        schemas.check(theirs);
        if plain.headers[0].1 == "user.snapshot" {
            assert_eq!(theirs.topic, "helixagent.nodes.memory.snapshots");
            of_user(&said, theirs);
            counts[2] += 1;
        } else if plain.topic.ends_with("snapshots") {
            assert_eq!(theirs.topic, "helixagent.nodes.memory.events");
            resolved(&said, theirs, &mut clock);
            counts[0] += 1;
        } else {
            assert_eq!(theirs.topic, "helixagent.nodes.memory.conflicts");
            conflict(&said, theirs);
            counts[1] += 1;
        }
    }
    counts
}

fn of_user(said: &Map<String, Value>, out: &Out) {
    let context = || format!("{said:?}\n{}", String::from_utf8_lossy(&out.value));
    let message = go::message(&out.value).unwrap_or_else(|e| panic!("{e}: {}", context()));
    let read = go::snapshot(&message.payload).unwrap_or_else(|e| panic!("{e}: {}", context()));
    assert_eq!((message.kind.as_str(), &json!(message.id)), ("user.snapshot", &said["snapshot_id"]));
    assert_eq!(read["node_id"], NODE);
    for name in ["timestamp", "user_id", "metadata"] {
        assert_eq!(read.get(name), said.get(name), "{name}: {}", context());
    }
    assert_eq!(read["vector_clock"].as_object(), Some(&without_unclocked(&said["vector_clock"])), "{}", context());
    let list = |of: &Map<String, Value>, name: &str, id: &str| -> Vec<Value> {
        of.get(name).and_then(Value::as_array).into_iter().flatten().map(|item| item[id].clone()).collect()
    };
    assert_eq!(list(&read, "memories", "id"), list(said, "memories", "memory_id"));
    assert_eq!(list(&read, "memories", "content"), list(said, "memories", "content"));
    assert_eq!(list(&read, "entities", "id"), list(said, "entities", "id"));
    assert_eq!(list(&read, "relationships", "id"), list(said, "relationships", "id"));
    let ends = |name: &str| {
        list(said, "relationships", name).into_iter().map(|end| if end.is_string() { end } else { Value::Null })
    };
    assert_eq!(list(&read, "relationships", "source_id"), ends("from_entity").collect::<Vec<_>>());
    assert_eq!(list(&read, "relationships", "target_id"), ends("to_entity").collect::<Vec<_>>());
}

fn without_unclocked(clock: &Value) -> Map<String, Value> {
    let mut clock = clock.as_object().cloned().unwrap_or_default();
    clock.remove("~");
    clock
}

fn resolved(said: &Map<String, Value>, out: &Out, clock: &mut BTreeMap<String, i64>) {
    let context = || format!("{said:?}\n{}", String::from_utf8_lossy(&out.value));
    let message = go::message(&out.value).unwrap_or_else(|e| panic!("{e}: {}", context()));
    let event = go::event(&message.payload).unwrap_or_else(|e| panic!("{e}: {}", context()));
    assert_eq!((&message.id, &message.kind), (&event.event_id, &event.event_type));
    let name = format!("helixstream:resolved:{}:{}", out.key, canonical_clock(&said["vector_clock"]));
    assert_eq!(event.event_id, Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string());
    assert_eq!((event.memory_id.as_str(), event.node_id.as_str()), (out.key.as_str(), NODE));
    assert_eq!((&json!(event.timestamp), &json!(event.version)), (&said["updated_at"], &said["version"]));
    let read: Map<String, Value> = serde_json::from_str(&event.vector_clock).unwrap();
    assert_eq!(read, without_unclocked(&said["vector_clock"]), "{}", context());
    let is_active = said["status"] == "active";
    let applied = go::apply(&event, "node-1", clock).unwrap_or_else(|e| panic!("{e}: {}", context()));
    assert_eq!(applied, if is_active { Applied::Stored } else { Applied::Deleted });
    assert!(read.iter().all(|(node, counter)| json!(clock[node]).as_u64() >= counter.as_u64()));
    assert_eq!(go::apply(&event, NODE, clock), Ok(Applied::Own));
    for name in ["user_id", "session_id", "content", "importance", "tags", "merged_from", "metadata"] {
        assert_eq!(
            event.all.get(name),
            said.get(name).filter(|_| is_active || name == "user_id"),
            "{name}: {}",
            context()
        );
    }
    for header in ["memory_id", "node_id", "user_id"] {
        assert_eq!(message.headers.get(header).map(|v| json!(v)).as_ref(), event.all.get(header), "{header}");
    }
    let numbers = said.get("embedding").and_then(Value::as_array).cloned().unwrap_or_default();
    let fits = numbers.iter().all(|n| n.to_string().parse::<f32>().is_ok_and(f32::is_finite));
    assert_eq!(event.all.get("embedding"), said.get("embedding").filter(|_| fits));
    let ids = |list: &[Map<String, Value>]| list.iter().map(|part| part["id"].clone()).collect::<Vec<_>>();
    let entities = said.get("entities").and_then(Value::as_array).cloned().unwrap_or_default();
    assert_eq!(ids(&event.entities), entities.iter().map(|e| e["id"].clone()).collect::<Vec<_>>());
}

/// The clock as canonical JSON: sorted by name, which serde_json's map is, too.
fn canonical_clock(clock: &Value) -> String {
    serde_json::to_string(clock).unwrap()
}

fn conflict(said: &Map<String, Value>, out: &Out) {
    let context = || format!("{said:?}\n{}", String::from_utf8_lossy(&out.value));
    let message = go::message(&out.value).unwrap_or_else(|e| panic!("{e}: {}", context()));
    let report = go::report(&message.payload).unwrap_or_else(|e| panic!("{e}: {}", context()));
    assert_eq!(message.kind, "memory.conflict");
    assert!(message.id.starts_with(said["conflict_id"].as_str().unwrap()));
    for (theirs, ours) in [
        ("memory_id", "memory_id"),
        ("conflict_type", "conflict_type"),
        ("resolved_with", "resolution_strategy"),
        ("timestamp", "resolved_at"),
    ] {
        assert_eq!(report[theirs], said[ours], "{}", context());
    }
    for detail in
        ["conflict_id", "fields", "delete_update", "status", "local_event_id", "remote_event_id", "superseded_by"]
    {
        assert_eq!(report["details"].get(detail), said.get(detail), "{detail}: {}", context());
    }
    let resolution = said.get("resolved_version");
    assert_eq!(report["resolution"].is_null(), resolution.is_none());
    if let Some(resolution) = resolution {
        assert_eq!(report["resolution"].get("content"), resolution.get("content"));
        assert_eq!(report["resolution"]["updated_at"], resolution["updated_at"]);
    }
    assert_eq!(report["remote_version"]["event_id"], said["remote_event_id"]);
    let content = said.get("fields").and_then(|f| f.as_array()?.iter().find(|f| f["path"] == "content").cloned());
    for (version, id) in [("local_version", "local_event_id"), ("remote_version", "remote_event_id")] {
        let all = content.as_ref().and_then(|content| content["contenders"].as_array()).cloned().unwrap_or_default();
        // Events of one id are told apart by their times; a record is detected at that of the
        // remote one.
        let is_remote = |c: &&Value| c["event_id"] == said["remote_event_id"] && c["timestamp"] == said["detected_at"];
        let of: Vec<&Value> = match version {
            "remote_version" => all.iter().filter(is_remote).collect(),
            _ => all.iter().filter(|c| c["event_id"] == said[id] && !is_remote(c)).collect(),
        };
        if let [one] = of[..] {
            let value = Some(&one["value"]).filter(|v| !v.is_null());
            assert_eq!(report[version].get("content"), value, "{version}: {}", context());
        }
    }
}

#[test]
fn nodes_read_and_apply_what_comes_of_generated_streams() {
    let schemas = Schemas::new();
    let mut counts = [0; 3];
    let add = |counts: &mut [usize; 3], more: [usize; 3]| counts.iter_mut().zip(more).for_each(|(sum, n)| *sum += n);
    for seed in testkit::seeds(400) {
        let stream = generate::stream(seed, 12, true);
        add(&mut counts, hold(&stream.records, &stream.settings.as_set_pairs(), &schemas));
        let (stream, interval_ms) = generate_time::of_users(seed, 12);
        let pairs = [stream.settings.as_set_pairs(), vec![format!("snapshot_interval={interval_ms}ms")]].concat();
        add(&mut counts, hold(&stream.records, &pairs, &schemas));
    }
    let [memories, conflicts, users] = counts;
    assert!(memories > 500 && conflicts > 100 && users > 200, "{counts:?}");
}

#[test]
fn nodes_read_and_apply_what_comes_of_the_samples() {
    let [memories, conflicts, _] = hold(&samples(), &[], &Schemas::new());
    assert!(memories > 100 && conflicts > 10, "{memories} memories, {conflicts} conflicts");
}
