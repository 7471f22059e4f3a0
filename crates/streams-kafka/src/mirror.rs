//! The log source of a mirror: a consumer in a group of its own, `<application id>-<name>`, that
//! reads committed records from the offsets that it receives. Records go from librdkafka's memory
//! straight to the receiver.
//!
//! The group's committed offsets follow what the sink has kept, so that Kafka's tools show the
//! mirror's lag. They are never read.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use super::consumer::{GroupFetching, GroupMembership, group_consumer};
use super::error::{Call, Failure};
use super::log_bounds::log_bounds;
use super::messages::{Buffer, View};
use super::settings::KafkaSettings;
use mirror::ports::{LogError, LogHeader, LogReceiver, LogRecord, LogSource};
use streams::error::{Error, Result};
use streams::offset::Offset;
use streams::ports::{Fetching, GroupEvent, Membership, PartitionStart};
use streams::record::TopicPartition;

/// Bytes of fetched records that wait for the receiver.
const QUEUE_BYTES: usize = 4 << 20;
/// How long a receiver that is full is left alone before the group is served all the same. Serving
/// costs: what was fetched is dropped, and fetched again later.
const SERVE_EVERY: Duration = Duration::from_millis(500);
/// How often the group's offsets follow.
const COMMIT_EVERY: Duration = Duration::from_millis(500);
/// How often topics are looked for that may be missing, while there is no partition of them.
/// librdkafka would look every five minutes.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long the broker is waited for when a log's range is asked for.
const RANGE_LIMIT: Duration = Duration::from_secs(2);
/// How long leaving the group may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

/// A group member that reads for a mirror.
pub struct MirrorSource {
    membership: GroupMembership,
    fetching: GroupFetching,
    taken: Taken,
    /// Partitions that the group has given to this member.
    assigned: Vec<TopicPartition>,
    /// Partitions that are being read.
    started: Vec<TopicPartition>,
    /// Whether all of them are held back, since the receiver is full.
    paused: bool,
    /// When the group was last served.
    served: Instant,
    /// Whether a topic may be missing.
    is_optional: bool,
    /// When missing topics were looked for.
    looked: Instant,
    /// Offsets to commit for display.
    kept: BTreeMap<TopicPartition, i64>,
    committed: Instant,
}

/// Messages taken from librdkafka, and how many of them are done.
struct Taken {
    buffer: Buffer,
    done: usize,
    /// Partitions whose messages in the buffer are void: they were moved, stopped or taken away
    /// meanwhile.
    void: Vec<TopicPartition>,
}

impl Taken {
    fn clear(&mut self) {
        self.buffer.clear();
        self.void.clear();
        self.done = 0;
    }

    fn is_void(&self, message: &View<'_>) -> bool {
        let is_it = |void: &TopicPartition| void.partition == message.partition() && *void.topic == *message.topic();
        self.void.iter().any(is_it)
    }
}

impl MirrorSource {
    /// Joins the mirror's group `<application id>-<name>` for these topics. It connects when it is
    /// polled.
    ///
    /// # Errors
    /// [`Error::Fatal`] for a setting that librdkafka does not take.
    pub fn new(settings: &KafkaSettings, name: &str, topics: &[&str]) -> Result<MirrorSource> {
        let application_id = format!("{}-{name}", settings.application_id);
        let settings =
            KafkaSettings { application_id, fetch_queue_bytes: QUEUE_BYTES, state_on_disk: None, ..settings.clone() };
        let (mut membership, fetching) = group_consumer(&settings, 0)?;
        membership.subscribe(topics)?;
        let now = Instant::now();
        Ok(MirrorSource {
            membership,
            fetching,
            taken: Taken { buffer: Buffer::new(), done: 0, void: Vec::new() },
            assigned: Vec::new(),
            started: Vec::new(),
            paused: false,
            served: now,
            is_optional: false,
            looked: now,
            kept: BTreeMap::new(),
            committed: now,
        })
    }

    /// The same source, for which a missing topic is no failure: it is looked for every half a
    /// minute, and read once it exists.
    #[must_use]
    pub fn with_optional_topics(mut self) -> MirrorSource {
        self.is_optional = true;
        self
    }

    /// Whether the client has failed for good.
    pub(super) fn is_dead(&self) -> bool {
        self.fetching.shared.client.fatal_error().is_some()
    }

    /// Gives all partitions up, as if the group had revoked them, and leaves the group. What that
    /// takes longer than [`LEAVE_LIMIT`], as when the brokers do not let this client in any more,
    /// is done in the background.
    pub(super) fn give_up(mut self, to: &mut dyn LogReceiver) {
        let assigned = std::mem::take(&mut self.assigned);
        if !assigned.is_empty() {
            to.revoked(&assigned);
        }
        let (done, left) = channel();
        let end = move || {
            drop(self);
            // Who waited may have gone on.
            _ = done.send(());
        };
        // Where the system gives no thread, the source was dropped here.
        let started = std::thread::Builder::new().name("mirror-end".to_owned()).spawn(end);
        if started.is_ok() {
            _ = left.recv_timeout(LEAVE_LIMIT);
        }
    }

    /// Takes and hands over until nothing is left, the receiver is full, or the group wants
    /// something.
    fn read(&mut self, wait: Duration, to: &mut dyn LogReceiver) -> std::result::Result<(), LogError> {
        if self.paused {
            self.paused = false;
            if let Err(error) = self.fetching.resume(&self.started) {
                tracing::warn!(
                    code = "HS4056",
                    "the mirror goes back to its checkpoints and reads on from there: {error}"
                );
                let started = std::mem::take(&mut self.started);
                started.iter().for_each(|partition| to.out_of_range(partition));
                return self.fetching.unassign_from_client(&started).map_err(unavailable);
            }
        }
        let mut waited = false;
        loop {
            if !self.hand_over(to)? || self.fetching.shared.client.has_rebalance() {
                return Ok(());
            }
            self.taken.clear();
            self.fetching.queue.drain(Buffer::CAPACITY, &mut self.taken.buffer);
            if self.taken.buffer.len() > 0 {
                waited = true;
                continue;
            }
            if waited {
                return Ok(());
            }
            waited = true;
            let Some(message) = self.fetching.queue.poll(wait) else { return Ok(()) };
            deliver(&message.view(), &mut self.fetching, self.is_optional, to)?;
        }
    }

    /// Hands over what is taken; false when the receiver is full before its end.
    fn hand_over(&mut self, to: &mut dyn LogReceiver) -> std::result::Result<bool, LogError> {
        let Taken { buffer, done, .. } = &self.taken;
        let mut done = *done;
        let mut failed = Ok(());
        for message in buffer.iter().skip(done) {
            if to.is_full() {
                break;
            }
            done += 1;
            if !self.taken.is_void(&message) {
                failed = failed.and(deliver(&message, &mut self.fetching, self.is_optional, to));
            }
        }
        self.taken.done = done;
        failed.map(|()| done == self.taken.buffer.len())
    }

    /// Serves the group without taking a record: all is held back, and what comes nevertheless is
    /// dropped, but for errors.
    fn serve(&mut self, to: &mut dyn LogReceiver) -> std::result::Result<(), LogError> {
        if !self.paused {
            self.fetching.pause(&self.started).map_err(unavailable)?;
            self.paused = true;
        }
        self.taken.clear();
        self.fetching.queue.drain(Buffer::CAPACITY, &mut self.taken.buffer);
        let mut outcome = Ok(());
        for message in self.taken.buffer.iter().filter(|message| !message.is_end() && message.failure().is_some()) {
            outcome = outcome.and(deliver(&message, &mut self.fetching, self.is_optional, to));
        }
        self.taken.clear();
        outcome
    }

    fn answer_group(&mut self, to: &mut dyn LogReceiver) -> Result<()> {
        while let Some(event) = self.membership.event() {
            match event {
                GroupEvent::Assigned(partitions) => {
                    self.fetching.assign(&[])?;
                    to.assigned(&partitions);
                    self.assigned.extend(partitions);
                }
                GroupEvent::Revoked(partitions) | GroupEvent::Lost(partitions) => {
                    for partition in &partitions {
                        self.forget(partition);
                        self.kept.remove(partition);
                    }
                    self.assigned.retain(|assigned| !partitions.contains(assigned));
                    to.revoked(&partitions);
                    self.fetching.unassign(&partitions)?;
                }
            }
        }
        Ok(())
    }

    /// Voids what is taken of a partition, and no longer counts it as read.
    fn forget(&mut self, partition: &TopicPartition) {
        self.taken.void.push(partition.clone());
        self.started.retain(|started| started != partition);
    }

    /// The range of a partition that the broker holds.
    fn range(&self, partition: &TopicPartition) -> std::result::Result<(i64, i64), LogError> {
        let client = &self.fetching.shared.client;
        // SAFETY: a live client.
        let bounds = unsafe { log_bounds(client.as_ptr(), partition, RANGE_LIMIT) };
        bounds.map_err(|failure| {
            let rights = client.rights_to_read(&partition.topic);
            log_error(failure.taking(rights), &format!("ask for the log of {partition}"))
        })
    }

    fn look_for_missing_topics(&mut self) {
        if !self.is_optional || !self.assigned.is_empty() || self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        if let Err(error) = self.membership.refresh() {
            tracing::debug!("could not look for a topic to mirror: {error}");
        }
    }

    /// Commits to the group how far the sink is; whether it comes through changes nothing but what
    /// tools show.
    fn commit_kept(&mut self) {
        self.committed = Instant::now();
        let kept = std::mem::take(&mut self.kept);
        if kept.is_empty() {
            return;
        }
        let client = &self.fetching.shared.client;
        let list = client.list(kept.iter().map(|(partition, next)| (&*partition.topic, partition.partition, *next)));
        let in_background = 1;
        // SAFETY: a live client and a live list, which the call copies.
        let code = unsafe { sys::rd_kafka_commit(client.as_ptr(), list.as_ptr(), in_background) };
        if let Some(failure) = Failure::of(code) {
            tracing::debug!(
                "could not commit the mirror's offsets to its consumer group, which only shows them: {}",
                failure.text
            );
        }
    }
}

/// Gives one message to the receiver: a record, the end of its partition, or what is wrong.
fn deliver(
    message: &View<'_>,
    fetching: &mut GroupFetching,
    is_optional: bool,
    to: &mut dyn LogReceiver,
) -> std::result::Result<(), LogError> {
    if message.is_end() {
        if let Some(partition) = fetching.partitions.admit(message) {
            to.advance_to(partition, message.offset());
        }
        return Ok(());
    }
    if let Some(failure) = message.failure() {
        if failure.code == Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET as i32 {
            // librdkafka does not move a partition that lost its place; it has to be given anew,
            // which the next start does.
            let partition = TopicPartition::new(message.topic(), message.partition());
            tracing::warn!(
                code = "HS4056",
                %partition,
                reason = failure.text,
                "the mirror lost its place in the log and reads on from its checkpoint"
            );
            to.out_of_range(&partition);
            return fetching.unassign_from_client(&[partition]).map_err(unavailable);
        }
        if is_optional && failure.is_missing_topic() {
            tracing::debug!("a topic to mirror does not exist yet: {}", failure.text);
            return Ok(());
        }
        let client = &fetching.shared.client;
        let doing = client.doing_of(message);
        return Err(log_error(failure.taking(client.rights_to_read(message.topic())), &doing));
    }
    let Some(partition) = fetching.partitions.admit(message) else { return Ok(()) };
    let mut found = message.headers();
    let headers: Vec<LogHeader<'_>> =
        std::iter::from_fn(|| found.next_raw()).map(|(name, value)| LogHeader { name, value }).collect();
    to.record(&LogRecord {
        partition,
        offset: message.offset(),
        timestamp_ms: message.timestamp_ms(),
        key: message.key(),
        headers: &headers,
        value: message.value(),
    });
    Ok(())
}

/// Turns a failure of the client into an error of the log.
fn log_error(failure: Failure, doing: &str) -> LogError {
    let is_refusal = failure.is_refusal();
    let text = failure.remedy(Call::Consumer, doing).to_string();
    if is_refusal { LogError::Refused(text) } else { LogError::Unavailable(text) }
}

fn unavailable(error: Error) -> LogError {
    LogError::Unavailable(error.to_string())
}

impl LogSource for MirrorSource {
    fn poll(&mut self, wait: Duration, to: &mut dyn LogReceiver) -> std::result::Result<(), LogError> {
        if self.committed.elapsed() >= COMMIT_EVERY {
            self.commit_kept();
        }
        self.look_for_missing_topics();
        let outcome = if !to.is_full() {
            self.served = Instant::now();
            self.read(wait, to)
        } else if self.served.elapsed() >= SERVE_EVERY {
            self.served = Instant::now();
            self.serve(to)
        } else {
            return Ok(());
        };
        self.answer_group(to).map_err(unavailable).and(outcome)?;
        let client = &self.fetching.shared.client;
        let Some(failure) = client.take_error() else { return Ok(()) };
        if self.is_optional && failure.is_missing_topic() {
            return Ok(());
        }
        if failure.is_refusal() {
            return Err(log_error(failure.taking(client.rights_to_read("")), "poll"));
        }
        match failure.remedy(Call::Consumer, "poll") {
            Error::Retry(text) => {
                tracing::debug!("{text}");
                Ok(())
            }
            error => Err(unavailable(error)),
        }
    }

    fn start(&mut self, partition: &TopicPartition, offset: i64) -> std::result::Result<(), LogError> {
        self.forget(partition);
        let (begin, end) = self.range(partition)?;
        if !(begin..=end).contains(&offset) {
            if self.fetching.partitions.contains(partition) {
                self.fetching.pause(std::slice::from_ref(partition)).map_err(unavailable)?;
            }
            return Err(LogError::OutOfRange { partition: partition.clone(), offset, begin, end });
        }
        let first = Offset::new(offset).unwrap_or_default();
        let start = PartitionStart { partition: partition.clone(), offset: first.into() };
        self.fetching.assign(&[start]).map_err(unavailable)?;
        self.started.push(partition.clone());
        // It runs while the others may be held back: the next serving holds it back as well.
        self.resume_others()?;
        self.kept.insert(partition.clone(), offset);
        Ok(())
    }

    fn stop(&mut self, partition: &TopicPartition) -> std::result::Result<(), LogError> {
        self.forget(partition);
        self.fetching.pause(std::slice::from_ref(partition)).map_err(unavailable)
    }

    fn committed(&mut self, next: &[(TopicPartition, i64)]) {
        let ours = next.iter().filter(|(partition, _)| self.started.contains(partition));
        self.kept.extend(ours.cloned());
    }

    fn ends(&mut self) -> Vec<(TopicPartition, i64)> {
        let end = |partition: &TopicPartition| Some((partition.clone(), self.fetching.end_offset(partition)?.number()));
        self.started.iter().filter_map(end).collect()
    }
}

impl MirrorSource {
    fn resume_others(&mut self) -> std::result::Result<(), LogError> {
        if std::mem::take(&mut self.paused) {
            self.fetching.resume(&self.started).map_err(unavailable)?;
        }
        Ok(())
    }
}

impl Drop for MirrorSource {
    /// Leaves the group, so that its partitions go on elsewhere at once.
    fn drop(&mut self) {
        self.commit_kept();
        self.taken.clear();
        let deadline = Instant::now() + LEAVE_LIMIT;
        let mut outcome = self.membership.unsubscribe();
        while outcome.is_ok() && !self.membership.left() && Instant::now() < deadline {
            drop(self.fetching.queue.poll(Duration::from_millis(20)));
            outcome = self.answer_group(&mut Nobody);
        }
        if let Err(error) = outcome {
            tracing::debug!("the mirror could not leave its consumer group: {error}");
        }
    }
}

/// Takes nothing.
struct Nobody;

impl LogReceiver for Nobody {
    fn is_full(&self) -> bool {
        true
    }

    fn record(&mut self, _record: &LogRecord<'_>) {}

    fn advance_to(&mut self, _partition: &TopicPartition, _next: i64) {}

    fn assigned(&mut self, _partitions: &[TopicPartition]) {}

    fn revoked(&mut self, _partitions: &[TopicPartition]) {}

    fn out_of_range(&mut self, _partition: &TopicPartition) {}
}
