//! State of the main loop between two polls: the partitions of this mirror, and the batch that is
//! being filled.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::digest::Digest;
use crate::ports::{Advance, LogBatch, LogReceiver, LogRecord, NotYet, SinkCheckpoint, TopicPartition};

/// A partition that the group gave us.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) state: State,
    /// The waits before it is claimed again.
    pub(super) backoff: Backoff,
}

/// Where a partition stands with the sink.
#[derive(Debug)]
pub(super) enum State {
    /// To be claimed as soon as the writer is free.
    Unclaimed,
    /// The claim is under way.
    Claiming,
    /// Ours: its records are taken.
    Active(Position),
    /// Another writer has it, or the log can't give what comes next: looked at again at this time.
    /// With a checkpoint, it is claimed only if that has not moved by then.
    Waiting { until: Instant, seen: Option<SinkCheckpoint> },
}

/// How far an active partition is.
#[derive(Debug)]
pub(super) struct Position {
    /// Epoch of our claim.
    pub(super) epoch: i64,
    /// Everything below is kept.
    pub(super) kept: i64,
    /// Where the checkpoint stands once all batches handed to the writer are kept.
    pub(super) handed: i64,
    /// The offset that comes next.
    pub(super) next: i64,
    /// Nothing is read before this time, since the next record could not be read yet.
    pub(super) paused_until: Option<Instant>,
    /// The waits before that record is read again.
    pub(super) backoff: Backoff,
}

impl Position {
    /// Where a claim begins.
    pub(super) fn new(epoch: i64, next: i64) -> Position {
        Position { epoch, kept: next, handed: next, next, paused_until: None, backoff: Backoff::default() }
    }
}

/// The batch being filled, and what keeping it means for the checkpoints.
pub(super) struct Pending<B> {
    pub(super) batch: B,
    pub(super) advances: BTreeMap<TopicPartition, Advance>,
    pub(super) since: Option<Instant>,
}

impl<B: LogBatch> Pending<B> {
    pub(super) fn new(batch: B) -> Pending<B> {
        Pending { batch, advances: BTreeMap::new(), since: None }
    }

    /// Forgets what it holds.
    pub(super) fn clear(&mut self) {
        self.batch.clear();
        self.advances.clear();
        self.since = None;
    }

    /// Whether it should be written now.
    pub(super) fn is_due(&self, bytes_cap: usize, linger: Duration) -> bool {
        self.batch.bytes() >= bytes_cap || self.since.is_some_and(|since| since.elapsed() >= linger)
    }
}

/// Receiver of the events of a poll.
pub(super) struct Intake<B> {
    pub(super) tracks: BTreeMap<TopicPartition, Track>,
    pub(super) pending: Pending<B>,
    pub(super) bytes_cap: usize,
    /// The partition that has come to a record which cannot be read yet in the poll that goes on,
    /// and why. Each such record may have taken the time of a call, so the poll ends there.
    pub(super) halted: Option<(TopicPartition, NotYet)>,
    /// The group has given us partitions once, be it none.
    pub(super) joined: bool,
    /// No record is taken any more: we are stopping.
    pub(super) closed: bool,
}

impl<B: LogBatch> Intake<B> {
    /// Our position in a partition that is read and not yet as far as `to`.
    fn before(&mut self, partition: &TopicPartition, to: i64) -> Option<&mut Position> {
        match &mut self.tracks.get_mut(partition)?.state {
            State::Active(at) if at.paused_until.is_none() && at.next < to => Some(at),
            _ => None,
        }
    }

    /// Moves the end of the pending batch for a partition to `to`, and returns what it is to the
    /// checkpoint; `None` when the partition is not ours, is paused, or is already further.
    fn advance(&mut self, partition: &TopicPartition, to: i64) -> Option<&mut Advance> {
        let at = self.before(partition, to)?;
        (at.next, at.backoff) = (to, Backoff::default());
        let from = at.handed;
        let epoch = at.epoch;
        let advances = &mut self.pending.advances;
        if !advances.contains_key(partition) {
            let advance = Advance { partition: partition.clone(), epoch, from, to, rows: 0, checksum: 0 };
            advances.insert(partition.clone(), advance);
            self.pending.since.get_or_insert_with(Instant::now);
        }
        let advance = advances.get_mut(partition)?;
        advance.to = to;
        Some(advance)
    }
}

impl<B: LogBatch> LogReceiver for Intake<B> {
    fn is_full(&self) -> bool {
        self.closed || self.halted.is_some() || self.pending.batch.bytes() >= self.bytes_cap
    }

    fn record(&mut self, record: &LogRecord<'_>) {
        let partition = record.partition;
        if self.before(partition, record.offset + 1).is_none() {
            return;
        }
        if let Err(why) = self.pending.batch.push(record) {
            // Until it is known for how long: what the poll still says of the partition must not
            // move it.
            if let Some(at) = self.before(partition, record.offset + 1) {
                at.paused_until = Some(Instant::now());
            }
            self.halted.get_or_insert_with(|| (partition.clone(), why));
            return;
        }
        if let Some(advance) = self.advance(partition, record.offset + 1) {
            advance.rows += 1;
            advance.checksum = advance.checksum.wrapping_add(Digest::of(record).checksum());
        }
    }

    fn advance_to(&mut self, partition: &TopicPartition, next: i64) {
        self.advance(partition, next);
    }

    fn assigned(&mut self, partitions: &[TopicPartition]) {
        self.joined = true;
        for partition in partitions {
            self.tracks.insert(partition.clone(), Track { state: State::Unclaimed, backoff: Backoff::default() });
        }
    }

    /// Rows of them in the pending batch stay in it: its advance carries our epoch, and is refused
    /// if the new owner has claimed the partition by then.
    fn revoked(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.tracks.remove(partition);
        }
    }

    fn out_of_range(&mut self, partition: &TopicPartition) {
        if let Some(track) = self.tracks.get_mut(partition) {
            track.state = State::Unclaimed;
        }
    }
}
