//! The port between the loops that speak to Kafka and the node's database.
//!
//! The [`Journal`] is what the publisher and the follower need of the database. Its calls block and
//! are made from threads of their own; each change is one transaction, durable when the call
//! returns.

use crate::actor::{Actor, EventActor, Incarnation};

/// The identity of a node as its database keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The writer of new events.
    pub actor: Actor,
    /// The counter of the last accepted event; 0 before the first.
    pub counter: u64,
    /// The counter of the last event that Kafka is known to have committed; 0 before the first.
    pub published: u64,
    /// The [chain](chain_digest) of the values of all published events, up to `published`.
    pub chain: u128,
}

/// An accepted event that is not known to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEvent {
    /// Its counter, which is its actor's entry in its vector clock.
    pub counter: u64,
    /// The memory. It is the record's key, where the write is this one event.
    pub memory_id: String,
    /// Where its write is several events, a merge, the id of the last one: the same in all of them,
    /// which come one after another, and are published in one transaction.
    pub part_of: Option<String>,
    /// The value of the record: the same bytes on every try.
    pub value: Vec<u8>,
    /// The record's timestamp, in milliseconds since 1970; at least 1.
    pub timestamp_ms: i64,
}

/// An event of the outbox that another process has published, from a copy of the folder: as the
/// events topic has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedEvent {
    /// Its id, which it has under whichever actor.
    pub event_id: String,
    /// The actor or branch as which the other process has published it.
    pub writer: EventActor,
    /// Its counter under that actor.
    pub counter: u64,
    /// The value of its record.
    pub value: Vec<u8>,
}

/// A sync request that is not known to be sent (docs/semantics.md, section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The id of its event, which is the record's key: it belongs to no memory.
    pub event_id: String,
    /// The value of the record: the same bytes on every try.
    pub value: Vec<u8>,
    /// The record's timestamp, in milliseconds since 1970; at least 1.
    pub timestamp_ms: i64,
}

/// The state of publication, as the node's own record on the nodes topic has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The counter of the last event that was published.
    pub counter: u64,
    /// The [chain](chain_digest) of the values of all published events.
    pub chain: u128,
}

/// How the database's outbox stands to a [`Publication`] that was read from the nodes topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// The same events were published that the database has: they are marked now.
    Agrees,
    /// The topic has a counter or a chain of this actor that the database does not have: the folder
    /// was rolled back, or is a copy.
    Differs,
}

/// A record of a resolved memory, as the snapshots topic has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub memory_id: String,
    /// The resolved memory in canonical JSON.
    pub value: Vec<u8>,
}

/// A record of the dead-letter topic: an event of some writer that the stream could not process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub memory_id: String,
    /// Bytes of the event: its headers may claim any number, and no event has more than these.
    pub bytes: u32,
    /// XXH3-128 of the event: a dead letter that is too large for its topic has no value.
    pub digest: u128,
    /// Why the stream could not process it.
    pub reason: String,
}

/// Why the database could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The disk is full, or another fault that may pass: the same call again, with back-off.
    #[error("{0}")]
    Unavailable(String),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
    /// The database is damaged, or this program is wrong: the node stops. The message has a code.
    #[error("{0}")]
    Fatal(String),
}

/// The database as publisher and follower use it.
pub trait Journal: Send + Sync {
    /// The identity as it is now.
    ///
    /// # Errors
    /// As [`JournalError`] says; so do those of all other calls.
    fn identity(&self) -> Result<Identity, JournalError>;

    /// The first events of the outbox, in the order of their counters, up to so many records and
    /// about so many bytes of values; at least one where there is any. A write that is several
    /// events is returned whole, beyond these limits if need be.
    fn unpublished(&self, max_records: usize, max_bytes: usize) -> Result<Vec<OutboxEvent>, JournalError>;

    /// Waits until there is an unpublished event or a sync request that waits, or for at most
    /// `timeout`. Whether there is one.
    fn wait_for_unpublished(&self, timeout: std::time::Duration) -> Result<bool, JournalError>;

    /// Compares the outbox with what the nodes topic says of this actor, and marks the events up to
    /// its counter as published where both agree.
    fn reconcile(&self, published: Publication) -> Result<Agreement, JournalError>;

    /// Marks all unpublished events up to `counter`, failed ones excepted, as published. Returns
    /// the publication that the database now has.
    fn mark_published(&self, counter: u64) -> Result<Publication, JournalError>;

    /// Marks one event as failed, with all others of its write (`part_of`): a broker refuses it,
    /// and would refuse it again. They are shown as failed and no longer sent.
    fn mark_failed(&self, counter: u64, reason: &str) -> Result<(), JournalError>;

    /// The counter and the id of the first unpublished events with a greater counter than `after`,
    /// in their order, up to so many.
    fn waiting_ids(&self, after: u64, max_events: usize) -> Result<Vec<(u64, String)>, JournalError>;

    /// Notes that another process has published these events of the outbox. They wait as before
    /// until the next incarnation begins.
    fn note_published_elsewhere(&self, events: &[PublishedEvent]) -> Result<(), JournalError>;

    /// Begins this incarnation and writes every unpublished event again under it, with its id, time
    /// and version. One that another process has published is taken in as that one has published
    /// it. Published events are left as they are.
    fn begin_incarnation(&self, incarnation: &Incarnation, reason: &str) -> Result<Identity, JournalError>;

    /// The first sync requests that wait, in the order in which they were made, some at a time.
    fn unsent_requests(&self) -> Result<Vec<SyncRequest>, JournalError>;

    /// Marks sync requests, by the ids of their events, as sent. One that is sent twice is answered
    /// twice, which changes nothing.
    fn mark_requests_sent(&self, event_ids: &[String]) -> Result<(), JournalError>;

    /// Marks a sync request as failed: a broker refuses it, and would refuse it again.
    fn mark_request_failed(&self, event_id: &str, reason: &str) -> Result<(), JournalError>;

    /// How many events wait, and when the oldest was accepted, in milliseconds since 1970.
    fn outbox_depth(&self) -> Result<(u64, Option<i64>), JournalError>;

    /// The next offset to read of a partition of a topic that is followed; `None` before the first
    /// record.
    fn position(&self, topic: &str, partition: i32) -> Result<Option<i64>, JournalError>;

    /// Applies records of one partition, which are in the order of their offsets, and moves its
    /// position to `next_offset`, all in one transaction. A record that was applied before changes
    /// nothing.
    fn apply(
        &self,
        topic: &str,
        partition: i32,
        records: &[SnapshotRecord],
        next_offset: i64,
    ) -> Result<(), JournalError>;

    /// Moves the position of a partition of resolved memories to `start`, the first record of its
    /// log, and asks for all memories by a sync request, all in one transaction: records before
    /// that are gone which this node has not read. Where such a request waits, it is enough.
    fn begin_again(&self, topic: &str, partition: i32, start: i64) -> Result<(), JournalError>;

    /// Marks the events of this node that are among the dead letters of one partition as failed,
    /// and moves its position to `next_offset`, all in one transaction. Returns how many were
    /// marked; one that was marked before is not counted, and one that a resolved memory has shown
    /// to be processed is not marked.
    fn fail_dead_letters(
        &self,
        topic: &str,
        partition: i32,
        letters: &[DeadLetter],
        next_offset: i64,
    ) -> Result<u64, JournalError>;
}

/// The chain of published values: the digest of the chain so far and the next value. Two databases
/// with equal chains have published the same events in the same order.
#[must_use]
pub fn chain_digest(chain: u128, value: &[u8]) -> u128 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.update(&chain.to_be_bytes());
    hasher.update(value);
    hasher.digest128()
}

#[cfg(test)]
mod tests {
    use super::chain_digest;

    #[test]
    fn a_chain_depends_on_every_value_and_on_their_order() {
        let ab = chain_digest(chain_digest(0, b"a"), b"b");
        assert_ne!(ab, chain_digest(chain_digest(0, b"b"), b"a"));
        assert_ne!(ab, chain_digest(0, b"ab"));
        assert_eq!(ab, chain_digest(chain_digest(0, b"a"), b"b"));
    }
}
