//! The committed records of one partition, read in steps while the log grows.

use std::time::{Duration, Instant};

use anyhow::anyhow;

use streams::error::{Error, Result};
use streams::offset::StartOffset;
use streams::ports::{RestoreClient, RestoreReader};
use streams::record::{InRecord, RecordBatch, TopicPartition};

/// Bytes that a poll takes, about.
const POLL_BYTES: usize = 1 << 20;
/// How long one poll waits.
const WAIT: Duration = Duration::from_millis(200);
/// How long a log that does not go on is waited for, and a call that fails for now is repeated.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Reads a partition.
pub struct LogReader {
    partition: TopicPartition,
    reader: Box<dyn RestoreReader>,
    batch: RecordBatch,
    /// The place of the next record in the batch.
    index: usize,
    /// All records below it are handed over.
    next: i64,
}

impl LogReader {
    /// Begins to read.
    ///
    /// # Errors
    /// The partition cannot be read.
    pub fn open(client: &dyn RestoreClient, partition: &TopicPartition, start: StartOffset) -> Result<LogReader> {
        let reader = client.open(partition, start)?;
        let next = start.offset().unwrap_or_default().number();
        Ok(LogReader { partition: partition.clone(), reader, batch: RecordBatch::new(), index: 0, next })
    }

    /// Hands over the committed records below `to`, waiting for them where they are not there yet.
    ///
    /// # Errors
    /// That of `take`; the partition cannot be read, or nothing comes for a minute.
    pub fn read_to(&mut self, to: i64, take: &mut dyn FnMut(&InRecord<'_>) -> Result<()>) -> anyhow::Result<()> {
        let mut heard = Instant::now();
        while self.next < to {
            while let Some(record) = self.batch.get(self.index) {
                if record.origin.offset >= to {
                    self.next = to;
                    return Ok(());
                }
                take(&record)?;
                self.index += 1;
                self.next = record.origin.offset + 1;
            }
            self.next = self.batch.ends().iter().map(|end| end.offset.number()).fold(self.next, i64::max);
            if self.next >= to {
                break;
            }
            self.batch.clear();
            self.index = 0;
            match self.reader.poll(POLL_BYTES, WAIT, &mut self.batch) {
                Ok(()) | Err(Error::Retry(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if !self.batch.is_empty() || !self.batch.ends().is_empty() {
                heard = Instant::now();
            } else if heard.elapsed() > PATIENCE {
                return Err(anyhow!(
                    "Kafka sent no record of {} behind offset {} within {} s [HS2502]",
                    self.partition,
                    self.next,
                    PATIENCE.as_secs()
                ));
            }
        }
        Ok(())
    }
}

/// Repeats a question that fails for now.
///
/// # Errors
/// That of the question, once it is no passing one or a minute is over.
pub fn patiently<T>(mut question: impl FnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match question() {
            Err(Error::Retry(why)) if started.elapsed() < PATIENCE => {
                tracing::debug!("asked again: {why}");
                std::thread::sleep(WAIT);
            }
            answer => return answer,
        }
    }
}
