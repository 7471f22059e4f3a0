//! A task whose log does not go on where its last commit ended: records were deleted before they
//! were processed, or the topic was made anew. It goes on with what is there only where its
//! operator says so ([`RuntimeConfig::earliest_available`](crate::runtime::RuntimeConfig),
//! [`Instance::accept_earliest`](crate::runtime::Instance::accept_earliest)); the state is kept
//! either way.

use super::super::log_loss::LogLoss;
use super::changelog_follower::{RestoreProgress, checksum_of};
use super::restore_store::follow_to_goal;
use super::task_restoration::TaskRestoration;
use crate::error::{Error, Result};
use crate::offset::Offset;
use crate::ports::{LogRange, StoreBatch, TaskStore, TopicId};
use crate::store::checkpoint::{Checkpoint, Position, StoreCheckpoint};
use crate::stream_time::StreamTime;

impl TaskRestoration {
    /// Moves a checkpoint that lies outside of the task's log to the log's first record, where that
    /// is accepted. The state at the checkpoint stays: it is that of the records before it.
    /// `topic` is the id of the topic of the commit, if its metadata has one.
    ///
    /// # Errors
    /// [`Error::StopTask`] where it is not accepted, with what is lost and what to do.
    /// [`Error::Retry`] where one answer alone says that the log is another one or ends before the
    /// checkpoint: a leader that has just taken over may not know all yet.
    pub fn move_into_log(&self, checkpoint: Checkpoint, topic: Option<TopicId>) -> Result<Checkpoint> {
        // Where nothing was committed there is no place that the log could have lost.
        let Some(next) = checkpoint.next_offset.offset() else { return Ok(checkpoint) };
        let LogRange { start, end } = self.instance.ports.admin.log_range(&self.source)?;
        if let Some(was) = topic
            && let Some(is) = self.find_recreated_topic(was)?
        {
            return self.read_anew(checkpoint, next, start, (was, is));
        }
        // It may have grown since, with other records in the place of those that were lost.
        let was_truncated = self.instance.truncated_logs.is_noted(self.id, next);
        if (start..=end).contains(&next) && !was_truncated {
            return Ok(checkpoint);
        }
        if next > end && !self.is_confirmed(LogLoss::EndsBefore(next)) {
            return Err(Error::Retry(format!(
                "{} ends at offset {end}, before the committed offset {next}, by the first answer: it is asked again",
                self.source
            )));
        }
        if next < start && !self.is_confirmed(LogLoss::BeginsAfter(next)) {
            return Err(Error::Retry(format!(
                "{} begins at offset {start}, behind the committed offset {next}, by the first answer: it is asked again",
                self.source
            )));
        }
        if !self.may_reset_to_earliest() {
            if next < start {
                return Err(self.records_deleted(next, start));
            }
            self.instance.truncated_logs.note(self.id, next);
            return Err(self.log_ends_before_commit(next, end));
        }
        let source = &self.source;
        if next < start {
            tracing::warn!(
                code = "HS1016",
                task = %self.id,
                lost = start.since(next),
                "{source}: the {} offsets from {next} to {start} were deleted before they were processed and are skipped, as accepted",
                start.since(next)
            );
        } else {
            tracing::warn!(
                code = "HS1016",
                task = %self.id,
                "{source}: the log ends at {end}, before the committed offset {next}, and is read from its first record at {start}, as accepted"
            );
        }
        Ok(Checkpoint { next_offset: start.into(), ..checkpoint })
    }

    /// The id of the task's topic, where it is another one than was committed.
    ///
    /// # Errors
    /// [`Error::Retry`] until two answers say so.
    fn find_recreated_topic(&self, was: TopicId) -> Result<Option<TopicId>> {
        let topic = &*self.source.topic;
        if self.instance.sources.id(topic).is_none_or(|known| known == was) {
            return Ok(None);
        }
        // The id that is known is that of the last look.
        let found = self.instance.ports.admin.identities(&[topic])?.into_iter().next().flatten();
        match found.and_then(|identity| identity.id) {
            Some(is) if is != was && self.is_confirmed(LogLoss::AnotherTopic(was)) => Ok(Some(is)),
            _ => Err(Error::Retry(format!(
                "topic `{topic}` seems to have been made anew since the last commit: the brokers are asked again"
            ))),
        }
    }

    /// The committed offset is a place in the log of a topic that was deleted, whatever lies at
    /// that offset now.
    fn read_anew(
        &self,
        checkpoint: Checkpoint,
        next: Offset,
        start: Offset,
        (was, is): (TopicId, TopicId),
    ) -> Result<Checkpoint> {
        let source = &self.source;
        let task = self.id;
        if self.may_reset_to_earliest() {
            tracing::warn!(
                code = "HS1016",
                %task,
                "{source}: the topic was made anew (id {is}, committed {was}) and is read from its first record at {start}, as accepted"
            );
            return Ok(Checkpoint { next_offset: start.into(), ..checkpoint });
        }
        Err(self.topic_made_anew(next, was, is))
    }

    /// The state as the changelogs tell it, for a task of whose last commit nothing is known: its
    /// offset went with its topic, or was set from outside. There is nothing to hold the state
    /// against. `next` is the offset to go on at, if there is one.
    ///
    /// # Errors
    /// A changelog or the store cannot be read or written.
    pub fn adopt_changelogs(&self, db: &mut dyn TaskStore, next: Option<Offset>) -> Result<Checkpoint> {
        let admin = &self.instance.ports.admin;
        let LogRange { start, end } = admin.log_range(&self.source)?;
        let next_offset = next.filter(|next| (start..=end).contains(next)).unwrap_or(start);
        let mut checkpoint =
            Checkpoint { next_offset: next_offset.into(), stream_time: StreamTime::NONE, stores: Vec::new() };
        for (store, changelog) in self.changelogs().enumerate() {
            let goal = admin.log_range(&changelog)?.end.previous();
            db.clear(store)?;
            let mut progress =
                RestoreProgress { task: self.id, store, at: None, goal, checksum: None, stream_time: StreamTime::NONE };
            if goal.is_some() {
                progress = follow_to_goal(self, db, progress)?;
            }
            checkpoint.stream_time = checkpoint.stream_time.max(progress.stream_time);
            checkpoint.stores.push(StoreCheckpoint { changelog_offset: goal, checksum: checksum_of(db, store)? });
        }
        let encoded: Vec<Vec<u8>> =
            checkpoint.stores.iter().map(|store| Position::at(&checkpoint, store).encode()).collect();
        let positions = encoded.iter().enumerate().map(|(store, position)| (store, &**position)).collect();
        db.apply(&StoreBatch { puts: Vec::new(), positions })?;
        tracing::warn!(
            code = "HS1016",
            task = %self.id,
            "nothing is known of the last commit for {}: the state is restored from the changelogs as they are, and the log is read on from \
             offset {next_offset}, as accepted",
            self.source
        );
        Ok(checkpoint)
    }
}
