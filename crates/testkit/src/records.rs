//! Raw records: in record files (one JSON object a line), and in and out of topics as they are.

use super::wait::wait_until;
use super::{Broker, LIMIT};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// A record with its place. `offset` is ignored when it is produced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Partition.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// A record of partition 0, dated 2026-01-01.
    pub fn new(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Record {
        let key = Some(key.as_ref().to_vec());
        let value = Some(value.as_ref().to_vec());
        Record { timestamp_ms: 1_767_225_600_000, key, value, ..Record::default() }
    }

    /// The same in another partition.
    pub fn in_partition(self, partition: i32) -> Record {
        Record { partition, ..self }
    }

    /// The same with another timestamp.
    pub fn at_ms(self, timestamp_ms: i64) -> Record {
        Record { timestamp_ms, ..self }
    }

    /// The key as text.
    pub fn key_text(&self) -> String {
        String::from_utf8(self.key.clone().expect("the record has a key")).expect("the key is UTF-8")
    }

    /// The value as JSON.
    pub fn value_json(&self) -> Value {
        serde_json::from_slice(self.value.as_deref().expect("the record has a value")).expect("the value is JSON")
    }

    /// The record file's line for it, without the newline.
    pub fn to_line(&self) -> String {
        let encode = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
        let headers: Vec<Value> = self.headers.iter().map(|(name, value)| json!([name, encode(value)])).collect();
        json!({"partition": self.partition, "offset": self.offset, "timestamp_ms": self.timestamp_ms,
            "key_b64": encode(&self.key), "value_b64": encode(&self.value), "headers": headers})
        .to_string()
    }

    /// Reads a record file's line; panics when it is none.
    pub fn from_line(line: &str) -> Record {
        let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let decode = |value: &Value| value.as_str().map(|text| STANDARD.decode(text).expect("valid base64"));
        let headers = json["headers"].as_array().expect("headers is an array").iter();
        Record {
            partition: i32::try_from(json["partition"].as_i64().expect("partition is a number")).unwrap(),
            offset: json["offset"].as_i64().expect("offset is a number"),
            timestamp_ms: json["timestamp_ms"].as_i64().expect("timestamp_ms is a number"),
            key: decode(&json["key_b64"]),
            value: decode(&json["value_b64"]),
            headers: headers
                .map(|pair| (pair[0].as_str().expect("a header's name").to_owned(), decode(&pair[1])))
                .collect(),
        }
    }
}

/// All records of a record file.
pub fn read_file(path: impl AsRef<Path>) -> Vec<Record> {
    let path = path.as_ref();
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(Record::from_line).collect()
}

/// Writes a record file.
pub fn write_file(path: impl AsRef<Path>, records: &[Record]) {
    let lines: String = records.iter().map(|record| record.to_line() + "\n").collect();
    std::fs::write(path, lines).unwrap();
}

/// Publishes records, each to its own partition with its own timestamp, in order; returns when the
/// broker has them all.
pub fn produce(broker: &Broker, topic: &str, records: &[Record]) {
    let producer: BaseProducer = producer_config(broker).create().unwrap();
    send(&producer, topic, records);
    producer.flush(Duration::from_secs(120)).unwrap();
}

/// A producer with `transactional_id`, its transactions initialised: begin, [`send`], then commit,
/// abort, or leave it hanging.
pub fn transactional_producer(broker: &Broker, transactional_id: &str) -> BaseProducer {
    let mut config = producer_config(broker);
    config.set("transactional.id", transactional_id);
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(Duration::from_secs(60)).unwrap();
    producer
}

fn producer_config(broker: &Broker) -> rdkafka::ClientConfig {
    let mut config = broker.client();
    config.set("enable.idempotence", "true").set("message.max.bytes", "16777216").set("linger.ms", "1");
    config
}

/// Hands records to a producer, waiting while its queue is full; does not flush.
pub fn send(producer: &BaseProducer, topic: &str, records: &[Record]) {
    for record in records {
        let mut headers = OwnedHeaders::new();
        for (name, value) in &record.headers {
            headers = headers.insert(Header { key: name, value: value.as_deref() });
        }
        let mut next = BaseRecord::<[u8], [u8]>::to(topic).partition(record.partition);
        next = next.timestamp(record.timestamp_ms).headers(headers);
        next.key = record.key.as_deref();
        next.payload = record.value.as_deref();
        let start = Instant::now();
        while let Err((error, refused)) = producer.send(next) {
            assert!(start.elapsed() < LIMIT, "the queue of records for {topic} stays full");
            assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "produce: {error}");
            producer.poll(Duration::from_millis(10));
            next = refused;
        }
        producer.poll(Duration::ZERO);
    }
}

/// All committed records of a topic, by partition, then offset.
pub fn read_committed(broker: &Broker, topic: &str) -> Vec<Record> {
    read_topic(broker, topic, "read_committed")
}

/// All records of a topic, those of open and aborted transactions too, by partition, then offset.
pub fn read_uncommitted(broker: &Broker, topic: &str) -> Vec<Record> {
    read_topic(broker, topic, "read_uncommitted")
}

/// The committed records of a topic that are to be kept, by partition, then offset: for a topic of
/// which not all fits into memory.
pub fn read_committed_where(broker: &Broker, topic: &str, keep: impl Fn(&Record) -> bool) -> Vec<Record> {
    read_where(broker, topic, "read_committed", keep)
}

fn read_topic(broker: &Broker, topic: &str, isolation: &str) -> Vec<Record> {
    read_where(broker, topic, isolation, |_| true)
}

fn read_where(broker: &Broker, topic: &str, isolation: &str, keep: impl Fn(&Record) -> bool) -> Vec<Record> {
    let (consumer, count) = reader(broker, topic, isolation);
    let mut records = Vec::new();
    read_to_end(&consumer, topic, count, |record| {
        if keep(&record) {
            records.push(record);
        }
    });
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

fn reader_config(broker: &Broker, isolation: &str) -> rdkafka::ClientConfig {
    let mut config = broker.client();
    config.set("group.id", "not-used").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    config
        .set("isolation.level", isolation)
        .set("auto.offset.reset", "error")
        .set("fetch.message.max.bytes", "16777216")
        // The end of a partition is told by a fetch that brings nothing.
        .set("fetch.wait.max.ms", "10");
    config
}

/// A client that is to read a topic from its first record, and the topic's number of partitions.
fn reader(broker: &Broker, topic: &str, isolation: &str) -> (BaseConsumer, usize) {
    let consumer: BaseConsumer = reader_config(broker, isolation).create().unwrap();
    let count = broker.partition_count(topic).unwrap_or_else(|| panic!("there is no topic {topic}"));
    let mut partitions = TopicPartitionList::new();
    for partition in 0..count {
        partitions.add_partition_offset(topic, i32::try_from(partition).unwrap(), Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    (consumer, count)
}

/// Reads the committed records of topics to their ends, again and again: one client does it all,
/// and reads each record once.
pub struct Reader {
    consumer: BaseConsumer,
    /// Reads nothing; it knows the ends of logs whatever is pending in them.
    uncommitted: BaseConsumer,
    topics: BTreeMap<String, ReadTopic>,
}

/// The part of a topic that has been read.
struct ReadTopic {
    records: Vec<Record>,
    /// The offset behind the last record of each partition.
    next: Vec<i64>,
}

impl Reader {
    /// Nothing is read yet.
    pub fn start(broker: &Broker) -> Reader {
        let client = |isolation| reader_config(broker, isolation).create().unwrap();
        Reader { consumer: client("read_committed"), uncommitted: client("read_uncommitted"), topics: BTreeMap::new() }
    }

    /// All committed records of a topic, by partition, then offset. Waits until each transaction
    /// in it has ended there as well: a coordinator that is moved or whose brokers fail writes the
    /// markers later than it answers, and until then the last stable offset hides what is committed
    /// (KAFKA-10167).
    pub fn read(&mut self, topic: &str) -> Vec<Record> {
        let known = self.topics.entry(topic.to_owned()).or_insert_with(|| {
            let metadata = self.consumer.fetch_metadata(Some(topic), Duration::from_secs(30)).unwrap();
            let count = metadata.topics()[0].partitions().len();
            assert!(count > 0, "there is no topic {topic}");
            ReadTopic { records: Vec::new(), next: vec![0; count] }
        });
        for partition in 0..i32::try_from(known.next.len()).unwrap() {
            wait_until(&format!("every transaction in {topic}-{partition} to end"), || {
                let end = |client: &BaseConsumer| client.fetch_watermarks(topic, partition, Duration::from_secs(10));
                matches!((end(&self.consumer), end(&self.uncommitted)), (Ok(stable), Ok(all)) if stable == all)
            });
        }
        let mut partitions = TopicPartitionList::new();
        for (partition, next) in known.next.iter().enumerate() {
            let at = Offset::Offset(*next);
            partitions.add_partition_offset(topic, i32::try_from(partition).unwrap(), at).unwrap();
        }
        self.consumer.assign(&partitions).unwrap();
        read_to_end(&self.consumer, topic, known.next.len(), |record| {
            known.next[usize::try_from(record.partition).unwrap()] = record.offset + 1;
            known.records.push(record);
        });
        known.records.sort_by_key(|record| (record.partition, record.offset));
        known.records.clone()
    }
}

/// Reads what is assigned to its end.
fn read_to_end(consumer: &BaseConsumer, topic: &str, partitions: usize, mut take: impl FnMut(Record)) {
    let mut at_end = vec![false; partitions];
    let mut last = Instant::now();
    while at_end.contains(&false) {
        assert!(last.elapsed() < Duration::from_secs(180), "{topic} is not read to its end, and no record comes");
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(message)) => {
                take(from_message(&message));
                last = Instant::now();
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => at_end[usize::try_from(partition).unwrap()] = true,
            // A broker was away for a moment: the client connects again.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            ))) => {}
            Some(Err(error)) => panic!("read {topic}: {error}"),
        }
    }
    consumer.unassign().unwrap();
}

/// Reads the committed records of a topic as they come, each once: for a test that waits for
/// records of a large topic, which it would otherwise read from the beginning at each look.
pub struct Follower {
    consumer: BaseConsumer,
    topic: String,
}

impl Follower {
    /// From the first record of the topic on.
    pub fn start(broker: &Broker, topic: &str) -> Follower {
        Follower { consumer: reader(broker, topic, "read_committed").0, topic: topic.to_owned() }
    }

    /// The records since the last call, until none has come for a tenth of a second.
    pub fn arrived(&self) -> Vec<Record> {
        let mut records = Vec::new();
        while let Some(polled) = self.consumer.poll(Duration::from_millis(100)) {
            match polled {
                Ok(message) => records.push(from_message(&message)),
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) => panic!("read {}: {error}", self.topic),
            }
        }
        records
    }
}

fn from_message(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}
