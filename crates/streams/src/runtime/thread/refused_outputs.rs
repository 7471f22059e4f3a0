//! Outputs that the brokers refused. When such an output comes again it is not sent, and its task
//! makes a dead letter of it.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::offset::Offset;
use crate::planted::PlantedBug;
use crate::ports::{BatchLimit, DeliveryFailure};
use crate::record::TaskId;

/// Identifies an output. Processing the same record again makes the same outputs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OutputId {
    pub task: TaskId,
    pub cause: Cause,
    /// Dead letters are counted apart: a refused output brings one more of them when it comes
    /// again.
    pub is_dead_letter: bool,
}

/// The cause of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// The record of the task's source at this offset, whose outputs are numbered.
    Record {
        /// Its offset.
        offset: Offset,
        /// The number of the output, or of the dead letter, among those of the record.
        number: u32,
    },
    /// A slice of background work, which may be cut otherwise the next time: so its outputs go by
    /// their digest.
    BackgroundWork {
        /// The digest of topic, key and value.
        digest: u64,
    },
}

/// An output that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentOutput {
    pub output: OutputId,
    /// Bytes of its key and value.
    pub bytes: usize,
}

/// The outputs that were refused, with the brokers' reason.
#[derive(Debug, Default)]
pub(super) struct RefusedOutputs(BTreeMap<OutputId, String>);

impl RefusedOutputs {
    /// Why an output was refused, if it was.
    pub fn reason(&self, output: &OutputId) -> Option<&str> {
        if self.0.is_empty() { None } else { self.0.get(output).map(String::as_str) }
    }

    /// Forgets refusals below a task's committed offset, and of its background work: those outputs
    /// do not come again.
    pub fn forget_committed(&mut self, task: TaskId, committed: Offset) {
        let comes_again = |cause: Cause| matches!(cause, Cause::Record { offset, .. } if offset >= committed);
        self.0.retain(|output, _| output.task != task || comes_again(output.cause));
    }

    /// Classifies a failed delivery by its remedy. A record that would be refused again is noted,
    /// so that it goes to the dead letters when it comes again. A batch that is too large says so
    /// of each record in it; that is true of a record only if it was alone in its batch.
    ///
    /// `sent` has the outputs of the transaction by their tokens; what it lacks is a changelog
    /// record.
    pub fn classify(&mut self, failure: DeliveryFailure, sent: &[SentOutput], batches: BatchLimit) -> Error {
        let before = u64::from(PlantedBug::WrongRecordRefused.is_planted());
        let entry = usize::try_from(failure.token.saturating_sub(before)).ok().and_then(|token| sent.get(token));
        let (why, is_too_large) = match failure.error {
            Error::Record(why) | Error::RecordTime(why) => (why, false),
            Error::BatchTooLarge(why) if batches.is_alone(entry.map_or(0, |entry| entry.bytes)) => (why, true),
            other => return other,
        };
        let Some(entry) = entry else {
            let settings =
                if is_too_large { "raise its max.message.bytes and segment.bytes" } else { "correct its settings" };
            return Error::Fatal(format!("a changelog topic refuses a record: {why}; {settings} [HS1025]"));
        };
        let error = Error::Aborted(format!("a record was refused: {why}"));
        if !PlantedBug::RefusedRecordSentAgain.is_planted() {
            self.0.insert(entry.output, why);
        }
        error
    }
}

/// Of several errors at once, the one of the highest rank is recovered from: its recovery covers
/// the others'.
pub(super) fn rank(error: &Error) -> u8 {
    match error {
        Error::Fatal(_) | Error::Bug(_) => 4,
        // A refused batch breaks the sequence of those behind it, and the client may fail for good
        // over that.
        Error::BatchTooLarge(_) => 3,
        Error::ProducerLost(_) | Error::Fenced(_) => 2,
        Error::Migrated(_) | Error::ConsumerLost(_) => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId { subtopology: 1, partition: 2 };

    fn output(cause: Cause) -> OutputId {
        OutputId { task: TASK, cause, is_dead_letter: false }
    }

    #[test]
    fn a_refusal_is_known_until_its_record_is_committed() {
        let mut refused = RefusedOutputs::default();
        let at = |number| Offset::new(number).unwrap();
        let of = |offset| output(Cause::Record { offset: at(offset), number: 1 });
        let sent: Vec<SentOutput> = [5, 6].map(|offset| SentOutput { output: of(offset), bytes: 10 }).to_vec();
        let failure = |token| DeliveryFailure { token, error: Error::Record("no".to_owned()) };
        for token in 0..2 {
            assert!(matches!(refused.classify(failure(token), &sent, BatchLimit::OneRecord), Error::Aborted(_)));
        }
        assert_eq!((refused.reason(&of(5)), refused.reason(&of(6))), (Some("no"), Some("no")));
        refused.forget_committed(TASK, at(6));
        assert_eq!((refused.reason(&of(5)), refused.reason(&of(6))), (None, Some("no")));
        refused.forget_committed(TaskId { partition: 3, ..TASK }, at(9));
        assert_eq!(refused.reason(&of(6)), Some("no"), "of another task");
    }

    #[test]
    fn a_refused_batch_is_a_refused_record_only_where_the_record_was_alone_in_it() {
        let mut refused = RefusedOutputs::default();
        let one = output(Cause::BackgroundWork { digest: 7 });
        let sent = [SentOutput { output: one, bytes: 100 }];
        let failure = || DeliveryFailure { token: 0, error: Error::BatchTooLarge("too large".to_owned()) };
        let error = refused.classify(failure(), &sent, BatchLimit::Bytes(100));
        assert_eq!((error, refused.reason(&one)), (failure().error, None));
        assert!(matches!(refused.classify(failure(), &sent, BatchLimit::Bytes(99)), Error::Aborted(_)));
        assert_eq!(refused.reason(&one), Some("too large"));
        refused.forget_committed(TASK, Offset::FIRST);
        assert_eq!(refused.reason(&one), None, "a slice of work does not come again");
    }

    #[test]
    fn a_refused_changelog_record_is_for_the_operator() {
        let mut refused = RefusedOutputs::default();
        let failure = DeliveryFailure { token: u64::MAX, error: Error::Record("no".to_owned()) };
        assert!(refused.classify(failure, &[], BatchLimit::OneRecord).is_fatal());
    }
}
