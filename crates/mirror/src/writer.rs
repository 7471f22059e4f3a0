//! The writer makes one call at a time to the sink, and retries it until the sink answers; between
//! two calls it runs the sink's maintenance.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::settings::MirrorSettings;
use super::status::MirrorStatus;
use crate::ports::{Advance, LogSink, SinkCheckpoint, SinkError, Stop, TopicPartition, Written};

/// A request of the main loop.
pub(super) enum Job<B> {
    /// Take these partitions over.
    Claim(Vec<TopicPartition>),
    /// See how far the writer that has these is.
    Read(Vec<TopicPartition>),
    /// Keep a batch.
    Write(B, Vec<Advance>),
}

/// Result of a job.
pub(super) enum Done<B> {
    Claimed(Vec<SinkCheckpoint>),
    Read(Vec<TopicPartition>, Vec<SinkCheckpoint>),
    Written { batch: B, advances: Vec<Advance>, outcome: Written, took: Duration },
}

/// Interval of the checks for a stop during a back-off.
const SLICE: Duration = Duration::from_millis(50);

pub(super) struct SinkWriter<S: LogSink> {
    sink: S,
    stop: Stop,
    settings: MirrorSettings,
    status: Arc<MirrorStatus>,
}

impl<S: LogSink> SinkWriter<S> {
    pub(super) fn new(sink: S, stop: Stop, settings: MirrorSettings, status: Arc<MirrorStatus>) -> SinkWriter<S> {
        SinkWriter { sink, stop, settings, status }
    }

    /// Works until the main loop has ended or a call is stopped.
    pub(super) fn run(mut self, todo: &Receiver<Job<S::Batch>>, done: &SyncSender<Done<S::Batch>>) {
        if self.retry(LogSink::begin).is_none() {
            return;
        }
        let mut next_maintenance = Instant::now();
        loop {
            if Instant::now() >= next_maintenance {
                let Some(pause) = self.run_maintenance() else { return };
                next_maintenance = Instant::now() + pause;
            }
            match todo.recv_timeout(next_maintenance.saturating_duration_since(Instant::now())) {
                Ok(job) => {
                    let Some(outcome) = self.run_job(job) else { return };
                    if done.send(outcome).is_err() {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Runs the due maintenance of the sink, and returns the time until the next one. A failure can
    /// wait: records go first. `None` when stopped.
    fn run_maintenance(&mut self) -> Option<Duration> {
        match self.sink.run_maintenance() {
            Ok(next) => Some(next),
            Err(SinkError::Stopped) => None,
            Err(SinkError::Unavailable(reason)) => {
                let next_try_seconds = self.settings.longest_backoff.as_secs_f64();
                tracing::warn!(
                    code = "HS4057",
                    next_try_seconds,
                    %reason,
                    "the maintenance of the mirror's tables (nodes, partitions, retention) failed and is retried; records are still written"
                );
                Some(self.settings.longest_backoff)
            }
        }
    }

    fn run_job(&mut self, job: Job<S::Batch>) -> Option<Done<S::Batch>> {
        Some(match job {
            Job::Claim(partitions) => Done::Claimed(self.retry(|sink| sink.claim(&partitions))?),
            Job::Read(partitions) => {
                let found = self.retry(|sink| sink.read(&partitions))?;
                Done::Read(partitions, found)
            }
            Job::Write(batch, advances) => {
                let mut took = Duration::ZERO;
                let outcome = self.retry(|sink| {
                    // The last try alone: pauses and failures say nothing of the batch.
                    let started = Instant::now();
                    let outcome = sink.write(&batch, &advances);
                    took = started.elapsed();
                    outcome
                })?;
                Done::Written { batch, advances, outcome, took }
            }
        })
    }

    /// Calls the sink until it answers, with back-off; `None` when stopped.
    fn retry<T>(&mut self, mut call: impl FnMut(&mut S) -> Result<T, SinkError>) -> Option<T> {
        let mut backoff = Backoff::default();
        let since = Instant::now();
        let mut tries = 1_u64;
        loop {
            match call(&mut self.sink) {
                Ok(value) => {
                    if self.status.down.swap(false, Relaxed) {
                        tracing::info!(
                            tries,
                            seconds = since.elapsed().as_secs(),
                            "the mirror's database answers again"
                        );
                    }
                    return Some(value);
                }
                Err(SinkError::Stopped) => return None,
                Err(SinkError::Unavailable(reason)) => {
                    self.status.down.store(true, Relaxed);
                    self.status.failures.fetch_add(1, Relaxed);
                    let wait = backoff.next(self.settings.first_backoff, self.settings.longest_backoff);
                    let next_try_seconds = wait.as_secs_f64();
                    tracing::warn!(
                        code = "HS4058",
                        tries,
                        next_try_seconds,
                        %reason,
                        "the mirror cannot write to Postgres and retries; the stream goes on"
                    );
                    if !self.wait(wait) {
                        return None;
                    }
                    tries += 1;
                }
            }
        }
    }

    /// Waits; false when stopped meanwhile.
    fn wait(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while !self.stop.is_set() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(SLICE));
        }
        false
    }
}
