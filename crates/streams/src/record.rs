//! Records as the engine sees them: borrowed from a batch on the way in, borrowed from a processor
//! on the way out.
//!
//! A poll fills one [`RecordBatch`], an arena that is used again and again, so that a record costs
//! no allocation.

use std::fmt;
use std::sync::Arc;

use crate::offset::Offset;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A task: one sub-topology on one partition of its source topic. Shown as
/// `<sub-topology>_<partition>`, which is also its folder's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The sub-topology's number, in order of definition, from 0.
    pub subtopology: u32,
    /// The partition of its source topic.
    pub partition: i32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.subtopology, self.partition)
    }
}

/// A header: a name and a value that may be null.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

/// The headers of a record, in order; a name may stand more than once.
#[derive(Clone, Copy, Debug)]
pub enum Headers<'a> {
    /// Headers made by a processor.
    List(&'a [Header<'a>]),
    /// Headers in a batch, in the batch's own form.
    Packed(PackedHeaders<'a>),
}

/// Headers of a record in a [`RecordBatch`].
#[derive(Clone, Copy, Debug)]
pub struct PackedHeaders<'a> {
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// No headers.
    pub const NONE: Headers<'static> = Headers::List(&[]);

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        match self {
            Headers::List(list) => list.is_empty(),
            Headers::Packed(packed) => packed.bytes.is_empty(),
        }
    }

    /// The headers in order.
    pub fn iter(&self) -> HeaderIter<'a> {
        match *self {
            Headers::List(list) => HeaderIter::List(list.iter()),
            Headers::Packed(packed) => HeaderIter::Packed(packed.bytes),
        }
    }

    /// The value of the last header of this name (Kafka's rule), if there is one.
    pub fn last(&self, name: &str) -> Option<Option<&'a [u8]>> {
        self.iter().filter(|(found, _)| *found == name).last().map(|(_, value)| value)
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = Header<'a>;
    type IntoIter = HeaderIter<'a>;

    fn into_iter(self) -> HeaderIter<'a> {
        self.iter()
    }
}

/// Iterates over [`Headers`].
#[derive(Clone, Debug)]
pub enum HeaderIter<'a> {
    /// Over a processor's list.
    List(std::slice::Iter<'a, Header<'a>>),
    /// Over the rest of a packed block.
    Packed(&'a [u8]),
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        match self {
            HeaderIter::List(list) => list.next().copied(),
            HeaderIter::Packed(rest) => unpack_header(rest),
        }
    }
}

/// Length word of a null header value.
const NULL_LEN: u32 = u32::MAX;

fn pack_header(bytes: &mut Vec<u8>, (name, value): Header<'_>) {
    bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&value.map_or(NULL_LEN, |v| v.len() as u32).to_le_bytes());
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(value.unwrap_or_default());
}

fn unpack_header<'a>(rest: &mut &'a [u8]) -> Option<Header<'a>> {
    let (name_len, after) = rest.split_first_chunk::<4>()?;
    let (value_len, after) = after.split_first_chunk::<4>()?;
    let (name, after) = after.split_at_checked(u32::from_le_bytes(*name_len) as usize)?;
    let name = std::str::from_utf8(name).ok()?;
    let value_len = u32::from_le_bytes(*value_len);
    if value_len == NULL_LEN {
        *rest = after;
        return Some((name, None));
    }
    let (value, after) = after.split_at_checked(value_len as usize)?;
    *rest = after;
    Some((name, Some(value)))
}

/// A record between nodes of a topology, and to a sink. Everything is borrowed: a processor fills
/// buffers of its own and forwards them.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The key; null is `None`.
    pub key: Option<&'a [u8]>,
    /// The value; null (a tombstone on a compacted topic) is `None`.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
}

impl Record<'_> {
    /// Bytes of key and value.
    pub fn byte_len(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len)
    }
}

/// Where a record stands in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The record's timestamp there, milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// A fetched record.
#[derive(Clone, Copy, Debug)]
pub struct InRecord<'a> {
    /// Where it stands.
    pub origin: Origin<'a>,
    /// Its value.
    pub record: Record<'a>,
}

/// Where a partition ended when it was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionEnd {
    /// The partition.
    pub partition: TopicPartition,
    /// The offset from which the next record will be read: past all trailing transaction markers
    /// that the client has seen.
    pub offset: Offset,
}

#[derive(Clone, Copy, Debug)]
struct PackedRecord {
    topic: u32,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    start: usize,
    key_len: u32,
    value_len: u32,
    headers_len: u32,
}

/// Result of a poll: records in the order in which they came (in a partition, that of the log), and
/// ends of partitions.
#[derive(Debug, Default)]
pub struct RecordBatch {
    topics: Vec<Arc<str>>,
    bytes: Vec<u8>,
    packed: Vec<PackedRecord>,
    ends: Vec<PartitionEnd>,
}

/// The arena keeps at most this much memory between two batches, so that one batch of large records
/// does not pin its size.
const KEEP_BYTES: usize = 4 << 20;

impl RecordBatch {
    /// An empty batch.
    pub fn new() -> RecordBatch {
        RecordBatch::default()
    }

    /// Empties the batch and keeps its memory for the next one (up to 4 MiB).
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEEP_BYTES);
        self.packed.clear();
        self.ends.clear();
    }

    /// Adds a record; key, value and headers are copied into the arena.
    pub fn push<'h>(
        &mut self,
        origin: Origin<'_>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = Header<'h>>,
    ) {
        let topic = self.intern(origin.topic);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.bytes.extend_from_slice(value.unwrap_or_default());
        let headers_start = self.bytes.len();
        for header in headers {
            pack_header(&mut self.bytes, header);
        }
        self.packed.push(PackedRecord {
            topic,
            partition: origin.partition,
            offset: origin.offset,
            timestamp_ms: origin.timestamp_ms,
            start,
            key_len: key.map_or(NULL_LEN, |k| k.len() as u32),
            value_len: value.map_or(NULL_LEN, |v| v.len() as u32),
            headers_len: (self.bytes.len() - headers_start) as u32,
        });
    }

    /// Adds the end of a partition. Records of the same partition that were pushed before it lie
    /// below its offset.
    pub fn push_end(&mut self, topic: &str, partition: i32, offset: Offset) {
        let topic = self.intern(topic) as usize;
        let partition = TopicPartition { topic: self.topics[topic].clone(), partition };
        self.ends.push(PartitionEnd { partition, offset });
    }

    fn intern(&mut self, topic: &str) -> u32 {
        match self.topics.iter().position(|known| **known == *topic) {
            Some(at) => at as u32,
            None => {
                self.topics.push(topic.into());
                (self.topics.len() - 1) as u32
            }
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.packed.len()
    }

    /// Whether there is no record (there may be ends).
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// Bytes of keys, values and headers.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The record at `index`, in order of arrival.
    pub fn get(&self, index: usize) -> Option<InRecord<'_>> {
        self.packed.get(index).map(|packed| self.view(packed))
    }

    /// All records in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = InRecord<'_>> {
        self.packed.iter().map(|packed| self.view(packed))
    }

    /// The ends of partitions that were reached.
    pub fn ends(&self) -> &[PartitionEnd] {
        &self.ends
    }

    fn view(&self, packed: &PackedRecord) -> InRecord<'_> {
        let mut at = packed.start;
        let mut part = |len: u32| {
            let len = if len == NULL_LEN { 0 } else { len as usize };
            let from = at;
            at += len;
            &self.bytes[from..at]
        };
        let key = part(packed.key_len);
        let value = part(packed.value_len);
        let headers = part(packed.headers_len);
        InRecord {
            origin: Origin {
                topic: &self.topics[packed.topic as usize],
                partition: packed.partition,
                offset: packed.offset,
                timestamp_ms: packed.timestamp_ms,
            },
            record: Record {
                key: (packed.key_len != NULL_LEN).then_some(key),
                value: (packed.value_len != NULL_LEN).then_some(value),
                headers: Headers::Packed(PackedHeaders { bytes: headers }),
                timestamp_ms: packed.timestamp_ms,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_what_was_pushed() {
        let mut batch = RecordBatch::new();
        let at = |offset| Origin { topic: "t", partition: 3, offset, timestamp_ms: 9 };
        batch.push(at(1), Some(b"k"), None, [("a", Some(&b"x"[..])), ("b", None), ("a", Some(&b""[..]))]);
        batch.push(at(4), None, Some(b""), []);
        let end = Offset::new(7).unwrap();
        batch.push_end("t", 3, end);
        let first = batch.get(0).unwrap();
        assert_eq!((first.origin, first.record.key, first.record.value), (at(1), Some(&b"k"[..]), None));
        let headers: Vec<_> = first.record.headers.iter().collect();
        assert_eq!(headers, [("a", Some(&b"x"[..])), ("b", None), ("a", Some(&b""[..]))]);
        assert_eq!(first.record.headers.last("a"), Some(Some(&b""[..])));
        assert_eq!(first.record.headers.last("c"), None);
        let second = batch.get(1).unwrap();
        assert_eq!((second.record.key, second.record.value), (None, Some(&b""[..])));
        assert!(second.record.headers.is_empty());
        assert_eq!(batch.ends(), [PartitionEnd { partition: TopicPartition::new("t", 3), offset: end }]);
        batch.clear();
        assert!(batch.is_empty() && batch.ends().is_empty() && batch.byte_len() == 0);
    }
}
