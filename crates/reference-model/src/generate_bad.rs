//! Bad input of every class, one thing wrong at a time: docs/semantics.md, section 1, does not say
//! which class wins when several fit.

use super::Settings;
use super::generate_event::{Members, encode, envelope, event, render};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testkit::Random;

/// A value that must be dead-lettered, with its record's timestamp.
pub fn bad_value(rng: &mut Random, settings: &Settings) -> (Option<Vec<u8>>, i64) {
    let time = rng.pick(&[0, -1, 1_700_000_000_000, i64::MAX / 1000]);
    let value = match rng.below(12) {
        0 => rng.pick(&[None, Some(Vec::new())]),
        1 => Some(malformed(rng)),
        2 => Some(too_deep(rng)),
        3..=5 => {
            let changed = changed(rng);
            Some(encode(rng, changed))
        }
        6 => Some(no_object(rng)),
        7 => Some(bad_envelope(rng)),
        8 => Some(many_entries(rng, settings)),
        9 => Some(too_large(rng, settings)),
        10 => Some(rng.pick(&[vec![0, 0, 0, 0, 7, 2, 4], vec![0, 0, 0, 0, 0], vec![0], vec![0, 1, 2, 3]])),
        _ => return out_of_time(rng),
    };
    (value, time)
}

fn plain(rng: &mut Random) -> Members {
    let members = [("event_id", "\"e1\""), ("event_type", "\"memory.updated\""), ("memory_id", "\"a\"")];
    let mut members: Members = members.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    members.push(("timestamp".to_owned(), "\"2023-11-14T22:13:20Z\"".to_owned()));
    if rng.one_in(2) {
        members.push(("content".to_owned(), "\"bad\"".to_owned()));
    }
    members
}

/// Text that is no JSON, bare or inside an envelope.
fn malformed(rng: &mut Random) -> Vec<u8> {
    let mut members = plain(rng);
    if rng.one_in(2) {
        let texts = [
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "NaN",
            "1e999",
            "-1e999",
            "\"\\ud800\"",
            "\"\\udc00\\ud800\"",
            "\"\\ud800x\"",
        ];
        let more =
            ["\"\\x\"", "\"\u{1}\"", "'x'", "[1,]", "{\"a\"}", "{\"a\":1,}", "tru", "\"\\u12g4\"", "\"", "[", "{}}"];
        let text = if rng.one_in(2) { rng.pick(&texts) } else { rng.pick(&more) };
        members.push(("unknown".to_owned(), text.to_owned()));
        return encode(rng, members);
    }
    let whole = render(rng, members).into_bytes();
    let mut bytes = match rng.below(4) {
        0 => whole[..whole.len() - 1].to_vec(),
        1 => [whole.as_slice(), b"{}"].concat(),
        2 => [b"\xef\xbb\xbf".as_slice(), &whole].concat(),
        _ => [&whole[..whole.len() - 1], b",\"unknown\":\"\xff\xfe\"}"].concat(),
    };
    if rng.one_in(2) {
        bytes = envelope(rng, &STANDARD.encode(&bytes));
    }
    bytes
}

/// One level too many; the outermost object is the first.
fn too_deep(rng: &mut Random) -> Vec<u8> {
    let levels = rng.pick(&[128, 128, 129, 300]);
    let mut members = plain(rng);
    let (open, close) = rng.pick(&[("[", "]"), ("{\"a\":", "}")]);
    let inner = if open == "[" { "" } else { "1" };
    members.push(("unknown".to_owned(), format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))));
    encode(rng, members)
}

/// A value that nests exactly as deep as is allowed, which is good.
pub fn deepest(rng: &mut Random) -> Vec<u8> {
    let mut members = plain(rng);
    members.push(("metadata".to_owned(), format!("{{\"deep\":{}{}}}", "[".repeat(126), "]".repeat(126))));
    encode(rng, members)
}

const WRONG_TYPE: &[(&str, &str)] = &[
    ("event_id", "7"),
    ("event_type", "[]"),
    ("memory_id", "{}"),
    ("timestamp", "1700000000"),
    ("node_id", "1"),
    ("user_id", "true"),
    ("session_id", "[]"),
    ("content", "5"),
    ("embedding", "[null]"),
    ("embedding", "\"[1]\""),
    ("importance", "\"1\""),
    ("tags", "[1]"),
    ("tags", "\"a\""),
    ("merged_from", "{}"),
    ("entities", "{}"),
    ("entities", "[null]"),
    ("entities", "[{\"id\":5}]"),
    ("entities", "[{\"id\":\"x\",\"confidence\":\"high\"}]"),
    ("relationships", "[{\"id\":\"x\",\"strength\":[]}]"),
    ("metadata", "[]"),
    ("version", "\"1\""),
    ("vector_clock", "[]"),
    ("vector_clock", "5"),
    ("vector_clock", "\"[1]\""),
    ("vector_clock", "{\"n1\":\"1\"}"),
    ("vector_clock", "{\"n1\":null}"),
    ("vector_clock", "\"nonsense\""),
    ("vector_clock", "\"{\\\"n1\\\":1\""),
];

const MISSING: &[(&str, &str)] = &[
    ("event_id", "null"),
    ("event_id", "\"\""),
    ("event_type", "null"),
    ("memory_id", "null"),
    ("memory_id", "\"\""),
    ("entities", "[{\"name\":\"x\"}]"),
    ("relationships", "[{\"id\":\"\"}]"),
    ("relationships", "[{\"id\":null}]"),
];

const BAD_COUNTERS: &[(&str, &str)] = &[
    ("version", "-1"),
    ("version", "1.0"),
    ("version", "1e3"),
    ("version", "9223372036854775808"),
    ("version", "99999999999999999999999"),
    ("vector_clock", "{\"n1\":-1}"),
    ("vector_clock", "{\"n1\":1.5}"),
    ("vector_clock", "\"{\\\"~\\\":9223372036854775808}\""),
];

const BAD_TIMES: &[&str] = &[
    "",
    "yesterday",
    "2023-11-14",
    "2023-11-14T22:13:20",
    "2023-11-14 22:13:20Z",
    "2023-11-14T22:13:60Z",
    "2023-02-29T00:00:00Z",
    "2023-11-14T24:00:00Z",
    "2023-11-14T22:13:20.Z",
    "2023-11-14T22:13:20+5:30",
    "2023-11-14T22:13:20+24:00",
    "1969-12-31T23:59:59.999999999Z",
    "1970-01-01T00:00:00+00:01",
    "2262-04-11T23:47:16.854775808Z",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:01Z",
];

/// An event with one member of the wrong type, missing, or out of range.
fn changed(rng: &mut Random) -> Members {
    let (name, text) = match rng.below(8) {
        0..=2 => rng.pick(WRONG_TYPE),
        3..=4 => rng.pick(MISSING),
        5 => rng.pick(BAD_COUNTERS),
        6 => {
            let time = rng.pick(BAD_TIMES);
            return with(rng, "timestamp", &format!("\"{time}\""));
        }
        _ => {
            let mut members = plain(rng);
            let name = rng.pick(&["event_id", "event_type", "memory_id"]);
            members.retain(|(n, _)| n != name);
            return members;
        }
    };
    with(rng, name, text)
}

/// A plain event with one member replaced or added.
fn with(rng: &mut Random, name: &str, text: &str) -> Members {
    let mut members = plain(rng);
    members.retain(|(n, _)| n != name);
    members.push((name.to_owned(), text.to_owned()));
    members
}

fn no_object(rng: &mut Random) -> Vec<u8> {
    let text = rng.pick(&["null", "[]", "5", "\"x\"", " true "]);
    if rng.one_in(2) { text.as_bytes().to_vec() } else { envelope(rng, &STANDARD.encode(text)) }
}

fn bad_envelope(rng: &mut Random) -> Vec<u8> {
    match rng.below(3) {
        0 => rng.pick(&["{\"payload\":null}", "{\"payload\":{},\"id\":\"x\"}", "{\"payload\":5}"]).as_bytes().to_vec(),
        1 => envelope(rng, "e30"),
        _ => envelope(rng, "not base64!"),
    }
}

fn many_entries(rng: &mut Random, settings: &Settings) -> Vec<u8> {
    let entries: Vec<String> = (0..=settings.max_clock_entries).map(|i| format!("\"n{i}\":{}", i + 1)).collect();
    let members = with(rng, "vector_clock", &format!("{{{}}}", entries.join(",")));
    encode(rng, members)
}

fn too_large(rng: &mut Random, settings: &Settings) -> Vec<u8> {
    let mut bytes = render_padded(rng, settings.max_value_bytes);
    bytes.resize(settings.max_value_bytes + 1 + rng.below(3), b' ');
    bytes
}

/// A good event that white space brings to exactly `size` bytes.
pub fn render_padded(rng: &mut Random, size: usize) -> Vec<u8> {
    let members = plain(rng);
    let mut bytes = render(rng, members).into_bytes();
    bytes.resize(size, b' ');
    bytes
}

/// An event that takes its record's time, which no event time can be.
fn out_of_time(rng: &mut Random) -> (Option<Vec<u8>>, i64) {
    let mut members = event(rng, 1, 0);
    members.retain(|(name, _)| name != "timestamp");
    let time = rng.pick(&[-1, i64::MIN, 9_223_372_036_855, i64::MAX]);
    (Some(encode(rng, members)), time)
}
