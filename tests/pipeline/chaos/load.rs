//! One application under load: its topics and its database, the events that are published all the
//! time, and a look at how far its group has come.

use super::verify::Verifier;
use crate::events::{Events, bad_record};
use crate::trial::{Trial, ends, memory_toml};
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;
use reference_model::Settings;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use testkit::{Broker, Cluster, Connection, LIMIT, Postgres, Random, Record, records};

/// Partitions of the events topic.
pub const PARTITIONS: i32 = 4;
/// Events that are published at a time, and the time between two times.
const PIECE: (usize, Duration) = (8, Duration::from_millis(100));
/// Groups of three memories, which the events are about.
const GROUPS: usize = 200;
/// Of a look at the group's progress.
const LOOK: Duration = Duration::from_secs(3);

/// The application.
pub struct Load {
    pub trial: Arc<Trial>,
    /// The database of its mirror.
    pub url: String,
    /// Its number among those of the run.
    pub number: usize,
    pub verifier: Mutex<Verifier>,
    watch: Watch,
}

impl Load {
    /// Makes topics and database.
    pub fn new(number: usize, cluster: &Cluster, postgres: &Postgres) -> Load {
        let mut text = memory_toml();
        for partitions in [12, 6, 3] {
            text = text.replace(&format!("partitions = {partitions}\n"), &format!("partitions = {PARTITIONS}\n"));
        }
        let broker = Arc::clone(&cluster.brokers()[0]);
        let connection = Connection { servers: broker.bootstrap(), settings: Vec::new(), password_file: None };
        // Small limits, so that bad events of each class are small. Shorter timeouts than by
        // default, so that a few seconds are past them.
        let settings = ["max_value_bytes=4000", "max_clock_entries=4", "transaction_timeout=5s", "check_interval=1s"];
        let settings = [&settings[..], &["session_timeout=3s"]].concat();
        let trial = Trial::by_connection_of(&text, "chaos", &settings, broker, connection);
        let trial = Arc::new(trial.with_partitions(PARTITIONS));
        let verifier = Mutex::new(Verifier::new(&trial));
        let watch = Watch::start(&trial);
        Load { trial, url: postgres.create_database(), number, verifier, watch }
    }

    /// Publishes events until that is stopped, each time other ones.
    pub fn feed(&self, number: u64) -> Feeding {
        let (trial, stop) = (Arc::clone(&self.trial), Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&stop);
        Feeding { stop, thread: Some(std::thread::spawn(move || feed(&trial, number, &asked))) }
    }

    /// The longest time for which the group had something to do in a partition and committed
    /// nothing, by topic and partition.
    pub fn stalls(&self) -> BTreeMap<(String, i32), Duration> {
        self.watch.longest.lock().unwrap().clone()
    }
}

/// Events that are being published.
pub struct Feeding {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Feeding {
    /// Stops, and tells how many were published.
    pub fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(0, |thread| thread.join().expect("the feeder ends"))
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn feed(trial: &Trial, number: u64, asked: &AtomicBool) -> usize {
    let (mut events, mut random) = (Events::new(number, GROUPS), Random::new(testkit::seed() ^ number));
    let limits = Settings { max_value_bytes: 4000, max_clock_entries: 4, ..Settings::default() };
    let mut client = trial.broker().client();
    client.set("enable.idempotence", "true").set("linger.ms", "1").set("message.timeout.ms", "600000");
    let producer: BaseProducer = client.create().unwrap();
    let mut sent = 0;
    while !asked.load(Ordering::Relaxed) {
        let mut piece = events.take(PIECE.0);
        // What is refused is a dead letter, one for each: they tell of the tasks that read events.
        piece[0] = bad_record(&mut random, &limits);
        let in_range = |record: Record| Record { partition: record.partition % PARTITIONS, ..record };
        let piece: Vec<Record> = piece.into_iter().map(in_range).collect();
        records::send(&producer, &trial.topic("events"), &piece);
        sent += piece.len();
        // Some air between the pieces: it bounds how much there is to compare afterwards.
        std::thread::sleep(PIECE.1);
    }
    producer.flush(LIMIT).expect("the events reach the cluster");
    sent
}

/// Looks at what the group has committed, four times a second.
struct Watch {
    stop: Arc<AtomicBool>,
    longest: Arc<Mutex<BTreeMap<(String, i32), Duration>>>,
}

impl Watch {
    fn start(trial: &Arc<Trial>) -> Watch {
        let (stop, longest) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let watch = Watch { stop: Arc::clone(&stop), longest: Arc::clone(&longest) };
        let topics =
            [("events", trial.topic("events")), ("by-memory", trial.repartition()), ("by-user", trial.by_user())];
        let onlooker = onlooker(trial.broker(), trial.application_id());
        std::thread::spawn(move || {
            let mut last: BTreeMap<(String, i32), (i64, Instant)> = BTreeMap::new();
            while !stop.load(Ordering::Relaxed) {
                for (short, topic) in &topics {
                    // Nothing is seen while no broker answers: then the last look counts.
                    let Some(seen) = progress(&onlooker, topic) else { continue };
                    for (partition, committed, end) in seen {
                        let place = ((*short).to_owned(), partition);
                        let (before, since) = last.entry(place.clone()).or_insert((committed, Instant::now()));
                        if end > *before {
                            let mut longest = longest.lock().unwrap();
                            let known = longest.entry(place).or_default();
                            *known = since.elapsed().max(*known);
                        }
                        if committed != *before || committed == end {
                            (*before, *since) = (committed, Instant::now());
                        }
                    }
                }
                std::thread::sleep(Duration::from_millis(250));
            }
        });
        watch
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn onlooker(broker: &Broker, group: &str) -> BaseConsumer {
    broker.client().set("group.id", group).set("isolation.level", "read_uncommitted").create().unwrap()
}

/// Partition, committed offset and end.
fn progress(onlooker: &BaseConsumer, topic: &str) -> Option<Vec<(i32, i64, i64)>> {
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_range(topic, 0, PARTITIONS - 1);
    let committed = onlooker.committed_offsets(partitions, LOOK).ok()?;
    let ends = ends(onlooker, topic, PARTITIONS, LOOK)?;
    let place = |(partition, end)| match committed.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some((partition, offset, end)),
        _ => Some((partition, 0, end)),
    };
    ends.into_iter().map(place).collect()
}
