//! The decision what is done about an interruption: a function of it and of the thread's situation
//! alone. It is the table "Errors by remedy" of docs/exactly-once.md; the thread applies what comes
//! of it.

use std::time::Duration;

use super::interruption::{Interruption, Place};
use crate::error::{Error, TaskStop};
use crate::record::{TaskId, TopicPartition};

/// From so many losses of a producer on they are an error, and the wait grows.
const MANY_LOSSES: usize = 3;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONG_WAIT: Duration = Duration::from_secs(2);

/// Facts about the thread at the time of an interruption.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Situation {
    /// The number of the thread.
    pub thread: usize,
    /// For how long polls have failed.
    pub failing_for: Duration,
    /// `task_timeout`.
    pub task_timeout: Duration,
    /// How many producers were lost lately, before this one.
    pub losses: usize,
    /// Whether the instance's watch has said why producers are lost: Kafka is away, or a topic is
    /// gone.
    pub is_explained: bool,
}

/// The remedy of an interruption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// The thread ends with this error, and the instance with it.
    Stop(Error),
    /// The next turn polls again.
    PollAgain {
        /// Why.
        what: String,
    },
    /// The transaction is aborted. Every task of the thread goes back to its last commit, and its
    /// records are read again from there.
    Abort {
        /// Why.
        what: String,
    },
    /// As for an abort, and this task is closed and restored after a wait.
    AbortAndWait {
        /// The task.
        task: TaskId,
        /// The place that it cannot get past.
        place: Place,
        /// Why.
        what: String,
    },
    /// A new producer, and every task is taken anew, at what the broker has.
    ReplaceProducer {
        /// Why.
        what: String,
        /// No producer is made before.
        wait: Duration,
        /// It is told as an error, since it happens again and again.
        is_reported: bool,
        /// Another producer has its transactional id, or a transaction took too long.
        is_fenced: bool,
    },
    /// A new producer with smaller batches, which sends the records again.
    SendSmallerBatches {
        /// Why.
        what: String,
    },
    /// The transaction is aborted, and every task is closed without a write: the membership is
    /// lost, and comes anew.
    Rejoin {
        /// Why.
        what: String,
    },
    /// The transaction is aborted, and the thread ends: another one with a new consumer takes its
    /// place.
    ReplaceThread {
        /// Why.
        what: String,
    },
    /// The transaction is aborted, and this task's store is rebuilt.
    Rebuild {
        /// The task.
        task: TaskId,
        /// The damage.
        what: String,
    },
    /// The transaction is aborted, and the task that reads this partition is restored after a wait:
    /// the restoration finds out whether its log was lost.
    RestoreAgain {
        /// The partition.
        partition: TopicPartition,
        /// Why.
        what: String,
    },
    /// The transaction is aborted, and this task alone is stopped.
    StopTask(Box<TaskStop>),
}

/// Decides what is done about an interruption.
pub(super) fn decide(interruption: Interruption, situation: &Situation) -> Recovery {
    let error = match interruption {
        Interruption::Waits { task, place, what } => return Recovery::AbortAndWait { task, place, what },
        Interruption::Failed(error) => error,
    };
    match error {
        error @ (Error::Fatal(_) | Error::Bug(_)) => Recovery::Stop(error),
        Error::Disagreement(what) => Recovery::Stop(Error::Fatal(what)),
        Error::Retry(what) if situation.failing_for > situation.task_timeout => Recovery::Stop(Error::Fatal(format!(
            "the Kafka consumer of stream thread {} has failed for longer than task_timeout, so this instance ends: {what} [HS1023]",
            situation.thread
        ))),
        Error::Retry(what) => Recovery::PollAgain { what },
        Error::Aborted(what) | Error::Record(what) | Error::RecordTime(what) => Recovery::Abort { what },
        Error::ProducerLost(what) => replace_producer(what, false, situation),
        Error::Fenced(what) => replace_producer(what, true, situation),
        Error::BatchTooLarge(what) => Recovery::SendSmallerBatches { what },
        Error::Migrated(what) => Recovery::Rejoin { what },
        Error::ConsumerLost(what) => Recovery::ReplaceThread { what },
        Error::Corrupted { task, what } => Recovery::Rebuild { task, what },
        Error::OffsetOutOfRange { partition, what } => Recovery::RestoreAgain { partition, what },
        Error::StopTask(reason) => Recovery::StopTask(reason),
    }
}

/// The producer is fenced or failed, or nobody knows how its last commit ended.
fn replace_producer(what: String, is_fenced: bool, situation: &Situation) -> Recovery {
    let count = situation.losses + 1;
    let is_often = count >= MANY_LOSSES;
    let wait = match u32::try_from((count + 1).saturating_sub(MANY_LOSSES)) {
        Ok(times) if is_often => LONG_WAIT.saturating_mul(times),
        _ => FIRST_WAIT,
    };
    Recovery::ReplaceProducer { what, wait, is_reported: is_often && !situation.is_explained, is_fenced }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId { subtopology: 1, partition: 4 };
    const CALM: Situation = Situation {
        thread: 2,
        failing_for: Duration::ZERO,
        task_timeout: Duration::from_secs(300),
        losses: 0,
        is_explained: false,
    };

    fn text() -> String {
        "why".to_owned()
    }

    fn new_producer(is_fenced: bool) -> Recovery {
        Recovery::ReplaceProducer { what: text(), wait: FIRST_WAIT, is_reported: false, is_fenced }
    }

    /// Each row of the table: its class, an error of it, and the remedy.
    fn table() -> Vec<(&'static str, Error, Recovery)> {
        let what = text();
        let partition = TopicPartition::new("lines", 4);
        let stop = Box::new(TaskStop::of_bug(TASK, "why"));
        vec![
            ("retry", Error::Retry(text()), Recovery::PollAgain { what: text() }),
            ("aborted", Error::Aborted(text()), Recovery::Abort { what: text() }),
            ("producer lost", Error::ProducerLost(text()), new_producer(false)),
            ("fenced", Error::Fenced(text()), new_producer(true)),
            ("batch too large", Error::BatchTooLarge(text()), Recovery::SendSmallerBatches { what: text() }),
            ("migrated", Error::Migrated(text()), Recovery::Rejoin { what: text() }),
            ("consumer lost", Error::ConsumerLost(text()), Recovery::ReplaceThread { what: text() }),
            ("corrupted", Error::Corrupted { task: TASK, what: text() }, Recovery::Rebuild { task: TASK, what }),
            (
                "out of range",
                Error::OffsetOutOfRange { partition: partition.clone(), what: text() },
                Recovery::RestoreAgain { partition, what: text() },
            ),
            ("stopped task", Error::StopTask(stop.clone()), Recovery::StopTask(stop)),
            ("record", Error::Record(text()), Recovery::Abort { what: text() }),
            ("record", Error::RecordTime(text()), Recovery::Abort { what: text() }),
            ("disagreement", Error::Disagreement(text()), Recovery::Stop(Error::Fatal(text()))),
            ("fatal", Error::Fatal(text()), Recovery::Stop(Error::Fatal(text()))),
            ("fatal", Error::Bug(text()), Recovery::Stop(Error::Bug(text()))),
        ]
    }

    #[test]
    fn each_class_of_error_has_its_remedy() {
        for (class, error, remedy) in table() {
            assert_eq!(decide(error.into(), &CALM), remedy, "{class}");
        }
    }

    #[test]
    fn the_table_of_the_contract_has_the_same_classes() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let contract = std::fs::read_to_string(root.join("docs/exactly-once.md")).unwrap();
        let (_, table_of_contract) = contract.split_once("## Errors by remedy").unwrap();
        let rows = table_of_contract.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
        let named: Vec<&str> = rows
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.trim_start_matches('|').split('|').next().unwrap_or_default().trim())
            .collect();
        let mut ours: Vec<&str> = table().into_iter().map(|(class, ..)| class).collect();
        ours.dedup();
        assert_eq!(named, ours);
    }

    #[test]
    fn polls_that_fail_for_longer_than_the_task_timeout_end_the_instance() {
        let failing = |seconds| Situation { failing_for: Duration::from_secs(seconds), ..CALM };
        let polled = |seconds| decide(Error::Retry(text()).into(), &failing(seconds));
        assert_eq!(polled(300), Recovery::PollAgain { what: text() });
        assert!(matches!(polled(301), Recovery::Stop(Error::Fatal(what)) if what.contains("stream thread 2")));
    }

    #[test]
    fn producers_that_are_lost_again_and_again_are_reported_and_waited_for() {
        let lost = |losses, is_explained| match decide(
            Error::Fenced(text()).into(),
            &Situation { losses, is_explained, ..CALM },
        ) {
            Recovery::ReplaceProducer { wait, is_reported, .. } => (wait.as_millis(), is_reported),
            other => panic!("{other:?}"),
        };
        let all: Vec<(u128, bool)> = (0..5).map(|losses| lost(losses, false)).collect();
        assert_eq!(all, [(100, false), (100, false), (2000, true), (4000, true), (6000, true)]);
        assert_eq!(lost(3, true), (4000, false), "the watch has said why");
    }

    #[test]
    fn a_task_that_waits_is_named_with_its_place() {
        let place = Place::Record(crate::offset::Offset::new(7).unwrap());
        let waits = Interruption::Waits { task: TASK, place, what: text() };
        assert_eq!(decide(waits, &CALM), Recovery::AbortAndWait { task: TASK, place, what: text() });
    }
}
