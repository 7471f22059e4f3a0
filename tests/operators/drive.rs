//! Runs a topology file in the driver.

use helixstream::Program;
use helixstream::app;
use streams::driver::TopologyDriver;
use streams::processor::{HEADER_CLASS, HEADER_MESSAGE, HEADER_TOPIC};
use streams::record::{Origin, RecordBatch};
use testkit::Record;

/// A topology that runs.
pub struct Run {
    driver: TopologyDriver,
    offset: i64,
}

/// What is written, in the order of emission.
#[derive(Clone, Debug)]
pub struct Out {
    pub topic: String,
    pub record: Record,
}

impl Out {
    /// Key and value as text; `-` for null.
    pub fn text(&self) -> String {
        let text = |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map_or("-".to_owned(), |b| String::from_utf8_lossy(b).into_owned())
        };
        format!("{}={}", text(&self.record.key), text(&self.record.value))
    }

    /// The last header of that name, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.record.headers.iter().rev().find(|(found, _)| found == name)?;
        Some(String::from_utf8_lossy(found.1.as_deref().unwrap_or_default()).into_owned())
    }

    /// Of a dead letter: class, message and source topic.
    pub fn reason(&self) -> (String, String, String) {
        let header = |name| self.header(name).unwrap_or_default();
        (header(HEADER_CLASS), header(HEADER_MESSAGE), header(HEADER_TOPIC))
    }
}

impl Run {
    pub fn new(text: &str) -> Run {
        let file = topology_file::parse("t.toml", text, &Program::default().operators)
            .unwrap_or_else(|problems| panic!("{problems}"));
        let engine = app::topology_from_file::build(&file, &None).unwrap();
        let id = &file.values.resolver.application_id;
        Run { driver: TopologyDriver::new(&engine, id, &app::topology_from_file::sizes(&file)), offset: 0 }
    }

    /// What comes of a record on a topic.
    pub fn pipe(&mut self, topic: &str, record: &Record) -> Vec<Out> {
        let mut batch = RecordBatch::new();
        let Record { partition, timestamp_ms, .. } = *record;
        let origin = Origin { topic, partition, offset: self.offset, timestamp_ms };
        self.offset += 1;
        let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        batch.push(origin, record.key.as_deref(), record.value.as_deref(), headers);
        batch.iter().for_each(|input| self.driver.pipe(&input).unwrap());
        let out = self.driver.outputs().iter().map(|out| Out {
            topic: out.origin.topic.to_owned(),
            record: Record {
                partition: out.origin.partition,
                offset: out.origin.offset,
                timestamp_ms: out.record.timestamp_ms,
                key: out.record.key.map(<[u8]>::to_vec),
                value: out.record.value.map(<[u8]>::to_vec),
                headers: out.record.headers.iter().map(|(n, v)| (n.to_owned(), v.map(<[u8]>::to_vec))).collect(),
            },
        });
        let out = out.collect();
        self.driver.clear_outputs();
        out
    }

    /// The same of several records.
    pub fn pipe_all(&mut self, topic: &str, records: &[Record]) -> Vec<Out> {
        records.iter().flat_map(|record| self.pipe(topic, record)).collect()
    }

    /// Key and value of what comes of a value with the key `k`, without dead letters.
    pub fn texts(&mut self, value: &str) -> Vec<String> {
        let out = self.pipe("in", &Record::new("k", value));
        out.iter().filter(|out| out.topic != "dead").map(Out::text).collect()
    }

    /// Class and message of the only thing that comes of a value: a dead letter with its bytes.
    #[track_caller]
    pub fn dead(&mut self, value: &str) -> (String, String) {
        let out = self.pipe("in", &Record::new("k", value));
        assert_eq!(out.iter().map(|out| out.topic.as_str()).collect::<Vec<_>>(), ["dead"], "{out:?}");
        assert_eq!(out[0].record.value.as_deref(), Some(value.as_bytes()));
        let (class, message, topic) = out[0].reason();
        assert_eq!(topic, "in");
        (class, message)
    }

    /// A counter, by name and label.
    pub fn counter(&mut self, name: &'static str, label: &str) -> u64 {
        self.driver.counters().unwrap().get(&(name, label.to_owned())).copied().unwrap_or(0)
    }
}

/// A topology that reads the topic `in`, has a node `p`, and writes what the sink takes of it to
/// `out`.
pub fn around(node: &str, from: &str) -> String {
    format!(
        "{HEAD}[[source]]\nname = \"in\"\ntopic = \"in\"\npartitions = 1\n\n[[processor]]\nname = \"p\"\nfrom = \"in\"\n{node}\n\n\
         [[sink]]\nname = \"out\"\ntopic = \"out\"\npartitions = 1\nfrom = {from}\n"
    )
}

/// What each file begins with.
pub const HEAD: &str = "application_id = \"app\"\n\n[dead_letters]\ntopic = \"dead\"\npartitions = 1\n\n";
