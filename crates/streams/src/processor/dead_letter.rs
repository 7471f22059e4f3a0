//! The headers of a record that cannot be processed, as Kafka Streams writes it to a dead-letter
//! topic (KIP-1034).

use xxhash_rust::xxh3::xxh3_128;

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
