//! `helixstream produce`: publishes a record file on a topic, with keys, headers and timestamps as
//! they are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use super::kafka::{self, Memory};
use super::{CommandError, rights};
use crate::edges::cli::ProduceArgs;
use crate::edges::cli::terminal::Progress;
use crate::edges::recordfile::{FileRecord, RecordReader};
use streams::ports::Admin as _;
use streams::record::{Header, Headers, Record};
use streams::task::partition_for;
use streams_kafka::admin::ClusterAdmin;
use streams_kafka::plain::PlainProducer;
use streams_kafka::restore_consumer::RestoreConsumer;

/// Queues of the producer, which is the only client.
const MEMORY: u64 = 96 << 20;
/// How long the last records may take to arrive.
const FINISH: Duration = Duration::from_secs(120);

/// Publishes the file.
pub fn produce(args: &ProduceArgs) -> Result<(), CommandError> {
    let settings = kafka::settings(&args.kafka, None, "produce", Memory::share(MEMORY, 1))?;
    let mut reader = RecordReader::open(&args.input)?;
    let admin = ClusterAdmin::new(&settings, &RestoreConsumer::new(&settings)?)?;
    admin.wait_for_brokers(kafka::patience(None))?;
    rights::require(&admin, &settings, "produce", &rights::produce(&args.topic))?;
    let found = admin.topics(&[&args.topic])?.into_iter().flatten().next();
    let info = found.ok_or_else(|| {
        anyhow!(
            "topic `{}` does not exist: create it with `helixstream topics create`, or name another with --topic [HS2004]",
            args.topic
        )
    })?;
    let mut producer = PlainProducer::new(&settings)?;
    let topic: Arc<str> = args.topic.as_str().into();
    let bar = Progress::new("produce", reader.progress().1, true);
    let pace = Pace::new(args.rate);
    let mut sent: u64 = 0;
    while let Some(record) = reader.read()? {
        pace.wait(sent, &mut producer);
        let headers: Vec<Header<'_>> = record.headers.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect();
        let out = Record {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: Headers::List(&headers),
            timestamp_ms: record.timestamp_ms,
        };
        let partition = partition(&record, info.partitions);
        producer
            .send(&topic, partition, &out)
            .with_context(|| format!("cannot publish record {sent} of {}", args.input.display()))?;
        sent += 1;
        let (done, total) = reader.progress();
        bar.set(done, total);
    }
    producer.finish(FINISH)?;
    drop(bar);
    println!("{} records on {}", producer.delivered(), args.topic);
    Ok(())
}

/// The partition that the line names, else Java's choice by key.
fn partition(record: &FileRecord, partitions: i32) -> i32 {
    if record.has_partition && record.partition < partitions {
        return record.partition;
    }
    partition_for(record.key.as_deref(), record.partition, partitions)
}

/// Holds sending back to a rate.
struct Pace {
    start: Instant,
    each: Option<Duration>,
}

impl Pace {
    fn new(rate: Option<u32>) -> Pace {
        Pace { start: Instant::now(), each: rate.map(|rate| Duration::from_secs(1) / rate.max(1)) }
    }

    /// Waits until record number `sent` is due, and serves the producer meanwhile.
    fn wait(&self, sent: u64, producer: &mut PlainProducer) {
        let Some(each) = self.each else { return };
        let due = each.as_secs_f64() * sent as f64;
        loop {
            let left = due - self.start.elapsed().as_secs_f64();
            if left <= 0.0 {
                return;
            }
            producer.poll(Duration::from_secs_f64(left.min(0.1)));
        }
    }
}
