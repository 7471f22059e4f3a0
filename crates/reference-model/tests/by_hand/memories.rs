//! The reference model holds the clear-cut sentences of docs/semantics.md: a model that is wrong
//! proves nothing.

use helixstream_reference_model::json::{self, Json};
use helixstream_reference_model::{Decision, DeletePolicy, Event, Outputs, Record, Settings, Strategy, Unclocked};
use helixstream_reference_model::{decode, generate, generate_bad, resolved, run};
use std::collections::{BTreeMap, BTreeSet};
use testkit::Random;

const BASE: &str = "2023-11-14T22:13:2";

/// A record holding `value`, at offset `offset`, 2023-11-14T22:13:30Z.
fn record(offset: i64, value: &str) -> Record {
    let settings = Settings::default();
    Record {
        topic: settings.events_topic,
        offset,
        timestamp_ms: 1_700_000_010_000,
        value: Some(value.as_bytes().to_vec()),
        ..Record::default()
    }
}

/// An event's JSON: `second` is the digit after 22:13:2, `rest` further members.
fn event(id: &str, kind: &str, memory: &str, second: u8, rest: &str) -> String {
    let comma = if rest.is_empty() { "" } else { "," };
    format!(
        r#"{{"event_id":"{id}","event_type":"{kind}","memory_id":"{memory}","timestamp":"{BASE}{second}Z"{comma}{rest}}}"#
    )
}

fn outputs(settings: &Settings, values: &[String]) -> Outputs {
    let records: Vec<Record> = values.iter().enumerate().map(|(i, v)| record(i as i64, v)).collect();
    run(&records, settings)
}

fn lww() -> Settings {
    Settings { strategy: Strategy::LastWriteWins, ..Settings::default() }
}

fn members(text: &str) -> BTreeMap<String, Json> {
    match json::parse(text.as_bytes(), 1000) {
        Ok(Json::Obj(members)) => members,
        other => panic!("{other:?}"),
    }
}

/// The member of the last snapshot of `memory`, canonical.
fn last(out: &Outputs, memory: &str, member: &str) -> Option<String> {
    let snapshot = out.snapshots.iter().rev().find(|s| s.key == memory).expect("a snapshot");
    members(&snapshot.value).get(member).map(Json::canonical)
}

fn class(value: &str) -> &'static str {
    decode(&record(0, value), &Settings::default()).map_or_else(|bad| bad.class, |_| "good")
}

#[test]
fn canonical_json_is_as_section_4_says() {
    let canonical = |text: &str| json::parse(text.as_bytes(), 128).map(|v| v.canonical());
    for one in ["1", "1.0", "1e0", "10e-1"] {
        assert_eq!(canonical(one).as_deref(), Ok("1"));
    }
    for zero in ["-0", "-0.0", "0", "1e-999"] {
        assert_eq!(canonical(zero).as_deref(), Ok("0"));
    }
    assert_eq!(canonical("18446744073709551615").as_deref(), Ok("18446744073709551615"));
    assert_eq!(canonical("18446744073709551616").as_deref(), Ok("18446744073709552000"));
    assert_eq!(canonical("[1e21, 1e-7, 0.1]").as_deref(), Ok("[1e+21,1e-7,0.1]"));
    assert_eq!(canonical(r#"{"b":1, "a":2, "b":3}"#).as_deref(), Ok(r#"{"a":2,"b":3}"#));
    let text = r#""\u0000\u001F\u007f\/\b\f\n\r\t\"\\\ud83c\udf75é""#;
    assert_eq!(canonical(text).unwrap(), "\"\\u0000\\u001f\u{7f}/\\b\\f\\n\\r\\t\\\"\\\\\u{1f375}é\"");
    for bad in ["01", "1.", ".5", "1e999", r#""\ud800""#, r#""\udc00""#, "[1,]", "{}{}", "", "\"\u{1}\""] {
        assert_eq!(canonical(bad), Err(json::ParseError::Malformed), "{bad}");
    }
}

#[test]
fn times_are_read_and_written_to_nanoseconds() {
    use helixstream_reference_model::time::{format, parse};
    assert_eq!(parse("1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(parse("2023-11-14T22:13:20.0000000019Z"), Some(1_700_000_000_000_000_001));
    assert_eq!(parse("2023-11-15T03:43:20+05:30"), Some(1_700_000_000_000_000_000));
    assert_eq!(parse("2262-04-11T23:47:16.854775807Z"), Some(i64::MAX));
    assert_eq!(parse("2024-02-29T00:00:00Z"), Some(1_709_164_800_000_000_000));
    for bad in
        ["2262-04-11T23:47:16.854775808Z", "1969-12-31T23:59:59Z", "2023-02-29T00:00:00Z", "2023-11-14T22:13:60Z"]
    {
        assert_eq!(parse(bad), None, "{bad}");
    }
    assert_eq!(format(i64::MAX), "2262-04-11T23:47:16.854775807Z");
    assert_eq!(format(1_709_164_800_500_000_000), "2024-02-29T00:00:00.5Z");
    assert_eq!(format(0), "1970-01-01T00:00:00Z");
}

#[test]
fn bad_input_has_its_class() {
    let with = |rest: &str| class(&event("e", "memory.updated", "m", 0, rest));
    assert_eq!(with(""), "good");
    assert_eq!(class(""), "empty_value");
    assert_eq!(class("{"), "malformed_json");
    assert_eq!(class("[]"), "wrong_type");
    assert_eq!(class(r#"{"event_type":"memory.updated","memory_id":"m"}"#), "missing_field");
    assert_eq!(class(&event("e", "memory.updated", "", 0, "")), "missing_field");
    assert_eq!(class(&event("e", "memory.unheard_of", "", 0, "")), "missing_field");
    assert_eq!(class(&event("e", "memory.sync_request", "", 0, "")), "good");
    assert_eq!(class(&event("e", "entity.created", "", 0, "")), "good");
    assert_eq!(with(r#""tags":[1]"#), "wrong_type");
    assert_eq!(with(r#""version":1.0"#), "bad_counter");
    assert_eq!(with(r#""version":9223372036854775807"#), "good");
    assert_eq!(with(r#""version":9223372036854775808"#), "bad_counter");
    assert_eq!(with(r#""vector_clock":"{\"n\":-1}""#), "bad_counter");
    assert_eq!(with(r#""vector_clock":"[]""#), "wrong_type");
    assert_eq!(with(r#""vector_clock":"x""#), "malformed_json");
    assert_eq!(with(r#""tags":[1],"tags":[]"#), "good");
    assert_eq!(class(r#"{"event_id":"e","event_type":"x","timestamp":"2023"}"#), "bad_timestamp");
    assert_eq!(class(r#"{"payload":"e30"}"#), "bad_envelope");
    assert_eq!(class(r#"{"payload":"e30="}"#), "missing_field");
    assert_eq!(class(r#"{"payload":"e30=","event_id":null}"#), "missing_field");
    let nested = |n: usize| with(&format!(r#""x":{}{}"#, "[".repeat(n), "]".repeat(n)));
    assert_eq!((nested(127), nested(128)), ("good", "too_deep"));
    let small = Settings { max_value_bytes: 10, max_clock_entries: 1, ..Settings::default() };
    let of = |value: &str| decode(&record(0, value), &small).map_err(|bad| bad.class).err();
    assert_eq!(of("           "), Some("too_large"));
    let many = Settings { max_clock_entries: 1, ..Settings::default() };
    let two = event("e", "memory.updated", "m", 0, r#""vector_clock":{"a":1,"b":2}"#);
    assert_eq!(decode(&record(0, &two), &many).map_err(|bad| bad.class).err(), Some("too_many_clock_entries"));
    let mut late = record(0, r#"{"event_id":"e","event_type":"x"}"#);
    late.timestamp_ms = -1;
    assert_eq!(decode(&late, &many).map_err(|bad| bad.class).err(), Some("bad_timestamp"));
}

#[test]
fn a_bad_record_goes_to_the_dead_letters_as_it_is() {
    let mut bad = record(7, "nonsense");
    bad.timestamp_ms = -1;
    bad.headers = vec![("h".to_owned(), vec![255])];
    let out = run(&[bad.clone(), record(8, &event("e", "memory.created", "m", 0, ""))], &lww());
    assert_eq!((out.dead_letters.len(), out.snapshots.len()), (1, 1));
    let letter = &out.dead_letters[0];
    assert_eq!((letter.class.as_str(), letter.offset, letter.timestamp_ms), ("malformed_json", 7, 1));
    assert_eq!((letter.source_timestamp_ms, &letter.value, &letter.headers), (-1, &bad.value, &bad.headers));
}

#[test]
fn a_later_write_replaces_and_an_absent_field_stays() {
    let out = outputs(
        &lww(),
        &[
            event("e1", "memory.created", "m", 0, r#""content":"a","session_id":"s","vector_clock":{"n":1}"#),
            event("e2", "memory.updated", "m", 1, r#""content":"b","session_id":"","vector_clock":{"n":2}"#),
            event("e3", "memory.updated", "m", 2, r#""session_id":null,"vector_clock":{"n":3}"#),
        ],
    );
    assert_eq!(out.snapshots.len(), 3);
    assert_eq!(members(&out.snapshots[1].value)["session_id"].canonical(), "\"s\"");
    assert_eq!(last(&out, "m", "content").as_deref(), Some("\"b\""));
    assert_eq!(last(&out, "m", "session_id"), None);
    assert_eq!(last(&out, "m", "event_ids").as_deref(), Some(r#"["e3"]"#));
    assert_eq!(last(&out, "m", "conflicted_fields").as_deref(), Some("[]"));
    assert!(out.conflicts.is_empty());
}

#[test]
fn redelivery_emits_nothing() {
    let e = event("e1", "memory.created", "m", 0, r#""content":"a","tags":["y","x"]"#);
    let again = event("e1", "memory.created", "m", 0, r#""tags":["x","y","x"],"content":"\u0061","unknown":1"#);
    let out = outputs(&lww(), &[e.clone(), again, e]);
    assert_eq!((out.snapshots.len(), out.conflicts.len()), (1, 0));
}

#[test]
fn concurrent_updates_conflict_and_a_third_supersedes() {
    let out = outputs(
        &lww(),
        &[
            event(
                "a",
                "memory.created",
                "m",
                0,
                r#""content":"a","importance":0.5,"vector_clock":{"n1":1},"node_id":"n1""#,
            ),
            event("b", "memory.updated", "m", 1, r#""content":"b","vector_clock":{"n2":1}"#),
            event("d", "memory.updated", "m", 2, r#""content":"d","vector_clock":{"n1":1,"n2":2}"#),
        ],
    );
    assert_eq!(out.conflicts.len(), 2);
    assert_eq!(members(&out.snapshots[1].value)["conflicted_fields"].canonical(), r#"["content"]"#);
    let first = members(&out.conflicts[0].value);
    assert_eq!(first["conflict_type"].canonical(), "\"concurrent_update\"");
    assert_eq!(
        (first["local_event_id"].canonical(), first["remote_event_id"].canonical()),
        ("\"a\"".into(), "\"b\"".into())
    );
    assert_eq!(first["resolved_version"].canonical(), out.snapshots[1].value);
    let fields = r#"[{"contenders":[{"event_id":"a","importance":0.5,"node_id":"n1","source":{"offset":0,"partition":0,"topic":"helixagent.memory.events"},"timestamp":"2023-11-14T22:13:20Z","value":"a","vector_clock":{"n1":1},"version":0},{"event_id":"b","source":{"offset":1,"partition":0,"topic":"helixagent.memory.events"},"timestamp":"2023-11-14T22:13:21Z","value":"b","vector_clock":{"n2":1},"version":0}],"path":"content","value":"b","winner_event_id":"b"}]"#;
    let normal = members(&helixstream_reference_model::run::normalise_conflict(&out.conflicts[0].value));
    assert_eq!(normal["fields"].canonical(), fields);
    let expected = r#"{"conflict_id":"ID","conflict_type":"concurrent_update","detected_at":"2023-11-14T22:13:21Z","local_event_id":"a","memory_id":"m","remote_event_id":"b","resolution_strategy":"last_write_wins","resolved_at":"2023-11-14T22:13:22Z","resolved_by":"helixagent-memory","status":"superseded","superseded_by":"d"}"#;
    let Json::Str(id) = &first["conflict_id"] else { panic!("an id") };
    assert_eq!(out.conflicts[1].value.replace(id, "ID"), expected);
    assert_eq!(out.conflicts[1].timestamp_ms, 1_700_000_002_000);
}

#[test]
fn a_clock_reset_is_no_order_unless_clocks_are_trusted() {
    let late = r#""content":"late","version":5,"vector_clock":{"n":9}"#;
    let reset = r#""content":"reset","version":6,"vector_clock":{"n":1}"#;
    let values = [event("a", "memory.created", "m", 0, late), event("b", "memory.updated", "m", 9, reset)];
    let out = outputs(&lww(), &values);
    assert_eq!(last(&out, "m", "content").as_deref(), Some("\"reset\""));
    assert_eq!(members(&out.conflicts[0].value)["conflict_type"].canonical(), "\"clock_regression\"");
    let trusting = outputs(&Settings { trust_clocks: true, ..lww() }, &values);
    assert_eq!(last(&trusting, "m", "content").as_deref(), Some("\"late\""));
    assert!(trusting.conflicts.is_empty());
    // Within the skew the vector clocks are believed: no conflict, and both stay in the frontier.
    let near = [values[0].clone(), event("b", "memory.updated", "m", 2, reset)];
    let skewed = outputs(&lww(), &near);
    assert_eq!(last(&skewed, "m", "content").as_deref(), Some("\"late\""));
    assert_eq!(last(&skewed, "m", "event_ids").as_deref(), Some(r#"["a","b"]"#));
    assert!(skewed.conflicts.is_empty());
    assert_eq!(outputs(&Settings { max_clock_skew_ns: 0, ..lww() }, &near).conflicts.len(), 1);
}

#[test]
fn a_writer_without_a_clock_is_placed_by_time() {
    let values = [
        event("a", "memory.created", "m", 0, r#""content":"clocked","vector_clock":{"n":1}"#),
        event("b", "memory.updated", "m", 1, r#""content":"plain""#),
    ];
    let out = outputs(&lww(), &values);
    assert_eq!(last(&out, "m", "content").as_deref(), Some("\"plain\""));
    assert_eq!(last(&out, "m", "vector_clock").as_deref(), Some(r#"{"n":1,"~":1700000001000000000}"#));
    assert!(out.conflicts.is_empty());
    let concurrent = outputs(&Settings { unclocked: Unclocked::Concurrent, ..lww() }, &values);
    assert_eq!(concurrent.conflicts.len(), 1);
}

#[test]
fn a_delete_removes_what_it_has_seen() {
    let values = [
        event("a", "memory.created", "m", 0, r#""content":"a","user_id":"u","vector_clock":{"n1":1}"#),
        event("d", "memory.deleted", "m", 1, r#""content":"no","vector_clock":{"n1":2}"#),
        event("b", "memory.updated", "m", 2, r#""tags":["t"],"vector_clock":{"n2":1}"#),
    ];
    let out = outputs(&lww(), &values);
    let keys = |text: &str| members(text).into_keys().collect::<Vec<_>>();
    let deleted =
        ["created_at", "event_ids", "memory_id", "status", "updated_at", "user_id", "vector_clock", "version"];
    assert_eq!(keys(&out.snapshots[1].value), deleted);
    assert_eq!(last(&out, "m", "status").as_deref(), Some("\"active\""));
    assert_eq!(last(&out, "m", "content"), None);
    assert_eq!(last(&out, "m", "tags").as_deref(), Some(r#"["t"]"#));
    let conflict = members(&out.conflicts[0].value);
    assert_eq!(conflict["conflict_type"].canonical(), "\"delete_update\"");
    assert_eq!(conflict["delete_update"].canonical(), r#"{"deletes":["d"],"updates":["b"]}"#);
    assert_eq!(conflict["fields"].canonical(), "[]");
    let wins = outputs(&Settings { delete_policy: DeletePolicy::DeleteWins, ..lww() }, &values);
    assert_eq!(last(&wins, "m", "status").as_deref(), Some("\"deleted\""));
}

#[test]
fn merges_absorb_and_two_may_absorb_each_other() {
    let settings = Settings { delete_policy: DeletePolicy::DeleteWins, ..lww() };
    let values = [
        event("x", "memory.merged", "a", 0, r#""merged_from":["b","","a"],"vector_clock":{"n1":1}"#),
        event("y", "memory.merged", "b", 1, r#""merged_from":["a"],"vector_clock":{"n2":1}"#),
    ];
    let out = outputs(&settings, &values);
    let keys: Vec<&str> = out.snapshots.iter().map(|s| s.key.as_str()).collect();
    assert_eq!(keys, ["a", "b", "b", "a"]);
    for (memory, target) in [("a", "\"b\""), ("b", "\"a\"")] {
        assert_eq!(last(&out, memory, "status").as_deref(), Some("\"merged\""));
        assert_eq!(last(&out, memory, "merged_into").as_deref(), Some(target));
    }
    assert_eq!(out.conflicts.len(), 2);
}

fn with_strategy(strategy: Strategy) -> Settings {
    Settings { strategy, ..Settings::default() }
}

#[test]
fn each_strategy_picks_as_its_row_says() {
    let values = [
        event("a", "memory.created", "m", 3, r#""content":"aa","importance":1,"tags":["x"],"vector_clock":{"n1":1}"#),
        event("b", "memory.created", "m", 2, r#""content":"bbb","importance":2,"tags":["y"],"vector_clock":{"n2":1}"#),
        event("c", "memory.created", "m", 1, r#""content":"c","importance":null,"tags":null,"vector_clock":{"n3":7}"#),
    ];
    let content = |strategy| last(&outputs(&with_strategy(strategy), &values), "m", "content");
    assert_eq!(content(Strategy::LastWriteWins).as_deref(), Some("\"aa\""));
    assert_eq!(content(Strategy::Importance).as_deref(), Some("\"bbb\""));
    assert_eq!(content(Strategy::VectorClock).as_deref(), Some("\"c\""));
    assert_eq!(content(Strategy::MergeAll).as_deref(), Some("\"bbb\""));
    let merged = outputs(&with_strategy(Strategy::MergeAll), &values);
    assert_eq!(last(&merged, "m", "tags").as_deref(), Some(r#"["x","y"]"#));
    assert_eq!(last(&merged, "m", "importance").as_deref(), Some("2"));
    let mut overridden = with_strategy(Strategy::MergeAll);
    overridden.overrides.insert("content".to_owned(), Strategy::LastWriteWins);
    assert_eq!(last(&outputs(&overridden, &values), "m", "content").as_deref(), Some("\"aa\""));
}

#[test]
fn an_override_of_a_container_yields_to_that_of_a_path() {
    let mut settings = lww();
    settings.overrides.insert("entities".to_owned(), Strategy::MergeAll);
    settings.overrides.insert("entities.y".to_owned(), Strategy::LastWriteWins);
    let sure = r#""entities":[{"id":"x","confidence":1},{"id":"y","confidence":1}],"vector_clock":{"n1":1}"#;
    let unsure = r#""entities":[{"id":"x"},{"id":"y"}],"vector_clock":{"n2":1}"#;
    let out =
        outputs(&settings, &[event("a", "entity.created", "m", 0, sure), event("b", "entity.created", "m", 1, unsure)]);
    assert_eq!(last(&out, "m", "entities").as_deref(), Some(r#"[{"confidence":1,"id":"x"},{"id":"y"}]"#));
}

#[test]
fn a_custom_resolver_is_asked_in_conflict_only() {
    let values = [
        event("a", "memory.created", "m", 0, r#""content":"a","session_id":"s","vector_clock":{"n1":1}"#),
        event("b", "memory.created", "m", 1, r#""content":"b","session_id":"s","vector_clock":{"n2":1}"#),
    ];
    let joined = outputs(&with_strategy(Strategy::Custom(|_, _| Decision::Value(Json::str("both")))), &values);
    assert_eq!(last(&joined, "m", "content").as_deref(), Some("\"both\""));
    assert_eq!(last(&joined, "m", "session_id").as_deref(), Some("\"s\""));
    let deferred = outputs(&with_strategy(Strategy::Custom(|_, _| Decision::Defer)), &values);
    assert_eq!(last(&deferred, "m", "content").as_deref(), Some("\"b\""));
    assert_eq!(members(&deferred.conflicts[0].value)["status"].canonical(), "\"pending\"");
}

#[test]
fn an_embedding_belongs_to_its_text() {
    let first = event("a", "memory.created", "m", 0, r#""content":"a","embedding":[1],"vector_clock":{"n":1}"#);
    let retold = event("b", "memory.updated", "m", 1, r#""content":"b","vector_clock":{"n":2}"#);
    let embedded = event("c", "memory.updated", "m", 2, r#""embedding":[2],"vector_clock":{"n":3}"#);
    let stale = outputs(&lww(), &[first.clone(), retold.clone()]);
    assert_eq!(last(&stale, "m", "embedding"), None);
    let fresh = outputs(&lww(), &[first, retold, embedded]);
    assert_eq!(last(&fresh, "m", "embedding").as_deref(), Some("[2]"));
}

#[test]
fn relationship_deleted_clears_and_a_null_metadata_key_too() {
    let made = r#""relationships":[{"id":"r"},{"id":"s"}],"metadata":{"k":1,"l":2},"vector_clock":{"n":1}"#;
    let removed = r#""relationships":[{"id":"r"}],"metadata":{"k":null},"vector_clock":{"n":2}"#;
    let out = outputs(
        &lww(),
        &[event("a", "memory.created", "m", 0, made), event("b", "relationship.deleted", "m", 1, removed)],
    );
    assert_eq!(last(&out, "m", "relationships").as_deref(), Some(r#"[{"id":"s"}]"#));
    assert_eq!(last(&out, "m", "metadata").as_deref(), Some(r#"{"l":2}"#));
}

fn good_events(stream: &generate::Stream) -> Vec<Event> {
    stream.records.iter().filter_map(|r| decode(r, &stream.settings).ok()).collect()
}

/// The law above all others, and what `run` shows last is what the set of events says.
#[test]
fn resolved_is_a_function_of_the_set_and_run_ends_there() {
    for seed in testkit::seeds(3000) {
        let stream = generate::stream(seed, 12, true);
        let out = run(&stream.records, &stream.settings);
        let mut events = good_events(&stream);
        assert_eq!(events.len() + out.dead_letters.len(), stream.records.len());
        let mut rng = Random::new(seed);
        for memory in generate::MEMORIES {
            let shown = out.snapshots.iter().rev().find(|s| s.key == memory).map(|s| s.value.clone());
            assert_eq!(resolved(memory, &events, &stream.settings), shown, "seed {seed}");
            events.extend(events.first().cloned());
            rng.shuffle(&mut events);
            assert_eq!(resolved(memory, &events, &stream.settings), shown, "seed {seed}, shuffled");
        }
    }
}

/// The generator reaches what it is there to reach; without this a comparison could pass by
/// comparing little.
#[test]
fn generated_streams_reach_every_corner() {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for seed in testkit::seeds(6000) {
        let stream = generate::stream(seed, 12, true);
        let out = run(&stream.records, &stream.settings);
        seen.extend(out.dead_letters.iter().map(|d| d.class.clone()));
        for conflict in &out.conflicts {
            let conflict = members(&conflict.value);
            seen.insert(conflict["conflict_type"].canonical());
            seen.insert(conflict["status"].canonical());
            seen.extend(conflict.keys().cloned());
            seen.extend(
                conflict.get("fields").filter(|f| f.canonical().contains("contenders_total")).map(|_| "cut".into()),
            );
        }
        for snapshot in &out.snapshots {
            seen.extend(members(&snapshot.value).into_iter().map(|(name, value)| match (name.as_str(), value) {
                ("status", value) => value.canonical(),
                _ => name,
            }));
        }
    }
    let classes = "empty_value malformed_json too_deep wrong_type missing_field bad_counter bad_timestamp bad_envelope \
                   too_many_clock_entries too_large unknown_schema malformed_avro";
    let conflicts = "\"equivocation\" \"clock_regression\" \"delete_update\" \"concurrent_update\" \"superseded\" delete_update cut";
    let snapshots = "\"active\" \"deleted\" \"merged\" user_id session_id content embedding importance tags entities \
                     relationships metadata merged_from merged_into conflicted_fields";
    for name in [classes, conflicts, snapshots].into_iter().flat_map(str::split_whitespace) {
        assert!(seen.contains(name), "never seen: {name}");
    }
}

#[test]
fn the_edges_of_the_limits_are_good() {
    let mut rng = Random::new(testkit::seed());
    for seed in testkit::seeds(50) {
        let settings = generate::settings(&mut Random::new(seed));
        for value in [generate_bad::deepest(&mut rng), generate_bad::render_padded(&mut rng, settings.max_value_bytes)]
        {
            let record = Record { value: Some(value), timestamp_ms: 1, ..Record::default() };
            assert!(decode(&record, &settings).is_ok());
        }
    }
}

#[test]
fn record_files_come_back_as_they_were() {
    for seed in testkit::seeds(100) {
        let stream = generate::stream(seed, 12, true);
        let text = helixstream_reference_model::files::write_records(&stream.records);
        let back = helixstream_reference_model::files::read_records(&text, &stream.settings.events_topic);
        assert_eq!(format!("{:?}", stream.records), format!("{back:?}"));
    }
}

/// Genuine records decode, every one, and the model manages memories of their size.
#[test]
fn the_samples_run_through() {
    let settings = Settings::default();
    let text = include_str!("../../../../tests/fixtures/helixagent-events.jsonl");
    let records = helixstream_reference_model::files::read_records(text, &settings.events_topic);
    let out = run(&records, &settings);
    assert_eq!((records.len(), out.dead_letters.len()), (305, 0));
    let state = records.iter().filter(|r| decode(r, &settings).is_ok_and(|e| e.own_memory().is_some())).count();
    assert!(out.snapshots.len() > state / 2 && !out.conflicts.is_empty());
}
