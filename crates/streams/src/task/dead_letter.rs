//! Sends a record that cannot be processed to the dead-letter topic.

use super::plan::Target;
use super::{RecordCollector, Sent};
use crate::error::{Error, Result};
use crate::processor::{
    HEADER_CLASS, HEADER_DIGEST, HEADER_MESSAGE, HEADER_OFFSET, HEADER_PARTITION, HEADER_SIZE, HEADER_TIMESTAMP,
    HEADER_TOPIC, size_and_digest,
};
use crate::record::{Header, Headers, Origin, Record};

/// Sends a record to the dead letters; without its value (size and digest instead) when it is too
/// large for the topic or was refused there.
pub(super) fn send(
    out: &mut dyn RecordCollector,
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
