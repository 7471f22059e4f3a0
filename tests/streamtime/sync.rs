//! How the answer to a sync request goes in slices (docs/semantics.md, section 5, "Sync request").
//! That it holds the right memories is held by `retention`.

use crate::drive::Driven;
use reference_model::{Emitted, Record, Settings};

fn event(settings: &Settings, offset: i64, json: &str) -> Record {
    let (topic, value) = (settings.events_topic.clone(), Some(json.as_bytes().to_vec()));
    Record { topic, offset, timestamp_ms: 1_700_000_000_000 + offset, value, ..Record::default() }
}

#[test]
fn an_answer_longer_than_a_slice_is_whole_and_leaves_no_row_behind() {
    let settings = Settings::default();
    let mut driven = Driven::new(&settings, &[]);
    for n in 0..2500 {
        let kind = if n % 10 == 0 { "deleted" } else { "created" };
        let json = format!(
            r#"{{"event_id":"e{n}","event_type":"memory.{kind}","memory_id":"m{n}","user_id":"u{}","vector_clock":{{"n{}":{}}}}}"#,
            n % 3,
            n % 2,
            n + 1
        );
        driven.pipe(&event(&settings, n, &json));
    }
    let rows = driven.keys("memories").len();
    let ask =
        r#"{"event_id":"s","event_type":"memory.sync_request","node_id":"n0","vector_clock":{"n0":2499,"n1":1000}}"#;
    for again in 0..2 {
        let answers = driven.pipe(&event(&settings, 3000 + again, ask)).answers;
        assert_eq!(answers.len(), 750, "of node n1, those above 1000");
        assert!(
            answers.iter().all(|a| a.headers[2] == ("sync_for".to_owned(), "n0".to_owned())
                && a.timestamp_ms == 1_700_000_003_000 + again)
        );
    }
    let all = r#"{"event_id":"s","event_type":"memory.sync_request","node_id":"n0"}"#;
    let answers = driven.pipe(&event(&settings, 4000, all)).answers;
    assert_eq!(answers.len(), 2500);
    assert!(answers.iter().any(|answer| answer.value.contains("\"status\":\"deleted\"")));
    let of_user = all.replace('}', r#","user_id":"u1"}"#);
    let of_user = driven.pipe(&event(&settings, 4001, &of_user)).answers;
    let is_of_u1 = |answer: &&Emitted| answer.value.contains(r#""user_id":"u1""#);
    let expected: Vec<&str> = answers.iter().filter(is_of_u1).map(|answer| answer.value.as_str()).collect();
    assert_eq!(of_user.iter().map(|answer| answer.value.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(of_user.len(), 833);
    assert_eq!(driven.keys("memories").len(), rows);
    assert_eq!((driven.count("sync_requests", "asked"), driven.count("sync_requests", "answered")), (4, 4));
}
