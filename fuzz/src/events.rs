//! Events that the targets of the domain are run on, as JSON: few memories, writers and keys, so
//! that they meet each other.

use serde_json::{Map, Value, json};
use testkit::Random;

/// Pieces that mean something in an event.
pub const DICTIONARY: &[&[u8]] = &[
    b"null",
    b"\"m\"",
    b"\"n1\"",
    b"\"~\"",
    b"{\"n1\":1}",
    b"\"memory.updated\"",
    b"\"memory.deleted\"",
    b"\"memory.merged\"",
    b"\"relationship.deleted\"",
    b"\"metadata\":{",
    b"\"entities\":[",
    b"\"embedding\":[",
    b"\"vector_clock\":",
    b"\"version\":",
    b"\"importance\":-1.5e300",
    b"9223372036854775807",
    b"1e21",
    b"\n",
    b"\x00",
    b"\x01",
    b"\x02",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
];

/// An event of one of `memories`, as JSON.
pub fn event(random: &mut Random, memories: &[&str]) -> Value {
    let mut event = Map::new();
    let kinds = [
        "memory.created",
        "memory.updated",
        "memory.updated",
        "memory.updated",
        "memory.deleted",
        "memory.merged",
        "entity.updated",
        "relationship.deleted",
    ];
    event.insert("event_id".into(), format!("e{}", random.below(50)).into());
    event.insert("event_type".into(), random.pick(&kinds).into());
    event.insert("memory_id".into(), random.pick(memories).into());
    event.insert("timestamp".into(), format!("2026-01-01T00:00:{:02}Z", random.below(60)).into());
    let mut add = |random: &mut Random, name: &str, value: &dyn Fn(&mut Random) -> Value| {
        if random.one_in(2) {
            event.insert(name.to_owned(), value(random));
        }
    };
    add(random, "node_id", &|random| random.pick(NODES).into());
    add(random, "version", &|random| random.below(9).into());
    add(random, "vector_clock", &clock);
    add(random, "content", &text);
    add(random, "user_id", &|random| random.pick(&["u", "v", ""]).into());
    add(random, "session_id", &text);
    add(random, "importance", &number);
    add(random, "embedding", &|random| (0..random.below(6)).map(|_| number(random)).collect());
    add(random, "tags", &|random| (0..random.below(4)).map(|_| random.pick(KEYS)).collect());
    add(random, "merged_from", &|random| (0..random.below(3)).map(|_| random.pick(memories)).collect());
    add(random, "metadata", &|random| {
        (0..random.below(12)).map(|_| (format!("k{}", random.below(30)), text(random))).collect()
    });
    for (name, weight) in [("entities", "confidence"), ("relationships", "strength")] {
        add(random, name, &|random| {
            (0..random.below(4)).map(|_| json!({"id": random.pick(KEYS), weight: number(random)})).collect()
        });
    }
    Value::Object(event)
}

const NODES: &[&str] = &["n1", "n2", "n3", "~", "é"];
const KEYS: &[&str] = &["a", "b", "c", "a.b", "é", "🍵"];

fn clock(random: &mut Random) -> Value {
    (0..random.below(4)).map(|_| (random.pick(NODES).to_owned(), json!(random.below(5)))).collect()
}

fn number(random: &mut Random) -> Value {
    match random.below(4) {
        0 => random.below(3).into(),
        1 => (random.number() as i64).into(),
        2 => json!(random.below(1000) as f64 / 7.0),
        _ => json!(-1.5e300),
    }
}

fn text(random: &mut Random) -> Value {
    match random.below(6) {
        0 => Value::Null,
        1 => random.pick(KEYS).repeat(random.below(80)).into(),
        _ => random.pick(&["", "x", "longer text", "é\n\u{1}"]).into(),
    }
}
