//! The main loop of a mirror: polls the log, hands batches to the writer, and handles the results.
//! It runs in the thread `mirror-loop`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::intake::{Intake, Pending, Position, State};
use super::pace::Pace;
use super::settings::MirrorSettings;
use super::status::{MirrorStatus, UNKNOWN};
use super::writer::{Done, Job};
use crate::ports::{Advance, LogBatch, LogError, LogSource, SinkCheckpoint, Stop, TopicPartition, Written};

/// How long a poll waits for the first record, and the writer's answer is waited for while nothing
/// can be read.
const POLL: Duration = Duration::from_millis(50);

/// Bounds of the back-off before a record that cannot be read yet is tried again.
const FIRST_RECORD_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_RECORD_BACKOFF: Duration = Duration::from_secs(5);

/// Longest back-off after a poll that failed; the group must be served meanwhile.
const LONGEST_POLL_BACKOFF: Duration = Duration::from_millis(500);

/// The state of the main loop; [`MainLoop::run`] is the loop.
pub(super) struct MainLoop<B> {
    source: Box<dyn LogSource>,
    intake: Intake<B>,
    pace: Pace,
    /// The other batch, while the writer has none.
    spare: Option<B>,
    /// Whether the writer is at work.
    busy: bool,
    /// Polls that failed in a row.
    failed_polls: u32,
    /// When the checkpoints are compared with our positions next.
    next_check: Instant,
    settings: MirrorSettings,
    status: Arc<MirrorStatus>,
}

/// The writer is gone; so is the reason to go on.
struct HungUp;

impl<B: LogBatch> MainLoop<B> {
    pub(super) fn new(
        source: Box<dyn LogSource>,
        batches: (B, B),
        settings: MirrorSettings,
        status: Arc<MirrorStatus>,
    ) -> Self {
        let pace = Pace::new(settings.batch_bytes, settings.largest_batch_bytes);
        let intake = Intake {
            tracks: BTreeMap::new(),
            pending: Pending::new(batches.0),
            bytes_cap: pace.bytes(),
            halted: None,
            joined: false,
            closed: false,
        };
        let next_check = Instant::now() + settings.check_interval;
        let spare = Some(batches.1);
        MainLoop { source, intake, pace, spare, busy: false, failed_polls: 0, next_check, settings, status }
    }

    /// Runs until `asked` to stop, then for the grace at most.
    pub(super) fn run(mut self, asked: &Stop, jobs: &SyncSender<Job<B>>, results: &Receiver<Done<B>>) {
        let mut deadline = None;
        loop {
            if asked.is_set() {
                let end = *deadline.get_or_insert_with(|| Instant::now() + self.settings.grace);
                self.intake.closed = true;
                let idle = !self.busy && self.intake.pending.advances.is_empty();
                if idle || self.status.down.load(Relaxed) || Instant::now() >= end {
                    return;
                }
            }
            if self.run_once(jobs, results).is_err() {
                return;
            }
        }
    }

    fn run_once(&mut self, jobs: &SyncSender<Job<B>>, results: &Receiver<Done<B>>) -> Result<(), HungUp> {
        let nothing_to_read = self.busy && self.intake.pending.batch.bytes() >= self.intake.bytes_cap;
        let wait = if nothing_to_read || self.intake.closed { Duration::ZERO } else { POLL };
        self.poll(wait);
        self.pause_and_resume();
        // With no room left the poll returned at once: wait for the writer instead, which is what
        // makes room.
        let answer = if wait.is_zero() && self.busy { results.recv_timeout(POLL) } else { try_recv(results) };
        match answer {
            Ok(done) => {
                self.busy = false;
                self.handle_done(done);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(HungUp),
        }
        if !self.busy
            && let Some(job) = self.next_job()
        {
            self.busy = true;
            jobs.send(job).map_err(|_| HungUp)?;
        }
        self.update_lag();
        Ok(())
    }

    fn poll(&mut self, wait: Duration) {
        let Err(e) = self.source.poll(wait, &mut self.intake) else {
            self.failed_polls = 0;
            return;
        };
        self.set_refusal(&e);
        self.failed_polls = self.failed_polls.saturating_add(1);
        if self.failed_polls.is_power_of_two() {
            tracing::warn!(
                code = "HS4059",
                reason = %e,
                times = self.failed_polls,
                "the mirror cannot read from Kafka and retries; the stream goes on"
            );
        }
        std::thread::sleep(POLL.saturating_mul(self.failed_polls).min(LONGEST_POLL_BACKOFF));
    }

    /// Shows the mirror's owner an error that only a person can remedy.
    fn set_refusal(&self, error: &LogError) {
        if let LogError::Refused(why) = error {
            // The first one counts.
            _ = self.status.refusal.set(why.clone());
        }
    }

    /// Pauses the partition that has come to a record which cannot be read yet, and resumes those
    /// whose back-off is over.
    fn pause_and_resume(&mut self) {
        if let Some((partition, why)) = self.intake.halted.take() {
            if let Err(e) = self.source.stop(&partition) {
                tracing::debug!(%partition, reason = %e, "the mirror cannot stop reading the partition; its records are dropped");
            }
            if let Some(at) = self.reading(&partition) {
                // The first time it is but the registry's answer that is not there yet.
                let offset = at.next;
                let is_news = at.backoff.failures().is_power_of_two();
                let wait = at.backoff.next(FIRST_RECORD_BACKOFF, LONGEST_RECORD_BACKOFF);
                at.paused_until = Some(Instant::now() + wait);
                if is_news {
                    tracing::warn!(
                        code = "HS4060",
                        %partition,
                        offset,
                        reason = %why,
                        "the mirror cannot decode a record yet and waits; other partitions go on"
                    );
                }
            }
        }
        let now = Instant::now();
        let is_due =
            |state: &State| matches!(state, State::Active(Position { paused_until: Some(until), .. }) if *until <= now);
        for partition in self.partitions_where(is_due) {
            if let Some(at) = self.reading(&partition) {
                let next = at.next;
                self.read_from(&partition, next);
            }
        }
    }

    /// The next job for the writer. The pending batch goes before any claim: it may hold rows of an
    /// earlier claim. The comparison of the checkpoints goes before the batch, since a busy
    /// partition would keep it from the others for ever.
    fn next_job(&mut self) -> Option<Job<B>> {
        if !self.intake.closed && self.next_check <= Instant::now() {
            let active = self.partitions_where(|state| matches!(state, State::Active(_)));
            if !active.is_empty() {
                return Some(Job::Read(active));
            }
        }
        let to_claim = self.partitions_where(|state| matches!(state, State::Unclaimed));
        let pending = &mut self.intake.pending;
        if !pending.advances.is_empty() {
            let due = pending.is_due(self.intake.bytes_cap, self.settings.linger);
            if !due && to_claim.is_empty() && !self.intake.closed {
                return None;
            }
            let spare = self.spare.take()?;
            let full = std::mem::replace(pending, Pending::new(spare));
            let advances: Vec<Advance> = full.advances.into_values().collect();
            for advance in &advances {
                if let Some(at) = self.active(&advance.partition, advance.epoch) {
                    at.handed = advance.to;
                }
            }
            return Some(Job::Write(full.batch, advances));
        }
        if self.intake.closed {
            return None;
        }
        if !to_claim.is_empty() {
            for partition in &to_claim {
                self.set(partition, State::Claiming);
            }
            return Some(Job::Claim(to_claim));
        }
        let now = Instant::now();
        let due = self.partitions_where(|state| matches!(state, State::Waiting { until, .. } if *until <= now));
        (!due.is_empty()).then_some(Job::Read(due))
    }

    fn handle_done(&mut self, done: Done<B>) {
        match done {
            Done::Claimed(checkpoints) => checkpoints.into_iter().for_each(|at| self.begin(at)),
            Done::Read(partitions, found) => {
                self.check_waiting(&partitions, &found);
                self.check_active(&partitions, &found);
            }
            Done::Written { mut batch, advances, outcome, took } => {
                self.pace.written(batch.bytes(), took);
                self.intake.bytes_cap = self.pace.bytes();
                batch.clear();
                self.spare = Some(batch);
                match outcome {
                    Written::Kept { rejected } => self.kept(&advances, rejected),
                    Written::Refused(found) => self.refused(&advances, found),
                }
            }
        }
    }

    /// Reads a claimed partition from its checkpoint on.
    fn begin(&mut self, at: SinkCheckpoint) {
        let Some(track) = self.intake.tracks.get(&at.partition) else { return };
        if !matches!(track.state, State::Claiming) {
            return;
        }
        let next = at.next_offset;
        self.set(&at.partition, State::Active(Position::new(at.epoch, next)));
        tracing::info!(partition = %at.partition, offset = next, epoch = at.epoch, "the mirror now writes this \
             partition");
        self.read_from(&at.partition, next);
    }

    /// Has the source read an active partition from `offset`, or from the log's begin where that
    /// has moved past it.
    fn read_from(&mut self, partition: &TopicPartition, offset: i64) {
        if let Some(at) = self.reading(partition) {
            at.paused_until = None;
        }
        let mut started = self.source.start(partition, offset);
        if let Err(LogError::OutOfRange { begin, .. }) = started
            && begin > offset
        {
            // From zero it never went further: there is nothing that it missed.
            if offset == 0 {
                tracing::info!(%partition, begin, "the mirror starts at the first record that the topic still holds");
            } else {
                let lost = begin - offset;
                tracing::error!(
                    code = "HS4061",
                    %partition,
                    offset,
                    begin,
                    lost,
                    "records were deleted from the topic before they were mirrored; the mirror goes on with the first record that is there"
                );
            }
            started = self.source.start(partition, begin);
        }
        match started {
            Ok(()) => {}
            Err(e @ LogError::OutOfRange { .. }) => {
                tracing::error!(
                    code = "HS4062",
                    reason = %e,
                    "the mirror's checkpoint lies behind the end of the topic, which was probably deleted and created again: remove the mirror's rows \
                     and their checkpoint, or use another schema or database"
                );
                self.back_off(partition, None);
            }
            Err(e) => {
                self.set_refusal(&e);
                tracing::warn!(code = "HS4059", %partition, reason = %e, "the mirror cannot read the partition and retries");
                self.back_off(partition, None);
            }
        }
    }

    fn kept(&mut self, advances: &[Advance], rejected: u64) {
        let rows = advances.iter().map(|advance| advance.rows).sum();
        self.status.rows.fetch_add(rows, Relaxed);
        self.status.rejected.fetch_add(rejected, Relaxed);
        self.status.batches.fetch_add(1, Relaxed);
        for advance in advances {
            if let Some(at) = self.active(&advance.partition, advance.epoch) {
                at.kept = advance.to;
            }
            if let Some(track) = self.intake.tracks.get_mut(&advance.partition) {
                track.backoff = Backoff::default();
            }
        }
        let next: Vec<_> = advances.iter().map(|advance| (advance.partition.clone(), advance.to)).collect();
        self.source.committed(&next);
    }

    /// Nothing of the batch was written, since checkpoints are not where it expects them.
    fn refused(&mut self, advances: &[Advance], found: Vec<SinkCheckpoint>) {
        self.status.refused.fetch_add(1, Relaxed);
        self.go_back(advances, found);
    }

    /// Compares our positions with the checkpoints of these partitions, of which nothing is on its
    /// way to the sink.
    fn check_active(&mut self, partitions: &[TopicPartition], found: &[SinkCheckpoint]) {
        let (mut ours, mut others) = (Vec::new(), Vec::new());
        for partition in partitions {
            let Some(at) = self.reading(partition) else { continue };
            let (epoch, kept) = (at.epoch, at.kept);
            // From the answer on, so that a slow sink gets a batch between two comparisons.
            self.next_check = Instant::now() + self.settings.check_interval;
            // A partition that the sink knows nothing of has lost all its rows.
            let checkpoint = found.iter().find(|checkpoint| checkpoint.partition == *partition).cloned();
            let none = SinkCheckpoint { partition: partition.clone(), next_offset: 0, epoch: 0 };
            let checkpoint = checkpoint.unwrap_or(none);
            if (checkpoint.epoch, checkpoint.next_offset) != (epoch, kept) {
                ours.push(Advance { partition: partition.clone(), epoch, from: kept, to: kept, rows: 0, checksum: 0 });
                others.push(checkpoint);
            }
        }
        if !ours.is_empty() {
            self.go_back(&ours, others);
        }
    }

    /// All these partitions go back to where the checkpoints stand, and what was read meanwhile is
    /// dropped, since it comes behind the gap.
    fn go_back(&mut self, advances: &[Advance], found: Vec<SinkCheckpoint>) {
        let read_meanwhile: Vec<Advance> = self.intake.pending.advances.values().cloned().collect();
        self.intake.pending.clear();
        for checkpoint in found {
            let ours = advances.iter().find(|advance| advance.partition == checkpoint.partition);
            let Some(ours) = ours.filter(|ours| self.active(&ours.partition, ours.epoch).is_some()) else { continue };
            if checkpoint.epoch > ours.epoch {
                tracing::warn!(
                    code = "HS4065",
                    partition = %ours.partition,
                    epoch = ours.epoch,
                    by = checkpoint.epoch,
                    "another mirror has taken the partition over; this one watches its checkpoint"
                );
                self.back_off(&ours.partition, Some(checkpoint));
            } else {
                tracing::error!(
                    code = "HS4066",
                    partition = %ours.partition,
                    expected = ours.from,
                    found = checkpoint.next_offset,
                    "the database has lost commits or was restored from a backup; the mirror writes the missing rows again"
                );
                self.set(&ours.partition, State::Unclaimed);
            }
        }
        for advance in advances.iter().chain(&read_meanwhile) {
            let Some(at) = self.active(&advance.partition, advance.epoch) else { continue };
            let back = at.kept;
            (at.handed, at.next) = (back, back);
            self.read_from(&advance.partition, back);
        }
    }

    /// Claims the waiting partitions whose checkpoint stands still, and waits on for the others.
    fn check_waiting(&mut self, partitions: &[TopicPartition], found: &[SinkCheckpoint]) {
        for partition in partitions {
            let Some(track) = self.intake.tracks.get(partition) else { continue };
            let State::Waiting { seen, .. } = &track.state else { continue };
            let now = found.iter().find(|checkpoint| checkpoint.partition == *partition);
            if seen.is_none() || seen.as_ref() == now {
                self.set(partition, State::Unclaimed);
            } else {
                self.back_off(partition, now.cloned());
            }
        }
    }

    /// Leaves a partition alone for a while, longer each time in a row.
    fn back_off(&mut self, partition: &TopicPartition, seen: Option<SinkCheckpoint>) {
        if let Err(e) = self.source.stop(partition) {
            tracing::debug!(%partition, reason = %e, "the mirror cannot stop reading the partition; its records are dropped");
        }
        let Some(track) = self.intake.tracks.get_mut(partition) else { return };
        let wait = track.backoff.next(self.settings.first_backoff, self.settings.longest_backoff);
        let until = Instant::now() + wait;
        track.state = State::Waiting { until, seen };
    }

    fn set(&mut self, partition: &TopicPartition, state: State) {
        if let Some(track) = self.intake.tracks.get_mut(partition) {
            track.state = state;
        }
    }

    /// Our position in a partition, if it is still active under this epoch.
    fn active(&mut self, partition: &TopicPartition, epoch: i64) -> Option<&mut Position> {
        self.reading(partition).filter(|at| at.epoch == epoch)
    }

    /// Our position in a partition, if it is active.
    fn reading(&mut self, partition: &TopicPartition) -> Option<&mut Position> {
        match &mut self.intake.tracks.get_mut(partition)?.state {
            State::Active(at) => Some(at),
            _ => None,
        }
    }

    fn partitions_where(&self, test: impl Fn(&State) -> bool) -> Vec<TopicPartition> {
        let chosen = self.intake.tracks.iter().filter(|(_, track)| test(&track.state));
        chosen.map(|(partition, _)| partition.clone()).collect()
    }

    fn update_lag(&mut self) {
        let mut lag = 0;
        let mut active = 0;
        let resting = self.partitions_where(|state| matches!(state, State::Active(at) if at.backoff.failures() > 0));
        self.status.resting.store(resting.len() as u64, Relaxed);
        for (partition, end) in self.source.ends() {
            if let Some(track) = self.intake.tracks.get(&partition)
                && let State::Active(at) = &track.state
            {
                active += 1;
                lag += u64::try_from(end - at.kept).unwrap_or(0);
            }
        }
        let all_known = active == self.intake.tracks.len();
        self.status.lag.store(if all_known { lag } else { UNKNOWN }, Relaxed);
        self.status.partitions.store(active as u64, Relaxed);
        self.status.joined.store(self.intake.joined, Relaxed);
    }
}

fn try_recv<T>(results: &Receiver<T>) -> Result<T, RecvTimeoutError> {
    results.try_recv().map_err(|e| match e {
        TryRecvError::Empty => RecvTimeoutError::Timeout,
        TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
    })
}
