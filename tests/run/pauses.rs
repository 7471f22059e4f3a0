//! Pauses and the number of threads of instances of the engine on a real broker: what is paused
//! stays so over a restart, and goes on at the word of another instance.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use helixstream::edges::clock::MachineClock;
use streams::processor::{Processor, ProcessorContext, ProcessorError};
use streams::record::Record as StreamRecord;
use streams::runtime::{
    Instance, InstancePorts, NoObserver, RuntimeConfig, StreamThread, TaskScope, ThreadPorts, Workers,
};
use streams::topology::Topology;
use streams_kafka::KafkaSettings;
use streams_kafka::admin::ClusterAdmin;
use streams_kafka::consumer::group_consumer;
use streams_kafka::producer::TransactionalProducers;
use streams_kafka::restore_consumer::RestoreConsumer;
use streams_rocksdb::{RocksStores, StoreMemory};
use testkit::process::temp_dir;
use testkit::{Broker, Record, records, unique, wait_until};

struct Pass;

impl Processor for Pass {
    fn process(&mut self, record: &StreamRecord<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        ctx.forward(record)
    }
}

/// An instance in this process.
struct Engine {
    instance: Arc<Instance>,
    settings: KafkaSettings,
}

impl Engine {
    fn new(name: &str, id: &str, state: &Path) -> Engine {
        let mut settings = KafkaSettings::new(&Broker::shared().bootstrap(), name, id);
        settings.session_timeout = Duration::from_secs(2);
        let reader = Arc::new(RestoreConsumer::new(&settings).unwrap());
        let ports = InstancePorts {
            admin: Arc::new(ClusterAdmin::new(&settings, &reader).unwrap()),
            restore: reader.clone(),
            standby: reader,
            stores: Arc::new(RocksStores::new(state, &StoreMemory::default()).unwrap()),
            clock: Arc::new(MachineClock::new()),
            executor: Arc::new(Workers::start(1).unwrap()),
            observer: Arc::new(NoObserver),
        };
        let config = RuntimeConfig {
            application_id: name.to_owned(),
            instance_id: id.to_owned(),
            control_interval: Some(Duration::from_millis(200)),
            ..RuntimeConfig::default()
        };
        let (from, to) = (format!("{name}.in"), format!("{name}.out"));
        let topology = Topology::builder().source("in", &from).process("pass", ["in"], || Box::new(Pass));
        let topology = topology.sink("out", &to, ["pass"]).build().unwrap();
        Engine { instance: Instance::new(&topology, config, 1, ports).unwrap(), settings }
    }

    /// Starts the thread that the instance asks for.
    fn start(&self) -> JoinHandle<()> {
        let (instance, settings) = (self.instance.clone(), self.settings.clone());
        let index = instance.take_requested_thread().expect("a thread is asked for");
        std::thread::spawn(move || {
            let (membership, fetching) = group_consumer(&settings, index).unwrap();
            let ports = ThreadPorts {
                membership: Box::new(membership),
                fetching: Box::new(fetching),
                producers: Box::new(TransactionalProducers::new(&settings, index)),
                renewal: instance.renewals(),
            };
            StreamThread::new(&instance, index, ports).run().unwrap();
        })
    }

    fn wait_for_tasks(&self, paused: bool) {
        wait_until("both tasks, paused or not", || {
            let tasks = self.instance.metrics().tasks();
            tasks.len() == 2 && self.instance.metrics().ready() && tasks.values().all(|task| task.is_paused == paused)
        });
    }

    fn threads_with_tasks(&self) -> Vec<usize> {
        let mut threads: Vec<usize> = self.instance.metrics().tasks().values().map(|task| task.thread).collect();
        threads.sort_unstable();
        threads
    }
}

#[test]
fn a_pause_survives_a_restart_and_another_instance_ends_it() {
    let (name, dir) = (unique("pauses"), temp_dir("pauses"));
    let (from, to) = (format!("{name}.in"), format!("{name}.out"));
    Broker::shared().create_topic(&from, 2, &[]);
    Broker::shared().create_topic(&to, 1, &[]);
    let publish = |value: &str| {
        let each = |partition| Record::new("k", format!("{value}{partition}")).in_partition(partition);
        records::produce(Broker::shared(), &from, &[each(0), each(1)]);
    };
    let values = || {
        let read = records::read_committed(Broker::shared(), &to);
        let mut values: Vec<String> =
            read.into_iter().map(|one| String::from_utf8(one.value.unwrap_or_default()).unwrap()).collect();
        values.sort();
        values
    };
    publish("a");
    let other = Engine::new(&name, "other", &dir.join("other"));
    let first = Engine::new(&name, "one", &dir.join("one"));
    let thread = first.start();
    wait_until("the first records", || values() == ["a0", "a1"]);
    other.instance.pause(&TaskScope::Topology).unwrap();
    first.wait_for_tasks(true);
    publish("b");
    first.instance.stop();
    thread.join().unwrap();
    drop(first);
    let again = Engine::new(&name, "one", &dir.join("again"));
    let thread = again.start();
    again.wait_for_tasks(true);
    // Time for what must not come: a thread more joins, and both have one of the tasks.
    again.instance.add_thread();
    let second = again.start();
    wait_until("each thread to have a task", || again.threads_with_tasks() == [0, 1]);
    again.wait_for_tasks(true);
    assert_eq!(values(), ["a0", "a1"]);
    other.instance.resume(&TaskScope::Topology).unwrap();
    wait_until("what was held back", || values() == ["a0", "a1", "b0", "b1"]);
    assert_eq!(again.instance.remove_thread(), Some(1));
    second.join().unwrap();
    again.instance.thread_ended(1);
    wait_until("the thread that stays to have both tasks", || again.threads_with_tasks() == [0, 0]);
    publish("c");
    wait_until("the last records", || values().len() == 6);
    again.instance.stop();
    thread.join().unwrap();
}
