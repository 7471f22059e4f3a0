//! Topics, their settings and records, and the group's committed offsets. One client an instance,
//! shared by its threads.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::Result;
use crate::offset::Offset;
use crate::record::TopicPartition;

/// A topic that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
}

/// The id that the cluster gave a topic when it was made (KIP-516). A topic that is deleted and
/// made anew gets another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicId(pub u128);

impl fmt::Display for TopicId {
    /// As Kafka's tools show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.to_be_bytes()))
    }
}

/// Result of a deletion of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// They are deleted.
    Done,
    /// The server does not know the request, with the client's words for it. To ask again changes
    /// nothing before the server changes.
    Unsupported(String),
}

/// Identity of a topic, which distinguishes it from a later topic of the same name, and its number
/// of partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicIdentity {
    /// How many partitions it has.
    pub partitions: i32,
    /// Its id; `None` where the brokers know no ids of topics (before Kafka 2.8).
    pub id: Option<TopicId>,
}

/// A topic to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it gets.
    pub partitions: i32,
    /// Copies; `None` takes the broker's default.
    pub replication: Option<i32>,
    /// Settings by name, as Kafka spells them.
    pub config: Vec<(String, String)>,
}

/// A group's committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The offset of the next record to read.
    pub offset: Offset,
    /// The text committed with it; empty if none was.
    pub metadata: String,
}

/// A member of the group, as the broker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Its client's id.
    pub client_id: String,
    /// Its assigned partitions.
    pub partitions: Vec<TopicPartition>,
}

/// The offsets that a partition's log holds, whatever the isolation level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// The first offset of the log (the low watermark).
    pub start: Offset,
    /// One past the last offset (the high watermark).
    pub end: Offset,
}

/// Administration of topics and offsets. All calls block; none is made from within a poll.
pub trait Admin: Send + Sync {
    /// Identity of each topic, `None` where it does not exist; in the order of `topics`.
    fn topics(&self, names: &[&str]) -> Result<Vec<Option<TopicInfo>>>;

    /// The identity of each topic, `None` where it does not exist; in the order asked for.
    fn identities(&self, names: &[&str]) -> Result<Vec<Option<TopicIdentity>>>;

    /// Makes topics. One that exists already is no error (another instance was faster): the caller
    /// checks afterwards.
    fn create_topics(&self, topics: &[NewTopic]) -> Result<()>;

    /// The effective settings of a topic, by name.
    fn topic_config(&self, topic: &str) -> Result<Vec<(String, String)>>;

    /// The most that the brokers take as metadata of a committed offset, in bytes
    /// (`offset.metadata.max.bytes`); `None` where this principal may not read the brokers'
    /// settings, or they do not tell.
    fn offset_metadata_limit(&self) -> Result<Option<usize>>;

    /// Deletes the records below the offset of each partition.
    fn delete_records(&self, below: &[(TopicPartition, Offset)]) -> Result<Deletion>;

    /// The group's committed offsets (stable ones: an open transaction that covers them is waited
    /// for), in the order asked for.
    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>>;

    /// All committed offsets of the group, of whatever topics, as they are now: an open transaction
    /// is not waited for.
    fn all_committed(&self) -> Result<Vec<(TopicPartition, Committed)>>;

    /// The client ids of all members of the group, in whatever state it is; asked of the group's
    /// coordinator. None where there is no group.
    fn member_ids(&self) -> Result<Vec<String>>;

    /// The members of the group and what each has; `None` while that is being settled.
    fn group_members(&self) -> Result<Option<Vec<GroupMember>>>;

    /// Exchanges a request with the group's coordinator, about a topic that the group reads, and
    /// waits a few seconds for the answer at most.
    fn reach_group(&self, topic: &str) -> Result<()>;

    /// Appends a record to a partition, outside of any transaction, and waits until all replicas
    /// in sync have it. A record without a value deletes its key where the topic is compacted.
    fn append(&self, partition: &TopicPartition, key: &[u8], value: Option<&[u8]>) -> Result<()>;

    /// Takes a transactional id away from its producer: ends the open transaction of it at once,
    /// which else stays open until its timeout, and fences that producer. Waits until it is ended.
    ///
    /// # Errors
    /// [`Error::Fenced`](crate::error::Error::Fenced) where another producer has taken the id
    /// meanwhile, which ended that transaction too.
    fn end_transaction(&self, transactional_id: &str) -> Result<()>;

    /// Range of offsets that a partition's log holds.
    fn log_range(&self, partition: &TopicPartition) -> Result<LogRange>;
}
