//! Word count on real Kafka and RocksDB, put together from the library's parts, and able to kill itself at any step of a commit:
//! what `tests/crash.rs` runs.
//!
//! `word_count_on_kafka BOOTSTRAP APPLICATION_ID STATE_DIR INSTANCE_ID THREADS [STEP:N]`: SIGKILL at the N-th time that a commit
//! comes to STEP. SIGTERM stops it after a clean commit.

#[allow(dead_code, reason = "the topology is that example's; its main is not used here")]
#[path = "word_count.rs"]
mod word_count;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use helixstream::edges::clock::MachineClock;
use helixstream::edges::kafka::KafkaSettings;
use helixstream::edges::kafka::admin::ClusterAdmin;
use helixstream::edges::kafka::consumer::group_consumer;
use helixstream::edges::kafka::producer::TransactionalProducers;
use helixstream::edges::kafka::restore::ChangelogReader;
use helixstream::edges::rocksdb::{RocksStores, StoreMemory};
use helixstream::streams::runtime::{
    Instance, InstancePorts, RuntimeConfig, Step, StepObserver, StreamThread, ThreadPorts, Workers,
};
use rustix::process::{Signal, getpid, kill_process};

/// Kills the process before the step `at`, the time that `left` counts down to 0.
struct Killer {
    at: Option<String>,
    left: AtomicU32,
}

impl StepObserver for Killer {
    fn before(&self, _thread: usize, step: Step) {
        let is_it = self.at.as_deref() == Some(step.name());
        if is_it && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            eprintln!("killed before {}", step.name());
            // Nothing to do about an error: a SIGKILL of one's own cannot fail.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}

fn killer(argument: Option<&String>) -> Result<Killer, Box<dyn Error>> {
    let Some((step, count)) = argument.and_then(|text| text.split_once(':')) else {
        return Ok(Killer { at: None, left: AtomicU32::new(0) });
    };
    Ok(Killer { at: Some(step.to_owned()), left: AtomicU32::new(count.parse()?) })
}

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [servers, application, state, instance_id, threads, rest @ ..] = &arguments[..] else {
        return Err("see the head of examples/word_count_on_kafka.rs for the arguments".into());
    };
    let threads: usize = threads.parse()?;
    let mut settings = KafkaSettings::new(servers, application, instance_id);
    settings.session_timeout = Duration::from_secs(1);
    let reader = ChangelogReader::new(&settings)?;
    let admin = ClusterAdmin::new(&settings, &reader)?;
    admin.wait_for_brokers(Duration::from_secs(60))?;
    let ports = InstancePorts {
        admin: Arc::new(admin),
        restore: Arc::new(reader),
        stores: Arc::new(RocksStores::new(Path::new(state), &StoreMemory::default())?),
        clock: Arc::new(MachineClock::new()),
        executor: Arc::new(Workers::start(2)?),
        observer: Arc::new(killer(rest.first())?),
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
            };
            StreamThread::new(&instance, index, ports).run()
        };
        let running: Vec<_> = (0..threads).map(|index| scope.spawn(move || run(index))).collect();
        for thread in running {
            thread.join().map_err(|_| "a stream thread panicked")??;
        }
        Ok(())
    })
}
