//! Copying a log elsewhere, record by record and once: the two ends of the mirror.
//!
//! A [`LogSource`] delivers the records of its partitions, from the offsets that it receives; a
//! [`LogSink`] keeps rows and the next offset of each partition together, and changes both in one
//! step or not at all. Where reading starts is for the sink's checkpoint alone to say; whatever the
//! source's own group remembers is for show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use streams::record::TopicPartition;

/// A record as it lies in the log, borrowed from the source's buffers.
#[derive(Clone, Copy, Debug)]
pub struct LogRecord<'a> {
    /// Where it lies.
    pub partition: &'a TopicPartition,
    /// Its offset in the partition.
    pub offset: i64,
    /// The record's timestamp in milliseconds since 1970; -1 when it has none.
    pub timestamp_ms: i64,
    /// Key bytes; `None` is null, which differs from empty.
    pub key: Option<&'a [u8]>,
    /// Headers in their order, repeats kept. Names are bytes: Kafka does not hold clients to UTF-8.
    pub headers: &'a [LogHeader<'a>],
    /// Value bytes; `None` is null.
    pub value: Option<&'a [u8]>,
}

/// A record header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHeader<'a> {
    /// Name, as it came.
    pub name: &'a [u8],
    /// Value; `None` is null.
    pub value: Option<&'a [u8]>,
}

/// Receiver of the events of a [`LogSource`] during a poll, in the order in which they happened.
pub trait LogReceiver {
    /// Whether no further record can be taken now. Asked before each record.
    fn is_full(&self) -> bool;

    /// The next record of a started partition.
    fn record(&mut self, record: &LogRecord<'_>);

    /// Everything of the partition below `next` was handed out or is no record (a transaction's
    /// marker).
    fn advance_to(&mut self, partition: &TopicPartition, next: i64);

    /// These are ours now. None is read before [`LogSource::start`].
    fn assigned(&mut self, partitions: &[TopicPartition]);

    /// These are no longer ours, given up or lost: no record of them follows.
    fn revoked(&mut self, partitions: &[TopicPartition]);

    /// The log no longer has what comes next here; the partition stands still until it is started
    /// again.
    fn out_of_range(&mut self, partition: &TopicPartition);
}

/// A reader of committed records that shares the partitions of its topics with the other members of
/// its group.
pub trait LogSource: Send {
    /// Serves the group and hands over what is there, waiting up to `wait` for the first of it.
    /// Returns early once the receiver is full. With a receiver that is full from the start no
    /// record is handed over or lost, but the group is served all the same: this is called at least
    /// every second for as long as the source lives.
    fn poll(&mut self, wait: Duration, to: &mut dyn LogReceiver) -> Result<(), LogError>;

    /// Reads an assigned partition from `offset` on; one that runs is moved there, and nothing
    /// fetched before is handed over any more. Of a partition that is no longer assigned it does
    /// nothing.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] when the log does not reach back, or not forward, to `offset`; the
    /// partition stands still then.
    fn start(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), LogError>;

    /// Hands over no more of an assigned partition until it is started again.
    fn stop(&mut self, partition: &TopicPartition) -> Result<(), LogError>;

    /// Everything below these offsets is kept by the sink. For display (group tools) only; may be
    /// dropped.
    fn committed(&mut self, next: &[(TopicPartition, i64)]);

    /// The end of each started partition as last heard of, without asking the broker: what lag is
    /// measured against.
    fn ends(&mut self) -> Vec<(TopicPartition, i64)>;
}

/// Why a source could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The offset lies outside of what the log holds.
    #[error("{partition} holds offsets {begin} to {end}, not {offset}")]
    OutOfRange {
        /// Partition asked for.
        partition: TopicPartition,
        /// Offset asked for.
        offset: i64,
        /// First offset that the log holds.
        begin: i64,
        /// The offset after its last.
        end: i64,
    },
    /// A broker refuses the principal: nothing but a person can help.
    #[error("{0}")]
    Refused(String),
    /// Anything else; asked again after a while.
    #[error("{0}")]
    Unavailable(String),
}

/// How far a partition is kept, and by which writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkCheckpoint {
    /// The partition.
    pub partition: TopicPartition,
    /// First offset that is not kept yet.
    pub next_offset: i64,
    /// Raised by every claim: a writer with an older epoch is refused.
    pub epoch: i64,
}

/// A step of a partition's checkpoint, taken only where the checkpoint is as `from` and `epoch`
/// say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The partition.
    pub partition: TopicPartition,
    /// The epoch of our claim.
    pub epoch: i64,
    /// Where the checkpoint must stand.
    pub from: i64,
    /// Where it will stand; above `from`.
    pub to: i64,
    /// How many rows of the batch are of this partition.
    pub rows: u64,
    /// Sum, modulo 2^64, of the [checksums](crate::digest::Digest::checksum) of these rows'
    /// records.
    pub checksum: u64,
}

/// Outcome of [`LogSink::write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Rows and checkpoints are kept; `rejected` of the rows only raw, with the reason.
    Kept {
        /// Rows that the sink could not hold as they were decoded.
        rejected: u64,
    },
    /// Nothing was written: these checkpoints, as they stand, are not where the batch expects them.
    Refused(Vec<SinkCheckpoint>),
}

/// Rows on their way into a sink, in the sink's own form.
pub trait LogBatch: Send {
    /// Adds a record, decoded or not: either becomes a row.
    ///
    /// # Errors
    /// [`NotYet`]: nothing was added.
    fn push(&mut self, record: &LogRecord<'_>) -> Result<(), NotYet>;

    /// Bytes held.
    fn bytes(&self) -> usize;

    /// Empties it and keeps its memory for the next.
    fn clear(&mut self);
}

/// Where rows are kept, with the checkpoint of each partition. Its calls block.
pub trait LogSink: Send {
    /// The form in which it takes rows.
    type Batch: LogBatch + 'static;

    /// An empty batch.
    fn batch(&self) -> Self::Batch;

    /// Does what has to be done once before all else, such as to leave the sink's [`StartupRow`].
    ///
    /// # Errors
    /// As those of the other calls; it is called again then.
    fn begin(&mut self) -> Result<(), SinkError>;

    /// Takes partitions over: raises the epoch of each and reads its checkpoint in one statement.
    /// One never seen before starts at offset 0.
    fn claim(&mut self, partitions: &[TopicPartition]) -> Result<Vec<SinkCheckpoint>, SinkError>;

    /// Reads checkpoints and changes nothing; those never seen before are left out.
    fn read(&mut self, partitions: &[TopicPartition]) -> Result<Vec<SinkCheckpoint>, SinkError>;

    /// Keeps the rows and moves the checkpoints, all in one transaction, or none of it. Writing
    /// again a batch whose outcome was lost (a connection that broke during the commit) keeps it
    /// once.
    fn write(&mut self, batch: &Self::Batch, advances: &[Advance]) -> Result<Written, SinkError>;

    /// Does those of its [`MaintenanceTask`]s that are due, and returns how long it is until the
    /// next one's. Called between the other calls; after an error it is not insisted on, but called
    /// again later.
    ///
    /// # Errors
    /// As those of the other calls.
    fn run_maintenance(&mut self) -> Result<Duration, SinkError>;
}

/// Why a sink could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// Down, unreachable, full, read-only, or refusing us: tried again after a while.
    #[error("{0}")]
    Unavailable(String),
    /// We are shutting down.
    #[error("stopped")]
    Stopped,
}

/// Receiver of the columns of a record's row; the sink adds where the record lies, its raw bytes
/// and the reason when it has no more than those.
pub trait RowMapper: Send + Sync {
    /// The table that the rows go to.
    fn table(&self) -> &'static str;

    /// Which records have a row.
    fn row_policy(&self) -> RowPolicy;

    /// The columns that [`RowMapper::cells`] fills, in its order.
    fn columns(&self) -> &'static [&'static str];

    /// Writes one cell for each column.
    ///
    /// # Errors
    /// The reason why the record has no cells; what was written of it is dropped.
    fn cells(&self, record: &LogRecord<'_>, to: &mut dyn Cells) -> Result<(), NoCells>;
}

/// The policy by which records become rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowPolicy {
    /// Every one.
    Append,
    /// Of each key the last, readable or not; and every one without a key. A key's records lie in
    /// one partition.
    UpsertByKey,
    /// As [`RowPolicy::UpsertByKey`], of each key in each partition: where the topic has grown, a
    /// key's records may lie in several.
    UpsertByPartitionAndKey,
}

/// A row that a writer puts into the sink when it starts, in place of the one with the same key; it
/// stands for no record.
pub trait StartupRow: Send + Sync {
    /// The table that the row goes to.
    fn table(&self) -> &'static str;

    /// The column of the key, and the key.
    fn key(&self) -> (&'static str, &str);

    /// The columns that [`StartupRow::cells`] fills, in its order; that of the key is not among
    /// them, and others get their defaults.
    fn columns(&self) -> &'static [&'static str];

    /// Writes one cell for each column.
    fn cells(&self, to: &mut dyn Cells);
}

/// Maintenance of a sink's rows, apart from any record: a function of its own, called with a
/// number. It returns a number, too, of what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaintenanceTask {
    /// The function.
    pub function: &'static str,
    /// Name with which it is called.
    pub argument: i64,
    /// Time between two turns.
    pub every: Duration,
}

/// Why a record could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its class, as dead letters name it.
    pub class: &'static str,
    /// Description of the problem.
    pub message: String,
}

/// A record cannot be read now, for want of something other than the record, and why: the same
/// record again later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotYet(pub String);

/// Why a record has no cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoCells {
    /// It never will; its row says so.
    Unreadable(Unreadable),
    /// It has no row either, for now.
    NotYet(NotYet),
}

impl From<Unreadable> for NoCells {
    fn from(unreadable: Unreadable) -> NoCells {
        NoCells::Unreadable(unreadable)
    }
}

/// Takes the cells of a row, left to right. NUL in text and JSON is replaced by U+FFFD, since SQL's
/// text holds none.
pub trait Cells {
    /// SQL null.
    fn null(&mut self);

    /// `text`.
    fn text(&mut self, value: &str);

    /// `boolean`.
    fn boolean(&mut self, value: bool);

    /// `bigint`.
    fn integer(&mut self, value: i64);

    /// `uuid`.
    fn uuid(&mut self, value: u128);

    /// `numeric`, of a JSON number.
    fn decimal(&mut self, json: &str);

    /// `timestamptz`, of nanoseconds since 1970; cut to microseconds.
    fn instant(&mut self, nanos: u64);

    /// `jsonb`, of UTF-8 JSON text.
    fn json(&mut self, json: &[u8]);

    /// `text[]`.
    fn texts(&mut self, values: &[&str]);
}

/// Tells a blocking call of a [`LogSink`] to give up, from another thread.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Calls that wait now, and all later ones, end with [`SinkError::Stopped`].
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
