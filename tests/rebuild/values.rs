//! How SQL reads single values: canonical JSON, times, ids of any length, and what of the log is no
//! event of a memory.

use super::database::{Database, sql};
use super::{event, mirrored};
use json::{self as canonical, rfc3339 as time};
use serde_json::json;
use testkit::Random;

/// A number of any size and spelling, within a double's range.
fn number(rng: &mut Random) -> String {
    match rng.below(6) {
        0 => rng.number().to_string(),
        1 => rng.number().cast_signed().to_string(),
        2 => format!("{}.{}", rng.below(1000), rng.below(100_000)),
        3 => format!("{}e{}", rng.below(10_000), rng.below(60) as i32 - 30),
        4 => rng
            .pick(&[
                "5e-324",
                "-1.7976931348623157e308",
                "1e21",
                "999999999999999999999",
                "1e-6",
                "9.99e-7",
                "-0",
                "1e23",
                "2e0",
            ])
            .to_owned(),
        _ => {
            let any = f64::from_bits(rng.number());
            if any.is_finite() { format!("{any:e}") } else { "0".to_owned() }
        }
    }
}

fn value(rng: &mut Random, depth: usize) -> String {
    let text = |rng: &mut Random| {
        rng.pick(&[
            "\"\"",
            "\"a\"",
            "\"B\"",
            "\"b\"",
            "\"\\u001f\\b\\f\\n\\r\\t\\\"\\\\\\/\"",
            "\"\u{fc}\u{1f375}\"",
            "\"\u{7f}\"",
            "\"ab\"",
        ])
        .to_owned()
    };
    let many = rng.below(4);
    match rng.below(if depth == 0 { 3 } else { 5 }) {
        0 => rng.pick(&["null", "true", "false"]).to_owned(),
        1 => text(rng),
        2 => number(rng),
        3 => format!("[{}]", (0..many).map(|_| value(rng, depth - 1)).collect::<Vec<_>>().join(",")),
        _ => {
            let members: Vec<String> = (0..many).map(|_| format!("{}:{}", text(rng), value(rng, depth - 1))).collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

#[test]
fn canonical_json_is_the_streams() {
    let mut rng = Random::new(testkit::seed());
    let mut texts: Vec<String> = (0..20_000).map(|_| value(&mut rng, 4)).collect();
    texts.push(format!("{}1{}", "[".repeat(128), "]".repeat(128)));
    let expected: Vec<String> = texts
        .iter()
        .map(|text| {
            let mut bytes = Vec::new();
            canonical::parse(text.as_bytes()).expect("parses").root().write_canonical(&mut bytes);
            String::from_utf8(bytes).expect("is UTF-8")
        })
        .collect();
    let mut database = Database::create();
    let apart = "SELECT expected, memory_canonical_json(expected::jsonb) FROM unnest($1) AS given (expected)
        WHERE memory_canonical_json(expected::jsonb) IS DISTINCT FROM expected";
    assert_eq!(database.rows(sql(apart).bind(expected)), Vec::<Vec<Option<String>>>::new());
}

#[test]
fn times_are_written_as_the_stream_writes_them() {
    let mut rng = Random::new(testkit::seed());
    let mut moments: Vec<i64> = (0..2000).map(|_| (rng.number() >> 1).cast_signed()).collect();
    moments.extend([
        0,
        1,
        999_999_999,
        1_000_000_000,
        1_000_000_001,
        1_582_934_400_000_000_000,
        951_782_400_100_000_000,
        i64::MAX,
    ]);
    let expected: Vec<String> = moments
        .iter()
        .map(|nanos| {
            let mut bytes = Vec::new();
            time::write(&mut bytes, nanos.unsigned_abs());
            String::from_utf8(bytes).expect("is UTF-8")
        })
        .collect();
    let mut database = Database::create();
    database.run("SET time zone 'Asia/Kolkata'; SET datestyle = 'German'");
    let apart = "SELECT expected, memory_time(nanos) FROM unnest($1, $2) AS given (nanos, expected) WHERE memory_time(nanos) <> expected";
    assert_eq!(database.rows(sql(apart).bind(moments).bind(expected)), Vec::<Vec<Option<String>>>::new());
}

#[test]
fn the_double_and_the_integer_at_the_end_of_64_bits_weigh_the_same() {
    // Equal importance, so the later write wins, though its digits are those of a smaller number.
    let mut database = mirrored([
        event("integer", &json!({"n1": 1}), 0, json!({"importance": i64::MIN})),
        event("double", &json!({"n2": 1}), 1, json!({"importance": -9_223_372_036_854_775_808.0_f64})),
    ]);
    assert_eq!(
        database.text("SELECT rebuild_memory_from_events('m') ->> 'importance'").unwrap(),
        "-9223372036854776000"
    );
}

#[test]
fn what_is_no_event_of_a_memory_changes_nothing() {
    let told = event("told", &json!({"n": 1}), 0, json!({"content": "x"}));
    let of_type = |kind: &str| {
        let mut event = event("other", &json!({"n": 9}), 50, json!({"content": "y", "merged_from": ["b"]}));
        event["event_type"] = json!(kind);
        event
    };
    let bad = json!({"event_id": "e", "event_type": "memory.updated", "memory_id": "m", "content": 7});
    let mut alone = mirrored([told.clone()]);
    let mut among = mirrored([told.clone(), of_type("memory.sync_request"), of_type("memory.thought"), bad, told]);
    let rebuilt = "SELECT rebuild_memory_from_events('m')";
    assert_eq!(among.json(&format!("{rebuilt}::text")), alone.json(&format!("{rebuilt}::text")));
    assert_eq!(among.text("SELECT rebuild_memory_from_events('b')::text"), None);
    assert_eq!(among.text("SELECT rebuild_memory_from_events('')::text"), None);
    assert_eq!(among.text("SELECT rebuild_memory_from_events(NULL)::text"), None);
}

#[test]
fn ids_longer_than_an_index_takes_are_absorbed_too() {
    let mut rng = Random::new(testkit::seed());
    let long: String = (0..100_000).map(|_| char::from(b'!' + u8::try_from(rng.below(90)).unwrap())).collect();
    let merge =
        json!({"event_id": "e", "event_type": "memory.merged", "memory_id": "m", "merged_from": [long, "short"]});
    let mut database = mirrored([merge]);
    for absorbed in [long.as_str(), "short"] {
        let merged = sql("SELECT rebuild_memory_from_events($1) ->> 'merged_into'").bind(absorbed.to_owned());
        assert_eq!(database.rows(merged), [[Some("m".to_owned())]]);
    }
}
