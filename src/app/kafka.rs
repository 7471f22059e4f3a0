//! Kafka as the flags, the variables and the file describe it.

use std::time::Duration;

use super::{CommandError, kafka_layers};
use crate::edges::cli::KafkaArgs;
use streams_kafka::KafkaSettings;
use topology_file::Topology as File;

/// The brokers that are asked first where nobody names any.
const BOOTSTRAP_SERVERS: &str = "localhost:9092";

/// How an instance's memory is shared out. Stores share one part; each thread has queues and
/// uncommitted state of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Block cache and write buffers of all stores.
    pub store_bytes: usize,
    /// Fetched records of one thread's consumer.
    pub fetch_bytes: usize,
    /// Records on their way of one thread's producer.
    pub send_bytes: usize,
    /// Uncommitted state and unsent records of one thread, above which it commits.
    pub uncommitted_bytes: usize,
}

/// A producer's queue must hold the greatest record, also when all memory is little.
const LEAST_SEND_BYTES: usize = 18 << 20;
const LEAST_FETCH_BYTES: usize = 1 << 20;

impl Memory {
    /// Shares `bytes` out among the stores and `threads` stream threads.
    pub fn share(bytes: u64, threads: usize) -> Memory {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let store_bytes = bytes / 5 * 2;
        let each = (bytes - store_bytes) / threads.max(1);
        Memory {
            store_bytes,
            fetch_bytes: (each / 4).max(LEAST_FETCH_BYTES),
            send_bytes: (each / 3).max(LEAST_SEND_BYTES),
            uncommitted_bytes: (each / 3).max(LEAST_FETCH_BYTES),
        }
    }
}

/// Settings for all clients of an instance; `file` is `None` where a command has no topology.
pub fn settings(
    args: &KafkaArgs,
    file: Option<&File>,
    instance_id: &str,
    memory: Memory,
) -> Result<KafkaSettings, CommandError> {
    let from_file = file.and_then(|f| f.run.bootstrap_servers.as_deref());
    let servers =
        args.bootstrap_servers.as_deref().filter(|s| !s.is_empty()).or(from_file).unwrap_or(BOOTSTRAP_SERVERS);
    let application_id = file.map_or("helixstream", |f| f.values.resolver.application_id.as_str());
    let mut settings = KafkaSettings::new(servers, application_id, instance_id);
    if let Some(file) = file {
        let runtime = &file.values.runtime;
        settings.static_membership = runtime.static_membership;
        settings.session_timeout = runtime.session_timeout;
        settings.transaction_timeout = runtime.transaction_timeout;
    }
    settings.fetch_queue_bytes = memory.fetch_bytes;
    settings.send_queue_bytes = memory.send_bytes;
    settings.pass_through = kafka_layers::settings(args, file)?;
    Ok(settings)
}

/// How long commands other than `run` wait for a broker.
pub fn patience(file: Option<&File>) -> Duration {
    file.map_or(Duration::from_secs(60), |f| f.values.runtime.broker_timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_not_handed_out_twice() {
        for threads in [1, 2] {
            let m = Memory::share(160 << 20, threads);
            let each = m.fetch_bytes + m.send_bytes + m.uncommitted_bytes;
            assert!(m.store_bytes + threads * each <= 160 << 20, "{threads}: {m:?}");
        }
        assert_eq!(Memory::share(64 << 20, 64).send_bytes, LEAST_SEND_BYTES);
    }
}
