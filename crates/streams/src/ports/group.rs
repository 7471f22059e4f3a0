//! The two consumer ports, membership and fetching, and the reader that restores use.
//!
//! librdkafka serves both today with one consumer; a group protocol of our own must be able to
//! replace the first alone.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::offset::{Offset, StartOffset};
use crate::record::{RecordBatch, TopicPartition};

/// A change of the assignment (cooperative protocol: only what changes is named).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEvent {
    /// These partitions came. The runtime answers with exactly one [`Fetching::assign`], of those
    /// ready at once (perhaps none).
    Assigned(Vec<TopicPartition>),
    /// These partitions go, and may still be committed. The runtime commits, closes and answers
    /// with one [`Fetching::unassign`].
    Revoked(Vec<TopicPartition>),
    /// These partitions are gone, nothing can be committed. The runtime aborts, closes without a
    /// write and answers with one [`Fetching::unassign`].
    Lost(Vec<TopicPartition>),
}

/// Snapshot of the membership, which a transaction needs to commit offsets for the group.
#[derive(Clone)]
pub struct GroupMetadata {
    /// The group's generation; below 0 the member is none.
    pub generation: i32,
    /// The member's id; empty: the member is none.
    pub member_id: String,
    /// The client's own object, which the same edge's producer takes back unchanged.
    pub handle: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for GroupMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupMetadata")
            .field("generation", &self.generation)
            .field("member_id", &self.member_id)
            .finish()
    }
}

/// Membership of the consumer group. One a stream thread.
pub trait Membership {
    /// Joins the group for these topics. Returns at once; the assignment comes as an event.
    fn subscribe(&mut self, topics: &[&str]) -> Result<()>;

    /// The next event that came with the last [`Fetching::poll`], if any. Never blocks and never
    /// polls: an event is a plain value, and until the runtime has answered it with `assign` or
    /// `unassign` no further one is made.
    fn event(&mut self) -> Option<GroupEvent>;

    /// Looks at once at the topics that are subscribed to: where one has more partitions than
    /// before, the group is joined anew for them. Waits a second at most.
    fn refresh(&mut self) -> Result<()>;

    /// The membership as it is now. The runtime asks once a commit, after the last poll that the
    /// transaction's records came from.
    fn metadata(&mut self) -> Result<GroupMetadata>;

    /// Leaves the group, as a static member too, so that it rebalances; it may be joined again with
    /// [`Membership::subscribe`]. The revoke comes as an event of the polls that follow.
    fn leave(&mut self) -> Result<()>;

    /// Leaves the group for good: the last revoke comes as an event of the polls that follow.
    fn unsubscribe(&mut self) -> Result<()>;

    /// Whether the member has left and all was unassigned, so that the client can be dropped.
    fn left(&self) -> bool;
}

/// Where the reading of a partition begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStart {
    /// The partition.
    pub partition: TopicPartition,
    /// The first record wanted.
    pub offset: StartOffset,
}

/// Fetching of records, read committed. One a stream thread.
pub trait Fetching {
    /// Adds partitions, each at its offset (`incremental_assign`). An empty list still answers an
    /// [`GroupEvent::Assigned`].
    fn assign(&mut self, starts: &[PartitionStart]) -> Result<()>;

    /// Takes partitions away (`incremental_unassign`); those that were never assigned are left out
    /// by the caller. An empty list still answers a [`GroupEvent::Revoked`] or
    /// [`GroupEvent::Lost`]. Without an event to answer the partitions stay ours and are only held
    /// back, until they are assigned again at the offset given then.
    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Lets assigned partitions go on at other offsets. No record that was fetched before comes out
    /// of a later poll.
    fn seek(&mut self, starts: &[PartitionStart]) -> Result<()>;

    /// Holds fetching of assigned partitions back (for back-off); polling goes on and keeps the
    /// membership.
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Ends a pause. No record is lost or comes twice.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()>;

    /// Waits at most `timeout` for a first record, then takes what is there without waiting, up to
    /// `max_records` and about `max_bytes`, into `batch` (which the caller has cleared), with the
    /// ends of partitions that were reached. Returns at once when a group event came. A partition's
    /// records come in order; an end comes once each time that the end is reached.
    fn poll(&mut self, max_records: usize, max_bytes: usize, timeout: Duration, batch: &mut RecordBatch) -> Result<()>;

    /// One past the last offset of an assigned partition's log (the high watermark), as last heard
    /// of; the broker is not asked. For lag only.
    fn end_offset(&self, partition: &TopicPartition) -> Option<Offset> {
        let _ = partition;
        None
    }
}

/// Reads changelogs for restores: one client an instance, a queue a partition. Used from several
/// threads.
pub trait RestoreClient: Send + Sync {
    /// Begins to read a partition, read committed. A partition is open at most once.
    fn open(&self, partition: &TopicPartition, start: StartOffset) -> Result<Box<dyn RestoreReader>>;
}

/// One partition that is being read; dropping it ends the reading.
pub trait RestoreReader: Send {
    /// Waits at most `timeout`, then takes what is there, up to about `max_bytes`, into `batch`
    /// (cleared by the caller). The end of the partition comes as an end in the batch; the
    /// partition has been read up to that offset, markers included.
    fn poll(&mut self, max_bytes: usize, timeout: Duration, batch: &mut RecordBatch) -> Result<()>;
}
