//! A record that cannot be processed, as Kafka Streams writes it to a dead-letter topic (KIP-1034).

use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, Result};
use crate::record::{Header, Headers, Origin, Record};
use crate::task::{OutputCollector, Sent, Target};

/// Header: the error's class.
pub const HEADER_CLASS: &str = "__streams.errors.exception";
/// Header: what was wrong.
pub const HEADER_MESSAGE: &str = "__streams.errors.message";
/// Header: the source record's topic.
pub const HEADER_TOPIC: &str = "__streams.errors.topic";
/// Header: the source record's partition, as text.
pub const HEADER_PARTITION: &str = "__streams.errors.partition";
/// Header: the source record's offset, as text.
pub const HEADER_OFFSET: &str = "__streams.errors.offset";
/// Header: the source record's timestamp, milliseconds as text.
pub const HEADER_TIMESTAMP: &str = "__streams.errors.timestamp";
/// Header, of a dead letter whose value was too large for its topic: the value's bytes, as text.
pub const HEADER_SIZE: &str = "__streams.errors.value.size";
/// Header, beside [`HEADER_SIZE`]: `xxh3-128:` and the value's digest in hex.
pub const HEADER_DIGEST: &str = "__streams.errors.value.digest";

/// Part of the value that [`HEADER_SIZE`] and [`HEADER_DIGEST`] replace.
pub fn size_and_digest(value: &[u8]) -> (String, String) {
    (value.len().to_string(), format!("xxh3-128:{:032x}", xxh3_128(value)))
}

/// Sends a record to the dead letters; without its value (size and digest instead) when it is too large for the topic or was refused there.
pub(super) fn send(
    out: &mut dyn OutputCollector,
    target: &Target,
    record: &Record<'_>,
    origin: &Origin<'_>,
    class: &str,
    message: &str,
) -> Result<()> {
    let texts = [origin.partition.to_string(), origin.offset.to_string(), origin.timestamp_ms.to_string()];
    let mut headers: Vec<Header<'_>> = record.headers.iter().collect();
    headers.push((HEADER_CLASS, Some(class.as_bytes())));
    headers.push((HEADER_MESSAGE, Some(message.as_bytes())));
    headers.push((HEADER_TOPIC, Some(origin.topic.as_bytes())));
    headers.push((HEADER_PARTITION, Some(texts[0].as_bytes())));
    headers.push((HEADER_OFFSET, Some(texts[1].as_bytes())));
    headers.push((HEADER_TIMESTAMP, Some(texts[2].as_bytes())));
    let timestamp_ms = record.timestamp_ms.max(1);
    let partition = target.partition_of(record.key, origin.partition);
    let whole = Record { headers: Headers::List(&headers), timestamp_ms, ..*record };
    if target.size_of(&whole) <= target.max_bytes
        && matches!(out.dead_letter(&target.topic, partition, &whole)?, Sent::Queued)
    {
        return Ok(());
    }
    let value = record.value.unwrap_or_default();
    let (size, digest) = size_and_digest(value);
    headers.push((HEADER_SIZE, Some(size.as_bytes())));
    headers.push((HEADER_DIGEST, Some(digest.as_bytes())));
    let bare = Record { value: None, headers: Headers::List(&headers), timestamp_ms, ..*record };
    match out.dead_letter(&target.topic, partition, &bare)? {
        Sent::Queued => Ok(()),
        Sent::Refused(why) => Err(Error::Fatal(format!(
            "the dead-letter topic `{}` refuses the record at {}-{} offset {} even without its value: {why}; raise its max.message.bytes and \
             message.timestamp.after.max.ms [HS1027]",
            target.topic, origin.topic, origin.partition, origin.offset
        ))),
    }
}
