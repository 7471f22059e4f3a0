//! One partition that is followed.

use std::time::Duration;

use streams::error::Result;
use streams::offset::{Offset, StartOffset};
use streams::ports::RestoreReader;
use streams::record::{RecordBatch, TopicPartition};

use super::feed::{Feed, Sorted};
use crate::kafka::{KafkaClients, POLL_BYTES};

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
#[derive(Debug)]
pub(super) struct Polled<K> {
    pub kept: Vec<K>,
    pub others: u64,
    /// Offsets of the records that cannot be kept, with the reasons.
    pub unusable: Vec<(i64, &'static str)>,
    /// The offset to go on at.
    pub next: i64,
}

/// Where the reading of a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// At the position, or at the log's first record where nothing was read before.
    AsStored(StartOffset),
    /// At the log's first record, which has this offset: nothing was read before, and earlier
    /// records are gone.
    Shortened { start: i64 },
    /// At the log's first record: the position lies outside the log, which begins and ends here.
    OutsideLog { start: i64, end: i64 },
}

/// Decides where to begin: a position is good where the log holds it, or ends there.
pub(super) fn beginning(kafka: &KafkaClients, partition: &TopicPartition, stored: Option<i64>) -> Result<Beginning> {
    let range = kafka.admin.log_range(partition)?;
    let (start, end) = (range.start.number(), range.end.number());
    Ok(match (stored, stored.and_then(Offset::new)) {
        (None, _) if start > 0 => Beginning::Shortened { start },
        (None, _) => Beginning::AsStored(StartOffset::Beginning),
        (_, Some(position)) if (range.start..=range.end).contains(&position) => Beginning::AsStored(position.into()),
        (Some(_), _) => Beginning::OutsideLog { start, end },
    })
}

impl FollowedPartition {
    /// Opens a partition.
    pub fn open(
        kafka: &KafkaClients,
        partition: TopicPartition,
        start: StartOffset,
        stored: Option<i64>,
    ) -> Result<FollowedPartition> {
        let reader = kafka.reader.open(&partition, start)?;
        let position = start.offset().unwrap_or_default().number();
        Ok(FollowedPartition { partition, reader, batch: RecordBatch::new(), position, stored, has_reached_end: false })
    }

    /// Takes what is there without waiting. The position moves when the records are applied.
    ///
    /// # Errors
    /// By remedy; [`Error::Fatal`] for a record in another format.
    pub fn poll<F: Feed>(&mut self, feed: &F) -> Result<Polled<F::Kept>> {
        self.batch.clear();
        self.reader.poll(POLL_BYTES, Duration::ZERO, &mut self.batch)?;
        let mut polled = Polled { kept: Vec::new(), others: 0, unusable: Vec::new(), next: self.position };
        for record in self.batch.iter() {
            let offset = record.origin.offset;
            match feed.sort(&record) {
                Sorted::Kept(record) => polled.kept.push(record),
                Sorted::Other => polled.others += 1,
                Sorted::Unusable(why) => polled.unusable.push((offset, why)),
                Sorted::Foreign(format) => return Err(F::foreign(&self.partition, offset, format)),
            }
            polled.next = polled.next.max(offset + 1);
        }
        for end in self.batch.ends() {
            polled.next = polled.next.max(end.offset.number());
            self.has_reached_end = true;
        }
        Ok(polled)
    }
}
