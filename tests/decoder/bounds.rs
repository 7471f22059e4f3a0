//! Values at the limit of 8 MiB, made to be as costly as they can be: memory stays a small multiple
//! of the input.

use memory::event::{BadInput, Class, Event, Limits, decode};

use testkit::peak_of;

const LIMIT: usize = 8 << 20;

/// An event of nearly 8 MiB: `repeated` as often as fits between `open` and `close`, `#` replaced
/// by a number that counts up.
fn filled(open: &str, repeated: &str, close: &str) -> String {
    let mut value = String::with_capacity(LIMIT);
    value.push_str(r#"{"event_id":"e","event_type":"memory.updated","memory_id":"m","#);
    value.push_str(open);
    let (before, after) = repeated.split_once('#').unwrap_or((repeated, ""));
    let is_counted = before.len() < repeated.len();
    let mut count = 0;
    while value.len() + repeated.len() + close.len() + 8 < LIMIT {
        value.push_str(before);
        if is_counted {
            push_base36(&mut value, count);
            count += 1;
        }
        value.push_str(after);
    }
    if repeated.ends_with(',') {
        value.pop();
    }
    value.push_str(close);
    value.push('}');
    value
}

/// Keeps distinct keys as short as they get.
fn push_base36(text: &mut String, mut n: u32) {
    loop {
        text.extend(char::from_digit(n % 36, 36));
        n /= 36;
        if n == 0 {
            return;
        }
    }
}

fn decoded(value: &str) -> Result<Event, BadInput> {
    let (result, peak) = peak_of(|| decode(Some(value.as_bytes()), 1, &Limits::default()));
    let times = peak as f64 / value.len() as f64;
    assert!(times < 16.0, "{}: {peak} bytes, {times:.1} times the input", &value[..100]);
    result
}

#[test]
fn costly_values_stay_within_a_small_multiple() {
    for (open, repeated, close) in [
        (r#""embedding":["#, "0,", "]"),
        (r#""embedding":["#, "1e9,", "]"),
        (r#""x":["#, "[],", "]"),
        (r#""x":["#, "{},", "]"),
        (r#""x":{"#, r#""":0,"#, "}"),
        (r#""tags":["#, r#""","#, "]"),
        (r#""tags":["#, r##""#","##, "]"),
        (r#""merged_from":["#, r##""#","##, "]"),
        (r#""metadata":{"#, r#""":0,"#, "}"),
        (r#""metadata":{"#, r##""#":0,"##, "}"),
        (r#""metadata":{"x":{"#, r##""#":0,"##, "}}"),
        (r#""metadata":{"x":["#, r#"{"b":{},"a":1},"#, "]}"),
        (r#""entities":["#, r##"{"id":"#"},"##, "]"),
        (r#""relationships":["#, r#"{"id":"r","strength":null},"#, "]"),
        (r#""content":""#, r"\u0001", "\""),
        (r#""content":""#, r"\n", "\""),
        (r#""content":""#, "plain text, ", "\""),
        (r#""metadata":{"x":"#, "9", "e-9000000}"),
    ] {
        let value = filled(open, repeated, close);
        if let Err(bad) = decoded(&value) {
            panic!("{open}{repeated}{close}: {bad}");
        }
    }
}

#[test]
fn costly_values_that_are_refused_cost_no_more() {
    for (open, repeated, close, class) in [
        (r#""x":"#, "[", "", Class::TooDeep),
        (r#""x":"#, r#"{"":"#, "", Class::TooDeep),
        (r#""x":["#, "0,", "", Class::MalformedJson),
        (r#""x":"#, "9", "", Class::MalformedJson),
        (r#""version":"#, "9", "e-9000000", Class::BadCounter),
        (r#""vector_clock":{"#, r##""#":1,"##, "}", Class::TooManyClockEntries),
        (r#""vector_clock":"{"#, r##"\"#\":1,"##, "}\"", Class::TooManyClockEntries),
        (r#""vector_clock":""#, "[", "\"", Class::TooDeep),
        (r#""timestamp":""#, "9", "\"", Class::BadTimestamp),
        (r#""entities":["#, "0,", "]", Class::WrongType),
    ] {
        let bad = decoded(&filled(open, repeated, close)).map(|e| e.event_id).unwrap_err();
        assert_eq!(bad.class, class, "{open}{repeated}: {bad}");
    }
    let brackets = "[".repeat(LIMIT);
    assert_eq!(decoded(&brackets).map_err(|e| e.class), Err(Class::TooDeep));
    assert_eq!(decoded(&(brackets + "[")).map_err(|e| e.class), Err(Class::TooLarge));
}
