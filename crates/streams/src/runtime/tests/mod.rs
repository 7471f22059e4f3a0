//! The whole runtime on ports in memory: commits, restores, rebalances, and every class of error.

mod batches;
mod broker;
mod crashes;
mod errors;
mod health_check;
mod internal_topics;
mod logs;
mod pauses;
mod ports;
mod producer;
mod queries;
mod renewals;
mod restore_grace;
mod standbys;
mod states;
mod stops;
mod takeover;
mod threads;
mod topology_agreement;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use broker::Broker;
use ports::{Client, Group, MeddledStores, TickingClock};
use producer::Producers;

use super::*;
use crate::driver::TopologyDriver;
use crate::offset::Offset;
use crate::ports::GroupEvent;
use crate::processor::{Processor, ProcessorContext, ProcessorError};
use crate::record::{Headers, InRecord, Origin, Record, TopicPartition};
use crate::store::memory::MemoryStores;
use crate::task::Sizes;
use crate::topology::{StoreKind, StoreOptions, Topology};

thread_local! {
    /// What a line with a `~` needs of others is not to be had.
    static OUTAGE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Forwards each word of a line, keyed by the word. `!` is a bad line.
struct Words;

impl Processor for Words {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let line = std::str::from_utf8(record.value.unwrap_or_default()).unwrap_or("!");
        if line.contains('!') {
            return ctx.dead_letter("bad_line", "it has a !");
        }
        for word in line.split_whitespace() {
            if word == "?" {
                ctx.broadcast(&Record { key: Some(b"?"), value: Some(b""), ..*record })?;
                continue;
            }
            if word == "~" && OUTAGE.get() {
                return Err(crate::error::Error::Retry("nobody answers".to_owned()).into());
            }
            ctx.forward(&Record { key: Some(word.as_bytes()), value: Some(b"1"), ..*record })?;
        }
        Ok(())
    }
}

/// Counts words, in a store that it writes at each flush only; tells the count of each word as it
/// comes, and of all at punctuation. Asked by a `?` it lists its words, one a commit.
#[derive(Default)]
struct Count {
    kept: std::collections::BTreeMap<Vec<u8>, u64>,
    /// The last word of a list that is not at its end.
    listed: Option<Vec<u8>>,
}

impl Processor for Count {
    fn init(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        self.listed = ctx.store("counts")?.get(b"?")?.map(|last| last.to_vec());
        Ok(())
    }

    fn has_background_work(&self) -> bool {
        self.listed.is_some()
    }

    fn background_step(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        self.flush(ctx)?;
        let last = self.listed.take().unwrap_or_default();
        let mut next = None;
        let mut store = ctx.store("counts")?;
        store.scan_from(b"", &last, |word, _| {
            next = Some(word.to_vec()).filter(|word| *word != last && word != b"?");
            if next.is_some() { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
        })?;
        let Some(word) = next else { return store.delete(b"?") };
        if OUTAGE.get() {
            return Err(crate::error::Error::Retry("nobody answers".to_owned()).into());
        }
        store.put(b"?", word.clone())?;
        let timestamp_ms = ctx.stream_time().ms().unwrap_or_default();
        let key = Some(&word[..]);
        let value = Some(&b"listed"[..]);
        ctx.forward(&Record { key, value, headers: Headers::NONE, timestamp_ms })?;
        self.listed = Some(word);
        Ok(())
    }

    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let word = record.key.unwrap_or_default();
        if word == b"?" {
            self.listed = Some(Vec::new());
            return ctx.store("counts")?.put(b"?", Vec::new());
        }
        let stored = match self.kept.get(word) {
            Some(count) => *count,
            None => ctx.store("counts")?.get(word)?.map_or(0, |v| u64::from_be_bytes(v[..].try_into().unwrap())),
        };
        self.kept.insert(word.to_vec(), stored + 1);
        ctx.count("words", "all", 1);
        let text = (stored + 1).to_string();
        ctx.forward(&Record { value: Some(text.as_bytes()), headers: Headers::NONE, ..*record })
    }

    fn punctuate(&mut self, boundary_ms: i64, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let text = boundary_ms.to_string();
        ctx.forward(&Record {
            key: Some(b"tick"),
            value: Some(text.as_bytes()),
            headers: Headers::NONE,
            timestamp_ms: boundary_ms,
        })
    }

    fn flush(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        for (word, count) in std::mem::take(&mut self.kept) {
            ctx.store("counts")?.put(&word, count.to_be_bytes().to_vec())?;
        }
        Ok(())
    }

    fn unflushed_bytes(&self) -> usize {
        self.kept.len() * 100
    }
}

fn topology() -> Topology {
    topology_kept(StoreOptions::default())
}

/// Its store kept in another way.
fn topology_kept(options: StoreOptions) -> Topology {
    let built = Topology::builder()
        .source("lines", "lines")
        .process("words", ["lines"], || Box::new(Words))
        .repartition("by-word", ["words"])
        .process("count", ["by-word"], || Box::new(Count::default()))
        .punctuate("count", Duration::from_secs(10))
        .store("counts", ["count"])
        .configure_store("counts", options)
        .sink("out", "out", ["count"])
        .dead_letters("bad")
        .build();
    built.unwrap()
}

const REPARTITION: &str = "app-by-word-repartition";
const CHANGELOG: &str = "app-counts-changelog";
const PARTITIONS: i32 = 2;

/// A disk and a broker, on which instances come and go.
#[derive(Clone)]
struct World {
    broker: Broker,
    stores: MemoryStores,
    /// How the store of counts is kept.
    options: StoreOptions,
    topology: fn(StoreOptions) -> Topology,
    config: RuntimeConfig,
    observer: Arc<dyn StepObserver>,
    /// The next position read from a store is another's.
    meddle: Arc<AtomicBool>,
}

impl World {
    fn new() -> World {
        let broker = Broker::default();
        for (topic, partitions) in [("lines", PARTITIONS), ("out", 3), ("bad", 1)] {
            broker.create(topic, partitions);
        }
        let config = RuntimeConfig {
            application_id: "app".to_owned(),
            commit_interval: Duration::from_millis(20),
            task_timeout: Duration::from_millis(2000),
            purge_interval: None,
            ..RuntimeConfig::default()
        };
        World {
            broker,
            stores: MemoryStores::new(),
            options: StoreOptions::default(),
            topology: topology_kept,
            config,
            observer: Arc::new(NoObserver),
            meddle: Arc::default(),
        }
    }

    /// One whose store of counts lies in memory.
    fn in_memory() -> World {
        World { options: StoreOptions { kind: StoreKind::Memory, standby: 0 }, ..World::new() }
    }

    fn publish(&self, lines: &[&str]) {
        for (at, line) in lines.iter().enumerate() {
            self.broker.publish("lines", at as i32 % PARTITIONS, None, line, 1000 * (at as i64 + 1));
        }
    }

    fn start(&self) -> Running {
        self.start_as("app-0-0")
    }

    /// An instance of its own, on its own machine.
    fn start_elsewhere(&self) -> Running {
        let config = RuntimeConfig { instance_id: "1".to_owned(), ..self.config.clone() };
        World { stores: MemoryStores::new(), config, ..self.clone() }.start_as("app-1-0")
    }

    fn ports(&self) -> InstancePorts {
        let client = Arc::new(Client(self.broker.clone()));
        InstancePorts {
            admin: client.clone(),
            restore: client.clone(),
            standby: client,
            stores: Arc::new(MeddledStores { inner: self.stores.clone(), meddle: self.meddle.clone() }),
            clock: Arc::new(TickingClock::default()),
            executor: Arc::new(Inline),
            observer: self.observer.clone(),
        }
    }

    fn start_as(&self, transactional_id: &str) -> Running {
        let ports = self.ports();
        let instance = Instance::new(&(self.topology)(self.options), self.config.clone(), 1, ports).unwrap();
        let group = Group::new(&self.broker);
        let ports = ThreadPorts {
            membership: Box::new(group.clone()),
            fetching: Box::new(group.clone()),
            producers: Box::new(Producers { broker: self.broker.clone(), id: transactional_id.to_owned() }),
            renewal: instance.renewals(),
        };
        Running { thread: StreamThread::new(&instance, 0, ports), instance, group }
    }

    /// Starts an instance that has all partitions.
    fn start_all(&self) -> Running {
        let running = self.start();
        running.event(GroupEvent::Assigned(all_partitions()));
        running
    }

    /// What the driver makes of the repartition topic as it stands: the outputs of its tasks, by
    /// task.
    fn expected(&self) -> Vec<String> {
        let sizes = Sizes { partitions: [("out".to_owned(), 3)].into(), ..Sizes::default() };
        let mut outputs = Vec::new();
        for partition in 0..PARTITIONS {
            let mut driver = TopologyDriver::new(&topology(), "app", &sizes);
            for (offset, record) in self.broker.read(REPARTITION, partition).iter().enumerate() {
                let timestamp_ms = record.timestamp_ms;
                let origin = Origin { topic: REPARTITION, partition, offset: offset as i64, timestamp_ms };
                let key = record.key.as_deref();
                let value = record.value.as_deref();
                driver
                    .pipe(&InRecord { origin, record: Record { key, value, headers: Headers::NONE, timestamp_ms } })
                    .unwrap();
            }
            outputs.extend(driver.outputs().iter().map(|out| broker::Stored::of(&out.record).text()));
        }
        outputs.sort();
        outputs
    }

    fn outputs(&self) -> Vec<String> {
        let mut outputs: Vec<String> = (0..3).flat_map(|partition| self.broker.texts("out", partition)).collect();
        outputs.sort();
        outputs
    }

    /// Nothing is lost, doubled or rolled back.
    fn assert_exactly_once(&self, words: usize) {
        assert_eq!(self.outputs(), self.expected());
        let counted: usize = (0..PARTITIONS).map(|partition| self.broker.read(REPARTITION, partition).len()).sum();
        assert_eq!(counted, words, "each word of each line went through the repartition topic once");
    }
}

fn all_partitions() -> Vec<TopicPartition> {
    let of = |topic: &'static str| (0..PARTITIONS).map(move |partition| TopicPartition::new(topic, partition));
    of("lines").chain(of(REPARTITION)).collect()
}

/// An instance of one thread.
struct Running {
    thread: StreamThread,
    instance: Arc<Instance>,
    group: Group,
}

/// So many turns of a thread are enough for anything that a test waits for.
const TURNS: usize = 20_000;

impl Running {
    fn event(&self, event: GroupEvent) {
        self.group.consumer.borrow_mut().events.push_back(event);
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.thread.run_once().unwrap();
        }
    }

    /// Runs until `is_so`; panics with `what` when it is not after many turns.
    #[track_caller]
    fn turns_until(&mut self, what: &str, is_so: impl Fn(&Running) -> bool) {
        for _ in 0..TURNS {
            if is_so(self) {
                return;
            }
            self.turns(1);
        }
        panic!("waited {TURNS} turns in vain for {what}: {:?}", self.instance.metrics().tasks());
    }

    /// Runs until everything is committed.
    fn finish(&mut self) {
        for _ in 0..4000 {
            self.thread.run_once().unwrap();
            let metrics = self.instance.metrics();
            let tasks = metrics.tasks();
            let is_caught_up = |task: &TaskStatus| {
                let end = self.group.broker.lock().end(&task.source);
                task.committed.map(Offset::number) == Some(end)
            };
            if metrics.ready() && !tasks.is_empty() && tasks.values().all(is_caught_up) {
                return;
            }
        }
        panic!("it does not catch up: {:?}", self.instance.metrics().tasks());
    }

    fn stop(mut self) {
        self.instance.stop();
        for _ in 0..1000 {
            if self.thread.run_once().unwrap() == RunStatus::Stopped {
                return;
            }
        }
        panic!("it does not stop");
    }
}
