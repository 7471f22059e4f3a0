//! Every row of the table in docs/semantics.md, section 1, and every class of bad input that a
//! value can have.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::super::EventKind;
use super::*;
use json::Number;

const NOW_MS: i64 = 1_795_441_887_515;

fn read(value: &str) -> Result<Event, BadInput> {
    decode(Some(value.as_bytes()), NOW_MS, &Limits::default())
}

/// An update of `m` with more members, given as JSON.
fn update(members: &str) -> String {
    with("memory.updated", members)
}

fn with(event_type: &str, members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(r#"{{"event_id":"e","event_type":"{event_type}","memory_id":"m"{comma}{members}}}"#)
}

fn updated(members: &str) -> Event {
    read(&update(members)).unwrap_or_else(|e| panic!("{members}: {e}"))
}

fn writes(event: &Event) -> Vec<(&str, &str)> {
    event.writes.iter().map(|w| (w.path.as_str(), std::str::from_utf8(&w.value).unwrap())).collect()
}

/// The class and a part of the message of what `value` is refused for.
fn refused(value: &str, class: Class, part: &str) {
    match read(value) {
        Ok(event) => panic!("{value} was read as {event:?}"),
        Err(bad) => {
            assert_eq!(bad.class, class, "{value}: {bad}");
            assert!(bad.message.contains(part), "{value}: {bad}, should say {part}");
        }
    }
}

#[test]
fn a_bare_event_is_read() {
    let event = updated(
        r#""timestamp":"2026-11-23T13:51:27.5Z","node_id":"n","user_id":"u","session_id":"s","content":"c\n","embedding":[1.0,0.5],
        "importance":0.50,"tags":["b","a","b"],"merged_from":["y","x","","y"],"entities":[{"name":"N","id":"e1","confidence":1}],
        "relationships":[{"id":"r1","strength":0.1}],"metadata":{"k":[1.0],"":null},"version":7,"vector_clock":{"n":3,"~":0,"o":9},
        "unknown":{"kept":"in the mirror"}"#,
    );
    assert_eq!(
        (event.event_id.as_str(), &event.kind, event.memory_id.as_deref()),
        ("e", &EventKind::Updated, Some("m"))
    );
    assert_eq!(event.timestamp, 1_795_441_887_500_000_000);
    assert_eq!((event.node_id.as_deref(), event.version), (Some("n"), 7));
    assert_eq!(event.importance, Some(Number::Float(0.5)));
    assert_eq!(event.clock.entries(), [("n".to_owned(), 3), ("o".to_owned(), 9)]);
    assert_eq!(event.merged_from, ["", "x", "y"]);
    let expected = [
        ("content", r#""c\n""#),
        ("embedding", "[1,0.5]"),
        ("entities.e1", r#"{"confidence":1,"id":"e1","name":"N"}"#),
        ("importance", "0.5"),
        ("merged_from", r#"["","x","y"]"#),
        ("metadata.", "null"),
        ("metadata.k", "[1]"),
        ("relationships.r1", r#"{"id":"r1","strength":0.1}"#),
        ("session_id", r#""s""#),
        ("tags", r#"["a","b"]"#),
        ("user_id", r#""u""#),
    ];
    assert_eq!(writes(&event), expected);
}

#[test]
fn absent_null_and_empty() {
    let nothing = updated("");
    assert!(nothing.writes.is_empty() && nothing.merged_from.is_empty());
    assert_eq!((nothing.version, nothing.importance, nothing.node_id), (0, None, None));
    assert_eq!(nothing.clock.entries(), [("~".to_owned(), NOW_MS as u64 * 1_000_000)]);

    let dropped = updated(
        r#""timestamp":null,"node_id":null,"version":null,"vector_clock":null,"metadata":null,"entities":null,"relationships":null"#,
    );
    assert_eq!(dropped.digest, updated("").digest);
    let empty = updated(
        r#""timestamp":"0001-01-01T00:00:00Z","node_id":"","user_id":"","session_id":"","vector_clock":"","metadata":{},"entities":[],"relationships":[]"#,
    );
    assert_eq!(empty.digest, updated("").digest);
    assert_eq!(updated(r#""vector_clock":{}"#).digest, updated("").digest);
    assert_eq!(updated(r#""vector_clock":"{\"n\":0}""#).digest, updated("").digest);

    let cleared = r#""content":null,"embedding":null,"importance":null,"tags":null,"merged_from":null,"session_id":null,"user_id":null,"metadata":{"k":null}"#;
    let cleared = updated(cleared);
    assert!(cleared.writes.iter().all(|w| w.value == b"null"));
    assert_eq!(cleared.writes.len(), 8);
    assert_eq!((cleared.importance, cleared.merged_from.len()), (None, 0));

    let empties = updated(r#""content":"","embedding":[],"tags":[],"merged_from":[]"#);
    let expected = [("content", r#""""#), ("embedding", "[]"), ("merged_from", "[]"), ("tags", "[]")];
    assert_eq!(writes(&empties), expected);
}

#[test]
fn weights_that_are_null_are_dropped() {
    let event = updated(
        r#""entities":[{"id":"e","confidence":null,"x":{"confidence":null}}],"relationships":[{"strength":null,"id":"r"}]"#,
    );
    let expected = [("entities.e", r#"{"id":"e","x":{"confidence":null}}"#), ("relationships.r", r#"{"id":"r"}"#)];
    assert_eq!(writes(&event), expected);
    // The weight of the other container is no weight.
    let event = updated(r#""entities":[{"id":"e","strength":null}],"relationships":[{"confidence":"x","id":"r"}]"#);
    let expected =
        [("entities.e", r#"{"id":"e","strength":null}"#), ("relationships.r", r#"{"confidence":"x","id":"r"}"#)];
    assert_eq!(writes(&event), expected);
}

#[test]
fn what_stands_twice_counts_where_it_stands_last() {
    let event = updated(
        r#""content":5,"content":"last","version":-1,"version":2,"tags":"x","tags":["a"],"metadata":{"a":1,"a":2},
        "entities":[{"id":"e","n":1},{"id":5,"id":"e","confidence":"x","confidence":0.5}],"vector_clock":{"n":-1,"n":4},"event_id":7,"event_id":"e""#,
    );
    assert_eq!((event.version, event.clock.entries()), (2, &[("n".to_owned(), 4)][..]));
    let expected = [
        ("content", r#""last""#),
        ("entities.e", r#"{"confidence":0.5,"id":"e"}"#),
        ("metadata.a", "2"),
        ("tags", r#"["a"]"#),
    ];
    assert_eq!(writes(&event), expected);
    refused(
        &update(r#""content":"first","content":5"#),
        Class::WrongType,
        "`content` should be a string, found the number 5",
    );
}

#[test]
fn every_type_of_event_is_known() {
    for name in [
        "memory.created",
        "memory.updated",
        "memory.deleted",
        "memory.merged",
        "memory.sync_request",
        "entity.created",
        "entity.updated",
        "entity.linked",
        "relationship.created",
        "relationship.updated",
        "relationship.deleted",
    ] {
        let event = read(&with(name, "")).unwrap();
        assert_eq!(event.kind.as_str(), name);
        assert!(!matches!(event.kind, EventKind::Other(_)), "{name}");
        assert_eq!(event.target().is_some(), name != "memory.sync_request");
        // All types of one content are different events.
        assert_eq!(event.digest == updated("").digest, name == "memory.updated");
    }
    let other = read(&with("memory.archived", "")).unwrap();
    assert_eq!((&other.kind, other.target()), (&EventKind::Other("memory.archived".into()), None));
    // Required, but not to be non-empty, as docs/semantics.md, section 1, says of the ids.
    assert_eq!(read(&with("", "")).map(|e| e.kind), Ok(EventKind::Other(String::new())));
}

#[test]
fn a_memory_id_is_needed_by_memory_events() {
    let without = |event_type: &str, id: &str| read(&format!(r#"{{"event_id":"e","event_type":"{event_type}"{id}}}"#));
    for id in ["", r#","memory_id":null"#, r#","memory_id":"""#] {
        for needs in ["memory.created", "memory.deleted", "memory.merged", "memory.archived", "memory."] {
            assert_eq!(without(needs, id).map_err(|e| e.class), Err(Class::MissingField), "{needs} {id}");
        }
        for may in ["memory.sync_request", "entity.created", "relationship.deleted", "agent.started"] {
            let event = without(may, id).unwrap();
            assert_eq!((event.memory_id.as_deref(), event.target()), (None, None), "{may} {id}");
        }
    }
}

#[test]
fn a_merge_absorbs_the_others() {
    let merged = read(&with("memory.merged", r#""merged_from":["c","","m","b","c"]"#)).unwrap();
    assert_eq!(merged.absorbed().collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(updated(r#""merged_from":["c"]"#).absorbed().count(), 0);
}

#[test]
fn a_deleted_relationship_is_cleared_but_told_apart() {
    let deleted = |members: &str| read(&with("relationship.deleted", members)).unwrap();
    let event =
        deleted(r#""relationships":[{"id":"r","strength":1},{"id":"q"}],"content":"c","entities":[{"id":"e"}]"#);
    let expected = [
        ("content", r#""c""#),
        ("entities.e", r#"{"id":"e"}"#),
        ("relationships.q", "null"),
        ("relationships.r", "null"),
    ];
    assert_eq!(writes(&event), expected);
    let one = deleted(r#""relationships":[{"id":"r"}]"#);
    let two = deleted(r#""relationships":[{"id":"r","strength":1}]"#);
    assert_eq!(one.writes, two.writes);
    assert_ne!(one.digest, two.digest);
    // Its weight is checked all the same.
    let wrong = with("relationship.deleted", r#""relationships":[{"id":"r","strength":"1"}]"#);
    refused(&wrong, Class::WrongType, "`relationships[0].strength` should be a number, found a string");
}

fn envelope(event: &str) -> String {
    format!(r#"{{"id":"x","type":"memory.updated","payload":"{}","timestamp":"bad"}}"#, BASE64_STANDARD.encode(event))
}

#[test]
fn the_encoding_does_not_matter() {
    let bare = r#""version":1,"content":"a/b","importance":1,"vector_clock":{"n":1,"o":2},"tags":["a","b"],"metadata":{"x":{"a":1,"b":2}}"#;
    let spelled = r#" "metadata": {"x":{"b":2.0,"a":1e0}},"tags":["b","a","a"],"vector_clock":"{\"o\":2,\"p\":0,\"n\":1}","importance":1.0,
        "content":"\u0061\/b","version":1,"user_id":"","x":[[]]"#;
    let digest = updated(bare).digest;
    assert_eq!(updated(spelled).digest, digest);
    assert_eq!(read(&envelope(&update(bare))).unwrap(), updated(bare));
    // Base64 may be escaped as JSON allows, and an envelope's other fields mean nothing.
    let escaped = envelope(&update(spelled)).replace('/', "\\/").replace('+', "\\u002b");
    assert_eq!(read(&escaped).unwrap().digest, digest);
    for other in [
        r#""version":2"#,
        r#""version":1,"content":"a/b""#,
        r#""content":null"#,
        r#""content":"""#,
        r#""tags":[]"#,
        r#""tags":null"#,
        r#""user_id":null"#,
        r#""node_id":"n""#,
        r#""vector_clock":{"n":1}"#,
        r#""timestamp":"2026-11-23T13:51:27Z""#,
        "",
    ] {
        assert_ne!(updated(other).digest, digest, "{other}");
    }
}

/// Stored states hold digests, so that of an event must be the same in every version.
#[test]
fn the_digest_is_what_it_always_was() {
    let event = updated(
        r#""timestamp":"2026-11-23T13:51:27Z","node_id":"n","vector_clock":{"n":1},"content":"c","tags":["t"]"#,
    );
    assert_eq!(format!("{:032x}", event.digest), "11c94025756f7fbf9e621b4f59d82fe2");
}

#[test]
fn values_that_hold_no_event() {
    let class = |value: Option<&[u8]>| decode(value, NOW_MS, &Limits::default()).map_err(|e| e.class);
    assert_eq!(class(None), Err(Class::EmptyValue));
    assert_eq!(class(Some(b"")), Err(Class::EmptyValue));
    assert_eq!(class(Some(b"\0\0\0\0\x01abc")), Err(Class::UnknownSchema));
    assert_eq!(class(Some(b"\0\0\0\0\x01")), Err(Class::UnknownSchema));
    assert_eq!(class(Some(b"\0\0\0\x01")), Err(Class::MalformedAvro));
    assert_eq!(class(Some(b"\0")), Err(Class::MalformedAvro));
    assert_eq!(class(Some(b"\xff\xfe")), Err(Class::MalformedJson));
    for (value, class, part) in [
        (" ", Class::MalformedJson, "the value can't be read as JSON: the end, where a value should stand, at byte 1"),
        ("{\"event_id\":\"e\",}", Class::MalformedJson, "at byte 16"),
        (r#"{"event_id":"\ud800"}"#, Class::MalformedJson, "lone surrogate"),
        ("{\"x\":1e999}", Class::MalformedJson, "double's range"),
        ("null", Class::WrongType, "the value should be an object, found null"),
        ("[]", Class::WrongType, "found an array"),
        ("\"text\"", Class::WrongType, "found a string"),
        ("-1.5", Class::WrongType, "found the number -1.5"),
        ("{}", Class::MissingField, "`event_id` is required, but absent"),
    ] {
        refused(value, class, part);
    }
    let nested = |depth: usize| update(&format!(r#""x":{}{}"#, "[".repeat(depth), "]".repeat(depth)));
    assert!(read(&nested(127)).is_ok());
    refused(&nested(128), Class::TooDeep, "deeper than 128");
    let limits = Limits { max_value_bytes: 62, ..Limits::default() };
    let bytes = update("");
    assert_eq!(bytes.len(), 62);
    assert!(decode(Some(bytes.as_bytes()), NOW_MS, &limits).is_ok());
    let larger = decode(Some(update("").replace('}', " }").as_bytes()), NOW_MS, &limits);
    let message = "the value has 63 bytes, the limit is 62".to_owned();
    assert_eq!(larger, Err(BadInput { class: Class::TooLarge, message }));
}

#[test]
fn envelopes_that_hold_no_event() {
    let payload = |json: &str| format!(r#"{{"id":"x","payload":{json}}}"#);
    for (value, class, part) in [
        (payload("null"), Class::BadEnvelope, "found null"),
        (payload("{}"), Class::BadEnvelope, "found an object"),
        (payload("12"), Class::BadEnvelope, "found the number 12"),
        (payload(r#""***""#), Class::BadEnvelope, "`payload` is not base64"),
        (payload(r#""e30""#), Class::BadEnvelope, "`payload` is not base64"),
        (payload(r#""e31=""#), Class::BadEnvelope, "`payload` is not base64"),
        (payload(r#""e3 0=""#), Class::BadEnvelope, "`payload` is not base64"),
        (payload(r#""_-_-""#), Class::BadEnvelope, "`payload` is not base64"),
        (payload(r#""""#), Class::MalformedJson, "the `payload` can't be read as JSON"),
        (envelope("{"), Class::MalformedJson, "the `payload` can't be read as JSON"),
        (envelope("[1]"), Class::WrongType, "the `payload` should be an object, found an array"),
        (envelope("{}"), Class::MissingField, "`event_id`"),
        (envelope(&envelope(&update(""))), Class::MissingField, "`event_id`"),
        (r#"{"payload":"e30=","event_id":null}"#.to_owned(), Class::MissingField, "`event_id` is required, but null"),
        (payload("\"\\ud800\""), Class::MalformedJson, "lone surrogate"),
    ] {
        refused(&value, class, part);
    }
    let deep = envelope(&update(&format!(r#""x":{}{}"#, "[".repeat(128), "]".repeat(128))));
    refused(&deep, Class::TooDeep, "the `payload`");
}

#[test]
fn fields_that_break_the_table() {
    for field in ["node_id", "user_id", "session_id", "content", "timestamp", "memory_id"] {
        for wrong in ["1", "true", "[]", "{}"] {
            refused(
                &update(&format!(r#""{field}":{wrong}"#)),
                Class::WrongType,
                &format!("`{field}` should be a string"),
            );
        }
    }
    let cases = [
        (r#""embedding":"x""#, "`embedding` should be an array of numbers, found a string"),
        (r#""embedding":[1,null]"#, "`embedding[1]` should be a number, found null"),
        (r#""embedding":[[1]]"#, "`embedding[0]` should be a number, found an array"),
        (r#""importance":"0.5""#, "`importance` should be a number, found a string"),
        (r#""importance":true"#, "`importance` should be a number, found a boolean"),
        (r#""tags":{"a":1}"#, "`tags` should be an array of strings, found an object"),
        (r#""tags":["a",null]"#, "`tags[1]` should be a string, found null"),
        (r#""merged_from":"b""#, "`merged_from` should be an array of strings"),
        (r#""merged_from":[1]"#, "`merged_from[0]` should be a string, found the number 1"),
        (r#""entities":{}"#, "`entities` should be an array of objects, found an object"),
        (r#""entities":[null]"#, "`entities[0]` should be an object, found null"),
        (r#""entities":[{"id":1}]"#, "`entities[0].id` should be a string, found the number 1"),
        (
            r#""entities":[{"id":"a"},{"id":"b","confidence":"1"}]"#,
            "`entities[1].confidence` should be a number, found a string",
        ),
        (r#""relationships":[["a"]]"#, "`relationships[0]` should be an object"),
        (r#""relationships":[{"id":"a","strength":false}]"#, "`relationships[0].strength` should be a number"),
        (r#""metadata":[]"#, "`metadata` should be an object, found an array"),
        (r#""metadata":"""#, "`metadata` should be an object, found a string"),
        (r#""version":"1""#, "`version` should be an integer, found a string"),
        (
            r#""vector_clock":[]"#,
            "`vector_clock` should be an object, or a string that holds one as JSON, found an array",
        ),
        (r#""vector_clock":0"#, "`vector_clock` should be an object, or a string"),
        (r#""vector_clock":"null""#, "`vector_clock` should be a string that holds an object as JSON, found null"),
        (r#""vector_clock":"\"{}\"""#, "`vector_clock` should be a string that holds an object"),
        (r#""vector_clock":{"n":"1"}"#, "`vector_clock.n` should be an integer, found a string"),
        (r#""vector_clock":{"n":null}"#, "`vector_clock.n` should be an integer, found null"),
    ];
    for (members, part) in cases {
        refused(&update(members), Class::WrongType, part);
    }
    for (members, part) in [
        (r#""event_id":null"#, "`event_id` is required, but null"),
        (r#""event_id":"""#, "`event_id` is required, but empty"),
        (r#""event_type":null"#, "`event_type` is required, but null"),
        (r#""entities":[{}]"#, "`entities[0].id` is required, but absent"),
        (r#""entities":[{"id":null}]"#, "`entities[0].id` is required, but null"),
        (r#""relationships":[{"id":"a"},{"id":""}]"#, "`relationships[1].id` is required, but empty"),
    ] {
        refused(&update(members), Class::MissingField, part);
    }
    refused(&update(r#""event_id":5"#), Class::WrongType, "`event_id` should be a string, found the number 5");
    refused(
        &update(r#""vector_clock":"{""#),
        Class::MalformedJson,
        "the string in `vector_clock` can't be read as JSON",
    );
    refused(&update(r#""vector_clock":" ""#), Class::MalformedJson, "the string in `vector_clock`");
    let deep = format!(r#""vector_clock":"{}""#, "[".repeat(129));
    refused(&update(&deep), Class::TooDeep, "the string in `vector_clock`");
}

#[test]
fn counters() {
    for (text, counter) in [("0", 0), ("-0", 0), ("9223372036854775807", i64::MAX as u64)] {
        let event = updated(&format!(r#""version":{text},"vector_clock":{{"n":{text},"o":1}}"#));
        assert_eq!(event.version, counter);
        assert_eq!(event.clock.entries().len(), 1 + usize::from(counter > 0));
    }
    for bad in ["-1", "1.0", "1e3", "0.5", "-0.0", "9223372036854775808", "18446744073709551616", "1E0"] {
        refused(&update(&format!(r#""version":{bad}"#)), Class::BadCounter, "`version` should be an integer from 0 to");
        refused(&update(&format!(r#""vector_clock":{{"n":{bad}}}"#)), Class::BadCounter, "`vector_clock.n`");
        refused(&update(&format!(r#""vector_clock":"{{\"n\":{bad}}}""#)), Class::BadCounter, "`vector_clock.n`");
    }
}

#[test]
fn clock_entries_are_limited() {
    let limits = Limits { max_clock_entries: 2, ..Limits::default() };
    let clock = |members: &str| {
        let value = update(&format!(r#""vector_clock":{{{members}}}"#));
        decode(Some(value.as_bytes()), NOW_MS, &limits).map(|e| e.clock.entries().len())
    };
    assert_eq!(clock(r#""a":1,"b":1"#), Ok(2));
    assert_eq!(clock(r#""a":1,"b":1,"a":2,"b":3"#), Ok(2));
    let message = "`vector_clock` has 3 entries, the limit is 2".to_owned();
    let too_many = Err(BadInput { class: Class::TooManyClockEntries, message });
    assert_eq!(clock(r#""a":1,"b":1,"c":0"#), too_many);
    assert_eq!(clock(r#""a":-1,"b":1,"c":"x""#), too_many);
}

#[test]
fn timestamps() {
    let at = |text: &str| read(&update(&format!(r#""timestamp":"{text}""#))).map(|e| e.timestamp).map_err(|e| e.class);
    assert_eq!(at("1970-01-01T00:00:00Z"), Ok(0));
    assert_eq!(at("2026-11-23T14:51:27.1234567899+01:00"), Ok(1_795_441_887_123_456_789));
    for bad in [
        "",
        "yesterday",
        "2026-11-23T13:51:27",
        "2026-11-23T13:51:60Z",
        "1969-12-31T23:59:59Z",
        "2262-04-12T00:00:00Z",
        "0001-01-01T00:00:00+00:00",
    ] {
        assert_eq!(at(bad), Err(Class::BadTimestamp), "{bad}");
    }
    refused(&update(r#""timestamp":"now""#), Class::BadTimestamp, "found \"now\"");
    let by_record = |ms: i64| decode(Some(update("").as_bytes()), ms, &Limits::default());
    assert_eq!(by_record(9_223_372_036_854).map(|e| e.timestamp), Ok(9_223_372_036_854_000_000));
    for bad in [-1, i64::MIN, 9_223_372_036_855, i64::MAX] {
        assert_eq!(by_record(bad).map_err(|e| e.class), Err(Class::BadTimestamp), "{bad}");
    }
    // A record's timestamp that is not needed may be anything, and does not matter.
    let told = update(r#""timestamp":"2026-11-23T13:51:27Z""#);
    let told = |ms: i64| decode(Some(told.as_bytes()), ms, &Limits::default()).unwrap();
    assert_eq!(told(-1), told(7));
    // Taken from the record it is part of the event.
    assert_ne!(by_record(1).unwrap().digest, by_record(2).unwrap().digest);
    // The clock of an event without one is its time, also where that is zero.
    assert_eq!(by_record(0).unwrap().clock, Clock::unclocked(0));
}

#[test]
fn of_several_faults_the_first_of_the_table_counts() {
    refused(r#"{"vector_clock":[],"version":-1,"tags":1,"event_type":5}"#, Class::MissingField, "`event_id`");
    refused(&update(r#""vector_clock":"{","version":-1"#), Class::BadCounter, "`version`");
    refused(&update(r#""version":-1,"timestamp":"x","tags":0"#), Class::BadTimestamp, "`timestamp`");
    refused(r#"{"event_id":5,"x":[}"#, Class::MalformedJson, "no JSON value at byte 19");
    // Known fields are checked in an event of any type.
    refused(&with("memory.deleted", r#""content":5"#), Class::WrongType, "`content`");
    refused(&with("agent.started", r#""tags":5"#), Class::WrongType, "`tags`");
}

#[test]
fn messages_stay_short_and_plain() {
    let long = "x".repeat(100_000);
    for members in [
        format!(r#""timestamp":"{long}""#),
        format!(r#""version":{}"#, "9".repeat(200)),
        format!(r#""vector_clock":{{"{long}":-1}}"#),
        format!(r#""vector_clock":{{"\n\u0000{long}":null}}"#),
        format!(r#""importance":"{long}""#),
    ] {
        let bad = read(&update(&members)).unwrap_err();
        assert!(bad.message.chars().count() < 300, "{}", bad.message);
        assert!(!bad.message.chars().any(char::is_control), "{}", bad.message);
    }
}

#[test]
fn classes_have_the_names_of_the_page() {
    let names = "empty_value malformed_json too_deep wrong_type missing_field bad_counter bad_timestamp bad_envelope \
                 too_many_clock_entries too_large unknown_schema malformed_avro expired output_too_large";
    assert_eq!(Class::ALL.map(Class::as_str).join(" "), names);
}
