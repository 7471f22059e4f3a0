//! One partition that is followed.

use std::time::Duration;

use streams::error::{Error, Result};
use streams::ports::{PartitionStart, RestoreReader};
use streams::record::{RecordBatch, TopicPartition};

use super::record::{Sorted, sort};
use crate::kafka::{KafkaClients, POLL_BYTES};
use crate::ports::SnapshotRecord;

/// A partition, and how far it was read.
pub(super) struct FollowedPartition {
    pub partition: TopicPartition,
    reader: Box<dyn RestoreReader>,
    batch: RecordBatch,
    /// The offset of the next record to read.
    pub position: i64,
    /// The position that the database has; `None` before the first.
    pub stored: Option<i64>,
    /// Whether it was read to an end.
    pub has_reached_end: bool,
}

/// Records that one poll of a partition brought.
#[derive(Debug, Default)]
pub(super) struct Polled {
    pub resolved: Vec<SnapshotRecord>,
    pub others: u64,
    /// Offsets of the resolved memories that cannot be kept, with the reasons.
    pub unusable: Vec<(i64, &'static str)>,
    /// The offset to go on at.
    pub next: i64,
}

/// Where the reading of a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// At the position, or at the log's first record where nothing was read before.
    AsStored(i64),
    /// At the log's first record: the position lies outside the log, which begins and ends here.
    OutsideLog { start: i64, end: i64 },
}

/// Decides where to begin: a position is good where the log holds it, or ends there.
pub(super) fn beginning(kafka: &KafkaClients, partition: &TopicPartition, stored: Option<i64>) -> Result<Beginning> {
    let Some(position) = stored else { return Ok(Beginning::AsStored(PartitionStart::BEGINNING)) };
    let range = kafka.admin.log_range(partition)?;
    Ok(if (range.start..=range.end).contains(&position) {
        Beginning::AsStored(position)
    } else {
        Beginning::OutsideLog { start: range.start, end: range.end }
    })
}

impl FollowedPartition {
    /// Opens a partition at an offset.
    pub fn open(
        kafka: &KafkaClients,
        partition: TopicPartition,
        offset: i64,
        stored: Option<i64>,
    ) -> Result<FollowedPartition> {
        let reader = kafka.reader.open(&partition, offset)?;
        let position = offset.max(0);
        Ok(FollowedPartition { partition, reader, batch: RecordBatch::new(), position, stored, has_reached_end: false })
    }

    /// Takes what is there without waiting. The position moves when the records are applied.
    ///
    /// # Errors
    /// By remedy; [`Error::Fatal`] for a record in another format.
    pub fn poll(&mut self) -> Result<Polled> {
        self.batch.clear();
        self.reader.poll(POLL_BYTES, Duration::ZERO, &mut self.batch)?;
        let mut polled = Polled { next: self.position, ..Polled::default() };
        for record in self.batch.iter() {
            let offset = record.origin.offset;
            match sort(&record) {
                Sorted::Resolved(record) => polled.resolved.push(record),
                Sorted::Other => polled.others += 1,
                Sorted::Unusable(why) => polled.unusable.push((offset, why)),
                Sorted::Foreign(format) => return Err(foreign(&self.partition, offset, format)),
            }
            polled.next = polled.next.max(offset + 1);
        }
        for end in self.batch.ends() {
            polled.next = polled.next.max(end.offset);
            self.has_reached_end = true;
        }
        Ok(polled)
    }
}

fn foreign(partition: &TopicPartition, offset: i64, format: &str) -> Error {
    Error::Fatal(format!(
        "the record at offset {offset} of {partition} is a resolved memory in the format {format}, and a node reads JSON; set the format of \
         the topology's sink to json, on a topic of its own where other programs need {format} [HS8042]"
    ))
}
