//! `memory.toml` with one partition in the driver: each task's log is then the whole, as the
//! reference has it.

use helixstream::Program;
use helixstream::app;
use reference_model::Settings;
use reference_model::run::{DeadLetter, Emitted, Outputs};
use streams::driver::TopologyDriver;
use streams::record::{Headers, InRecord, Origin, Record};
use testkit::repo_path;

const TOPIC: &str = "helixagent.memory.events";

/// The topology, running.
pub struct Driven {
    driver: TopologyDriver,
}

fn is_user(record: &Emitted) -> bool {
    record.key.starts_with("user:") && record.headers[0].1 == "user.snapshot"
}

/// What a record brought about.
#[derive(Default)]
pub struct Came {
    pub outputs: Outputs,
    /// Sorted by memory.
    pub answers: Vec<Emitted>,
    pub users: Vec<Emitted>,
}

impl Driven {
    /// With the reference's settings, and more `--set` pairs.
    pub fn new(settings: &Settings, more: &[&str]) -> Driven {
        let text = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
        let text = text.replace("partitions = 12", "partitions = 1");
        let text = text
            .replace("application_id = \"helixstream\"", &format!("application_id = \"{}\"", settings.application_id));
        let mut file = topology_file::parse("t.toml", &text, &Program::default().operators)
            .unwrap_or_else(|problems| panic!("{problems}"));
        let pairs = settings.as_set_pairs();
        for pair in pairs.iter().map(String::as_str).chain(more.iter().copied()) {
            file.values.set_text(pair, "test").unwrap();
        }
        let engine = app::topology_from_file::build(&file, &None).unwrap();
        let sizes = app::topology_from_file::sizes(&file);
        Driven { driver: TopologyDriver::new(&engine, &settings.application_id, &sizes) }
    }

    /// Runs one record through.
    pub fn pipe(&mut self, record: &reference_model::Record) -> Came {
        let headers: Vec<_> = record.headers.iter().map(|(name, value)| (name.as_str(), Some(&value[..]))).collect();
        let (offset, timestamp_ms) = (record.offset, record.timestamp_ms);
        let origin = Origin { topic: TOPIC, partition: record.partition, offset, timestamp_ms };
        let (key, value, headers) = (record.key.as_deref(), record.value.as_deref(), Headers::List(&headers));
        self.driver.pipe(&InRecord { origin, record: Record { key, value, headers, timestamp_ms } }).unwrap();
        let mut came = Came::default();
        for out in self.driver.outputs().iter() {
            match out.origin.topic {
                "helixagent.memory.dead-letters" => came.outputs.dead_letters.push(dead_letter(&out)),
                "helixagent.memory.conflicts" => came.outputs.conflicts.push(emitted(&out)),
                _ => {
                    let record = emitted(&out);
                    match record.headers.iter().any(|(name, _)| name == "sync_for") {
                        true => came.answers.push(record),
                        false if is_user(&record) => came.users.push(record),
                        false => came.outputs.snapshots.push(record),
                    }
                }
            }
        }
        self.driver.clear_outputs();
        came.answers.sort_by(|a, b| a.key.cmp(&b.key));
        came.outputs = came.outputs.normalised();
        came
    }

    /// All keys of a store.
    pub fn keys(&mut self, store: &str) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        self.driver.scan_store(store, |_, key, _| keys.push(key.to_vec())).unwrap();
        keys
    }

    /// Takes all tasks back to their last commit, as an aborted transaction does.
    pub fn commit(&mut self) {
        self.driver.commit().unwrap();
    }

    /// What was counted, by name and label.
    pub fn count(&mut self, name: &'static str, label: &str) -> u64 {
        self.driver.counters().unwrap().get(&(name, label.to_owned())).copied().unwrap_or(0)
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap()
}

fn emitted(out: &InRecord<'_>) -> Emitted {
    Emitted {
        key: text(out.record.key),
        value: text(out.record.value),
        timestamp_ms: out.record.timestamp_ms,
        headers: out.record.headers.iter().map(|(name, value)| (name.to_owned(), text(value))).collect(),
    }
}

fn dead_letter(out: &InRecord<'_>) -> DeadLetter {
    let error = |name: &str| {
        let name = format!("__streams.errors.{name}");
        text(out.record.headers.iter().find(|(found, _)| **found == name).unwrap_or_else(|| panic!("no {name}")).1)
    };
    let own = out.record.headers.iter().filter(|(name, _)| !name.starts_with("__streams.errors."));
    DeadLetter {
        key: out.record.key.map(<[u8]>::to_vec),
        value: out.record.value.map(<[u8]>::to_vec),
        headers: own.map(|(name, value)| (name.to_owned(), value.unwrap_or_default().to_vec())).collect(),
        timestamp_ms: out.record.timestamp_ms,
        class: error("exception"),
        topic: error("topic"),
        partition: error("partition").parse().unwrap(),
        offset: error("offset").parse().unwrap(),
        source_timestamp_ms: error("timestamp").parse().unwrap(),
    }
}
