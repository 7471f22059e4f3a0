//! The group consumer of a stream thread, as the engine's two ports: membership and fetching.

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use super::assignor;
use super::error::{Call, Failure, describe};
use super::list::{Entry, List, logical};
use super::messages::Buffer;
use super::native::{ClientKind, Native};
use super::offered_member::OfferedMember;
use super::partitions::{Partitions, hand_out};
use super::queue::Queue;
use super::settings::KafkaSettings;
use streams::error::{Error, Result};
use streams::offset::Offset;
use streams::ports::{Fetching, GroupEvent, GroupMetadata, Membership, PartitionStart};
use streams::record::{RecordBatch, TopicPartition};

/// In a list of partitions: the topic as a whole.
const WHOLE_TOPIC: i32 = -1;

/// How long a look at the subscribed topics may take: the thread does not poll meanwhile.
const REFRESH_LIMIT: Duration = Duration::from_secs(1);

/// State that both halves of a consumer share.
pub(super) struct Shared {
    pub(super) client: Arc<Native>,
    /// The event that the runtime has not answered yet.
    unanswered: Mutex<Option<Unanswered>>,
    /// The client failed for good and has no group to leave any more.
    gone: AtomicBool,
}

/// An event that waits for its answer.
enum Unanswered {
    Assigned,
    Gone(Vec<TopicPartition>),
}

/// Makes the consumer of a stream thread: one librdkafka client behind both ports.
///
/// # Errors
/// [`Error::Fatal`] for a setting that librdkafka does not take.
pub fn group_consumer(settings: &KafkaSettings, thread: usize) -> Result<(GroupMembership, GroupFetching)> {
    let client = Arc::new(Native::new(ClientKind::Consumer, &settings.consumer(thread))?);
    if let Some(state_on_disk) = &settings.state_on_disk {
        assignor::offer(
            &client,
            OfferedMember { instance: settings.instance_id.clone(), state_on_disk: state_on_disk.clone() },
        )?;
    }
    let queue = Queue::of_consumer(&client);
    let queue = Arc::new(queue.ok_or_else(|| Error::Bug("the consumer has no group id".to_owned()))?);
    let shared = Arc::new(Shared { client, unanswered: Mutex::default(), gone: AtomicBool::new(false) });
    let fetching = GroupFetching {
        buffer: Buffer::new(),
        shared: shared.clone(),
        queue: queue.clone(),
        partitions: Partitions::default(),
        failed: None,
        record_bytes: 1024,
    };
    Ok((GroupMembership { shared, queue }, fetching))
}

/// The membership half.
pub struct GroupMembership {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
}

/// The fetching half.
pub struct GroupFetching {
    /// First, since fields are dropped in their order and a message must not outlive its client.
    buffer: Buffer,
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Arc<Queue>,
    pub(super) partitions: Partitions,
    failed: Option<Error>,
    /// Mean size of the records seen lately, so that a poll does not take far more than it was
    /// asked to.
    record_bytes: usize,
}

/// A snapshot of the membership, librdkafka's own object.
pub(super) struct GroupHandle(pub(super) *mut sys::rd_kafka_consumer_group_metadata_t);

// SAFETY: the object is never changed after it was made.
unsafe impl Send for GroupHandle {}
// SAFETY: as above.
unsafe impl Sync for GroupHandle {}

impl GroupHandle {
    pub fn as_ptr(&self) -> *const sys::rd_kafka_consumer_group_metadata_t {
        self.0
    }
}

impl Drop for GroupHandle {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0) }
    }
}

impl Membership for GroupMembership {
    fn subscribe(&mut self, topics: &[&str]) -> Result<()> {
        let client = &self.shared.client;
        let list = client.list(topics.iter().map(|topic| (*topic, WHOLE_TOPIC, 0)));
        // SAFETY: a live client and a live list, which the call copies.
        let code = unsafe { sys::rd_kafka_subscribe(client.as_ptr(), list.as_ptr()) };
        let doing = format!("subscribe to {}", topics.join(", "));
        Failure::of(code).map_or(Ok(()), |failure| Err(failure.remedy(Call::Consumer, &doing)))
    }

    fn refresh(&mut self) -> Result<()> {
        let mut found = std::ptr::null();
        let limit = REFRESH_LIMIT.as_millis() as i32;
        // SAFETY: a live client; what is found is ours to free, once. librdkafka looks at the
        // subscription only when all topics were asked for (rd_kafka_metadata), since an answer for
        // some of them would make the others seem to be gone.
        let code = unsafe {
            let client = self.shared.client.as_ptr();
            let code = sys::rd_kafka_metadata(client, 1, std::ptr::null_mut(), &mut found, limit);
            if !found.is_null() {
                sys::rd_kafka_metadata_destroy(found);
            }
            code
        };
        Failure::of(code).map_or(Ok(()), |failure| Err(failure.remedy(Call::Consumer, "look at the subscribed topics")))
    }

    fn event(&mut self) -> Option<GroupEvent> {
        let rebalance = self.shared.client.next_rebalance()?;
        let name = |entry: &Entry| TopicPartition::new(entry.topic.as_str(), entry.partition);
        let partitions: Vec<TopicPartition> = rebalance.partitions.iter().map(name).collect();
        let (event, unanswered) = match (rebalance.assigned, rebalance.lost) {
            (true, _) => (GroupEvent::Assigned(partitions), Unanswered::Assigned),
            (false, true) => (GroupEvent::Lost(partitions.clone()), Unanswered::Gone(partitions)),
            (false, false) => (GroupEvent::Revoked(partitions.clone()), Unanswered::Gone(partitions)),
        };
        *self.shared.unanswered() = Some(unanswered);
        Some(event)
    }

    fn metadata(&mut self) -> Result<GroupMetadata> {
        // SAFETY: a live client; the object is ours.
        let handle = unsafe { sys::rd_kafka_consumer_group_metadata(self.shared.client.as_ptr()) };
        if handle.is_null() {
            return Err(Error::Migrated("read the group's metadata: the client is in no group".to_owned()));
        }
        let handle = GroupHandle(handle);
        // SAFETY: a live object; its strings live as long.
        let (generation, member_id) = unsafe {
            let member = sys::rd_kafka_consumer_group_metadata_member_id(handle.0);
            let member = match member.is_null() {
                true => String::new(),
                false => std::ffi::CStr::from_ptr(member).to_string_lossy().into_owned(),
            };
            (sys::rd_kafka_consumer_group_metadata_generation_id(handle.0), member)
        };
        Ok(GroupMetadata { generation, member_id, handle: Arc::new(handle) })
    }

    fn leave(&mut self) -> Result<()> {
        // SAFETY: a live client. A static member leaves as well (rd_kafka_cgrp_leave_maybe): it
        // stays only where the client is closed.
        let code = unsafe { sys::rd_kafka_unsubscribe(self.shared.client.as_ptr()) };
        Failure::of(code).map_or(Ok(()), |failure| Err(failure.remedy(Call::Consumer, "leave the consumer group")))
    }

    fn unsubscribe(&mut self) -> Result<()> {
        let client = &self.shared.client;
        // SAFETY: a live client and its own queue. Closing leaves the group once the last revoke,
        // which comes as an event of a poll, is answered; nothing here blocks.
        let error = unsafe { sys::rd_kafka_consumer_close_queue(client.as_ptr(), self.queue.as_ptr()) };
        if let Some(failure) = Failure::from_error(error) {
            tracing::warn!(
                code = "HS1005",
                "the consumer group cannot be left: {}; the group's coordinator removes this member after the session timeout",
                failure.text
            );
            self.shared.gone.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn left(&self) -> bool {
        // SAFETY: a live client.
        self.shared.gone.load(Ordering::Relaxed)
            || unsafe { sys::rd_kafka_consumer_closed(self.shared.client.as_ptr()) } != 0
    }
}

/// A change of the assignment, as a call of librdkafka.
type AssignCall = unsafe extern "C" fn(
    *mut sys::rd_kafka_t,
    *const sys::rd_kafka_topic_partition_list_t,
) -> *mut sys::rd_kafka_error_t;

/// Pausing or resuming, as a call of librdkafka.
type PauseCall = unsafe extern "C" fn(*mut sys::rd_kafka_t, *mut sys::rd_kafka_topic_partition_list_t) -> Code;

impl Shared {
    fn unanswered(&self) -> MutexGuard<'_, Option<Unanswered>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, call: AssignCall, list: &List, doing: &str) -> Result<()> {
        // SAFETY: a live client and a live list, which the call copies.
        let error = unsafe { call(self.client.as_ptr(), list.as_ptr()) };
        match Failure::from_error(error) {
            Some(failure) => Err(failure.remedy(Call::Consumer, doing)),
            None => {
                self.client.answered();
                Ok(())
            }
        }
    }

    fn is_lost(&self) -> bool {
        // SAFETY: a live client.
        unsafe { sys::rd_kafka_assignment_lost(self.client.as_ptr()) != 0 }
    }
}

impl GroupFetching {
    fn list(&self, starts: &[PartitionStart]) -> List {
        let client = &self.shared.client;
        client.list(
            starts.iter().map(|start| (&*start.partition.topic, start.partition.partition, logical(start.offset))),
        )
    }

    /// Takes partitions out of librdkafka's assignment.
    pub(super) fn unassign_from_client(&mut self, gone: &[TopicPartition]) -> Result<()> {
        let added: Vec<_> = gone.iter().filter(|partition| self.partitions.contains(partition)).collect();
        let list = added.iter().map(|partition| (&*partition.topic, partition.partition, 0));
        let list = self.shared.client.list(list);
        self.shared.change(sys::rd_kafka_incremental_unassign, &list, "unassign partitions")?;
        added.into_iter().for_each(|partition| self.partitions.remove(partition));
        Ok(())
    }

    fn pause_in_client(&self, call: PauseCall, partitions: &[TopicPartition], doing: &str) -> Result<()> {
        let list =
            self.shared.client.list(partitions.iter().map(|partition| (&*partition.topic, partition.partition, 0)));
        // SAFETY: a live client and a live list; each partition's own outcome is read by the caller
        // where it matters.
        let code = unsafe { call(self.shared.client.as_ptr(), list.as_ptr()) };
        Failure::of(code).map_or(Ok(()), |failure| Err(failure.remedy(Call::Consumer, doing)))
    }

    /// Moves partitions of the assignment. One that is about to be started refuses for a moment and
    /// is asked again.
    fn seek_in_client(&mut self, starts: &[PartitionStart]) -> Result<()> {
        let deadline = Instant::now() + SEEK_PATIENCE;
        let mut left = starts.to_vec();
        loop {
            let list = self.list(&left);
            // SAFETY: a live client and a live list, into which each partition's outcome is
            // written.
            let error = unsafe {
                sys::rd_kafka_seek_partitions(
                    self.shared.client.as_ptr(),
                    list.as_ptr(),
                    SEEK_PATIENCE.as_millis() as i32,
                )
            };
            if let Some(failure) = Failure::from_error(error) {
                return Err(failure.remedy(Call::Consumer, "seek"));
            }
            let refused: Vec<Entry> = list.entries().into_iter().filter(|entry| entry.error != 0).collect();
            let Some(first) = refused.first() else { return Ok(()) };
            let busy = |entry: &Entry| BUSY.iter().any(|code| *code as i32 == entry.error);
            if !refused.iter().all(busy) || Instant::now() >= deadline {
                let text =
                    format!("seek {}-{} to {}: {}", first.topic, first.partition, first.offset, describe(first.error));
                return Err(Error::Retry(text));
            }
            left.retain(|start| refused.iter().any(|entry| entry.is(&start.partition)));
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// How long a partition may take until it can be moved.
const SEEK_PATIENCE: Duration = Duration::from_secs(1);

/// Outcomes of a seek that pass by themselves: the partition is being started or stopped.
const BUSY: [Code; 2] = [Code::RD_KAFKA_RESP_ERR__STATE, Code::RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS];

impl Fetching for GroupFetching {
    fn assign(&mut self, starts: &[PartitionStart]) -> Result<()> {
        let mut unanswered = self.shared.unanswered();
        let answers = matches!(*unanswered, Some(Unanswered::Assigned));
        if answers {
            *unanswered = None;
        }
        drop(unanswered);
        // A later part of an assignment that is lost by now: its event is on the way. Assigning
        // would make librdkafka forget the loss, and the event would ask for a commit.
        if !answers && (starts.is_empty() || self.shared.is_lost()) {
            return Ok(());
        }
        let (held, new): (Vec<_>, Vec<_>) =
            starts.iter().cloned().partition(|start| self.partitions.contains(&start.partition));
        if answers || !new.is_empty() {
            // A pause outlives the assignment: unassigning takes back only librdkafka's own, and
            // the partition stays silent.
            let partitions: Vec<_> = new.iter().map(|start| start.partition.clone()).collect();
            self.pause_in_client(sys::rd_kafka_resume_partitions, &partitions, "resume partitions")?;
            self.shared.change(sys::rd_kafka_incremental_assign, &self.list(&new), "assign partitions")?;
            new.iter().for_each(|start| self.partitions.start(&start.partition, start.offset));
        }
        if held.is_empty() { Ok(()) } else { self.restart(&held) }
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let unanswered = self.shared.unanswered().take_if(|event| matches!(event, Unanswered::Gone(_)));
        let Some(Unanswered::Gone(mut gone)) = unanswered else {
            // No event asked for this. To librdkafka an unassign now could be the answer to a
            // revoke that nobody has polled yet, and the partition would go to another member
            // before it is committed. So it is only held back.
            return self.pause(partitions);
        };
        gone.extend(partitions.iter().filter(|partition| !gone.contains(partition)).cloned().collect::<Vec<_>>());
        self.unassign_from_client(&gone)
    }

    fn seek(&mut self, starts: &[PartitionStart]) -> Result<()> {
        self.seek_in_client(starts)?;
        starts.iter().for_each(|start| self.partitions.start(&start.partition, start.offset));
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.pause_in_client(sys::rd_kafka_pause_partitions, partitions, "pause partitions")?;
        partitions.iter().for_each(|partition| self.partitions.hold(partition));
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let next = |partition: &TopicPartition| {
            self.partitions.next(partition).map(|offset| PartitionStart { partition: partition.clone(), offset })
        };
        let starts: Vec<_> = partitions.iter().filter_map(next).collect();
        self.restart(&starts)
    }

    fn end_offset(&self, partition: &TopicPartition) -> Option<Offset> {
        cached_end(&self.shared.client, partition)
    }

    fn poll(&mut self, max_records: usize, max_bytes: usize, timeout: Duration, batch: &mut RecordBatch) -> Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut left = max_records;
        let mut waited = false;
        loop {
            let room = max_bytes.saturating_sub(batch.byte_len()) / self.record_bytes.max(1);
            self.queue.drain(left.min(room).max(1), &mut self.buffer);
            let taken = self.buffer.len();
            for message in self.buffer.iter() {
                left = left.saturating_sub(1);
                hand_out(&self.shared.client, &message, &mut self.partitions, batch, &mut self.failed);
            }
            self.learn_size(batch);
            if self.shared.client.has_rebalance() || left == 0 || batch.byte_len() >= max_bytes {
                break;
            }
            if taken == 0 {
                if waited || !batch.is_empty() || !batch.ends().is_empty() || self.failed.is_some() {
                    break;
                }
                waited = true;
                let Some(message) = self.queue.poll(timeout) else { break };
                left = left.saturating_sub(1);
                hand_out(&self.shared.client, &message.view(), &mut self.partitions, batch, &mut self.failed);
            }
        }
        self.check_client(batch)
    }
}

impl GroupFetching {
    /// Lets held partitions go on at known offsets. The seek comes last, since resuming alone goes
    /// on where librdkafka believes that reading stopped (librdkafka#2190, #5591).
    fn restart(&mut self, starts: &[PartitionStart]) -> Result<()> {
        let partitions: Vec<_> = starts.iter().map(|start| start.partition.clone()).collect();
        self.pause_in_client(sys::rd_kafka_resume_partitions, &partitions, "resume partitions")?;
        self.seek(starts)
    }

    fn learn_size(&mut self, batch: &RecordBatch) {
        if !batch.is_empty() {
            self.record_bytes = (self.record_bytes + batch.byte_len() / batch.len()) / 2;
        }
    }

    /// Tells an error of the client as a whole, in the poll after the records that came before it.
    fn check_client(&mut self, batch: &RecordBatch) -> Result<()> {
        if let Some(failure) = self.shared.client.take_error() {
            let fatal = self.shared.client.fatal_error();
            let failure = fatal.unwrap_or(failure).taking(self.shared.client.rights_to_read(""));
            let error = failure.remedy(Call::Consumer, "poll");
            match error {
                Error::Retry(text) => tracing::debug!("{text}"),
                other => self.failed = Some(other),
            }
        }
        match self.failed.take() {
            Some(error) if batch.is_empty() && batch.ends().is_empty() => Err(error),
            later => {
                self.failed = later;
                Ok(())
            }
        }
    }
}

/// One past the last offset of a partition's log, as the last fetch reported it.
pub(super) fn cached_end(client: &Native, partition: &TopicPartition) -> Option<Offset> {
    let name = CString::new(&*partition.topic).ok()?;
    let mut start = -1;
    let mut end = -1;
    // SAFETY: a live client, an ended string, two places to write to; nothing is asked of a broker.
    let code = unsafe {
        sys::rd_kafka_get_watermark_offsets(client.as_ptr(), name.as_ptr(), partition.partition, &mut start, &mut end)
    };
    if Failure::of(code).is_none() { Offset::new(end) } else { None }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;

    #[test]
    fn a_static_member_that_is_fenced_for_good_is_a_lost_consumer() {
        let cluster = MockCluster::new(1).unwrap();
        let settings = KafkaSettings::new(&cluster.bootstrap_servers(), "app", "0");
        let (_membership, mut fetching) = group_consumer(&settings, 0).unwrap();
        let code = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
        // SAFETY: a live client and an ended string.
        unsafe {
            sys::rd_kafka_test_fatal_error(fetching.shared.client.as_ptr(), code, c"as a test wants it".as_ptr())
        };
        let mut batch = RecordBatch::default();
        let started = std::time::Instant::now();
        let error = loop {
            let polled = fetching.poll(10, 1 << 20, Duration::from_millis(10), &mut batch);
            if let Err(error) = polled {
                break error;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "it is not told");
        };
        assert!(matches!(error, Error::ConsumerLost(_)), "{error:?}");
    }
}
