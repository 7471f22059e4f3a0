//! `helixstream audit` on a live system: it finds nothing where nothing is wrong, under load, while
//! instances are killed and take over from each other, and names what somebody else has written.

use crate::events::Events;
use crate::trial::{PARTITIONS, Trial};
use serde_json::{Value, json};
use streams::task::partition_for;
use testkit::{Record, records};

/// Exit codes.
const DIFFERS: i32 = 3;
const NOT_COMPARABLE: i32 = 4;

/// The report of an audit that ends with this code.
#[track_caller]
fn audited(trial: &Trial, code: i32, more: &[&str]) -> Value {
    let done = trial.audit(more);
    assert_eq!(done.code, Some(code), "{done:?}");
    serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done:?}"))
}

/// A request of a node for all memories, which is answered in the background.
fn sync_request(id: &str) -> Record {
    let event = json!({"event_id": id, "event_type": "memory.sync_request", "node_id": id, "vector_clock": {}, "timestamp": "2026-01-01T00:00:01Z"});
    Record::new("k", event.to_string())
}

/// An event of a new memory that this task of the memories gets.
fn memory_of_task(partition: i32) -> Record {
    let ids = (0..).map(|n| format!("new{n}"));
    let id = ids.into_iter().find(|id| partition_for(Some(id.as_bytes()), 0, PARTITIONS) == partition).unwrap();
    let event = json!({"event_id": id, "event_type": "memory.created", "memory_id": id, "user_id": "u",
        "timestamp": "2026-01-01T00:00:00Z", "vector_clock": {"n": 1}, "content": "new"});
    Record::new("k", event.to_string())
}

/// The texts of the differences of a kind.
fn of_kind<'r>(report: &'r Value, kind: &str) -> Vec<&'r str> {
    let differences = report["differences"].as_array().unwrap().iter();
    differences.filter(|found| found["kind"] == kind).map(|found| found["text"].as_str().unwrap()).collect()
}

#[test]
fn a_live_application_is_audited_and_what_is_foreign_is_named() {
    let trial = Trial::new("audit", &["snapshot_interval=1s"]);
    let mut events = Events::new(31, 40);
    let feeder = trial.feed_on(move || events.take(20));
    let mut first = trial.start("first", &["--no-mirror", "--threads", "2"]);
    let mut second = trial.start("second", &["--no-mirror"]);
    second.wait_for("work", |instance| (instance.records() > 0).then_some(()));
    // From the last commits on, while everything moves.
    trial.feed(&[sync_request("node")]);
    let report = audited(&trial, 0, &["--seconds", "2"]);
    assert_eq!((&report["result"], &report["differing"]), (&json!("same"), &json!(0)));
    for counted in ["records", "compared"] {
        assert!(report[counted].as_u64().unwrap() > 0, "{report}");
    }
    // One is killed, and what it had open is done again by the other one.
    second.kill();
    first.wait_for("all tasks", |instance| (instance.metric("tasks", "state=\"running\"") >= 36.0).then_some(()));
    // The answers to the request are known by their headers; from the beginning all are in it.
    let report = audited(&trial, 0, &["--seconds", "0", "--start", "beginning"]);
    let left_out = report["left_out"].as_object().unwrap();
    assert!(left_out.keys().any(|reason| reason.contains("sync requests")), "{report}");
    // Another topology is not compared.
    let other = audited(&trial, NOT_COMPARABLE, &["--seconds", "0", "--set", "delete_policy=delete_wins"]);
    assert!(other["reason"].as_str().unwrap().contains("resolver"), "{other}");
    feeder.stop();
    trial.wait_until_done(&mut [&mut first]);
    // Somebody writes a record to an output, repeats one, and changes a row.
    let snapshots = trial.topic("snapshots");
    let repeated = trial.read("snapshots").into_iter().rfind(|record| record.key.is_some()).unwrap();
    let changelog = records::read_committed(trial.broker(), &trial.changelog());
    let row = changelog.iter().rfind(|record| record.value.is_some()).unwrap();
    let changed = Record { value: Some(b"changed".to_vec()), headers: Vec::new(), ..row.clone() };
    records::produce(trial.broker(), &snapshots, &[Record::new("stranger", "{}").in_partition(3), repeated.clone()]);
    records::produce(trial.broker(), &trial.changelog(), &[changed]);
    // Another memory of the same task moves its commit behind what was written to the changelog.
    trial.feed(&[memory_of_task(row.partition)]);
    trial.wait_until_done(&mut [&mut first]);
    let report = audited(&trial, DIFFERS, &["--seconds", "0", "--start", "beginning"]);
    let foreign = of_kind(&report, "foreign");
    let is_named = |texts: &[&str], place: &str, key: &str| {
        assert!(texts.iter().any(|text| text.contains(place) && text.contains(key)), "{place} {key}: {report}");
    };
    is_named(&foreign, &format!("{snapshots}-3 offset"), "stranger");
    is_named(&foreign, &format!("{}-{} offset", trial.changelog(), row.partition), "never had");
    let doubled = of_kind(&report, "doubled");
    is_named(&doubled, &format!("{snapshots}-{} offset", repeated.partition), "once more");
    let key = row.key.as_deref().unwrap().escape_ascii().to_string();
    is_named(&of_kind(&report, "row"), "memories", &key);
    // A copy of the state that is not that of the commit is not believed.
    let report = audited(&trial, DIFFERS, &["--seconds", "0"]);
    is_named(&of_kind(&report, "commit"), &trial.changelog(), "checksum");
    first.stop();
}
