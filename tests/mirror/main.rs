//! The mirror on a real PostgreSQL: every record once, whatever is killed, stopped, refused or
//! started twice.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

#[path = "../support/mod.rs"]
mod support;

mod certificates;
mod connections;
mod documents;
mod faults;
mod guests;
mod kafka;
mod killed;
mod log;
mod migrations;
mod nodes;
mod outputs;
mod partitions;
mod pooler;
mod registered;
mod roles;
mod rows;
mod settings;
mod writers;

use log::{Log, Reader};
use memory_operators::mirror::EventRows;
use mirror::ports::Stop;
use mirror::{Mirror, MirrorSettings};
use mirror_postgres::{Database, PostgresSink};
use std::sync::Arc;
use std::time::Duration;
use testkit::postgres::{query, try_query};
use testkit::{Record, wait_until};

/// Settings that keep a test short: small batches, short pauses.
fn settings() -> MirrorSettings {
    MirrorSettings {
        batch_bytes: 64 << 10,
        largest_batch_bytes: 0,
        linger: Duration::from_millis(5),
        first_backoff: Duration::from_millis(20),
        longest_backoff: Duration::from_millis(200),
        ..MirrorSettings::default()
    }
}

fn sink(url: &str, stop: &Stop) -> PostgresSink {
    PostgresSink::new(&Database::new(url, "public").unwrap(), Arc::new(EventRows::default()), stop.clone()).unwrap()
}

fn start(reader: Reader, url: &str) -> Mirror {
    start_with(reader, url, settings())
}

fn start_with(reader: Reader, url: &str, settings: MirrorSettings) -> Mirror {
    let stop = Stop::default();
    Mirror::start(Box::new(reader), sink(url, &stop), stop, settings).unwrap()
}

/// A good event of memory `m` in a partition.
fn event(partition: i32, id: &str, content: &str) -> Record {
    let value = serde_json::json!({"event_id": id, "event_type": "memory.updated", "memory_id": "m", "content": content,
        "timestamp": "2026-01-01T00:00:00.5Z", "node_id": "n", "version": 3, "vector_clock": {"n": 3}});
    Record::new("k", value.to_string()).in_partition(partition)
}

/// `count` good events over the partitions, with ids of their own.
fn events(count: usize, partitions: i32) -> Vec<Record> {
    (0..count).map(|n| event(i32::try_from(n).unwrap() % partitions, &format!("e{n}"), &format!("text {n}"))).collect()
}

fn wait_for_rows(url: &str, count: usize) {
    let rows = || try_query(url, "select count(*) from memory_events").ok().map(|rows| rows[0][0].clone());
    wait_until("the rows", || rows() == Some(count.to_string()));
}

/// Waits until all records of the log have rows, then compares them, and the checkpoints.
fn wait_for_log(url: &str, log: &Log) {
    let records = log.records();
    wait_for_rows(url, records.len());
    compare_rows(url, &records);
    let sql =
        "select kafka_partition, next_offset, row_count from memory_event_checkpoints where next_offset > 0 order by 1";
    let mut expected: Vec<Vec<String>> = Vec::new();
    for (index, record) in records.iter().enumerate() {
        if records.get(index + 1).is_none_or(|next| next.partition != record.partition) {
            let next = (record.offset + 1).to_string();
            expected.push(vec![record.partition.to_string(), next.clone(), next]);
        }
    }
    assert_eq!(query(url, sql), expected);
}

/// Waits until a table has as many rows as there are records, then compares them.
fn wait_for_log_in(table: &str, url: &str, records: &[Record]) {
    let count = format!("select count(*) from {table}");
    let expected = records.len().to_string();
    wait_until("the rows", || try_query(url, &count).is_ok_and(|rows| rows[0][0] == expected));
    compare_rows_of(table, url, records);
}

fn compare_rows(url: &str, records: &[Record]) {
    compare_rows_of("memory_events", url, records);
}

/// Compares place, time and raw bytes of every row with the records, which are sorted by partition
/// and offset.
fn compare_rows_of(table: &str, url: &str, records: &[Record]) {
    let sql = "select kafka_partition, kafka_offset, record_timestamp_ms, encode(kafka_key, 'hex'), encode(kafka_value, 'hex'),
        kafka_value is null, (select string_agg(encode(n, 'hex') || '=' || coalesce(encode(v, 'hex'), '-'), ' ' order by i)
        from unnest(kafka_header_names, kafka_header_values) with ordinality as h (n, v, i))
        from TABLE order by 1, 2";
    let sql = sql.replace("TABLE", table);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let header = |(name, value): &(String, Option<Vec<u8>>)| {
        format!("{}={}", hex(name.as_bytes()), value.as_deref().map_or("-".to_owned(), hex))
    };
    let rows = query(url, &sql);
    assert_eq!(rows.len(), records.len());
    for (row, record) in rows.iter().zip(records) {
        let headers: Vec<String> = record.headers.iter().map(header).collect();
        let expected = [
            record.partition.to_string(),
            record.offset.to_string(),
            record.timestamp_ms.to_string(),
            record.key.as_deref().map_or(String::new(), hex),
            record.value.as_deref().map_or(String::new(), hex),
            if record.value.is_none() { "t" } else { "f" }.to_owned(),
            headers.join(" "),
        ];
        assert!(row[..] == expected[..], "{} {}: row {row:.300?}", record.partition, record.offset);
    }
}
