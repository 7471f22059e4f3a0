//! Snapshots as the stream makes them, whole and in parts, and what is refused.

use memory::users::{Heading as SnapshotHeading, Snapshot};

use super::{MAX_MEMORY_BYTES, SnapshotFault, UserSnapshot};

const HEADING: SnapshotHeading<'static> =
    SnapshotHeading { application_id: "app", user: "u", timestamp: 1_800_000_000_123_000_000 };

fn memory(id: &str, more: &str) -> (String, Vec<u8>) {
    let json = format!(
        r#"{{"conflicted_fields":[],"content":"of {id}","created_at":"2026-01-01T00:00:00Z","event_ids":["e"],"memory_id":"{id}",{more}"status":"active","updated_at":"2026-01-02T00:00:00Z","user_id":"u","vector_clock":{{"{id}":1,"n":2}},"version":7}}"#
    );
    (id.to_owned(), json.into_bytes())
}

fn memories() -> Vec<(String, Vec<u8>)> {
    let metadata = r#""metadata":{"k":[1,{"a":null}]},"relationships":[{"id":"r","strength":1}],"#;
    vec![memory("a", ""), memory("b", metadata), memory("c", r#""session_id":"s","#), memory("d", "")]
}

/// The parts of a snapshot in which two of its memories find room.
fn parts(memories: &[(String, Vec<u8>)]) -> Vec<String> {
    let snapshot = Snapshot::new(HEADING, memories.iter().map(|(id, json)| (id.as_str(), &json[..]))).unwrap();
    let parts = snapshot.parts(|json| json.windows(13).filter(|text| text == b"\"memory_id\":\"").count() <= 2);
    parts.into_iter().map(|part| String::from_utf8(part).unwrap()).collect()
}

fn whole(memories: &[(String, Vec<u8>)]) -> String {
    let snapshot = Snapshot::new(HEADING, memories.iter().map(|(id, json)| (id.as_str(), &json[..]))).unwrap();
    String::from_utf8(snapshot.parts(|_| true).remove(0)).unwrap()
}

fn fault(text: &str) -> SnapshotFault {
    UserSnapshot::read(text.as_bytes()).expect_err(text)
}

#[test]
fn a_snapshot_is_read_whole_and_in_parts_of_any_order() {
    let memories = memories();
    let read = UserSnapshot::read(whole(&memories).as_bytes()).unwrap();
    assert_eq!(read.user_id(), "u");
    let same: Vec<(String, Vec<u8>)> =
        read.memories.iter().map(|one| (one.memory_id.clone(), one.json.clone().into_bytes())).collect();
    assert_eq!(same, memories, "byte for byte");
    let mut parts = parts(&memories);
    assert!(parts.len() > 1, "{parts:?}");
    parts.reverse();
    assert_eq!(UserSnapshot::read(format!("[{}]", parts.join(" , ")).as_bytes()).unwrap(), read);
    assert_eq!(UserSnapshot::read(format!("[{}]", whole(&memories)).as_bytes()).unwrap(), read);
    assert!(UserSnapshot::read(whole(&[]).as_bytes()).unwrap().memories.is_empty());
}

#[test]
fn parts_that_are_missing_or_mixed_are_refused() {
    let parts = parts(&memories());
    let [one, two] = &parts[..] else { panic!("{parts:?}") };
    let array = |parts: &[&str]| format!("[{}]", parts.join(","));
    for there in [vec![one.as_str()], vec![two], vec![one, one], vec![one, two, two]] {
        assert!(matches!(fault(&array(&there)), SnapshotFault::Incomplete(_)), "{there:?}");
    }
    assert!(matches!(fault(one), SnapshotFault::Incomplete(_)), "a part alone");
    let text = fault(&array(&[one])).to_string();
    assert!(text.contains("has 2 parts, and these are there: 1"), "{text}");
    let later = SnapshotHeading { timestamp: HEADING.timestamp + 1, ..HEADING };
    let others = memories();
    let other = Snapshot::new(later, others.iter().map(|(id, json)| (id.as_str(), &json[..]))).unwrap();
    let other = other.parts(|json| json.windows(13).filter(|text| text == b"\"memory_id\":\"").count() <= 2);
    let other = String::from_utf8(other[1].clone()).unwrap();
    assert_eq!(fault(&array(&[one, &other])), SnapshotFault::Mixed { part: 2, member: "snapshot_id" });
    let (from, to) = (r#""user_id":"u","vector_clock":{"a""#, r#""user_id":"v","vector_clock":{"a""#);
    let of_another_user = two.replacen(from, to, 1);
    assert_ne!(of_another_user, *two);
    assert_eq!(fault(&array(&[one, &of_another_user])), SnapshotFault::Mixed { part: 2, member: "user_id" });
}

#[test]
fn what_was_changed_or_lost_is_found() {
    let good = whole(&memories());
    let damaged = [
        // Of the snapshot.
        (r#""timestamp":"2027"#, r#""timestamp":"2028"#),
        (r#""timestamp":"2027-"#, r#""timestamp":"2027_"#),
        (r#""vector_clock":{"a":1,"b":1,"c":1,"d":1,"n":2}}"#, r#""vector_clock":{"a":1,"b":1,"c":1,"n":2}}"#),
        // Of a memory.
        (r#""memory_id":"b""#, r#""memory_id":"a""#),
        (r#""memory_id":"b""#, r#""memory_id":"""#),
        (r#""memory_id":"b""#, r#""memory_id":5"#),
        (r#""content":"of b""#, r#""content":5"#),
        (r#""content":"of b""#, r#""content":null"#),
        (r#""content":"of b""#, r#""contents":"of b""#),
        (r#""status":"active""#, r#""status":"deleted""#),
        (r#""session_id":"s""#, r#""session_id":[]"#),
        (r#"[{"id":"r","strength":1}]"#, r#"[{"id":"r","strength":"1"}]"#),
        (r#"[{"id":"r","strength":1}]"#, r#"[{"strength":1}]"#),
        (r#""metadata":{"k":[1,{"a":null}]},"rel"#, r#""metadata":[],"rel"#),
        (r#""event_ids":["e"]"#, r#""event_ids":[1]"#),
        (r#""event_ids":["e"]"#, r#""event_ids":[]"#),
        (r#""conflicted_fields":[]"#, r#""conflicted_fields":{}"#),
        (r#""version":7"#, r#""version":-7"#),
        (r#""version":7"#, r#""version":9223372036854775808"#),
        (r#""created_at":"2026-"#, r#""created_at":"2026:"#),
        (r#""vector_clock":{"b":1,"n":2},"version""#, r#""vector_clock":{},"version""#),
        (r#""vector_clock":{"b":1,"n":2},"version""#, r#""vector_clock":{"b":1,"n":1.5},"version""#),
        (r#""user_id":"u","vector_clock":{"b""#, r#""user_id":"v","vector_clock":{"b""#),
    ];
    for (from, to) in damaged {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let found = fault(&text);
        assert!(matches!(found, SnapshotFault::Damaged(_)), "{from} -> {to}: {found:?}");
    }
}

#[test]
fn a_memory_that_is_too_large_is_refused() {
    let text = whole(&memories()).replacen("of b", &"x".repeat(MAX_MEMORY_BYTES), 1);
    assert_eq!(fault(&text), SnapshotFault::Damaged("the memory \"b\": it has more than 16 MiB".to_owned()));
}

#[test]
fn what_is_no_snapshot_is_refused() {
    assert!(matches!(fault("{"), SnapshotFault::NotJson(_)));
    for text in ["[]", "1", "{}", "[1]", "[[]]", "null"] {
        assert!(matches!(fault(text), SnapshotFault::NoSnapshot(_)), "{text}");
    }
    let good = whole(&memories());
    for (from, to) in [
        (r#""node_id":"app""#, r#""node_id":"""#),
        (r#""memories":["#, r#""memory":["#),
        (r#""vector_clock":{"a":1,"b":1,"c":1,"d":1,"n":2}}"#, r#""vector_clock":[]}"#),
        (r#","node_id":"app""#, r#","metadata":{"part":1},"node_id":"app""#),
        (r#","node_id":"app""#, r#","metadata":[1,2],"node_id":"app""#),
        (r#","node_id":"app""#, r#","metadata":{"part":0,"parts":1},"node_id":"app""#),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        assert!(matches!(fault(&text), SnapshotFault::NoSnapshot(_)), "{text}");
    }
}
