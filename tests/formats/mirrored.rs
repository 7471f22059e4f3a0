//! The mirror beside a registry that is down, that does not know an id, and that nobody has named
//! yet.

use crate::avro::{avro_toml, newest};
use crate::rows::COLUMNS;
use crate::support::Helix;
use crate::to_avro::{self, framed};
use apache_avro::Schema;
use serde_json::json;
use std::path::Path;
use testkit::postgres::query;
use testkit::process::temp_dir;
use testkit::{Broker, Postgres, Record, Registry, records, repo_path, unique, wait_until};

const PARTITIONS: i32 = 12;

/// An event that is concurrent with those of other nodes.
fn event(partition: i32, node: &str) -> Vec<u8> {
    let event = json!({"event_id": format!("e{partition}{node}"), "event_type": "memory.updated", "memory_id": format!("m{partition}"),
        "node_id": node, "content": node, "timestamp": "2026-01-01T00:00:00Z", "version": 1, "vector_clock": {node: 1}});
    event.to_string().into_bytes()
}

/// Bare JSON on each partition, with Avro between on the odd ones, and one record of a schema that
/// nobody has.
fn log(id: u32) -> Vec<Record> {
    let schema = Schema::parse_str(newest("event")).unwrap();
    let avro = |json: &[u8]| framed(id, &to_avro::event(&schema, Some(json)).unwrap());
    let mut log = Vec::new();
    for partition in 0..PARTITIONS {
        let b = event(partition, "b");
        let b = if partition % 2 == 1 { avro(&b) } else { b };
        let all = [event(partition, "a"), b, event(partition, "c")];
        log.extend(all.map(|value| Record::new("k", value).in_partition(partition)));
    }
    log.push(Record::new("k", framed(id + 1000, b"\0")).in_partition(0));
    log.push(Record::new("k", event(0, "d")).in_partition(0));
    log
}

struct Files {
    /// Outputs in Avro.
    avro: String,
    /// Outputs in JSON.
    json: String,
    state: String,
}

fn files(dir: &Path, name: &str) -> Files {
    let json = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
    let write = |file: &str, text: &str| {
        let text = text.replace("\"helixstream\"", &format!("\"{name}\"")).replace("helixagent.memory", name);
        std::fs::write(dir.join(file), text).unwrap();
        dir.join(file).display().to_string()
    };
    let state = dir.join("state").display().to_string();
    Files { avro: write("avro.toml", &avro_toml("")), json: write("json.toml", &json), state }
}

fn count(url: &str, what: &str) -> String {
    query(url, &format!("select count(*) from {what}")).remove(0).remove(0)
}

#[test]
fn an_outage_holds_the_mirror_and_leaves_no_mark_and_outputs_in_avro_are_mirrored() {
    let (registry, dir, name) = (Registry::start(), temp_dir("mirrored"), unique("mirrored"));
    let (broker, url) = (Broker::shared(), Postgres::shared().create_database());
    let (servers, at, files) = (broker.bootstrap(), registry.url(), files(&dir, &name));
    let log = log(registry.register("events-value", newest("event")));
    let common = [
        "--bootstrap-servers",
        &servers,
        "--postgres-url",
        &url,
        "--schema-registry-url",
        &at,
        "--topology",
        &files.avro,
    ];
    let helix = |command: &[&str]| Helix::spawn(&[command, &common[..]].concat());
    Helix::run_ok(&["topics", "create", "--topology", &files.avro, "--bootstrap-servers", &servers]);
    records::produce(broker, &format!("{name}.events"), &log);

    registry.stop();
    let mut mirror = helix(&["mirror", "run"]);
    mirror.wait_for_stderr("the mirror cannot decode a record yet");
    // Of the even partitions all; of the others, and of that with the unknown id, what lies before.
    let readable = 5 * 3 + 6 + 3;
    let rows = || query(&url, "select count(*), count(error_class) from memory_events").remove(0);
    wait_until("what needs no registry", || {
        testkit::postgres::try_query(&url, "select count(*) from memory_events")
            .is_ok_and(|rows| rows == [[readable.to_string()]])
    });
    assert_eq!(rows(), [readable.to_string(), "0".to_owned()]);
    registry.restart();
    wait_until("the rest", || rows()[0] == log.len().to_string());
    assert_eq!(
        query(&url, "select error_class from memory_events where error_class is not null"),
        [["unknown_schema"]]
    );
    assert!(mirror.is_running());
    assert_eq!(mirror.terminate().code, Some(0));

    // With the stream, whose outputs are in Avro: the same rows as of JSON, and what SQL rebuilds.
    let stream = helix(&["run", "--state-dir", &files.state]);
    let whole = "memory_snapshots where jsonb_array_length(resolved->'event_ids') >= 3 and memory_id <> 'm0'
        or jsonb_array_length(resolved->'event_ids') = 4";
    wait_until("the outputs", || count(&url, whole) == PARTITIONS.to_string());
    // Each event but the first of a memory makes a conflict, of its content.
    wait_until("the conflicts", || count(&url, "memory_conflicts where status = 'auto_resolved'") == "25");
    assert_eq!(stream.terminate().code, Some(0));
    assert_eq!(count(&url, "memory_snapshots where error_class is not null"), "0");
    assert_eq!(count(&url, "memory_conflicts where details->'fields'->0->>'path' is distinct from 'content'"), "0");
    let apart = "memory_snapshots, unnest(memory_members_apart(resolved, rebuild_memory_from_events(memory_id)))";
    assert_eq!(count(&url, apart), "0");
    let verified = Helix::run_ok(&[&["mirror", "verify"][..], &common].concat());
    assert!(verified.stdout.contains("same:"), "{}", verified.stdout);
}

#[test]
fn rows_that_were_mirrored_without_a_registry_are_set_right() {
    let (registry, dir, name) = (Registry::shared(), temp_dir("unread"), unique("unread"));
    let (broker, url) = (Broker::shared(), Postgres::shared().create_database());
    let (servers, at, files) = (broker.bootstrap(), registry.url(), files(&dir, &name));
    let log = log(registry.register(&unique("unread"), newest("event")));
    let (topology, postgres) = (["--topology", &files.json], ["--postgres-url", &url]);
    let by = ["--schema-registry-url", at.as_str()];
    let kafka = ["--bootstrap-servers", servers.as_str()];
    Helix::run_ok(&[&["topics", "create"][..], &topology, &kafka].concat());
    records::produce(broker, &format!("{name}.events"), &log);
    let backfill = |schema: &str, more: &[&str]| {
        let command = ["mirror", "backfill", "--postgres-schema", schema];
        Helix::run(&[&command[..], &topology, &postgres, &kafka, more].concat())
    };
    assert_eq!(backfill("knows", &by).code, Some(0));
    assert_eq!(backfill("late", &[]).code, Some(0));
    let rows = |schema: &str| query(&url, &format!("select {COLUMNS} from {schema}.memory_events order by 1, 2"));
    let nodes = |schema: &str| {
        query(&url, &format!("select {schema}.count_memory_nodes()"));
        let columns = "kafka_partition, node_id, last_offset, last_event_id, last_event_time_ns, last_version, vector_clock, event_count";
        query(&url, &format!("select {columns} from {schema}.memory_node_checkpoints order by 1, 2"))
    };
    assert_eq!(count(&url, "late.memory_events where error_class = 'unknown_schema'"), "7");
    assert!(rows("late") != rows("knows") && nodes("late") != nodes("knows"));

    backfill("late", &["--from", "unread"]).assert_failed(2, &["--schema-registry-url"]);
    let unread = || backfill("late", &[&by[..], &["--from", "unread"]].concat());
    assert!(unread().stdout.contains("6 of 7 rows of an unknown schema are set right"));
    assert_eq!(rows("late"), rows("knows"));
    assert_eq!(nodes("late"), nodes("knows"));
    assert!(unread().stdout.contains("0 of 1 rows of an unknown schema are set right"));
    assert_eq!((rows("late"), nodes("late")), (rows("knows"), nodes("knows")));
    let verify = ["mirror", "verify", "--postgres-schema", "late", "--topic"];
    let verified = Helix::run(&[&verify[..], &[&format!("{name}.events")], &topology, &postgres, &kafka].concat());
    assert!(verified.stdout.contains("same:"), "{verified:?}");
}
