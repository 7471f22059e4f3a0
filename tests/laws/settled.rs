//! What `helixstream conflicts resolve` publishes ends the conflict, whatever it is about, and
//! twice is as good as once.

use memory::event::Limits;
use memory::state::Layout;
use memory::strategy::{Contender, CustomResolver, Resolution, ResolverFailure};
use memory_operators::settlement::{self, Conflict, Decision};

use crate::ours;
use reference_model::{Record, Strategy, generate};

struct Ask;

impl CustomResolver for Ask {
    fn resolve(&self, _: &str, _: &[Contender<'_>]) -> Result<Resolution, ResolverFailure> {
        Ok(Resolution::Defer)
    }
}

fn parse(text: &str) -> Conflict<'_> {
    serde_json::from_str(text).expect("is a conflict record")
}

/// The conflicts whose only record is pending. Events of one id and time that differ make conflicts
/// of one id, of which the last may stand or not.
fn pending(run: &ours::Run) -> Vec<&str> {
    let records = |id: &str| run.conflicts.iter().filter(|(_, text, _)| parse(text).conflict_id == id).count();
    let texts = run.conflicts.iter().map(|(_, text, _)| text.as_str());
    texts.filter(|text| parse(text).status == "pending" && records(&parse(text).conflict_id) == 1).collect()
}

#[test]
fn a_settlement_supersedes_its_conflict() {
    let (mut settled, mut refused) = (0, 0);
    for seed in testkit::seeds(2_000) {
        let mut stream = generate::stream(seed, 14, false);
        stream.settings.strategy = Strategy::Custom(|_, _| reference_model::Decision::Defer);
        stream.settings.overrides.clear();
        let (max_clock_entries, max_value_bytes) = (stream.settings.max_clock_entries, stream.settings.max_value_bytes);
        let limits = Limits { max_clock_entries, max_value_bytes };
        let run = |records: &[Record]| ours::run_with(records, &stream.settings, Layout::default(), Some(&Ask));
        let before = run(&stream.records);
        for text in pending(&before) {
            let conflict = parse(text);
            let winner = conflict.fields.first().and_then(|field| field.contenders.first()).map(|c| c.event_id.clone());
            let decision = Decision { values: &[], winner: winner.as_deref() };
            let Ok(settlement) = settlement::settle_conflict(&conflict, &decision, &limits) else {
                refused += 1;
                continue;
            };
            let event = Record { timestamp_ms: 1_800_000_000_000, value: Some(settlement.event), ..Record::default() };
            let mut records = stream.records.clone();
            records.push(event.clone());
            let once = run(&records);
            let last = once.conflicts.iter().rev().find(|(_, t, _)| parse(t).conflict_id == conflict.conflict_id);
            let last = parse(&last.expect("is there").1);
            assert_eq!(last.superseded_by.as_deref(), Some(settlement.event_id.as_str()), "stream {seed}: {text}");
            records.push(Record { timestamp_ms: 1_900_000_000_000, ..event });
            let twice = run(&records);
            assert_eq!((once.snapshots, once.conflicts, once.rows), (twice.snapshots, twice.conflicts, twice.rows));
            settled += 1;
        }
    }
    // No event clears an entity by its id, and one that is above the limits is refused before it is
    // published.
    assert!(settled > 500 && refused < settled / 4, "{settled} settled, {refused} refused");
}

const CONFLICT: &str = r#"{"conflict_id":"c","memory_id":"m","conflict_type":"concurrent_update","status":"pending",
    "detected_at":"2026-01-01T00:00:02Z","resolved_version":{"vector_clock":{"x":9},"version":99},"fields":[
    {"path":"content","value":"b","reason":"r","contenders":[
      {"event_id":"a","timestamp":"2026-01-01T00:00:01Z","value":"a","vector_clock":{"n1":3,"n2":1},"version":7},
      {"event_id":"b","timestamp":"2026-01-01T00:00:02.5Z","value":"b","vector_clock":{"n2":2,"~":5},"version":5}]},
    {"path":"embedding","value":[1],"reason":"r","contenders":[
      {"event_id":"b","timestamp":"2026-01-01T00:00:02.5Z","value":[1],"vector_clock":{"n2":2,"~":5},"version":5}]},
    {"path":"metadata.a.b","value":1,"reason":"r","contenders":[
      {"event_id":"a","timestamp":"2026-01-01T00:00:01Z","value":2,"vector_clock":{"n1":3,"n2":1},"version":7}]}]}"#;

fn settled(text: &str, values: &[(&str, &str)], winner: Option<&str>) -> Result<String, String> {
    let values: Vec<(String, String)> = values.iter().map(|(p, v)| ((*p).to_owned(), (*v).to_owned())).collect();
    let settlement =
        settlement::settle_conflict(&parse(text), &Decision { values: &values, winner }, &Limits::default())?;
    Ok(String::from_utf8(settlement.event).expect("is UTF-8"))
}

#[test]
fn it_has_seen_all_contenders_and_follows_from_the_decision_alone() {
    let expected = r#"{"content":"mine","embedding":null,"event_id":"resolve-c","event_type":"memory.updated","memory_id":"m","metadata":{"a.b":2},"node_id":"resolver:c","timestamp":"2026-01-01T00:00:02.500000001Z","vector_clock":{"n1":3,"n2":2,"resolver:c":1,"~":5},"version":8}"#;
    let made = settled(CONFLICT, &[("content", "\"mine\""), ("metadata.a.b", "2.0")], None);
    assert_eq!(made.as_deref(), Ok(expected));
    // The winner's own embedding stays with its text; what it did not write stays as it shows.
    let made = settled(CONFLICT, &[], Some("b")).unwrap();
    assert!(made.contains(r#""content":"b","embedding":[1],"#) && made.contains(r#""metadata":{"a.b":1}"#), "{made}");
    let made = settled(CONFLICT, &[], Some("a")).unwrap();
    assert!(made.contains(r#""content":"a","embedding":null,"#) && made.contains(r#""metadata":{"a.b":2}"#), "{made}");
}

#[test]
fn who_is_not_listed_is_stood_for_by_the_resolved_memory() {
    let clock = r#""vector_clock":{"resolver:c":1,"x":9},"version":100"#;
    let many = CONFLICT.replacen("\"reason\":\"r\",", "\"reason\":\"r\",\"contenders_total\":101,", 1);
    assert!(settled(&many, &[], Some("a")).unwrap().contains(clock));
    let against =
        CONFLICT.replacen("\"fields\"", "\"delete_update\":{\"deletes\":[\"a\"],\"updates\":[\"b\"]},\"fields\"", 1);
    assert!(settled(&against, &[], Some("a")).unwrap().contains(clock));
}

#[test]
fn a_decision_that_does_not_fit_is_told() {
    let why = |values: &[(&str, &str)], winner| settled(CONFLICT, values, winner).unwrap_err();
    assert!(
        why(&[], None)
            .contains("the decision is missing: name a --winner, or a --value for content, embedding, metadata.a.b")
    );
    assert!(why(&[("tags", "[]")], None).contains("`tags` is not a field in conflict"));
    assert!(why(&[("content", "mine")], None).contains("the value of `content`: mine is not JSON"));
    assert!(why(&[("content", "1")], None).contains("an event with this decision would not be valid"));
    assert!(why(&[], Some("d")).contains("the event `d` is not one of the contenders"));
    let entity = CONFLICT.replacen("\"path\":\"content\"", "\"path\":\"entities.e1\"", 1);
    let why = settled(&entity, &[("entities.e1", "{\"id\":\"e2\"}")], None).unwrap_err();
    assert_eq!(why, "the value of `entities.e1` must be an object whose `id` is `e1`");
}
