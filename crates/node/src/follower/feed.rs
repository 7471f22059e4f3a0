//! A topic that is followed, and the way of its records.

use std::sync::Arc;

use streams::error::Error;
use streams::record::{InRecord, TopicPartition};

use crate::kafka::Topics;
use crate::ports::JournalError;

/// A record of a topic, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sorted<K> {
    /// One that is kept.
    Kept(K),
    /// A record of another kind, which a node does not keep.
    Other,
    /// One that should be kept and cannot be, with the reason.
    Unusable(&'static str),
    /// A resolved memory in another format than JSON, with the name of the format.
    Foreign(&'static str),
}

/// A topic that a node follows.
pub(super) trait Feed: Send + 'static {
    /// A record that is kept.
    type Kept;

    /// Its records in words, for the log.
    const WHAT: &'static str;

    /// The effect of deleted records on what the node shows: a clause for the log.
    const AFTER_LOSS: &'static str;

    /// Whether nodes make the topic themselves, so that a missing one is no failure.
    const IS_MADE_BY_NODES: bool = false;

    /// The topic.
    fn topic<'t>(&self, topics: &'t Topics) -> &'t Arc<str>;

    /// The offset to go on at; `None` to begin at the first record.
    fn position(&self, partition: &TopicPartition) -> Result<Option<i64>, JournalError>;

    /// Lets a partition be read from its first record, which has the offset `start`, since records
    /// are gone that were not read. Whether the node has asked the stream for their content, which
    /// only that of resolved memories can be asked for.
    fn begin_again(&self, partition: &TopicPartition, _start: i64) -> Result<bool, JournalError> {
        self.apply(partition, &[], 0)?;
        Ok(false)
    }

    /// Sorts a record.
    fn sort(&self, record: &InRecord<'_>) -> Sorted<Self::Kept>;

    /// Keeps records of one partition, and the offset to go on at.
    fn apply(&self, partition: &TopicPartition, records: &[Self::Kept], next: i64) -> Result<(), JournalError>;

    /// The error where a record is in a format that a node does not read.
    fn foreign(partition: &TopicPartition, offset: i64, format: &str) -> Error {
        Error::Fatal(format!(
            "the record at offset {offset} of {partition} is a resolved memory in the format {format}, and a node reads JSON; set the format \
             of the topology's sink to json, on a topic of its own where other programs need {format} [HS8042]"
        ))
    }
}
