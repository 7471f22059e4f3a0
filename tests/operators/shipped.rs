//! `conflict-counts.toml` and `audit.toml`, fed with what `memory.toml` makes of the samples.

use crate::drive::{Out, Run};
use crate::resolved::samples;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use testkit::{Record, repo_path};

pub const SNAPSHOTS: &str = "helixagent.memory.snapshots";
pub const CONFLICTS: &str = "helixagent.memory.conflicts";

pub fn text(name: &str) -> String {
    std::fs::read_to_string(repo_path("topologies").join(name)).unwrap()
}

/// What the memory topology writes to a topic, of events that equivocate too.
pub fn made(topic: &str) -> Vec<Record> {
    let mut events = samples();
    for content in ["one", "two"] {
        let event = json!({"event_id": "twice", "event_type": "memory.created", "memory_id": "equivocal", "user_id": "u",
            "content": content, "node_id": "n", "version": 1, "vector_clock": {"n": 1}, "timestamp": "2026-01-01T00:00:00Z"});
        events.push(Record::new("equivocal", event.to_string()));
    }
    let merge = json!({"event_id": "m", "event_type": "memory.merged", "memory_id": "target", "merged_from": ["equivocal"],
        "node_id": "n", "version": 9, "vector_clock": {"n": 9}, "timestamp": "2026-01-02T00:00:00Z"});
    events.push(Record::new("target", merge.to_string()));
    let out = Run::new(&text("memory.toml")).pipe_all("helixagent.memory.events", &events);
    out.into_iter().filter(|out| out.topic == topic).map(|out| out.record).collect()
}

/// The counts that records of conflicts come to, one after the other.
pub fn expected_counts(conflicts: &[Record]) -> Vec<String> {
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let mut found = Vec::new();
    for record in conflicts {
        let value = record.value_json();
        let (Some(user), false) = (value["user_id"].as_str(), value["status"] == "superseded") else { continue };
        let of_user = counts.entry(user.to_owned()).or_default();
        *of_user.entry(value["conflict_type"].as_str().unwrap().to_owned()).or_default() += 1;
        let total: u64 = of_user.values().sum();
        // serde_json sorts members, as canonical JSON does.
        found.push(format!("{user}={}", json!({"conflicts": of_user, "total": total, "user_id": user})));
    }
    found
}

#[test]
fn conflicts_are_counted_by_user_and_type() {
    let conflicts = made(CONFLICTS);
    let out = Run::new(&text("conflict-counts.toml")).pipe_all(CONFLICTS, &conflicts);
    let counts: Vec<String> = out.iter().map(Out::text).collect();
    assert!(counts.len() > 10 && counts.len() < conflicts.len());
    assert_eq!(counts, expected_counts(&conflicts));
    assert!(out.iter().all(|out| out.topic == "helixagent.memory.conflict-counts"));
}

/// What of a topic an auditor is to see.
pub fn expected_audit(topic: &str, records: &[Record]) -> Vec<(String, Value)> {
    let of_memory = |record: &&Record| {
        let is_answer = record.headers.iter().any(|(name, _)| name == "sync_for");
        record.headers.contains(&("type".to_owned(), Some(b"memory.resolved".to_vec()))) && !is_answer
    };
    let audit = |record: &Record| {
        let mut value = record.value_json();
        let status = value["status"].clone();
        match topic {
            SNAPSHOTS => value["audit"] = (status != "active").then_some(status)?,
            _ => {
                value["audit"] = (value["conflict_type"] == "equivocation").then_some("equivocation".into())?;
                value.as_object_mut()?.remove("resolved_version");
            }
        }
        Some((record.key_text(), value))
    };
    records.iter().filter(|record| topic == CONFLICTS || of_memory(record)).filter_map(audit).collect()
}

#[test]
fn deletes_and_equivocations_are_audited() {
    for (topic, least) in [(SNAPSHOTS, 3), (CONFLICTS, 1)] {
        let records = made(topic);
        let out = Run::new(&text("audit.toml")).pipe_all(topic, &records);
        assert!(out.iter().all(|out| out.topic == "helixagent.memory.audit"), "{out:?}");
        let found: Vec<(String, Value)> =
            out.iter().map(|out| (out.record.key_text(), out.record.value_json())).collect();
        assert_eq!(found, expected_audit(topic, &records));
        assert!(found.len() >= least && found.len() < records.len(), "{topic}: {}", found.len());
        let kinds: Vec<Option<String>> = out.iter().map(|out| out.header("type")).collect();
        assert!(kinds.iter().all(|kind| kind.as_deref().is_some_and(|kind| kind.starts_with("memory."))));
    }
    let merged = made(SNAPSHOTS);
    assert!(expected_audit(SNAPSHOTS, &merged).iter().any(|(_, value)| value["audit"] == "merged"));
}

#[test]
fn the_same_records_give_the_same_bytes() {
    let conflicts = made(CONFLICTS);
    let run = || -> Vec<Record> {
        let out = Run::new(&text("conflict-counts.toml")).pipe_all(CONFLICTS, &conflicts);
        out.into_iter().map(|out| out.record).collect()
    };
    assert_eq!(run(), run());
}
