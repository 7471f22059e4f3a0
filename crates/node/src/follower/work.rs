//! The follower's loop: look at the topic, poll its partitions, apply, and go on after failures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use streams::error::Error;
use streams::offset::{Offset, StartOffset};
use streams::ports::TopicIdentity;
use streams::record::TopicPartition;

use super::feed::Feed;
use super::partition::{Beginning, FollowedPartition, Polled, beginning};
use super::settings::FollowerSettings;
use super::status::{PartitionProgress, SharedProgress};
use crate::back_off::BackOff;
use crate::kafka::KafkaClients;
use crate::ports::JournalError;
use crate::stop_signal::StopSignal;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The wait after a round in which no partition had a record.
const IDLE: Duration = Duration::from_millis(20);
/// The longest time between two looks for a topic that another thread of this node makes.
const LOOK_FOR_TOPIC: Duration = Duration::from_secs(1);

/// Why following was interrupted.
#[derive(Debug)]
enum Break {
    Kafka(Error),
    Journal(JournalError),
}

/// Where reading begins; at the log's first record where no position is known.
fn start_at(position: Option<i64>) -> StartOffset {
    position.and_then(Offset::new).map_or(StartOffset::Beginning, StartOffset::At)
}

impl From<Error> for Break {
    fn from(error: Error) -> Break {
        Break::Kafka(error)
    }
}

impl From<JournalError> for Break {
    fn from(error: JournalError) -> Break {
        Break::Journal(error)
    }
}

/// The follower on its thread.
pub(super) struct FollowerLoop<F> {
    kafka: KafkaClients,
    feed: F,
    settings: FollowerSettings,
    stop: Arc<StopSignal>,
    progress: Arc<SharedProgress>,
    back_off: BackOff,
    /// The topic when it was last seen.
    seen: Option<TopicIdentity>,
}

impl<F: Feed> FollowerLoop<F> {
    pub fn new(
        kafka: KafkaClients,
        feed: F,
        settings: FollowerSettings,
        stop: Arc<StopSignal>,
        progress: Arc<SharedProgress>,
    ) -> FollowerLoop<F> {
        let back_off = BackOff::new(FIRST_PAUSE, LONGEST_PAUSE);
        FollowerLoop { kafka, feed, settings, stop, progress, back_off, seen: None }
    }

    /// Runs until the end is requested, or the database cannot be used any more.
    pub fn run(mut self) {
        while !self.stop.is_requested() {
            let text = match self.follow() {
                Ok(()) | Err(Break::Journal(JournalError::Stopped)) => return,
                Err(Break::Journal(JournalError::Fatal(text))) => {
                    tracing::error!(
                        code = "HS8044",
                        "the follower of {} has ended, since the node's database cannot be used: {text}; mend the cause and start the node again",
                        F::WHAT
                    );
                    return self.note_failure(&text);
                }
                Err(Break::Journal(JournalError::Unavailable(text))) => text,
                Err(Break::Kafka(error)) => error.to_string(),
            };
            let pause = self.back_off.next_pause();
            tracing::warn!(
                code = "HS8041",
                "cannot follow {}: {text}; retrying in {} ms, the node shows its last state",
                F::WHAT,
                pause.as_millis()
            );
            self.note_failure(&text);
            self.stop.wait(pause);
        }
    }

    /// Follows all partitions until the end is requested or something fails.
    fn follow(&mut self) -> Result<(), Break> {
        let mut partitions: Vec<FollowedPartition> = Vec::new();
        let mut refreshed: Option<Instant> = None;
        while !self.stop.is_requested() {
            let interval = self.settings.refresh_interval;
            let interval = if partitions.is_empty() { interval.min(LOOK_FOR_TOPIC) } else { interval };
            if refreshed.is_none_or(|at| at.elapsed() >= interval) {
                self.refresh(&mut partitions)?;
                refreshed = Some(Instant::now());
            }
            let mut is_idle = true;
            for followed in &mut partitions {
                let polled = match followed.poll(&self.feed) {
                    // The log may have been cut above the position since it was opened.
                    Err(Error::Fatal(text)) => return Err(self.outside_log(followed, text)?),
                    other => other?,
                };
                is_idle &= polled.next == followed.position;
                self.apply(followed, &polled)?;
            }
            if is_idle {
                let is_caught_up = partitions.iter().all(|followed| followed.has_reached_end);
                self.progress.lock().is_caught_up |= is_caught_up && !partitions.is_empty();
                self.stop.wait(IDLE);
            }
        }
        self.store_positions(&mut partitions)
    }

    /// Opens the partitions that are not followed yet; all of them from their beginnings where the
    /// topic was made anew.
    fn refresh(&mut self, partitions: &mut Vec<FollowedPartition>) -> Result<(), Break> {
        let topic = self.feed.topic(&self.kafka.topics).clone();
        let found = self.kafka.identity(&topic)?;
        let Some(found) = found else {
            partitions.clear();
            if F::IS_MADE_BY_NODES {
                return Ok(());
            }
            return Err(Break::Kafka(Error::Retry(format!(
                "topic {topic} does not exist; create it (helixstream topics create), or start helixstream run [HS2004]"
            ))));
        };
        let id_of = |identity: &TopicIdentity| identity.id;
        let is_new = self.seen.as_ref().is_some_and(|seen| id_of(seen).is_some() && id_of(seen) != id_of(&found));
        if is_new {
            partitions.clear();
            // The directory of nodes also forgets the partitions that the new topic does not have.
            let former = self.seen.as_ref().filter(|_| F::IS_MADE_BY_NODES).map_or(0, |seen| seen.partitions);
            for partition in 0..found.partitions.max(former) {
                self.restart(&TopicPartition::new(topic.clone(), partition), 0, "the topic was made anew")?;
            }
        }
        for number in partitions.len()..usize::try_from(found.partitions).unwrap_or(0) {
            let number = i32::try_from(number).unwrap_or(i32::MAX);
            partitions.push(self.open(TopicPartition::new(topic.clone(), number))?);
        }
        self.seen = Some(found);
        self.store_positions(partitions)?;
        for followed in partitions.iter() {
            let range = self.kafka.admin.log_range(&followed.partition)?;
            let progress = PartitionProgress { position: followed.position, end: range.end.number() };
            self.progress.lock().partitions.insert(followed.partition.partition, progress);
        }
        Ok(())
    }

    fn open(&self, partition: TopicPartition) -> Result<FollowedPartition, Break> {
        let stored = self.feed.position(&partition)?.filter(|position| *position > 0);
        match beginning(&self.kafka, &partition, stored)? {
            Beginning::AsStored(at) => Ok(FollowedPartition::open(&self.kafka, partition, at, stored)?),
            Beginning::Shortened { start } => {
                if self.begin_again(&partition, start)? {
                    tracing::warn!(
                        code = "HS8047",
                        %partition,
                        "the log of a partition begins at offset {start}, and this node has read none of it: earlier records were deleted. \
                         The node asks the stream for all resolved memories by a sync request"
                    );
                }
                Ok(FollowedPartition::open(&self.kafka, partition, start_at(Some(start)), Some(start))?)
            }
            Beginning::OutsideLog { start, end } => {
                let position = stored.unwrap_or(0);
                let what = if position > end {
                    format!(
                        "the log ends at offset {end}, before offset {position}, which is the next to read: the topic was made anew"
                    )
                } else {
                    format!(
                        "the log begins at offset {start}, after offset {position}, which is the next to read: records were deleted"
                    )
                };
                self.restart(&partition, start, &what)?;
                let stored = Some(start).filter(|start| *start > 0);
                Ok(FollowedPartition::open(&self.kafka, partition, start_at(stored), stored)?)
            }
        }
    }

    /// Moves the position of a partition to its first record, and asks for what is gone where
    /// somebody can answer. Whether it did.
    fn begin_again(&self, partition: &TopicPartition, start: i64) -> Result<bool, Break> {
        let has_asked = self.feed.begin_again(partition, start)?;
        self.progress.lock().catch_ups += u64::from(has_asked);
        Ok(has_asked)
    }

    /// Begins at the first record of a partition again. A memory that came from a later offset of
    /// another log is compared by its clock.
    fn restart(&self, partition: &TopicPartition, start: i64, what: &str) -> Result<(), Break> {
        self.begin_again(partition, start)?;
        let mut progress = self.progress.lock();
        progress.restarts += 1;
        progress.is_caught_up = false;
        drop(progress);
        tracing::warn!(
            code = "HS8040",
            %partition,
            "the node reads the {} of a partition from its first record: {what}; {}",
            F::WHAT,
            F::AFTER_LOSS
        );
        Ok(())
    }

    /// After a poll that failed for good: the error to pause with, where the position lies outside
    /// the log as well as otherwise. The next round begins at a position that is inside.
    fn outside_log(&self, followed: &FollowedPartition, text: String) -> Result<Break, Break> {
        let range = self.kafka.admin.log_range(&followed.partition)?;
        let log = range.start.number()..=range.end.number();
        Ok(Break::Kafka(if log.contains(&followed.position) {
            Error::Fatal(text)
        } else {
            let partition = &followed.partition;
            Error::Retry(format!("read {partition}: offset {} is not in the log any more", followed.position))
        }))
    }

    /// Applies what a poll brought, together with the position after it.
    fn apply(&mut self, followed: &mut FollowedPartition, polled: &Polled<F::Kept>) -> Result<(), Break> {
        let partition = &followed.partition;
        for (offset, why) in &polled.unusable {
            tracing::warn!(code = "HS8043", %partition, offset, "a record is left out: {why}");
        }
        // A marker alone is worth no transaction; it is stored with the next records, or later.
        if !polled.kept.is_empty() {
            self.feed.apply(partition, &polled.kept, polled.next)?;
            followed.stored = Some(polled.next);
        }
        if polled.next == followed.position {
            return Ok(());
        }
        self.back_off.reset();
        followed.position = polled.next;
        let mut progress = self.progress.lock();
        progress.followed += polled.kept.len() as u64;
        progress.other_records += polled.others + polled.unusable.len() as u64;
        progress.last_error = None;
        let of_partition = progress.partitions.entry(partition.partition).or_default();
        of_partition.position = polled.next;
        of_partition.end = of_partition.end.max(polled.next);
        Ok(())
    }

    /// Stores the positions behind which only markers and records of other kinds stand.
    fn store_positions(&self, partitions: &mut [FollowedPartition]) -> Result<(), Break> {
        for followed in partitions.iter_mut().filter(|followed| followed.position > followed.stored.unwrap_or(0)) {
            self.feed.apply(&followed.partition, &[], followed.position)?;
            followed.stored = Some(followed.position);
        }
        Ok(())
    }

    fn note_failure(&self, text: &str) {
        let mut progress = self.progress.lock();
        progress.failures += 1;
        progress.last_error = Some(text.to_owned());
    }
}
