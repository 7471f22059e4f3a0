//! Kafka as the loops of a node use it: the engine's ports, and the names of the topics.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use streams::error::{Error, Result};
use streams::offset::StartOffset;
use streams::ports::{Admin, ProducerFactory, RestoreClient, TopicIdentity};
use streams::record::{InRecord, RecordBatch, TopicPartition};

use crate::actor::{Incarnation, NodeName};

/// The application id of the Kafka clients of every node, with which their transactional ids begin.
/// No other program may use transactional ids with this prefix and a `-`.
pub const APPLICATION_ID: &str = "helixstream-node";

/// Bytes of records that one poll of a partition takes.
pub(crate) const POLL_BYTES: usize = 1 << 20;

/// The topics of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Events that nodes publish.
    pub events: Arc<str>,
    /// Resolved memories, which helixstream publishes.
    pub snapshots: Arc<str>,
    /// The nodes' own records; a compacted topic.
    pub nodes: Arc<str>,
    /// Events that the stream could not process.
    pub dead_letters: Arc<str>,
}

impl Default for Topics {
    fn default() -> Topics {
        Topics {
            events: "helixagent.memory.events".into(),
            snapshots: "helixagent.memory.snapshots".into(),
            nodes: "helixagent.memory.nodes".into(),
            dead_letters: "helixagent.memory.dead-letters".into(),
        }
    }
}

/// Makes the factory of producers with one transactional id.
pub type MakeProducers = dyn Fn(&str) -> Box<dyn ProducerFactory> + Send + Sync;

/// The Kafka clients that the loops of a node share.
#[derive(Clone)]
pub struct KafkaClients {
    /// The topics.
    pub topics: Topics,
    /// Makes the producers of an incarnation. They are made and used on the publisher's thread.
    pub producers: Arc<MakeProducers>,
    /// Reads partitions, read committed.
    pub reader: Arc<dyn RestoreClient>,
    /// Knows topics and the ends of logs.
    pub admin: Arc<dyn Admin>,
}

impl fmt::Debug for KafkaClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaClients").field("topics", &self.topics).finish_non_exhaustive()
    }
}

/// The transactional id of an incarnation.
#[must_use]
pub fn transactional_id(incarnation: &Incarnation) -> String {
    format!("{APPLICATION_ID}-{incarnation}")
}

/// The transactional id under which a process registers a new incarnation of a node with this name
/// after it has left another one. No incarnation has a `-`.
#[must_use]
pub(crate) fn successions_id(name: &NodeName) -> String {
    format!("{APPLICATION_ID}-successions-{name}")
}

impl KafkaClients {
    /// The partitions and the id of a topic; `None` where it does not exist.
    pub(crate) fn identity(&self, topic: &str) -> Result<Option<TopicIdentity>> {
        let found = self.admin.identities(&[topic])?;
        Ok(found.into_iter().next().flatten())
    }

    /// Reads a partition, read committed, from its first record to the end that it has now, and
    /// waits for the transactions that are open below that end. So whatever was committed before
    /// the call is read: the last stable offset that a broker reports may still lag behind it.
    ///
    /// `goes_on` says between two polls whether to go on; where it says no, the answer is
    /// [`Error::Retry`], as when the end is not reached within `limit` of the last record.
    pub(crate) fn read_to_end(
        &self,
        partition: &TopicPartition,
        limit: Duration,
        goes_on: &dyn Fn() -> bool,
        mut each: impl FnMut(&InRecord<'_>) -> Result<()>,
    ) -> Result<()> {
        let range = self.admin.log_range(partition)?;
        if range.end <= range.start {
            return Ok(());
        }
        let mut reader = self.reader.open(partition, StartOffset::Beginning)?;
        let mut batch = RecordBatch::new();
        let mut last_progress = Instant::now();
        let (mut position, end) = (range.start.number(), range.end.number());
        while position < end {
            batch.clear();
            reader.poll(POLL_BYTES, Duration::from_millis(100), &mut batch)?;
            let before = position;
            for record in batch.iter() {
                position = position.max(record.origin.offset + 1);
                each(&record)?;
            }
            let ends = batch.ends().iter().map(|end| end.offset.number());
            position = ends.fold(position, i64::max);
            if position > before {
                last_progress = Instant::now();
            }
            if !goes_on() || last_progress.elapsed() > limit {
                return Err(Error::Retry(format!(
                    "read {partition} to its end: at offset {position} of {} no further record or end came within {} s; a transaction \
                     of another producer may be open there, which its timeout ends",
                    range.end,
                    limit.as_secs()
                )));
            }
        }
        Ok(())
    }
}
