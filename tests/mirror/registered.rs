//! The nodes that register on the nodes topic: what `memory_nodes` says of them beside those of
//! which only events are known.

use crate::documents::keep;
use crate::log::Log;
use crate::nodes::by;
use crate::{start, wait_for_log};
use memory_operators::mirror::NodeRows;
use mirror::ports::Stop;
use mirror_postgres::{Database, PostgresSink};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use testkit::postgres::query;
use testkit::{Postgres, Record};

const INCARNATION: &str = "00000000000000000001";
const HOUR_MS: i64 = 3_600_000;

fn actor(name: &str) -> String {
    format!("{name}.{INCARNATION}")
}

/// A node's record of some age, at an offset.
fn record(offset: i64, name: &str, age_ms: i64, more: Value) -> Record {
    let mut value = json!({"capabilities": ["search"], "counter": 12, "heartbeat_at": "2026-01-01T00:00:10Z",
        "incarnation": INCARNATION, "joined_at": "2026-01-01T00:00:00Z", "name": name, "node_id": actor(name),
        "outbox_depth": 3, "published_chain": "0".repeat(32), "published_counter": 9, "schema_version": 1,
        "software_version": "helixstream 0.1.0", "state": "running", "type": "worker"});
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let timestamp_ms = i64::try_from(now_ms).unwrap() - age_ms;
    Record { offset, timestamp_ms, ..Record::new(actor(name), value.to_string()) }
}

#[test]
fn a_node_that_registers_has_the_columns_of_its_last_record_and_its_status_follows_from_the_time_of_that() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    let clock = |id: &str| json!({"version": 5, "vector_clock": {id: 7}});
    log.append([
        by(&actor("active"), "e1", clock(&actor("active"))),
        by("of-helixagent", "e2", json!({})).at_ms(i64::MAX),
    ]);
    let mirror = start(log.reader([0]), &url);
    wait_for_log(&url, &log);
    mirror.stop();
    let successor = actor("active");
    let records = [
        record(0, "active", 2 * HOUR_MS, json!({"published_counter": 1})),
        record(1, "inactive", 120_000, json!({})),
        record(2, "failed", HOUR_MS, json!({"published_counter": 0})),
        record(3, "stopped", HOUR_MS, json!({"state": "stopped"})),
        record(4, "replaced", 0, json!({"state": "replaced", "successor": successor})),
        record(5, "removed", 0, json!({})),
        Record { offset: 6, value: None, ..record(6, "removed", 0, json!({})) },
        record(7, "newer", 0, json!({"schema_version": 2})),
        // Times beyond what timestamptz holds: what the records say themselves counts.
        Record { timestamp_ms: i64::MAX, ..record(8, "forged", 0, json!({})) },
        Record { timestamp_ms: -1, ..record(9, "untimed", 0, json!({})) },
        // The last of its key, in the future by the clock of its machine.
        record(10, "active", -HOUR_MS, json!({})),
        record(11, "moved", HOUR_MS, json!({"published_counter": 5, "state": "stopped"})),
        record(12, "rejoined", 0, json!({})),
        // The topic has grown: the records of a node lie in the partition that they had before,
        // too.
        Record { partition: 1, ..record(0, "moved", HOUR_MS, json!({"published_counter": 5})) },
        Record { partition: 1, ..record(1, "moved", 0, json!({"published_counter": 6})) },
        Record { partition: 1, ..record(2, "rejoined", HOUR_MS, json!({})) },
    ];
    let database = Database::new(&url, "public").unwrap();
    keep(PostgresSink::new(&database, Arc::new(NodeRows), Stop::default()).unwrap(), "nodes", &records);

    let sql = "select node_name, node_type, status, vector_clock, version, events, metadata ->> 'counter', capabilities, last_heartbeat > joined_at
        from memory_nodes where node_name is not null order by node_name";
    let row = |name: &str, status: &str, clock: String, version: &str, events: &str| {
        [name, "worker", status, &clock, version, events, "12", r#"["search"]"#, "t"].map(str::to_owned)
    };
    let own = |name: &str, counter: u32| format!(r#"{{"{}": {counter}}}"#, actor(name));
    let expected = [
        row("active", "active", own("active", 7), "5", "1"),
        row("failed", "failed", "{}".to_owned(), "0", "0"),
        row("forged", "failed", own("forged", 9), "0", "0"),
        row("inactive", "inactive", own("inactive", 9), "0", "0"),
        row("moved", "active", own("moved", 6), "0", "0"),
        row("rejoined", "active", own("rejoined", 9), "0", "0"),
        row("replaced", "replaced", own("replaced", 9), "0", "0"),
        row("stopped", "stopped", own("stopped", 9), "0", "0"),
        row("untimed", "failed", own("untimed", 9), "0", "0"),
    ];
    assert_eq!(query(&url, sql), expected);
    // Go's client of Postgres reads no infinite time.
    for view in ["memory_nodes", "helixagent_memory_nodes"] {
        let sql = format!("select node_id from {view} where not (isfinite(last_heartbeat) and isfinite(updated_at))");
        assert_eq!(query(&url, &sql), Vec::<Vec<String>>::new());
    }
    let sql = "select kafka_partition, kafka_offset from memory_registered_nodes where node_name = 'moved' order by 1";
    assert_eq!(query(&url, sql), [["0", "11"], ["1", "1"]], "of each partition the last");
    // Which columns are null: of a node with events none; of one without, those of its events.
    let nulls = |of: &str| {
        let sql = "select coalesce(string_agg(key, ' ' order by key), 'none') from SHOWN as n, jsonb_each(to_jsonb(n))
            where value = 'null' and node_id like '";
        let of_view = |view: &str| query(&url, &format!("{}{of}%'", sql.replace("SHOWN", view)))[0][0].clone();
        ["memory_nodes", "helixagent_memory_nodes"].map(of_view)
    };
    assert_eq!(nulls("active"), ["none", "none"]);
    let of_events = "first_event_id first_event_time_ns highest_counter last_event_id last_event_time_ns";
    assert_eq!(nulls("stopped"), [of_events, "none"]);
    let of_helixagent = "capabilities metadata node_name node_type status";
    assert_eq!(nulls("of-helixagent")[1], of_helixagent);
    // Removed nodes, and records that cannot be read, stay in the table and are not shown.
    let sql = "select convert_from(kafka_key, 'UTF8'), error_class from memory_registered_nodes where error_class is not null order by 1";
    assert_eq!(
        query(&url, sql),
        [[actor("newer"), "unknown_version".into()], [actor("removed"), "empty_value".into()]]
    );
}

#[test]
fn events_of_the_branches_of_a_node_are_those_of_the_node() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    let of = |node: &str, id: &str, second: u32, clock: Value| {
        let timestamp = format!("2026-01-01T00:00:{second:02}Z");
        by(node, id, json!({"timestamp": timestamp, "version": second, "vector_clock": clock}))
    };
    let (node, branch, later) = (actor("agent"), actor("agent") + ".b2", actor("agent") + ".b18446744073709551615");
    let lone = actor("lone");
    // Of the node `lone` only a branch is known, as where retention has dropped what came before.
    let lone_branch = lone.clone() + ".b7";
    // Names that are like that of a branch, and are none: other letters, another number, no
    // incarnation.
    let others = [node.clone() + ".b02", node.clone() + ".b0", node.clone() + ".b2.b3", "of.helix.b2".into()];
    log.append([
        of(&branch, "e2", 2, json!({&branch: 2})),
        of(&node, "e1", 1, json!({&node: 1})),
        of(&node, "e3", 3, json!({&node: 3, &branch: 2})),
        of(&later, "e4", 4, json!({&node: 1, &later: 4})),
        of(&later, "e4", 4, json!({&node: 1, &later: 4})),
        of(&lone_branch, "e5", 5, json!({&lone_branch: 7})),
    ]);
    log.append(others.iter().map(|other| of(other, "e6", 6, json!({other: 1}))));
    let mirror = start(log.reader([0]), &url);
    wait_for_log(&url, &log);
    mirror.stop();
    let database = Database::new(&url, "public").unwrap();
    let records = [record(0, "agent", 0, json!({})), record(1, "lone", 0, json!({}))];
    let sink = PostgresSink::new(&database, Arc::new(NodeRows), Stop::default()).unwrap();
    keep(sink, "nodes", &records);

    let sql = "select node_id, node_name, first_event_id, last_event_id, events, records, highest_counter, clock_resets, vector_clock
        from memory_nodes where node_name is not null order by 1";
    let clock = format!(r#"{{"{node}": 3, "{branch}": 2, "{later}": 4}}"#);
    let lone_clock = format!(r#"{{"{lone_branch}": 7}}"#);
    let expected = [
        [node.as_str(), "agent", "e1", "e4", "4", "5", "4", "0", &clock],
        [lone.as_str(), "lone", "e5", "e5", "1", "1", "7", "0", &lone_clock],
    ];
    assert_eq!(query(&url, sql), expected);
    let mut unregistered = others.map(|other| vec![other]);
    unregistered.sort();
    let sql = r#"select node_id from memory_nodes where node_name is null order by node_id collate "C""#;
    assert_eq!(query(&url, sql), unregistered);
    let nulls = "select n.node_id, key from memory_nodes as n, jsonb_each(to_jsonb(n)) where value = 'null' and node_name is not null";
    assert_eq!(query(&url, nulls), Vec::<Vec<String>>::new());
}
