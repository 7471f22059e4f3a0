//! A memory that expires, and stale writes that are accepted, on real Kafka with the stream; all of
//! it against `replay`.

use serde_json::json;
use testkit::process::temp_dir;
use testkit::{Broker, LIMIT, wait_for, wait_until};

use crate::command::NodeProcess;
use crate::stream::Stream;
use crate::trial::{Trial, open, read};

#[test]
fn an_expired_memory_is_deleted_and_a_stale_write_is_a_conflict_on_every_node() {
    let broker = Broker::shared();
    let trial = Trial::new("expiry", broker);
    let stream = Stream::start(&trial);
    let process = NodeProcess::start_with(&trial, "one", &["--stale-writes", "concurrent"]);
    let other = open(&temp_dir("node"), "other");
    let of_other = (trial.publisher(other.journal()), trial.follower(&other));

    let fields = r#"{"memory_id":"m","content":"over","expires_at":"2026-01-01T00:00:00Z"}"#;
    let created = process.send("POST", "/v1/memories", &["-d", fields]);
    assert_eq!(created["memory"]["metadata"]["helixagent.expires_by"], created["event"]["node_id"], "{created}");
    let fields = r#"{"memory_id":"s","content":"first"}"#;
    let clock = process.send("POST", "/v1/memories", &["-d", fields])["clock"].as_str().unwrap().to_owned();
    let second = process.patch("s", &clock, r#"{"content":"second"}"#);
    let stale = process.patch("s", &clock, r#"{"content":"third"}"#);
    let branch = stale["event"]["node_id"].as_str().unwrap();
    assert!(branch.starts_with(&format!("{}.b", second["event"]["node_id"].as_str().unwrap())), "{stale}");

    wait_until("the deletion and the conflict on both nodes", || {
        let gone = process.send("GET", "/v1/memories/m", &[]);
        let status = |id: &str| read(&other, id).map(|memory| serde_json::from_slice(&memory.json).unwrap());
        let (m, s): (Option<serde_json::Value>, Option<serde_json::Value>) = (status("m"), status("s"));
        gone["status"] == 410
            && m.is_some_and(|memory| memory["status"] == "deleted")
            && s.is_some_and(|memory| memory["conflicted_fields"] == json!(["content"]))
    });
    let shown = wait_for("the conflict", || process.memory("s").filter(|answer| answer["pending"] == false));
    let replayed = stream.replay(broker, &trial);
    assert_eq!(shown["memory"], serde_json::from_slice::<serde_json::Value>(&replayed["s"]).unwrap());
    for id in ["m", "s"] {
        assert_eq!(read(&other, id).unwrap().json, replayed[id]);
    }
    let events = trial.events(broker);
    let delete = events.values().find(|event| event["event_type"] == "memory.deleted").unwrap();
    // The time had passed before the memory was there.
    assert_eq!(delete["timestamp"], created["event"]["timestamp"]);
    let metrics = process.page("/metrics").unwrap();
    assert!(metrics.contains("\nhelixstream_node_expired_memories_total 1\n"), "{metrics}");
    process.process.terminate().assert_ended_well();
    of_other.0.stop(LIMIT);
    of_other.1.stop(LIMIT);
    stream.stop();
}
