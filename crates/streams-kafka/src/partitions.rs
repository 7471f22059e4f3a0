//! The partitions that a consumer reads, with the offset that each goes on at: what a poll may hand
//! out.
//!
//! librdkafka may hand out a record twice: a rebalance saves the position of every partition while
//! a batch is being taken, before the batch's own records count, and goes on from there. So an
//! offset below the next one is dropped here.

use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use super::error::{Call, Failure};
use super::messages::View;
use super::native::Native;
use streams::error::Error;
use streams::offset::{Offset, StartOffset};
use streams::ports::rights::{Operation, Right};
use streams::record::{RecordBatch, TopicPartition};

/// One partition of librdkafka's assignment.
struct ReadPartition {
    partition: TopicPartition,
    /// librdkafka's handle of the topic, 0 until the first message provides it.
    handle: usize,
    /// The next record to hand out.
    next: StartOffset,
    /// In the assignment, but nothing of it is handed out: taken away by the runtime, or paused.
    held: bool,
}

/// The partitions of librdkafka's assignment.
#[derive(Default)]
pub(super) struct Partitions {
    reading: Vec<ReadPartition>,
    last: usize,
}

impl Partitions {
    /// Hands out a partition from `next` on, new or not.
    pub fn start(&mut self, partition: &TopicPartition, next: StartOffset) {
        match self.find(partition) {
            Some(at) => (self.reading[at].next, self.reading[at].held) = (next, false),
            None => self.reading.push(ReadPartition { partition: partition.clone(), handle: 0, next, held: false }),
        }
    }

    /// Hands out nothing more of a partition, which stays in the assignment.
    pub fn hold(&mut self, partition: &TopicPartition) {
        if let Some(at) = self.find(partition) {
            self.reading[at].held = true;
        }
    }

    /// Forgets a partition that left the assignment.
    pub fn remove(&mut self, partition: &TopicPartition) {
        self.reading.retain(|reading| reading.partition != *partition);
        self.last = 0;
    }

    pub fn contains(&self, partition: &TopicPartition) -> bool {
        self.find(partition).is_some()
    }

    /// Where a partition goes on.
    pub fn next(&self, partition: &TopicPartition) -> Option<StartOffset> {
        self.find(partition).map(|at| self.reading[at].next)
    }

    /// Counts a message in; `None` if it must not be handed out. A record moves the partition's
    /// next offset past it, an end to it.
    pub fn admit(&mut self, message: &View<'_>) -> Option<&TopicPartition> {
        let at = self.find_message(message)?;
        let reading = &mut self.reading[at];
        let offset = Offset::new(message.offset())?;
        if reading.held || StartOffset::At(offset) < reading.next {
            return None;
        }
        reading.next = if message.is_end() { offset } else { offset.next() }.into();
        Some(&reading.partition)
    }

    fn find(&self, partition: &TopicPartition) -> Option<usize> {
        self.reading.iter().position(|reading| reading.partition == *partition)
    }

    fn find_message(&mut self, message: &View<'_>) -> Option<usize> {
        let handle = message.topic_handle();
        let partition = message.partition();
        let known = |reading: &ReadPartition| reading.handle == handle && reading.partition.partition == partition;
        if self.reading.get(self.last).is_some_and(known) {
            return Some(self.last);
        }
        if let Some(at) = self.reading.iter().position(known) {
            self.last = at;
            return Some(at);
        }
        let topic = message.topic();
        let same =
            |reading: &ReadPartition| reading.partition.partition == partition && *reading.partition.topic == *topic;
        self.last = self.reading.iter().position(same)?;
        self.reading[self.last].handle = handle;
        Some(self.last)
    }
}

/// The right that reading a topic takes.
pub(super) fn reading(topic: &str) -> Right {
    Right::topic(Operation::Read, topic)
}

/// Puts a message where it belongs: a record or an end into the batch, an error of `client` into
/// `failed`.
pub(super) fn hand_out(
    client: &Native,
    message: &View<'_>,
    partitions: &mut Partitions,
    batch: &mut RecordBatch,
    failed: &mut Option<Error>,
) {
    if message.is_end() {
        if let (Some(_), Some(end)) = (partitions.admit(message), Offset::new(message.offset())) {
            batch.push_end(message.topic(), message.partition(), end);
        }
    } else if let Some(failure) = message.failure() {
        let doing = client.doing_of(message);
        if failure.code == Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET as i32 {
            *failed = Some(outside_the_log(message, &failure));
            return;
        }
        match failure.taking(client.rights_to_read(message.topic())).remedy(Call::Consumer, &doing) {
            Error::Retry(text) | Error::Migrated(text) => tracing::warn!(code = "HS2007", "{text}"),
            error => *failed = Some(error),
        }
    } else if partitions.admit(message).is_some() {
        batch.push(message.origin(), message.key(), message.value(), message.headers());
    }
}

/// Records were deleted before they were processed, or the topic was deleted and made anew: who
/// reads it finds out which of the two.
fn outside_the_log(message: &View<'_>, failure: &Failure) -> Error {
    let partition = TopicPartition::new(message.topic(), message.partition());
    Error::OffsetOutOfRange { partition, what: failure.text.clone() }
}
