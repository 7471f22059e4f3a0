//! Word count on real Kafka and RocksDB, put together from the library's parts, and able to kill
//! itself at any step of a commit: what `tests/crash.rs` runs.
//!
//! `word_count_on_kafka BOOTSTRAP APPLICATION_ID STATE_DIR INSTANCE_ID THREADS [STEP:N]`: SIGKILL
//! at the N-th time that a commit comes to STEP. SIGTERM stops it after a clean commit.

#[allow(dead_code, reason = "the topology is that example's; its main is not used here")]
#[path = "word_count.rs"]
mod word_count;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use helixstream::app::kill::KillAt;
use helixstream::edges::clock::MachineClock;
use helixstream::streams::runtime::{
    Instance, InstancePorts, NoObserver, RuntimeConfig, StepObserver, StreamThread, ThreadPorts, Workers,
};
use helixstream::streams_kafka::KafkaSettings;
use helixstream::streams_kafka::admin::ClusterAdmin;
use helixstream::streams_kafka::consumer::group_consumer;
use helixstream::streams_kafka::producer::TransactionalProducers;
use helixstream::streams_kafka::restore_consumer::RestoreConsumer;
use helixstream::streams_rocksdb::{RocksStores, StoreMemory};

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [servers, application, state, instance_id, threads, rest @ ..] = &arguments[..] else {
        return Err("see the head of examples/word_count_on_kafka.rs for the arguments".into());
    };
    let threads: usize = threads.parse()?;
    let observer: Arc<dyn StepObserver> = match rest.first() {
        Some(step) => Arc::new(KillAt::parse(step)?),
        None => Arc::new(NoObserver),
    };
    let mut settings = KafkaSettings::new(servers, application, instance_id);
    settings.session_timeout = Duration::from_secs(1);
    let reader = RestoreConsumer::new(&settings)?;
    let admin = ClusterAdmin::new(&settings, &reader)?;
    admin.wait_for_brokers(Duration::from_secs(60))?;
    let workers = Arc::new(Workers::start(2)?);
    let reader = Arc::new(reader);
    let ports = InstancePorts {
        admin: Arc::new(admin),
        restore: reader.clone(),
        standby: reader,
        stores: Arc::new(RocksStores::new(Path::new(state), &StoreMemory::default())?),
        clock: Arc::new(MachineClock::new()),
        executor: workers.clone(),
        observer,
    };
    let config = RuntimeConfig {
        application_id: application.clone(),
        instance_id: instance_id.clone(),
        // Many small commits, so that there is much to kill.
        commit_interval: Duration::from_millis(10),
        max_poll_records: 50,
        // The repartition topic stays whole, so that the test can follow it.
        purge_interval: None,
        ..RuntimeConfig::default()
    };
    let instance = Instance::new(&word_count::word_count()?, config, threads, ports)?;
    let stopping = instance.clone();
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM])?;
    std::thread::spawn(move || {
        signals.forever().next();
        stopping.stop();
    });
    std::thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        let run = |index: usize| -> helixstream::streams::error::Result<()> {
            let (membership, fetching) = group_consumer(&settings, index)?;
            let producers = TransactionalProducers::new(&settings, index);
            let ports = ThreadPorts {
                membership: Box::new(membership),
                fetching: Box::new(fetching),
                producers: Box::new(producers),
                renewal: instance.renewals(),
            };
            StreamThread::new(&instance, index, ports).run()
        };
        let running: Vec<_> = (0..threads).map(|index| scope.spawn(move || run(index))).collect();
        for thread in running {
            thread.join().map_err(|_| "a stream thread panicked")??;
        }
        Ok(())
    })?;
    workers.finish(Duration::from_secs(5));
    Ok(())
}
