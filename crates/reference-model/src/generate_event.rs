//! Seeded events, bare or in an envelope. Members are made as JSON text, not as values, so that one
//! value comes in all its spellings (1, 1.0, 1e0; `ü`, `\u00fc`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testkit::Random;

/// The memories of every stream; an absorb may name them too.
pub const MEMORIES: [&str; 3] = ["a", "b", "\u{fc}"];

/// Members of an event object, name and JSON text.
pub type Members = Vec<(String, String)>;

fn timestamp(rng: &mut Random) -> Option<String> {
    let near = [
        "2023-11-14T22:13:20Z",
        "2023-11-15T03:43:20+05:30",
        "2023-11-14T22:13:20.5Z",
        "2023-11-14T22:13:20.500000000999Z",
        "2023-11-14T22:13:21.000Z",
        "2023-11-14T22:13:22Z",
        "2023-11-14T22:13:22.000000001Z",
        "2023-11-14T22:13:24Z",
        "2023-11-14T20:13:26-02:00",
        "2023-11-14T23:13:20-00:00",
    ];
    let far = ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000001Z", "2262-04-11T23:47:16.854775807Z"];
    match rng.below(20) {
        0 => None,
        1 => Some("null".to_owned()),
        2 => Some(quoted("0001-01-01T00:00:00Z")),
        3 => Some(quoted(rng.pick(&far))),
        _ => Some(quoted(rng.pick(&near))),
    }
}

pub(super) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

pub(super) fn memory_name(rng: &mut Random, memories: usize) -> String {
    rng.pick(&MEMORIES[..memories]).to_owned()
}

/// A good event of any type.
pub fn event(rng: &mut Random, memories: usize, mood: usize) -> Members {
    let updates = ["memory.created", "memory.updated", "memory.updated", "memory.updated", "entity.created"];
    let others = ["entity.updated", "entity.linked", "relationship.created", "relationship.updated"];
    let event_type = match rng.below(20) {
        0..=8 => rng.pick(&updates),
        9..=10 => rng.pick(&others),
        11..=12 => "relationship.deleted",
        13..=15 => "memory.deleted",
        16..=18 => "memory.merged",
        _ => rng.pick(&["memory.sync_request", "memory.expired", "entity.renamed", "other", "memoryx"]),
    };
    let mut members = vec![
        ("event_id".to_owned(), quoted(rng.pick(&["e1", "e2", "e3", "e4", "\u{e9}"]))),
        ("event_type".to_owned(), quoted(event_type)),
    ];
    let mut put = |name: &str, text: String| members.push((name.to_owned(), text));
    let may_lack_memory = !event_type.starts_with("memory.") || event_type == "memory.sync_request";
    if may_lack_memory && rng.one_in(6) {
        if let Some(text) = rng.pick(&[None, Some("null"), Some("\"\"")]) {
            put("memory_id", text.to_owned());
        }
    } else {
        put("memory_id", quoted(&memory_name(rng, memories)));
    }
    if let Some(text) = timestamp(rng) {
        put("timestamp", text);
    }
    add_fields(rng, &mut members, memories, event_type);
    // Mood 1 is a world without clocks, mood 2 one where every event has some.
    if mood != 1 && (mood == 2 || rng.below(3) > 0) {
        members.push(("vector_clock".to_owned(), clock(rng)));
    }
    members
}

/// Members that any event may carry.
fn add_fields(rng: &mut Random, members: &mut Members, memories: usize, event_type: &str) {
    let mut put = |name: &str, text: String| members.push((name.to_owned(), text));
    if !rng.one_in(3) {
        put("node_id", rng.pick(&["\"n1\"", "\"n2\"", "\"\"", "null"]).to_owned());
    }
    for name in ["user_id", "session_id"] {
        if rng.one_in(3) {
            put(name, rng.pick(&["\"u\"", "\"v\"", "\"\"", "null"]).to_owned());
        }
    }
    if rng.one_in(2) {
        put("content", content(rng));
    }
    if rng.one_in(3) {
        put("embedding", rng.pick(&["[0.5]", "[5e-1]", "[1]", "[1.0,-0]", "[]", "null", "[1e-7,1e21,0.1]"]).to_owned());
    }
    if rng.one_in(3) {
        put("importance", number(rng));
    }
    if rng.one_in(3) {
        put(
            "tags",
            rng.pick(&["[]", "[\"b\",\"a\",\"b\"]", "[\"c\"]", "null", "[\"\\u00e9\",\"z\"]", "[\"\"]"]).to_owned(),
        );
    }
    if event_type == "memory.merged" || rng.one_in(10) {
        put("merged_from", merged_from(rng, memories));
    }
    if rng.one_in(3) {
        put("entities", keyed(rng, &["x", "y", "x.y"], "confidence"));
    }
    if event_type == "relationship.deleted" || rng.one_in(3) {
        put("relationships", keyed(rng, &["r", "s"], "strength"));
    }
    if rng.one_in(3) {
        put("metadata", metadata(rng));
    }
    if rng.one_in(2) {
        put("version", rng.pick(&["0", "1", "2", "3", "null", "1700000000000000000"]).to_owned());
    }
    if rng.one_in(10) {
        put("unknown", rng.pick(&["1", "null", "[{}]", "\"e1\""]).to_owned());
    }
}

pub(super) fn content(rng: &mut Random) -> String {
    let texts = [
        "\"\"",
        "\"x\"",
        "\"yy\"",
        "\"\u{fc}\"",
        "\"\\u00fc\"",
        "\"\u{1f375}\"",
        "\"\\ud83c\\udf75\"",
        "\"\\/\"",
        "\"\\u0000\\u001f\\u007f\\t\\\"\"",
    ];
    if rng.one_in(6) { "null".to_owned() } else { rng.pick(&texts).to_owned() }
}

fn number(rng: &mut Random) -> String {
    let plain = ["0", "1", "1.0", "1e0", "0.5", "-1", "null", "-0.0"];
    let large =
        ["18446744073709551615", "18446744073709551616", "9007199254740993", "9007199254740992.0", "1e300", "-1e-7"];
    if rng.one_in(5) { rng.pick(&large).to_owned() } else { rng.pick(&plain).to_owned() }
}

fn merged_from(rng: &mut Random, memories: usize) -> String {
    if rng.one_in(12) {
        return "null".to_owned();
    }
    let mut ids: Vec<String> = (0..rng.below(4)).map(|_| quoted(&memory_name(rng, memories.max(2)))).collect();
    if rng.one_in(5) {
        ids.push("\"\"".to_owned());
    }
    format!("[{}]", ids.join(","))
}

fn keyed(rng: &mut Random, ids: &[&str], weight: &str) -> String {
    if rng.one_in(10) {
        return rng.pick(&["null", "[]"]).to_owned();
    }
    let mut items = Vec::new();
    for _ in 0..1 + rng.below(2) {
        let mut members = vec![("id".to_owned(), quoted(rng.pick(ids)))];
        if rng.one_in(2) {
            members.push(("name".to_owned(), rng.pick(&["\"n\"", "\"m\"", "null"]).to_owned()));
        }
        if rng.one_in(2) {
            members.push((weight.to_owned(), rng.pick(&["null", "0", "1", "1.0", "0.5", "-1"]).to_owned()));
        }
        if rng.one_in(5) {
            members.push(("more".to_owned(), rng.pick(&["{\"b\":1.50,\"a\":null}", "[]", "7"]).to_owned()));
        }
        if rng.one_in(8) {
            members.push((rng.pick(&["confidence", "strength"]).to_owned(), "null".to_owned()));
        }
        items.push(render(rng, members));
    }
    format!("[{}]", items.join(","))
}

fn metadata(rng: &mut Random) -> String {
    if rng.one_in(8) {
        return rng.pick(&["null", "{}"]).to_owned();
    }
    let mut members = Vec::new();
    for _ in 0..1 + rng.below(2) {
        let key = rng.pick(&["k", "k", "lang", "a.b", ""]);
        let values =
            ["null", "1", "1.0", "\"1\"", "true", "{\"z\":1,\"a\":null}", "{ \"a\":null,\"z\":1e0}", "[]", "\"\""];
        members.push((key.to_owned(), rng.pick(&values).to_owned()));
    }
    render(rng, members)
}

/// A clock in one of its forms.
pub(super) fn clock(rng: &mut Random) -> String {
    if rng.one_in(10) {
        return rng.pick(&["null", "\"\"", "{}", "\"{}\"", "{\"n1\":0}"]).to_owned();
    }
    let mut members = Vec::new();
    for node in ["n1", "n2"] {
        if rng.below(3) > 0 {
            members.push((node.to_owned(), rng.below(4).to_string()));
        }
    }
    if rng.one_in(6) {
        let counters = ["1", "2", "1700000000000000000", "1700000002000000000", "9223372036854775807"];
        members.push(("~".to_owned(), rng.pick(&counters).to_owned()));
    }
    let object = render(rng, members);
    if rng.one_in(2) { quoted(&object.replace('"', "\\\"")) } else { object }
}

/// The members as an object, in any order, with white space and repeated keys here and there (the
/// last one counts).
pub fn render(rng: &mut Random, mut members: Members) -> String {
    // Of a key that is there twice already the last must stay the last.
    let mut seen: Vec<String> = Vec::new();
    let repeated = members.iter().any(|(name, _)| {
        let known = seen.contains(name);
        seen.push(name.clone());
        known
    });
    if !repeated {
        rng.shuffle(&mut members);
    }
    if !members.is_empty() && rng.one_in(25) {
        let name = rng.pick(&members).0;
        members.insert(0, (name, rng.pick(&["null", "7", "\"first\"", "[true]"]).to_owned()));
    }
    let (colon, comma) = if rng.one_in(5) { (" : ", ",\t") } else { (":", ",") };
    let texts: Vec<String> = members.iter().map(|(name, text)| format!("\"{name}\"{colon}{text}")).collect();
    format!("{{{}}}", texts.join(comma))
}

/// Bare JSON, or HelixAgent's envelope.
pub fn encode(rng: &mut Random, members: Members) -> Vec<u8> {
    let bare = render(rng, members);
    if rng.one_in(2) { bare.into_bytes() } else { envelope(rng, &STANDARD.encode(bare)) }
}

/// An envelope around a payload's text.
pub fn envelope(rng: &mut Random, payload: &str) -> Vec<u8> {
    let mut members = vec![("payload".to_owned(), quoted(payload)), ("id".to_owned(), quoted("20231114-x"))];
    members.push(("type".to_owned(), quoted("memory.updated")));
    if rng.one_in(3) {
        members.push(("headers".to_owned(), "{\"memory_id\":\"zz\"}".to_owned()));
        members.push(("timestamp".to_owned(), quoted("1999-01-01T00:00:00Z")));
    }
    render(rng, members).into_bytes()
}
