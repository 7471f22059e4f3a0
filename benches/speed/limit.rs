//! The limit: librdkafka moves as many records and bytes through the same hops, transactions
//! included, and nothing is done to them.

use super::measure::Watch;
use super::table::Row;
use anyhow::{Context as _, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};
use testkit::Broker;

const MINUTE: Duration = Duration::from_secs(60);
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
const EVENTS: &str = "helixagent.memory.events";
const HOP: &str = "limit-repartition";
const KEY: &[u8] = b"mem-10000000";

/// Records of a topic, and the bytes of their values.
#[derive(Debug, Clone, Copy, Default)]
pub struct Volume {
    /// Records.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

impl Volume {
    /// The difference since an earlier reading.
    pub fn since(self, before: Volume) -> Volume {
        Volume { records: self.records - before.records, bytes: self.bytes - before.bytes }
    }

    fn mean(&self) -> usize {
        (self.bytes / self.records.max(1)) as usize
    }
}

/// Volumes that the pipeline moved.
pub struct Volumes {
    /// Read first.
    pub events: Volume,
    /// Written and read again.
    pub repartition: Volume,
    /// Written behind the hop, with each topic's number of partitions: changelog, snapshots,
    /// conflicts.
    pub outputs: Vec<(usize, Volume)>,
}

impl Volumes {
    fn text(&self) -> String {
        let outputs: Vec<String> = self.outputs.iter().map(|(_, volume)| volume.mean().to_string()).collect();
        let events = self.events.mean();
        let hop = self.repartition.mean();
        format!(
            "bytes of a value in the mean: event {events}, hop {hop}, changelog, snapshot, conflict {}",
            outputs.join(", ")
        )
    }
}

/// Reads a topic to its end and counts.
pub fn volume(broker: &Broker, topic: &str) -> Result<Volume> {
    let consumer = reader(broker)?;
    let partitions = broker.partition_count(topic).with_context(|| format!("there is no topic {topic}"))?;
    consumer.assign(&all(topic, partitions)?)?;
    let mut volume = Volume::default();
    let mut open = partitions;
    while open > 0 {
        match consumer.poll(MINUTE).with_context(|| format!("{topic} does not end"))? {
            Ok(message) => {
                volume.records += 1;
                volume.bytes += message.payload_len() as u64;
            }
            Err(KafkaError::PartitionEOF(_)) => open -= 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(volume)
}

/// Moves the volumes and measures it.
pub fn measure(broker: &Broker, volumes: &Volumes) -> Result<Row> {
    broker.create_topic(HOP, 12, &[]);
    let targets: Vec<(String, Volume)> = volumes
        .outputs
        .iter()
        .enumerate()
        .map(|(n, (partitions, volume))| {
            let topic = format!("limit-output-{n}");
            broker.create_topic(&topic, *partitions, &[]);
            (topic, *volume)
        })
        .collect();
    let watch = Watch::start(std::process::id())?;
    let broker_watch = Watch::start(broker.pid())?;
    let mut mover = Mover::new(broker, volumes, targets)?;
    mover.run(volumes)?;
    let spent = watch.read()?;
    let broker_cpu_s = broker_watch.read()?.cpu_s;
    let snapshots = volumes.outputs.get(1).map(|(_, volume)| volume.records);
    let row = Row::new("librdkafka alone, the same hops", volumes.events.records, spent).note(volumes.text());
    Ok(Row { snapshots, broker_cpu_s: Some(broker_cpu_s), ..row })
}

struct Mover {
    consumer: BaseConsumer,
    producer: BaseProducer,
    targets: Vec<(String, Volume)>,
    filler: Vec<u8>,
    next: TopicPartitionList,
    committed: Instant,
}

impl Mover {
    fn new(broker: &Broker, volumes: &Volumes, targets: Vec<(String, Volume)>) -> Result<Mover> {
        let consumer = reader(broker)?;
        let mut assignment = all(EVENTS, 12)?;
        for element in all(HOP, 12)?.elements() {
            assignment.add_partition_offset(element.topic(), element.partition(), Offset::Beginning)?;
        }
        consumer.assign(&assignment)?;
        let mut config = broker.client();
        config.set("transactional.id", "limit").set("linger.ms", "5").set("batch.size", "262144");
        let producer: BaseProducer = config.create()?;
        producer.init_transactions(MINUTE)?;
        producer.begin_transaction()?;
        let longest = targets.iter().map(|(_, volume)| volume.mean()).chain([volumes.repartition.mean()]).max();
        let filler = vec![b'x'; longest.unwrap_or(0)];
        Ok(Mover { consumer, producer, targets, filler, next: TopicPartitionList::new(), committed: Instant::now() })
    }

    /// Every event gives a record of the hop's mean size; every record of the hop its share of each
    /// output.
    fn run(&mut self, volumes: &Volumes) -> Result<()> {
        let mut events = 0;
        let mut hops = 0;
        let mut sent = vec![0_u64; self.targets.len()];
        while events < volumes.events.records || hops < volumes.events.records {
            let consumer = &self.consumer;
            let Some(message) = consumer.poll(Duration::from_millis(10)) else {
                self.commit_when_due()?;
                continue;
            };
            let message = match message {
                Ok(message) => message,
                Err(KafkaError::PartitionEOF(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            note(&mut self.next, message.topic(), message.partition(), message.offset() + 1)?;
            if message.topic() == EVENTS {
                events += 1;
                self.send(HOP, events, volumes.repartition.mean())?;
            } else {
                hops += 1;
                for (n, sent) in sent.iter_mut().enumerate() {
                    let (topic, volume) = &self.targets[n];
                    // Spread evenly: so many of this output per record of the hop.
                    while *sent < volume.records * hops / volumes.events.records {
                        *sent += 1;
                        self.send(topic, *sent, volume.mean())?;
                    }
                }
            }
            self.producer.poll(Duration::ZERO);
            drop(message);
            self.commit_when_due()?;
        }
        self.commit()
    }

    fn send(&self, topic: &str, count: u64, size: usize) -> Result<()> {
        let number = count.to_be_bytes();
        let key = [KEY, &number].concat();
        let mut record = BaseRecord::to(topic).key(&key).payload(&self.filler[..size]);
        while let Err((error, refused)) = self.producer.send(record) {
            ensure!(error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull), "produce: {error}");
            self.producer.poll(Duration::from_millis(1));
            record = refused;
        }
        Ok(())
    }

    fn commit_when_due(&mut self) -> Result<()> {
        if self.committed.elapsed() >= COMMIT_INTERVAL && self.next.count() > 0 { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<()> {
        while self.producer.in_flight_count() > 0 {
            self.producer.poll(Duration::from_millis(1));
        }
        let group = self.consumer.group_metadata().context("the consumer has no group")?;
        self.producer.send_offsets_to_transaction(&self.next, &group, MINUTE)?;
        self.producer.commit_transaction(MINUTE)?;
        self.producer.begin_transaction()?;
        self.next = TopicPartitionList::new();
        self.committed = Instant::now();
        Ok(())
    }
}

fn note(next: &mut TopicPartitionList, topic: &str, partition: i32, offset: i64) -> Result<()> {
    match next.find_partition(topic, partition) {
        Some(mut found) => Ok(found.set_offset(Offset::Offset(offset))?),
        None => Ok(next.add_partition_offset(topic, partition, Offset::Offset(offset))?),
    }
}

fn reader(broker: &Broker) -> Result<BaseConsumer> {
    let mut config = broker.client();
    config.set("group.id", "limit").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    config.set("isolation.level", "read_committed").set("queued.max.messages.kbytes", "16384");
    config.set("fetch.queue.backoff.ms", "5");
    Ok(config.create()?)
}

fn all(topic: &str, partitions: usize) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition as i32, Offset::Beginning)?;
    }
    Ok(list)
}
