//! An application with two stores a task, on a broker in memory and on databases on disk.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use helixstream_streams_rocksdb::{RocksStores, StoreMemory};
use streams::driver::TopologyDriver;
use streams::error::Error;
use streams::ports::GroupEvent;
use streams::processor::{Processor, ProcessorContext, ProcessorError};
use streams::record::{Headers, InRecord, Origin, Record, TaskId, TopicPartition};
use streams::runtime::{
    Inline, Instance, InstancePorts, NoObserver, RunStatus, RuntimeConfig, StreamThread, ThreadPorts,
};
use streams::task::Sizes;
use streams::topology::Topology;
use testkit::Random;

use super::memory::broker::{Broker, State, Stored};
use super::memory::ports::{Client, Group, TickingClock};
use super::memory::producer::Producers;

pub const PARTITIONS: i32 = 2;
const SOURCE: &str = "in";
pub const STORES: [&str; 2] = ["counts", "texts"];
/// The key that asks for a digest of both stores.
const DIGEST: &[u8] = b"?";
const KEYS: usize = 300;
/// An instance has caught up after so many turns, or never.
const TURNS: usize = 20_000;

/// Counts the records of a key and keeps its last text; an empty text is a delete. Each output
/// shows what both stores held, so that a wrong read shows in the outputs.
struct Keep;

impl Processor for Keep {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let key = record.key.unwrap_or_default();
        let answer = |value: &[u8], ctx: &mut dyn ProcessorContext<'_>| {
            ctx.forward(&Record { value: Some(value), headers: Headers::NONE, ..*record })
        };
        if key == DIGEST {
            let mut digest = 0xcbf2_9ce4_8422_2325_u64;
            for store in STORES {
                ctx.store(store)?.scan(b"", |key, value| {
                    for byte in key.iter().chain(value) {
                        digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
                    }
                    ControlFlow::Continue(())
                })?;
            }
            return answer(format!("{digest:x}").as_bytes(), ctx);
        }
        let count = ctx.store("counts")?.get(key)?.map_or(0, |count| u64::from_be_bytes(count[..].try_into().unwrap()));
        ctx.store("counts")?.put(key, (count + 1).to_be_bytes().to_vec())?;
        let last = ctx.store("texts")?.get(key)?.map(|text| text.to_vec()).unwrap_or_default();
        match record.value.unwrap_or_default() {
            b"" => ctx.store("texts")?.delete(key)?,
            text => ctx.store("texts")?.put(key, text.to_vec())?,
        }
        answer(format!("{count} {}", String::from_utf8_lossy(&last)).as_bytes(), ctx)
    }
}

fn topology() -> Topology {
    let built = Topology::builder()
        .source("in", SOURCE)
        .process("keep", ["in"], || Box::new(Keep))
        .store(STORES[0], ["keep"])
        .store(STORES[1], ["keep"])
        .sink("out", "out", ["keep"])
        .build();
    built.unwrap()
}

/// A broker in memory, and the folder of the databases.
pub struct World {
    pub broker: Broker,
    pub folder: PathBuf,
}

impl World {
    pub fn new(folder: PathBuf) -> World {
        let broker = Broker::default();
        broker.create(SOURCE, PARTITIONS);
        broker.create("out", PARTITIONS);
        World { broker, folder }
    }

    /// The same logs and offsets, with the databases of another folder.
    pub fn fork(&self, folder: PathBuf) -> World {
        let state = self.broker.lock();
        let copy = State {
            logs: state.logs.clone(),
            counts: state.counts.clone(),
            configs: state.configs.clone(),
            committed: state.committed.clone(),
            epochs: state.epochs.clone(),
            aborted: state.aborted.clone(),
            next_transaction: state.next_transaction,
            ..State::default()
        };
        let broker = Broker::default();
        *broker.lock() = copy;
        World { broker, folder }
    }

    /// The databases, with memtables so small that they are written out all the time.
    pub fn stores(&self) -> RocksStores {
        let memory = StoreMemory { cache_bytes: 4 << 20, write_buffer_bytes: 384 << 10, threads: 1 };
        RocksStores::new(&self.folder, &memory).unwrap()
    }

    fn publish(&self, partition: i32, key: &str, value: &str) {
        let at = TopicPartition::new(SOURCE, partition);
        let next = self.broker.lock().end(&at);
        self.broker.publish(SOURCE, partition, Some(key), value, 1000 + next);
    }

    /// So many records of random keys.
    pub fn publish_random(&self, random: &mut Random, records: usize) {
        for _ in 0..records {
            let key = format!("key {}", random.below(KEYS));
            let len = if random.one_in(10) { 0 } else { 50 + random.below(400) };
            let text: String = (0..len).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
            self.publish(random.below(PARTITIONS as usize) as i32, &key, &text);
        }
    }

    /// A record of each key in each partition, in random order, then one that reads everything.
    pub fn publish_all_keys(&self, random: &mut Random) {
        for partition in 0..PARTITIONS {
            let mut keys: Vec<usize> = (0..KEYS).collect();
            random.shuffle(&mut keys);
            keys.iter().for_each(|key| self.publish(partition, &format!("key {key}"), "last"));
            self.publish(partition, "?", "");
        }
    }

    /// Starts an instance, which gets all partitions.
    pub fn start(&self) -> Running {
        let client = Arc::new(Client(self.broker.clone()));
        let ports = InstancePorts {
            admin: client.clone(),
            restore: client.clone(),
            standby: client,
            stores: Arc::new(self.stores()),
            clock: Arc::new(TickingClock::default()),
            executor: Arc::new(Inline),
            observer: Arc::new(NoObserver),
        };
        let config = RuntimeConfig {
            application_id: "app".to_owned(),
            commit_interval: Duration::from_millis(20),
            task_timeout: Duration::from_millis(2000),
            purge_interval: None,
            ..RuntimeConfig::default()
        };
        let instance = Instance::new(&topology(), config, 1, ports).unwrap();
        let group = Group::new(&self.broker);
        let ports = ThreadPorts {
            membership: Box::new(group.clone()),
            fetching: Box::new(group.clone()),
            producers: Box::new(Producers { broker: self.broker.clone(), id: "app-0-0".to_owned() }),
            renewal: instance.renewals(),
        };
        let all = (0..PARTITIONS).map(|partition| TopicPartition::new(SOURCE, partition)).collect();
        group.consumer.borrow_mut().events.push_back(GroupEvent::Assigned(all));
        Running { thread: StreamThread::new(&instance, 0, ports), instance, broker: self.broker.clone() }
    }

    /// What is wrong with the outputs or a store; the instance has ended.
    pub fn check(&self) -> Result<(), String> {
        let mut outputs: Vec<String> =
            (0..PARTITIONS).flat_map(|partition| self.broker.texts("out", partition)).collect();
        outputs.sort();
        if outputs != self.expected() {
            return Err("the outputs are not those of a replay".to_owned());
        }
        let stores = self.stores();
        for partition in 0..PARTITIONS {
            let task = TaskId { subtopology: 0, partition };
            let db = stores.open_read_only(task, &STORES).map_err(|error| format!("{task}: {error}"))?;
            for (at, store) in STORES.iter().enumerate() {
                let mut found = BTreeMap::new();
                let scanned = db.scan(at, b"", &mut |key, value| {
                    found.insert(key.to_vec(), value.to_vec());
                    ControlFlow::Continue(())
                });
                scanned.map_err(|error| format!("{task}, {store}: {error}"))?;
                if found != self.fold(store, partition) {
                    return Err(format!("{task}, {store}: its content is not the fold of its changelog"));
                }
            }
        }
        Ok(())
    }

    /// The last value of each key in a store's changelog.
    fn fold(&self, store: &str, partition: i32) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut fold = BTreeMap::new();
        for record in self.broker.read(&format!("app-{store}-changelog"), partition) {
            let key = record.key.unwrap();
            match record.value {
                Some(value) => fold.insert(key, value),
                None => fold.remove(&key),
            };
        }
        fold
    }

    /// The outputs of a replay of the source.
    fn expected(&self) -> Vec<String> {
        let sizes = Sizes { partitions: [("out".to_owned(), PARTITIONS)].into(), ..Sizes::default() };
        let mut driver = TopologyDriver::new(&topology(), "app", &sizes);
        for partition in 0..PARTITIONS {
            for (offset, record) in self.broker.read(SOURCE, partition).iter().enumerate() {
                let timestamp_ms = record.timestamp_ms;
                let origin = Origin { topic: SOURCE, partition, offset: offset as i64, timestamp_ms };
                let (key, value) = (record.key.as_deref(), record.value.as_deref());
                let record = Record { key, value, headers: Headers::NONE, timestamp_ms };
                driver.pipe(&InRecord { origin, record }).unwrap();
            }
        }
        let mut outputs: Vec<String> = driver.outputs().iter().map(|out| Stored::of(&out.record).text()).collect();
        outputs.sort();
        outputs
    }
}

/// A running instance.
pub struct Running {
    thread: StreamThread,
    instance: Arc<Instance>,
    broker: Broker,
}

/// What an instance has done to its stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Stores rebuilt.
    pub rebuilt: u64,
    /// Changelog records read.
    pub restored: u64,
}

impl Running {
    /// Runs until everything is committed.
    pub fn finish(&mut self) -> Result<Done, Error> {
        for _ in 0..TURNS {
            self.thread.run_once()?;
            let metrics = self.instance.metrics();
            let tasks = metrics.tasks();
            let is_caught_up = tasks.values().all(|task| {
                task.committed.map(|committed| committed.number()) == Some(self.broker.lock().end(&task.source))
            });
            if metrics.ready() && tasks.len() == PARTITIONS as usize && is_caught_up {
                let rebuilt = metrics.incidents().rebuilt_stores;
                return Ok(Done { rebuilt, restored: metrics.restored_records() });
            }
        }
        panic!("it does not catch up: {:?}", self.instance.metrics().tasks());
    }

    pub fn stop(mut self) -> Result<(), Error> {
        self.instance.stop();
        for _ in 0..TURNS {
            if self.thread.run_once()? == RunStatus::Stopped {
                return Ok(());
            }
        }
        panic!("it does not stop");
    }
}
