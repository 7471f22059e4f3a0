//! The consumer that reads changelogs (Kafka Streams' restore consumer). An instance has one for
//! restorations and one for standbys, and each partition that it reads has a queue of its own.
//!
//! The client is a member of no group: partitions are assigned to it one by one. It carries the
//! group's id only since it also fetches committed offsets, as a reader of committed records, so
//! that it waits for the end of an open transaction over them.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as sys;

use super::error::{Call, Failure, refused};
use super::list::logical;
use super::messages::Buffer;
use super::native::{ClientKind, Native};
use super::partitions::{Partitions, hand_out, reading};
use super::queue::Queue;
use super::settings::{KafkaSettings, Properties};
use streams::error::{Error, Result};
use streams::offset::StartOffset;
use streams::ports::rights::Resource;
use streams::ports::{RestoreClient, RestoreReader};
use streams::record::{RecordBatch, TopicPartition};

/// The restore consumer of an instance. It also reads single partitions for other commands, such as
/// `mirror verify`.
pub struct RestoreConsumer {
    client: Arc<Native>,
    /// Where errors that concern no partition come.
    common: Arc<Queue>,
}

impl RestoreConsumer {
    /// Makes the client; it connects when it is first used.
    ///
    /// # Errors
    /// [`Error::Fatal`] for a setting that librdkafka does not take.
    pub fn new(settings: &KafkaSettings) -> Result<RestoreConsumer> {
        RestoreConsumer::with(settings.restore())
    }

    /// One for standbys, which read for as long as the instance lives.
    ///
    /// # Errors
    /// As for [`RestoreConsumer::new`].
    pub fn for_standbys(settings: &KafkaSettings) -> Result<RestoreConsumer> {
        RestoreConsumer::with(settings.standby())
    }

    fn with(properties: Properties) -> Result<RestoreConsumer> {
        let client = Arc::new(Native::new(ClientKind::Consumer, &properties)?);
        let common = Queue::of_consumer(&client).map(Arc::new);
        let common = common.ok_or_else(|| Error::Bug("the restore client has no group id".to_owned()))?;
        Ok(RestoreConsumer { client, common })
    }

    pub(super) fn client(&self) -> &Arc<Native> {
        &self.client
    }
}

impl RestoreConsumer {
    /// Begins to read one partition.
    pub(super) fn read(&self, partition: &TopicPartition, start: StartOffset) -> Result<Single> {
        // The queue first: what is fetched before it is cut loose would go to the common one.
        let queue = Queue::of_partition(&self.client, &partition.topic, partition.partition);
        let queue = queue.ok_or_else(|| {
            Error::Fatal(format!("read {partition}: this is not a name that a topic can have; correct it [HS2017]"))
        })?;
        let list = self.client.list([(&*partition.topic, partition.partition, logical(start))].into_iter());
        // SAFETY: a live client and a live list, which the call copies.
        let error = unsafe { sys::rd_kafka_incremental_assign(self.client.as_ptr(), list.as_ptr()) };
        if let Some(failure) = Failure::from_error(error) {
            return Err(failure.remedy(Call::Consumer, &format!("read {partition}")));
        }
        let mut partitions = Partitions::default();
        partitions.start(partition, start);
        let common = self.common.clone();
        let buffer = Buffer::new();
        Ok(Single { buffer, partition: partition.clone(), partitions, queue, common })
    }
}

impl RestoreClient for RestoreConsumer {
    fn open(&self, partition: &TopicPartition, start: StartOffset) -> Result<Box<dyn RestoreReader>> {
        Ok(Box::new(PartitionReader { single: self.read(partition, start)?, error: None }))
    }
}

/// One partition that is being read, until it is dropped.
pub(super) struct Single {
    /// First, since fields are dropped in their order and a message must not outlive its client.
    pub(super) buffer: Buffer,
    pub(super) partition: TopicPartition,
    pub(super) partitions: Partitions,
    pub(super) queue: Queue,
    common: Arc<Queue>,
}

/// One partition that is read into batches.
struct PartitionReader {
    single: Single,
    error: Option<Error>,
}

impl RestoreReader for PartitionReader {
    fn poll(&mut self, max_bytes: usize, timeout: Duration, batch: &mut RecordBatch) -> Result<()> {
        let one = &mut self.single;
        let mut waited = false;
        while batch.byte_len() < max_bytes && self.error.is_none() {
            one.queue.drain(TAKE_RECORDS, &mut one.buffer);
            let taken = one.buffer.len();
            for message in one.buffer.iter() {
                hand_out(one.queue.client(), &message, &mut one.partitions, batch, &mut self.error);
            }
            if taken > 0 {
                continue;
            }
            if waited || !batch.is_empty() || !batch.ends().is_empty() {
                break;
            }
            waited = true;
            self.error = self.error.take().or(one.common_error());
            let Some(message) = one.queue.poll(timeout) else { break };
            hand_out(one.queue.client(), &message.view(), &mut one.partitions, batch, &mut self.error);
        }
        match self.error.take() {
            Some(error) if batch.is_empty() && batch.ends().is_empty() => Err(error),
            later => {
                self.error = later;
                Ok(())
            }
        }
    }
}

/// Records taken in one step; with those of usual size a batch does not pass its limit by much.
pub(super) const TAKE_RECORDS: usize = 128;

impl Single {
    /// Logs what concerns no partition; returns an error that no later try mends.
    pub(super) fn common_error(&mut self) -> Option<Error> {
        self.common.drain(TAKE_RECORDS, &mut self.buffer);
        for failure in self.buffer.iter().filter_map(|message| message.failure()) {
            // The group is only asked for its offsets, which says itself what it lacks; commands
            // that read alone need no right on it.
            if refused(failure.code) == Some(Resource::Group) {
                tracing::debug!("cannot read {}: {}", self.partition, failure.text);
                continue;
            }
            tracing::warn!(code = "HS2007", "cannot read {}: {}", self.partition, failure.text);
        }
        let failure = self.queue.client().take_error()?.taking([reading(&self.partition.topic)]);
        match failure.remedy(Call::Consumer, &format!("read {}", self.partition)) {
            Error::Retry(text) => {
                tracing::debug!("{text}");
                None
            }
            error => Some(error),
        }
    }
}

impl Drop for Single {
    fn drop(&mut self) {
        let client = self.queue.client();
        let list = client.list([(&*self.partition.topic, self.partition.partition, 0)].into_iter());
        // SAFETY: a live client and a live list, which the call copies.
        let error = unsafe { sys::rd_kafka_incremental_unassign(client.as_ptr(), list.as_ptr()) };
        if let Some(failure) = Failure::from_error(error) {
            tracing::warn!(code = "HS2007", "stop reading {}: {}", self.partition, failure.text);
        }
    }
}
