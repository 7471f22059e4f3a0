//! What one event can hold that Go's decoder refuses: it is left out, and the rest gets through.

use crate::drive::{event, run, shipped};
use crate::go;
use serde_json::{Value, json};

/// What a node reads of the memory that an event makes.
fn read(members: &Value) -> go::Event {
    let mut all = json!({ "event_id": "e", "event_type": "memory.updated", "memory_id": "m", "version": 1 });
    all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let outputs = run(&shipped("helixagent.toml", &[]), &[event(0, &all.to_string())]);
    assert_eq!(outputs.len(), 1);
    go::event(&go::message(&outputs[0].value).unwrap().payload).unwrap()
}

#[test]
fn an_embedding_beyond_float32_is_left_out_whole() {
    assert_eq!(read(&json!({ "content": "c", "embedding": [0.5, 1e39] })).all.get("embedding"), None);
    let greatest = json!([f64::from(f32::MAX), -f64::from(f32::MAX), 1e-60, 7]);
    assert_eq!(read(&json!({ "embedding": greatest })).embedding, [f32::MAX, f32::MIN, 0.0, 7.0]);
    // Half-way to what would be the next float32; as text it lies a little below.
    let edge = f64::from(f32::MAX) + f64::from(2_f32.powi(103));
    assert_eq!(read(&json!({ "embedding": [edge.next_up()] })).all.get("embedding"), None);
    assert_eq!(read(&json!({ "embedding": [edge] })).embedding, [f32::MAX]);
}

#[test]
fn a_memory_without_clocks_has_an_empty_one_and_not_none() {
    assert_eq!(read(&json!({ "content": "c" })).vector_clock, "{}");
    let mixed = json!({ "vector_clock": { "~": 5, "n\"1": i64::MAX } });
    assert_eq!(read(&mixed).vector_clock, format!("{{\"n\\\"1\":{}}}", i64::MAX));
    assert_eq!(read(&json!({ "version": i64::MAX })).version, i64::MAX);
}

#[test]
fn members_of_wrong_types_are_left_out() {
    let entity = json!({
        "id": "x", "type": 7, "name": ["n"], "properties": "p", "confidence": 0.5, "created_at": "2026-01-02t03:04:05z",
        "ID": 1, "Confidence": "high", "more": { "of": "it" }
    });
    let found = read(&json!({ "entities": [entity] })).entities;
    let kept = json!({ "id": "x", "confidence": 0.5, "created_at": "2026-01-02T03:04:05Z" });
    assert_eq!(Value::Object(found[0].clone()), kept);
    for time in [json!("2026-01-02T03:04:60Z"), json!("2026-01-02T03:04:05"), json!(5), json!("yesterday")] {
        let found = read(&json!({ "entities": [{ "id": "x", "created_at": time, "properties": { "a": [null] } }] }));
        assert_eq!(Value::Object(found.entities[0].clone()), json!({ "id": "x", "properties": { "a": [null] } }));
    }
    let relationship =
        json!({ "id": "r", "from_entity": "a", "to_entity": 1, "type": "t", "strength": 1e300, "Type": 2 });
    let found = read(&json!({ "relationships": [relationship] })).all;
    assert_eq!(found["relationships"], json!([{ "id": "r", "from_entity": "a", "type": "t", "strength": 1e300 }]));
}
