//! A node that was away asks for what it has not seen, and prints the memories that come for it:
//!
//! `cargo run --example sync_request -- localhost:9092 node-1 '{"node-1":17,"node-2":40}'`
//!
//! A fourth and a fifth argument name other topics than `helixagent.memory.events` and
//! `helixagent.memory.snapshots`. A sixth argument is a user, whose memories alone are asked for.
//! It ends when nothing has come for 5 s: how long an answer is, nobody knows.

use std::error::Error;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const ENOUGH: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [servers, node, clock, more @ ..] = &arguments[..] else {
        return Err("see the head of examples/sync_request.rs for the arguments".into());
    };
    let argument = |at: usize, default: &'static str| more.get(at).map_or(default, String::as_str);
    let events = argument(0, "helixagent.memory.events");
    let snapshots = argument(1, "helixagent.memory.snapshots");
    // An empty user is none: all memories are asked for.
    let user = argument(2, "");
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers);

    // Where the topic ends now is noted before anything is asked: the answer lies behind that.
    let consumer: BaseConsumer = config
        .clone()
        .set("group.id", node)
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(snapshots), ENOUGH)?;
    let mut ends = rdkafka::TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        let (_, end) = consumer.fetch_watermarks(snapshots, partition.id(), ENOUGH)?;
        ends.add_partition_offset(snapshots, partition.id(), rdkafka::Offset::Offset(end))?;
    }
    consumer.assign(&ends)?;

    let clock: serde_json::Value = serde_json::from_str(clock)?;
    let request = serde_json::json!({
        "event_id": uuid::Uuid::new_v4().to_string(), "event_type": "memory.sync_request", "node_id": node, "vector_clock": clock,
        "user_id": user,
    });
    let producer: BaseProducer = config.create()?;
    let request = request.to_string();
    producer.send(BaseRecord::<str, str>::to(events).payload(&request)).map_err(|(error, _)| error)?;
    producer.flush(ENOUGH)?;

    let mut last = Instant::now();
    while last.elapsed() < ENOUGH {
        let Some(message) = consumer.poll(Duration::from_millis(200)) else { continue };
        let message = message?;
        let is_ours = |headers: &rdkafka::message::BorrowedHeaders| {
            headers.iter().any(|header| header.key == "sync_for" && header.value == Some(node.as_bytes()))
        };
        if message.headers().is_some_and(is_ours) {
            last = Instant::now();
            println!("{}", String::from_utf8_lossy(message.payload().unwrap_or_default()));
        }
    }
    Ok(())
}
