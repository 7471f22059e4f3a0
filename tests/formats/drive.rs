//! Runs a shipped topology file in the driver.

use helixstream::Program;
use helixstream::app;
use std::sync::Arc;
use streams::driver::TopologyDriver;
use streams::ports::Codec;
use streams::record::{Origin, RecordBatch};
use testkit::repo_path;
use topology_file::Topology;

/// An output of a run.
#[derive(Clone, Debug)]
pub struct Out {
    pub topic: String,
    pub key: String,
    pub value: Vec<u8>,
    pub headers: Vec<(String, String)>,
    pub timestamp_ms: i64,
}

/// A shipped topology file, with these settings over it.
pub fn shipped(name: &str, pairs: &[String]) -> Topology {
    topology(&std::fs::read_to_string(repo_path("topologies").join(name)).unwrap(), pairs)
}

/// A topology file's text, with these settings over it.
pub fn topology(text: &str, pairs: &[String]) -> Topology {
    let mut file = topology_file::parse("t.toml", text, &Program::default().operators)
        .unwrap_or_else(|problems| panic!("{problems}"));
    pairs.iter().for_each(|pair| file.values.set_text(pair, "test").unwrap());
    file
}

/// What comes of records, but for dead letters, in order of emission.
pub fn run(file: &Topology, records: &[reference_model::Record]) -> Vec<Out> {
    run_with(file, records, None)
}

/// The same with what reads and writes Avro.
pub fn run_with(file: &Topology, records: &[reference_model::Record], codec: Option<Arc<dyn Codec>>) -> Vec<Out> {
    let dead = &file.graph.dead_letters.as_ref().unwrap().topic;
    let mut outs = run_all(file, records, codec);
    outs.retain(|out| out.topic != *dead);
    outs
}

/// The same with dead letters among it.
pub fn run_all(file: &Topology, records: &[reference_model::Record], codec: Option<Arc<dyn Codec>>) -> Vec<Out> {
    let engine = app::topology_from_file::build_with(file, &None, codec).unwrap();
    let id = &file.values.resolver.application_id;
    let mut driver = TopologyDriver::new(&engine, id, &app::topology_from_file::sizes(file));
    let (mut batch, mut found) = (RecordBatch::new(), Vec::new());
    for record in records {
        let reference_model::Record { partition, offset, timestamp_ms, .. } = *record;
        batch.clear();
        let origin = Origin { topic: "helixagent.memory.events", partition, offset, timestamp_ms };
        let headers = record.headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_slice())));
        batch.push(origin, record.key.as_deref(), record.value.as_deref(), headers);
        batch.iter().for_each(|input| driver.pipe(&input).unwrap());
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        for out in driver.outputs().iter() {
            found.push(Out {
                topic: out.origin.topic.to_owned(),
                key: text(out.record.key),
                value: out.record.value.unwrap_or_default().to_vec(),
                headers: out.record.headers.iter().map(|(name, value)| (name.to_owned(), text(value))).collect(),
                timestamp_ms: out.record.timestamp_ms,
            });
        }
        driver.clear_outputs();
    }
    found
}

/// A record of the events topic that holds an event as bare JSON.
pub fn event(offset: i64, json: &str) -> reference_model::Record {
    let (topic, value) = ("helixagent.memory.events".to_owned(), Some(json.as_bytes().to_vec()));
    reference_model::Record {
        topic,
        offset,
        timestamp_ms: 1_700_000_000_000,
        value,
        ..reference_model::Record::default()
    }
}

/// The samples, as they were captured.
pub fn samples() -> Vec<reference_model::Record> {
    let records = testkit::records::read_file(repo_path("tests/fixtures/helixagent-events.jsonl"));
    let record = |r: testkit::Record| reference_model::Record {
        topic: "helixagent.memory.events".to_owned(),
        partition: r.partition,
        offset: r.offset,
        timestamp_ms: r.timestamp_ms,
        key: r.key,
        value: r.value,
        headers: r.headers.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect(),
    };
    records.into_iter().map(record).collect()
}
