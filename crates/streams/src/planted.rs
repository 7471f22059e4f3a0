//! Planted bugs: faults in the engine that the simulation has to find. Each is one changed line of
//! the real code, switched on by name in one thread. Without the cargo feature `planted-bugs`,
//! which no shipped binary has, every one of them is off for good.

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlantedBug {
    /// A transaction is committed before its records are delivered.
    NoDrain,
    /// The position goes to the store before the changes, in a batch of its own.
    PositionInSeparateBatch,
    /// Uncommitted changes stay over an abort.
    OverlayKeptOverAbort,
    /// Processors stay over an abort, with all that they keep.
    ProcessorsKeptOverAbort,
    /// Stream time is not rolled back.
    StreamTimeKeptOverAbort,
    /// The offset of the next record is not rolled back.
    NextOffsetKeptOverAbort,
    /// Offsets are committed for no member: generation -1, no member id.
    NoGroupMetadata,
    /// A store without a position counts as restored.
    MissingPositionTrusted,
    /// The first end of a changelog that is told ends a restore.
    StableEndEndsRestore,
    /// The offset of the marker behind a changelog record is taken for its position.
    MarkerTakenForPosition,
    /// The tasks of revoked partitions are kept.
    LostRevoke,
    /// Stores are written before the transaction is committed.
    EarlyLocalWrite,
    /// A record that was refused is sent again for ever.
    RefusedRecordSentAgain,
    /// A refused record is left out, with no dead letter.
    RefusedRecordDropped,
    /// Records are purged up to the end of their log, committed or not.
    PurgeBeyondCommit,
    /// A standby leaves out deletes.
    StandbyWithoutDeletes,
    /// The committed offset is one too high.
    OffsetTooHigh,
    /// The committed offset is one too low.
    OffsetTooLow,
    /// A partition is not sought back after an abort.
    NoSeekAfterAbort,
    /// The tasks of lost partitions are kept.
    LostTasksKept,
    /// A transaction that has failed is not aborted.
    NoAbort,
    /// A commit of unknown outcome counts as committed.
    UnknownOutcomeIsCommitted,
    /// A commit of unknown outcome counts as aborted.
    UnknownOutcomeIsAborted,
    /// A producer is used before it has taken its transactional id.
    NoInit,
    /// Deletes are not written to changelogs.
    ChangelogWithoutDeletes,
    /// The changes of a task's first store are not written to its changelog.
    ChangelogForgotten,
    /// The checkpoint of a commit is not kept in memory.
    CheckpointForgotten,
    /// A restore leaves out the first record behind its position.
    RestoreSkipsFirst,
    /// A restore ends one record before its goal.
    RestoreEndsEarly,
    /// A restore leaves out deletes.
    RestoreWithoutDeletes,
    /// A store that is rebuilt keeps its old content.
    RebuildKeepsContent,
    /// The checksum of a restored store is not compared, and neither is that of one on disk.
    ChecksumNotCompared,
    /// Only the first task of a thread commits its offset.
    OneOffsetCommitted,
    /// Records that were fetched before a seek are processed.
    StaleRecordsProcessed,
    /// A record that the full queue did not take counts as sent.
    FullQueueDrops,
    /// A failed delivery is not noticed.
    FailedDeliveryIgnored,
    /// Tasks go on after their producer was replaced.
    TasksKeptOverNewProducer,
    /// Partitions are given back with the transaction still open.
    RevokeWithoutCommit,
    /// A task reads on one record behind its checkpoint.
    StartsTooLate,
    /// The stream time of a checkpoint is not restored.
    StreamTimeNotRestored,
    /// Dead letters are not sent.
    DeadLetterDropped,
    /// A group's event is not answered.
    EventNotAnswered,
    /// A key that was deleted and not committed is still read.
    DeletedKeyRead,
    /// A commit at an end leaves out the transaction markers.
    EndNotCommitted,
    /// Processors do not write back what they keep before a commit.
    NoFlush,
    /// A standby writes the position of what it has read before the records, in a batch of its own.
    TornStandbyRead,
    /// Processors are not told after an abort to look for the work that waits in their stores.
    BackgroundWorkLostOverAbort,
    /// A commit leaves out how far background work is, unless a record came with it: the slice is
    /// repeated after a crash.
    SliceRepeated,
    /// An output that the broker refuses is taken for the one that was sent before it.
    WrongRecordRefused,
    /// A task's stores are wiped when they are opened, as Kafka Streams wipes them after a crash.
    WipeOnCrash,
    /// Partitions that nobody owns though the group is stable are left so.
    UnownedPartitionsLeft,
    /// A live query shows what a standby holds as the last commit, with any checksums.
    UnconfirmedStandbyRead,
    /// A live query names the commit that its task was restored to, and not that of the rows.
    QueryPositionOfRestore,
    /// The records behind one that waits are processed.
    WaitingRecordSkipped,
}

impl PlantedBug {
    /// All of them.
    pub const ALL: [PlantedBug; 54] = [
        PlantedBug::NoDrain,
        PlantedBug::PositionInSeparateBatch,
        PlantedBug::OverlayKeptOverAbort,
        PlantedBug::ProcessorsKeptOverAbort,
        PlantedBug::StreamTimeKeptOverAbort,
        PlantedBug::NextOffsetKeptOverAbort,
        PlantedBug::NoGroupMetadata,
        PlantedBug::MissingPositionTrusted,
        PlantedBug::StableEndEndsRestore,
        PlantedBug::MarkerTakenForPosition,
        PlantedBug::LostRevoke,
        PlantedBug::EarlyLocalWrite,
        PlantedBug::RefusedRecordSentAgain,
        PlantedBug::RefusedRecordDropped,
        PlantedBug::PurgeBeyondCommit,
        PlantedBug::StandbyWithoutDeletes,
        PlantedBug::OffsetTooHigh,
        PlantedBug::OffsetTooLow,
        PlantedBug::NoSeekAfterAbort,
        PlantedBug::LostTasksKept,
        PlantedBug::NoAbort,
        PlantedBug::UnknownOutcomeIsCommitted,
        PlantedBug::UnknownOutcomeIsAborted,
        PlantedBug::NoInit,
        PlantedBug::ChangelogWithoutDeletes,
        PlantedBug::ChangelogForgotten,
        PlantedBug::CheckpointForgotten,
        PlantedBug::RestoreSkipsFirst,
        PlantedBug::RestoreEndsEarly,
        PlantedBug::RestoreWithoutDeletes,
        PlantedBug::RebuildKeepsContent,
        PlantedBug::ChecksumNotCompared,
        PlantedBug::OneOffsetCommitted,
        PlantedBug::StaleRecordsProcessed,
        PlantedBug::FullQueueDrops,
        PlantedBug::FailedDeliveryIgnored,
        PlantedBug::TasksKeptOverNewProducer,
        PlantedBug::RevokeWithoutCommit,
        PlantedBug::StartsTooLate,
        PlantedBug::StreamTimeNotRestored,
        PlantedBug::DeadLetterDropped,
        PlantedBug::EventNotAnswered,
        PlantedBug::DeletedKeyRead,
        PlantedBug::EndNotCommitted,
        PlantedBug::NoFlush,
        PlantedBug::TornStandbyRead,
        PlantedBug::BackgroundWorkLostOverAbort,
        PlantedBug::SliceRepeated,
        PlantedBug::WrongRecordRefused,
        PlantedBug::WipeOnCrash,
        PlantedBug::UnownedPartitionsLeft,
        PlantedBug::UnconfirmedStandbyRead,
        PlantedBug::QueryPositionOfRestore,
        PlantedBug::WaitingRecordSkipped,
    ];
}

#[cfg(feature = "planted-bugs")]
mod switch {
    use super::PlantedBug;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<PlantedBug>> = const { Cell::new(None) };
    }

    impl PlantedBug {
        /// Plants a bug in this thread, or removes the one that is there.
        pub fn plant(bug: Option<PlantedBug>) {
            PLANTED.set(bug);
        }

        pub(crate) fn is_planted(self) -> bool {
            PLANTED.get() == Some(self)
        }
    }
}

#[cfg(not(feature = "planted-bugs"))]
impl PlantedBug {
    #[inline(always)]
    #[allow(clippy::inline_always, clippy::unused_self, reason = "nothing is left of it in a shipped binary")]
    pub(crate) const fn is_planted(self) -> bool {
        false
    }
}
