//! Hostile values by seed: changed samples, made-up events, nests, bare bytes. No panic, no
//! overflow of the stack, memory within a multiple of the input; and what is accepted is the same
//! event however it is spelled.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use memory::event::{Class, Limits, decode, wire};
use testkit::Random;

use super::agree::{Seen, assert_agreed};
use super::samples::{assert_same_on_the_wire, payload, samples};
use reference_model::Record;
use testkit::peak_of;

const CASES: u64 = 120_000;

const FIELDS: [&str; 21] = [
    "event_id",
    "event_type",
    "memory_id",
    "timestamp",
    "node_id",
    "user_id",
    "session_id",
    "content",
    "embedding",
    "importance",
    "tags",
    "merged_from",
    "entities",
    "relationships",
    "metadata",
    "version",
    "vector_clock",
    "payload",
    "id",
    "unknown",
    "",
];

/// Bits of JSON, right and wrong, that matter somewhere.
const PIECES: [&str; 44] = [
    "null",
    "true",
    "0",
    "-0",
    "1",
    "-1",
    "1.5",
    "1e3",
    "1e999",
    "-1e-999",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "123456789012345678901234567890",
    "0.1000",
    "[]",
    "{}",
    "[null]",
    "[1,2.50]",
    "[\"b\",\"a\",\"b\"]",
    "[[1]]",
    "{\"a\":1,\"a\":2}",
    "\"\"",
    "\"x\"",
    "\"\\u0000\"",
    "\"\\ud83c\\udf75\"",
    "\"\\ud800\"",
    "\"é🍵\"",
    "\"memory.updated\"",
    "\"memory.deleted\"",
    "\"memory.merged\"",
    "\"relationship.deleted\"",
    "\"2026-11-23T13:51:27.5Z\"",
    "\"0001-01-01T00:00:00Z\"",
    "\"1969-12-31T23:59:59Z\"",
    "\"2026-02-30T00:00:00Z\"",
    "{\"n\":1,\"~\":0}",
    "\"{\\\"n\\\":3}\"",
    "\"[\"",
    "[{\"id\":\"e\",\"confidence\":null}]",
    "[{\"id\":\"e\",\"strength\":1.0},{\"id\":\"e\"}]",
    "[{}]",
    "\"e30=\"",
    "tru",
];

/// An object of known and unknown fields with values out of a hat.
fn made_up(random: &mut Random) -> Vec<u8> {
    let mut text = String::from(r#"{"event_id":"e","event_type":"memory.updated","memory_id":"m""#);
    for _ in 0..random.below(7) {
        let (field, mut value) = (random.pick(&FIELDS), random.pick(&PIECES).to_owned());
        for _ in 0..random.below(3) {
            let other = random.pick(&PIECES);
            value = if random.below(2) == 0 {
                format!("[{value},{other}]")
            } else {
                format!("{{\"k\":{value},\"j\":{other}}}")
            };
        }
        text += &format!(",{}\"{field}\":{value}", random.pick(&["", " ", "\n\t"]));
    }
    text.push('}');
    text.into_bytes()
}

/// A good value with some bytes changed.
fn changed(random: &mut Random, mut value: Vec<u8>) -> Vec<u8> {
    for _ in 0..1 + random.below(4) {
        let at = random.below(value.len() + 1);
        let until = (at + random.below(12)).min(value.len());
        match random.below(5) {
            0 if at < value.len() => value[at] = random.number() as u8,
            1 => drop(value.drain(at..until)),
            2 => drop(value.splice(at..until, random.pick(&PIECES).bytes())),
            3 => {
                let copied = value[at..until].to_vec();
                let to = random.below(value.len() + 1);
                drop(value.splice(to..to, copied));
            }
            _ => value.insert(at, *random.pick(&[&b'"', &b'\\', &b'{', &b'[', &b',', &b'}', &b'0', &0xff, &0])),
        }
    }
    value
}

/// Containers in each other, around the limit of depth and far beyond, closed or not.
fn nest(random: &mut Random) -> Vec<u8> {
    let depth = if random.below(50) == 0 { 20_000 } else { random.below(300) };
    let (mut open, mut close) = (String::new(), String::new());
    for _ in 0..depth {
        let is_array = random.below(2) == 0;
        open.push_str(if is_array { "[" } else { "{\"a\":" });
        close.insert(0, if is_array { ']' } else { '}' });
    }
    let close = if random.below(4) == 0 { "" } else { &close };
    let field = random.pick(&["metadata\":{\"k\":", "unknown\":", "content\":", "embedding\":"]);
    let end = if field.contains('{') { "}" } else { "" };
    format!(r#"{{"event_id":"e","event_type":"memory.updated","memory_id":"m","{field}{open}0{close}{end}}}"#)
        .into_bytes()
}

fn digits(random: &mut Random) -> Vec<u8> {
    let mut digits =
        |most: usize| (0..random.below(most)).map(|_| char::from(b'0' + random.below(10) as u8)).collect::<String>();
    let (whole, fraction, exponent) = (digits(500), digits(500), digits(6));
    let number = random.pick(&["W", "-W", "W.F", "-W.FeE", "We-E", "0.Fe+E"]);
    let number = number.replace('W', &whole).replace('F', &fraction).replace('E', &exponent);
    let field = random.pick(&["importance", "version", "unknown"]);
    format!(r#"{{"event_id":"e","event_type":"memory.updated","memory_id":"m","{field}":{number}}}"#).into_bytes()
}

fn case(random: &mut Random, bare: &[Vec<u8>]) -> Vec<u8> {
    let value = match random.below(10) {
        0..4 => {
            let sample = bare[random.below(bare.len())].clone();
            changed(random, sample)
        }
        4..7 => made_up(random),
        7 => nest(random),
        8 => digits(random),
        _ => (0..random.below(200)).map(|_| random.number() as u8).collect(),
    };
    match random.below(6) {
        0 => {
            let envelope = format!(r#"{{"id":"x","payload":"{}"}}"#, BASE64_STANDARD.encode(&value)).into_bytes();
            if random.below(2) == 0 { envelope } else { changed(random, envelope) }
        }
        1 => match String::from_utf8(value) {
            // The same as the string of a clock.
            Ok(text) => {
                let clock = serde_json::Value::String(text);
                format!(r#"{{"event_id":"e","event_type":"memory.updated","memory_id":"m","vector_clock":{clock}}}"#)
                    .into_bytes()
            }
            Err(e) => e.into_bytes(),
        },
        _ => value,
    }
}

#[test]
fn hostile_values_do_no_harm() {
    let bare: Vec<Vec<u8>> = samples().iter().map(|s| payload(&s.value)).collect();
    let limits = Limits::default();
    let (mut accepted, mut classes) = (0, std::collections::BTreeMap::<Class, u64>::new());
    let mut seen = Seen::default();
    for seed in testkit::seeds(CASES) {
        let value = case(&mut Random::new(seed), &bare);
        let (result, peak) = peak_of(|| decode(Some(&value), 1, &limits));
        assert!(peak <= 24 * value.len() + 4096, "seed {seed}: {peak} bytes for {} of input", value.len());
        let record = Record { timestamp_ms: 1, value: Some(value.clone()), ..Record::default() };
        assert_agreed(&record, &limits, &result, &mut seen);
        match result {
            Ok(event) => {
                accepted += 1;
                assert_same_on_the_wire(&event);
                let document = json::parse(&value).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
                let again = decode(Some(&document.root().canonical()), 1, &limits);
                assert_eq!(again.as_ref(), Ok(&event), "seed {seed}");
            }
            Err(bad) => {
                assert!(bad.message.len() < 1000 && !bad.message.is_empty(), "seed {seed}: {bad}");
                *classes.entry(bad.class).or_default() += 1;
            }
        }
    }
    // The cases reach what they should: both verdicts, and every class that a value of this size
    // can have.
    assert!(accepted > CASES / 10, "{accepted} accepted");
    for class in [
        Class::EmptyValue,
        Class::MalformedJson,
        Class::TooDeep,
        Class::WrongType,
        Class::MissingField,
        Class::BadCounter,
        Class::BadTimestamp,
        Class::BadEnvelope,
        Class::UnknownSchema,
    ] {
        assert!(classes.get(&class).is_some_and(|n| *n >= 10), "{class}: {classes:?}");
    }
}

/// The internal form comes from our own log alone, but a damaged disk must end in an error too, not
/// in a panic.
#[test]
fn a_damaged_internal_event_is_an_error_or_another_event() {
    let source = wire::Source { topic: "t", partition: 3, offset: -1 };
    let (mut read, mut refused) = (0, 0);
    for (seed, sample) in (0..).zip(samples().iter().cycle().take(20_000)) {
        let event = decode(Some(&sample.value), sample.timestamp_ms, &Limits::default()).unwrap();
        let mut bytes = Vec::new();
        wire::encode(&event, &source, 7, None, &mut bytes);
        let damaged = changed(&mut Random::new(seed), bytes);
        let (result, peak) = peak_of(|| wire::decode(&damaged).map(|e| e.clock.len() + e.writes.len()));
        assert!(peak <= 64 * damaged.len() + 1024, "seed {seed}: {peak} bytes for {} of input", damaged.len());
        *if result.is_ok() { &mut read } else { &mut refused } += 1;
    }
    assert!(read > 1000 && refused > 1000, "{read} read, {refused} refused");
}

/// The recursion of the writer goes as deep as the parser lets it, on a thread with little stack.
#[test]
fn the_deepest_value_needs_little_stack() {
    let deepest = format!(
        r#"{{"event_id":"e","event_type":"memory.updated","memory_id":"m","metadata":{{"k":{}0{}}}}}"#,
        "{\"a\":".repeat(126),
        "}".repeat(126)
    );
    let work = move || decode(Some(deepest.as_bytes()), 1, &Limits::default()).map(|e| e.writes.len());
    let thread = std::thread::Builder::new().stack_size(128 << 10).spawn(work).unwrap();
    assert_eq!(thread.join().unwrap(), Ok(1));
}
