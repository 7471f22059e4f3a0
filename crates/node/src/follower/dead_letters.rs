//! The dead-letter topic: the events of this node that the stream could not process.

use std::sync::Arc;

use streams::processor::{HEADER_CLASS, HEADER_DIGEST, HEADER_MESSAGE, HEADER_SIZE, HEADER_TOPIC};
use streams::record::{InRecord, TopicPartition};
use xxhash_rust::xxh3::xxh3_128;

use super::feed::{Feed, Sorted};
use super::status::SharedProgress;
use crate::kafka::Topics;
use crate::ports::{DeadLetter, Journal, JournalError};

/// The text before the digest in its header.
const DIGEST: &str = "xxh3-128:";

/// The dead-letter topic. The database knows which of its events are those of this node.
pub(super) struct DeadLetterFeed {
    pub journal: Arc<dyn Journal>,
    pub events_topic: Arc<str>,
    pub progress: Arc<SharedProgress>,
}

impl Feed for DeadLetterFeed {
    type Kept = DeadLetter;

    const WHAT: &'static str = "dead letters";

    const AFTER_LOSS: &'static str = "an event of this node whose dead letter was deleted is not shown as failed";

    fn topic<'t>(&self, topics: &'t Topics) -> &'t Arc<str> {
        &topics.dead_letters
    }

    fn position(&self, partition: &TopicPartition) -> Result<Option<i64>, JournalError> {
        self.journal.position(&partition.topic, partition.partition)
    }

    /// A record that no stream has written, or whose key no node has, is none of ours.
    fn sort(&self, record: &InRecord<'_>) -> Sorted<DeadLetter> {
        read(record, &self.events_topic).map_or(Sorted::Other, Sorted::Kept)
    }

    fn apply(&self, partition: &TopicPartition, records: &[DeadLetter], next: i64) -> Result<(), JournalError> {
        let failed = self.journal.fail_dead_letters(&partition.topic, partition.partition, records, next)?;
        self.progress.lock().dead_letters += failed;
        Ok(())
    }
}

/// A dead letter of the topic of events; `None` where the record is not one.
fn read(record: &InRecord<'_>, events_topic: &str) -> Option<DeadLetter> {
    let header =
        |name: &str| record.record.headers.last(name).flatten().and_then(|text| std::str::from_utf8(text).ok());
    if header(HEADER_TOPIC)? != events_topic {
        return None;
    }
    let memory_id = std::str::from_utf8(record.record.key?).ok()?.to_owned();
    let (bytes, digest) = match (record.record.value, header(HEADER_SIZE), header(HEADER_DIGEST)) {
        (None, Some(size), Some(digest)) => {
            (size.parse().ok()?, u128::from_str_radix(digest.strip_prefix(DIGEST)?, 16).ok()?)
        }
        (value, ..) => (u32::try_from(value?.len()).ok()?, xxh3_128(value?)),
    };
    let class = header(HEADER_CLASS)?;
    let message = header(HEADER_MESSAGE).unwrap_or_default();
    let reason = format!("the stream could not process it ({class}): {message}");
    Some(DeadLetter { offset: record.origin.offset, memory_id, bytes, digest, reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use streams::record::{Header, Origin, RecordBatch};

    fn letter(value: Option<&[u8]>, headers: &[(&str, &str)]) -> Option<DeadLetter> {
        let mut batch = RecordBatch::new();
        let origin = Origin { topic: "t", partition: 0, offset: 7, timestamp_ms: 1 };
        let headers = headers.iter().map(|(name, value)| -> Header<'_> { (name, Some(value.as_bytes())) });
        batch.push(origin, Some(b"m"), value, headers);
        read(&batch.get(0).unwrap(), "events")
    }

    #[test]
    fn a_dead_letter_is_known_by_its_source_and_by_the_digest_of_its_value() {
        let of_events = [(HEADER_TOPIC, "events"), (HEADER_CLASS, "expired"), (HEADER_MESSAGE, "too old")];
        let whole = letter(Some(b"{}"), &of_events).unwrap();
        assert_eq!(whole.reason, "the stream could not process it (expired): too old");
        let digest = format!("{DIGEST}{:032x}", xxh3_128(b"{}"));
        let bare = [&of_events[..], &[(HEADER_SIZE, "2"), (HEADER_DIGEST, &digest)]].concat();
        assert_eq!(letter(None, &bare), Some(whole));
        assert_eq!(letter(None, &of_events), None);
        // The source record may have had such headers, whose numbers are anybody's choice.
        for size in ["18446744073709551615", "4294967296", "-1", "", "x"] {
            let forged = [&of_events[..], &[(HEADER_SIZE, size), (HEADER_DIGEST, "xxh3-128:0")]].concat();
            assert_eq!(letter(None, &forged), None, "{size}");
        }
        assert_eq!(letter(Some(b"{}"), &[(HEADER_TOPIC, "others"), (HEADER_CLASS, "expired")]), None);
        assert_eq!(letter(Some(b"{}"), &[(HEADER_TOPIC, "events")]), None);
        assert_eq!(letter(Some(b"{}"), &[]), None);
    }
}
