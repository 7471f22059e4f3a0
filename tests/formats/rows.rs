//! The mirror's rows of events and outputs are the same whatever they were written in, and so is
//! what SQL rebuilds of them.

use crate::avro::{avro_toml, codec, newest};
use crate::drive::{Out, run_with, samples, shipped, topology};
use crate::to_avro::{self, framed};
use apache_avro::Schema;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memory::event::{self, Limits};
use memory_operators::mirror::{ConflictRows, EventRows, SnapshotRows};
use mirror::ports::{Advance, LogBatch, LogHeader, LogRecord, LogSink, RowMapper, Stop, TopicPartition, Written};
use mirror_postgres::{Database, PostgresSink};
use reference_model::generate;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use testkit::postgres::query;
use testkit::{Postgres, Registry, unique};

/// The columns of an event, and what is wrong where there is none.
pub const COLUMNS: &str = "kafka_partition, kafka_offset, event_id, event_type, event_time_ns, node_id, memory_id, user_id, session_id, \
    content, embedding, importance, tags, entities, relationships, metadata, version, vector_clock, merged_from, cleared, error_class";

/// HelixAgent's envelope around a bare event.
pub fn envelope(event: &[u8]) -> Vec<u8> {
    let payload = STANDARD.encode(event);
    format!(r#"{{"id":"x","type":"memory","payload":"{payload}","timestamp":"2026-01-01T00:00:00Z","headers":{{}}}}"#)
        .into_bytes()
}

fn is_good(value: Option<&[u8]>) -> bool {
    event::decode(value, 1_700_000_000_000, &Limits::default()).is_ok()
}

/// Records of one log in which much collides; without NUL, which SQL's text has not.
fn log() -> Vec<reference_model::Record> {
    let streams = testkit::seeds(120).flat_map(|seed| generate::stream(seed, 12, true).records).chain(samples());
    let has_nul = |r: &reference_model::Record| {
        let inner = r.value.as_deref().and_then(|v| serde_json::from_slice::<Value>(v).ok());
        let payload = inner.and_then(|v| STANDARD.decode(v["payload"].as_str()?).ok());
        [r.value.clone(), payload].iter().flatten().any(|v| v.windows(6).any(|w| w == b"\\u0000"))
    };
    let mut records: Vec<reference_model::Record> = streams.filter(|record| !has_nul(record)).collect();
    let mut next = BTreeMap::new();
    for record in &mut records {
        let offset = next.entry(record.partition).or_insert(0);
        (record.offset, *offset) = (*offset, *offset + 1);
    }
    records
}

/// The same events in another encoding each, where they can be said in it: bare, enveloped, Avro,
/// from the `first` on in turn.
fn encoded(
    records: &[reference_model::Record],
    first: usize,
    id: u32,
    schema: &Schema,
) -> (Vec<reference_model::Record>, [usize; 3]) {
    let mut counts = [0; 3];
    let one = |(at, record): (usize, &reference_model::Record)| {
        let value = record.value.as_deref();
        let other = match (at + first) % 3 {
            1 => value.map(envelope).filter(|_| is_good(value)),
            2 => to_avro::event(schema, value).map(|body| framed(id, &body)),
            _ => None,
        };
        let other = other.filter(|other| other[0] == 0 || is_good(Some(other)));
        counts[other.as_ref().map_or(0, |value| if value[0] == 0 { 2 } else { 1 })] += 1;
        reference_model::Record { value: other.or_else(|| record.value.clone()), ..record.clone() }
    };
    (records.iter().enumerate().map(one).collect(), counts)
}

/// Writes records through the mirror's own batch and sink.
fn mirror<'r>(url: &str, rows: impl RowMapper + 'static, records: impl IntoIterator<Item = LogRecord<'r>>) {
    let database = Database::new(url, "public").unwrap();
    let mut sink = PostgresSink::new(&database, Arc::new(rows), Stop::default()).unwrap();
    let (mut batch, mut next) = (sink.batch(), BTreeMap::new());
    for record in records {
        assert_eq!(batch.push(&record), Ok(()));
        let (to, rows) = next.entry(record.partition.clone()).or_insert((0, 0));
        (*to, *rows) = (record.offset + 1, *rows + 1);
    }
    let partitions: Vec<TopicPartition> = next.keys().cloned().collect();
    let claimed = sink.claim(&partitions).unwrap().into_iter();
    let advances: Vec<Advance> = claimed
        .map(|at| {
            let (to, rows) = next[&at.partition];
            Advance { partition: at.partition, epoch: at.epoch, from: at.next_offset, to, rows, checksum: 0 }
        })
        .collect();
    assert_eq!(sink.write(&batch, &advances), Ok(Written::Kept { rejected: 0 }));
}

fn events<'r>(
    partitions: &'r [TopicPartition],
    records: &'r [reference_model::Record],
) -> impl Iterator<Item = LogRecord<'r>> {
    records.iter().map(|record| LogRecord {
        partition: &partitions[usize::try_from(record.partition).unwrap()],
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.as_deref(),
        headers: &[],
        value: record.value.as_deref(),
    })
}

/// What the stream resolves each memory to.
fn resolved(outs: &[Out]) -> BTreeMap<String, String> {
    let is_memory = |out: &&Out| out.headers.contains(&("type".to_owned(), "memory.resolved".to_owned()));
    let snapshots = outs.iter().filter(is_memory);
    snapshots.map(|out| (out.key.clone(), String::from_utf8(out.value.clone()).unwrap())).collect()
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[test]
fn an_event_has_the_same_row_and_rebuild_in_each_encoding() {
    let registry = Registry::shared();
    let id = registry.register(&unique("rows"), newest("event"));
    let (codec, schema, records) = (codec(registry), Schema::parse_str(newest("event")).unwrap(), log());
    let partitions: Vec<_> = (0..12).map(|n| TopicPartition::new("helixagent.memory.events", n)).collect();
    let mut first = None;
    for turn in 0..3 {
        let (records, counts) = encoded(&records, turn, id, &schema);
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
        let url = Postgres::shared().create_database();
        mirror(&url, EventRows::new(Limits::default(), Some(codec.clone())), events(&partitions, &records));
        let rows = query(&url, &format!("select {COLUMNS} from memory_events order by 1, 2"));
        let stream = resolved(&run_with(&shipped("memory.toml", &[]), &records, Some(codec.clone())));
        assert!(rows.len() == records.len() && stream.len() > 50, "{} {}", rows.len(), stream.len());
        let pairs: Vec<String> =
            stream.iter().map(|(id, json)| format!("({}, {}::jsonb)", literal(id), literal(json))).collect();
        let apart = format!(
            "select id, name, s -> name, r -> name from (values {}) as given (id, s), rebuild_memory_from_events(id) as r,
            unnest(memory_members_apart(s, coalesce(r, '{{}}'))) as name",
            pairs.join(", ")
        );
        assert_eq!(query(&url, &apart), [[""; 0]; 0], "stream, then SQL");
        match &first {
            None => first = Some((rows, stream)),
            Some(first) => assert!(first.0 == rows && first.1 == stream, "turn {turn} differs"),
        }
    }
}

#[test]
fn an_output_has_the_same_row_in_json_and_in_avro() {
    let (codec, records) = (codec(Registry::shared()), log());
    let partition = TopicPartition::new("outputs", 0);
    let outs = |toml: &str| run_with(&topology(toml, &[]), &records, Some(codec.clone()));
    let plain = std::fs::read_to_string(testkit::repo_path("topologies/memory.toml")).unwrap();
    let (json, avro) = (outs(&plain), outs(&avro_toml("")));
    for (topic, sql) in [
        (
            "snapshots",
            "select kafka_offset, record_type, memory_id, user_id, timestamp, vector_clock, status, resolved, snapshot_id, node_id,
            memories, entities, relationships, metadata, memory_count, error_class
            from memory_snapshots order by 1",
        ),
        (
            "conflicts",
            "select kafka_offset, conflict_id, memory_id, user_id, conflict_type, local_event_id, remote_event_id, resolution_strategy,
            resolved_version, resolved_by, detected_at, resolved_at, details, status, superseded_by, error_class
            from memory_conflicts order by 1",
        ),
    ] {
        let mut found = Vec::new();
        for outs in [&json, &avro] {
            let url = Postgres::shared().create_database();
            let ours: Vec<&Out> = outs.iter().filter(|out| out.topic.ends_with(topic)).collect();
            let headers: Vec<Vec<LogHeader<'_>>> = ours
                .iter()
                .map(|out| out.headers.iter())
                .map(|all| all.map(|(name, value)| LogHeader { name: name.as_bytes(), value: Some(value.as_bytes()) }).collect())
                .collect();
            let log = (0..).zip(ours.iter().zip(&headers)).map(|(offset, (out, headers))| LogRecord {
                partition: &partition,
                offset,
                timestamp_ms: out.timestamp_ms,
                key: Some(out.key.as_bytes()),
                headers,
                value: Some(&out.value),
            });
            match topic {
                "snapshots" => mirror(&url, SnapshotRows::new(Some(codec.clone())), log),
                _ => mirror(&url, ConflictRows::new(Some(codec.clone())), log),
            }
            found.push(query(&url, sql));
        }
        assert!(found[0].len() > 50, "{topic}: {}", found[0].len());
        // A number that Avro has as a double may be an integer in JSON, which may be above what a
        // double counts to.
        let (above, counted) = ("9007199254740993", "9007199254740992");
        found.iter_mut().flatten().flatten().for_each(|cell| *cell = cell.replace(above, counted));
        let same = |json: &str, avro: &str| match (serde_json::from_str(json), serde_json::from_str(avro)) {
            (Ok(json), Ok(avro)) => to_avro::same(&json, &avro),
            _ => json == avro,
        };
        for (json, avro) in found[0].iter().zip(&found[1]) {
            assert!(json.iter().zip(avro).all(|(json, avro)| same(json, avro)), "{topic}: {json:#?}\n{avro:#?}");
        }
        assert_eq!(found[0].len(), found[1].len());
    }
}
