//! The transactional producer. One a stream thread.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::group::GroupMetadata;
use crate::error::{Error, Result};
use crate::offset::Offset;
use crate::record::{Record, TopicPartition};

/// A record to send, to an explicit partition.
#[derive(Clone, Copy, Debug)]
pub struct OutRecord<'a> {
    /// The topic.
    pub topic: &'a Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Key, value, headers, timestamp (which is at least 1: librdkafka takes 0 for "now").
    pub record: Record<'a>,
    /// Comes back with a failed delivery.
    pub token: u64,
}

/// A record that did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryFailure {
    /// The token it was sent with.
    pub token: u64,
    /// Why, by remedy: [`Error::Record`] when the broker refuses this record and would refuse it
    /// again; [`Error::RecordTime`] when it would accept the record with another time;
    /// [`Error::BatchTooLarge`] when it refuses the batch that the record was in, for its size.
    pub error: Error,
}

/// An offset to commit within the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    /// The source partition.
    pub partition: TopicPartition,
    /// The next record to read.
    pub offset: Offset,
    /// The checkpoint of the task; at most 4,096 bytes of text.
    pub metadata: String,
}

/// How much a producer puts into one batch. A broker takes or refuses a batch as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchLimit {
    /// At most so many bytes, with Kafka's framing. A record that is larger than that is a batch by
    /// itself.
    Bytes(usize),
    /// Each record is a batch by itself.
    OneRecord,
}

impl BatchLimit {
    /// Batch size of a producer unless a topic accepts only smaller ones: 256 KiB.
    pub const DEFAULT_BYTES: usize = 256 << 10;
    /// Batches that are to be smaller than this have one record.
    const LEAST_BYTES: usize = 1 << 10;

    /// The next smaller limit.
    #[must_use]
    pub fn halved(self) -> BatchLimit {
        match self {
            BatchLimit::Bytes(bytes) if bytes / 2 >= BatchLimit::LEAST_BYTES => BatchLimit::Bytes(bytes / 2),
            _ => BatchLimit::OneRecord,
        }
    }

    /// The smaller one of two limits.
    #[must_use]
    pub fn min(self, other: BatchLimit) -> BatchLimit {
        match (self, other) {
            (BatchLimit::Bytes(one), BatchLimit::Bytes(two)) => BatchLimit::Bytes(one.min(two)),
            _ => BatchLimit::OneRecord,
        }
    }

    /// Whether a record whose key and value have so many bytes is the only one of its batch, for
    /// certain.
    pub fn is_alone(self, bytes: usize) -> bool {
        match self {
            BatchLimit::Bytes(limit) => bytes > limit,
            BatchLimit::OneRecord => true,
        }
    }
}

impl fmt::Display for BatchLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BatchLimit::Bytes(bytes) => write!(f, "at most {bytes} bytes"),
            BatchLimit::OneRecord => f.write_str("one record each"),
        }
    }
}

/// Makes a thread's producer, again after it was lost. The transactional id is the thread's and
/// stays the same.
pub trait ProducerFactory {
    /// A new producer with batches of that size, not yet initialised.
    fn create(&mut self, batches: BatchLimit) -> Result<Box<dyn Producer>>;
}

/// A transactional producer.
///
/// Blocking calls answer within their own time limit, [`Error::Retry`] when they may be made again
/// as they are.
pub trait Producer {
    /// Fences and ends the predecessor's transaction (`init_transactions`). Once, before all else.
    /// Waits at most `timeout`.
    fn init(&mut self, timeout: Duration) -> Result<()>;

    /// Begins a transaction.
    fn begin(&mut self) -> Result<()>;

    /// Queues a record; its bytes are copied. `Ok(false)`: the queue is full, nothing was taken;
    /// the caller polls and sends again. [`Error::Record`]: this record can never be sent.
    fn send(&mut self, record: &OutRecord<'_>) -> Result<bool>;

    /// Serves deliveries, for at most `timeout` when none is there.
    fn poll(&mut self, timeout: Duration);

    /// As [`Producer::poll`], but what is queued does not wait for more to be sent along with it.
    fn drain(&mut self, timeout: Duration) {
        self.poll(timeout);
    }

    /// Records queued or on their way whose delivery is not known yet.
    fn in_flight(&self) -> usize;

    /// Bytes of keys and values of the records in flight, for the memory budget.
    fn in_flight_bytes(&self) -> usize;

    /// The next record of this transaction that did not arrive, if any; each is returned once.
    /// Emptied by `begin`.
    fn take_failure(&mut self) -> Option<DeliveryFailure>;

    /// The offset of the last record delivered to a partition since `begin`, among those whose
    /// topic was named to [`Producer::track`]. `None` also where the broker has that record and
    /// does not say where.
    fn last_offset(&self, partition: &TopicPartition) -> Option<Offset>;

    /// Names the topics (changelogs) whose delivered offsets are kept for
    /// [`Producer::last_offset`].
    fn track(&mut self, topics: &[Arc<str>]);

    /// Adds the group's offsets to the transaction. Waits at most `timeout`.
    fn send_offsets(&mut self, offsets: &[OffsetCommit], group: &GroupMetadata, timeout: Duration) -> Result<()>;

    /// Commits; the caller has drained all deliveries. [`Error::ProducerLost`] where the outcome is
    /// unknown. Waits at most `timeout`.
    fn commit(&mut self, timeout: Duration) -> Result<()>;

    /// Aborts: purges the queue, waits for what is in flight. Waits at most `timeout`.
    fn abort(&mut self, timeout: Duration) -> Result<()>;

    /// The error that ended this producer for good, if there is one: [`Error::ProducerLost`] or
    /// [`Error::Fenced`]. Asked before each transactional call.
    fn fatal_error(&self) -> Option<Error>;
}
