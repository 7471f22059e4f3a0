//! The reasons why a restoration stops its task alone, each with the ways out: those that lose
//! nothing, and those of which an operator has to know the loss.

use super::task_restoration::TaskRestoration;
use crate::error::{Error, TaskStop, WayOut};
use crate::offset::Offset;
use crate::ports::{LogRange, TopicId};
use crate::record::{TaskId, TopicPartition};
use crate::topology::TopicRef;

/// A changelog holds a record that helixstream did not write.
pub(super) fn foreign_record(task: TaskId) -> Error {
    let ways_out = vec![
        WayOut::safe(
            "stop the program that writes to the changelog, and bring the topic back as it was before, with its offsets: the task goes on by itself",
        ),
        begin_anew(),
    ];
    let what = format!("a record of a changelog of task {task} has no key, so another program writes to that topic");
    Error::StopTask(Box::new(TaskStop::new(task, "HS3012", what, ways_out)))
}

/// The last way out of all.
fn begin_anew() -> WayOut {
    WayOut::with_loss(
        "stop all instances and delete the group, its changelogs and its repartition topics, to begin anew",
        "the state of all tasks is lost",
    )
}

/// A topic can be brought back with its offsets, from a backup or by a mirror that keeps them.
fn bring_back(topic: &str) -> WayOut {
    WayOut::safe(format!(
        "bring the records of topic `{topic}` back at their offsets, from a backup: the task goes on by itself"
    ))
}

impl TaskRestoration {
    fn stop(&self, code: &'static str, what: String, ways_out: Vec<WayOut>) -> Error {
        Error::StopTask(Box::new(TaskStop::new(self.id, code, what, ways_out)))
    }

    fn is_source_internal(&self) -> bool {
        matches!(self.plan.source_ref, TopicRef::Repartition(_))
    }

    /// The operator says that what is gone is to be skipped.
    fn accept_earliest(&self, loss: String) -> WayOut {
        WayOut::with_loss(
            format!("start with --from-earliest-available {}; the state is kept", self.source.topic),
            loss,
        )
    }

    /// Records were deleted before they were processed.
    pub fn records_deleted(&self, next: Offset, start: Offset) -> Error {
        let source = &self.source;
        let count = start.since(next);
        let (what, loss) = match self.is_source_internal() {
            false => (
                format!(
                    "the records of source partition {source} from offset {next} to {start} ({count} offsets, transaction markers among them) were \
                     deleted before they were processed, by the topic's retention or by DeleteRecords"
                ),
                "to go on with the first record that is there; the deleted ones are lost unless they are published again",
            ),
            true => (
                format!(
                    "the records of internal topic partition {source} from offset {next} to {start} ({count} offsets, transaction markers among them) \
                     were deleted from outside before they were processed"
                ),
                "to go on without them; what they would have changed is missing until the records of the sources that they came from are published \
                 again",
            ),
        };
        self.stop("HS1017", what, vec![bring_back(&source.topic), self.accept_earliest(loss.to_owned())])
    }

    /// The log ends before the committed offset.
    pub fn log_ends_before_commit(&self, next: Offset, end: Offset) -> Error {
        let source = &self.source;
        let kind = if self.is_source_internal() { "internal topic" } else { "source" };
        let what = match next > end {
            true => format!(
                "{kind} partition {source} ends at offset {end}, before the committed offset {next}: the topic was deleted and made anew, or its log \
                 was truncated"
            ),
            false => format!(
                "{kind} partition {source} ended before the committed offset {next}: its log was truncated, and has grown to offset {end} since, with \
                 other records in the place of those that were lost"
            ),
        };
        let bring_back = WayOut::safe(format!(
            "bring the records of topic `{}` back at their offsets, from a backup, and start this instance again",
            source.topic
        ));
        let loss = match self.is_source_internal() {
            false => {
                "to read it from its first record; the records that are gone are lost unless they are published again"
            }
            true => {
                "to go on with its first record; what was in it and not processed is missing until the records of the sources that it came from are \
                 published again"
            }
        };
        self.stop("HS1018", what, vec![bring_back, self.accept_earliest(loss.to_owned())])
    }

    /// The topic is another one than at the last commit.
    pub fn topic_made_anew(&self, next: Offset, was: TopicId, is: TopicId) -> Error {
        let (source, topic) = (&self.source, &self.source.topic);
        let what = format!(
            "topic `{topic}` was deleted and made anew since the last commit (its id is {is} now, and was {was}), so the committed offset {next} of \
             {source} is a place in a log that is gone"
        );
        let copied = WayOut::safe(format!(
            "if the topic was copied together with its offsets, stop all instances, commit the offsets of topic `{topic}` once more as they are \
             (kafka-consumer-groups.sh --reset-offsets --to-current --execute), and go on as for an offset that was set from outside (HS1021)"
        ));
        let missing = match self.is_source_internal() {
            false => "are lost unless they are published again",
            true => "are missing until the records of the sources that they came from are published again",
        };
        let loss = format!(
            "to read the new topic from its first record; records of the former topic that were not processed {missing}, and what was read of the new \
             topic already is processed again"
        );
        self.stop("HS1019", what, vec![copied, self.accept_earliest(loss)])
    }

    /// There is state, and no commit that it belongs to: no offset, or one that was set from
    /// outside.
    pub fn no_offset_of_state(&self, committed: Option<Offset>, changelog: &TopicPartition) -> Error {
        let source = &self.source;
        let group = &self.instance.config.application_id;
        let what = match committed {
            None => format!(
                "group `{group}` has no committed offset for {source}, but changelog {changelog} holds records: the topic was deleted and made anew, \
                 or the group's offsets were deleted or have expired"
            ),
            Some(offset) => format!(
                "offset {offset} of {source} was set in group `{group}` from outside, so the state that belongs to it is not known, and changelog \
                 {changelog} holds records"
            ),
        };
        let put_back = WayOut::safe(format!(
            "commit the offset of {source} with the metadata that it had, if a copy of both exists (of __consumer_offsets): the task goes on by itself"
        ));
        let loss = "the state is taken as the changelogs have it and cannot be verified; records between it and the offset to go on at are processed \
                    twice or not at all";
        self.stop("HS1021", what, vec![put_back, self.accept_earliest(loss.to_owned()), begin_anew()])
    }

    /// The metadata of the committed offset was written by somebody else.
    pub fn metadata_unreadable(&self, metadata: &str) -> Error {
        let source = &self.source;
        let put_back = WayOut::safe(format!(
            "stop the other program, and commit the offset of {source} with the metadata that it had, if a copy of both exists: the task goes on by \
             itself"
        ));
        let loss = "the state is taken as the changelogs have it and cannot be verified; records between it and the offset are processed twice or not \
                    at all";
        let what = format!(
            "the metadata of the committed offset of {source} cannot be read: `{metadata}`; another program has committed it"
        );
        self.stop("HS1028", what, vec![put_back, self.accept_earliest(loss.to_owned()), begin_anew()])
    }

    /// A changelog has fewer records than were committed.
    pub fn changelog_lost_records(&self, changelog: &TopicPartition, committed: Offset, range: LogRange) -> Error {
        let what = format!(
            "changelog {changelog} ends at offset {} but state up to offset {committed} was committed: its records are lost",
            range.end
        );
        self.stop("HS3010", what, vec![bring_back(&changelog.topic), begin_anew()])
    }

    /// A changelog comes to another state than was committed.
    pub fn changelog_changed(&self, store: usize, what: &str) -> Error {
        let name = &self.plan.stores[store].name;
        let what = format!(
            "store `{name}` of task {}, rebuilt from its changelog, is not what was committed: {what}; records of the changelog were deleted or \
             changed from outside",
            self.id
        );
        self.stop("HS3011", what, vec![bring_back(&self.plan.stores[store].changelog), begin_anew()])
    }
}
