//! librdkafka's list of partitions with offsets and metadata, owned, and its plain copy.

use std::ffi::{CStr, CString};

use rdkafka::bindings as sys;

use streams::offset::StartOffset;
use streams::record::TopicPartition;

/// A start as librdkafka's lists have it: an offset, or the number that stands for the beginning.
pub(super) fn logical(start: StartOffset) -> i64 {
    match start {
        StartOffset::Beginning => i64::from(sys::RD_KAFKA_OFFSET_BEGINNING),
        StartOffset::At(offset) => offset.number(),
    }
}

/// One partition of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub metadata: String,
    pub error: i32,
}

impl Entry {
    /// Whether this is that partition.
    pub fn is(&self, partition: &TopicPartition) -> bool {
        self.partition == partition.partition && self.topic == *partition.topic
    }
}

/// An owned list.
pub(super) struct List(*mut sys::rd_kafka_topic_partition_list_t);

// SAFETY: owned, and used by one thread at a time.
unsafe impl Send for List {}

impl List {
    /// An empty list.
    pub fn new(capacity: usize) -> List {
        // SAFETY: a plain allocation, owned by the list and freed once, in drop; librdkafka ends
        // the process when it has no memory.
        List(unsafe { sys::rd_kafka_topic_partition_list_new(capacity.try_into().unwrap_or(0)) })
    }

    /// Adds a partition at an offset, with metadata (empty: none). A topic name with a NUL in it is
    /// left out: Kafka has none such.
    pub fn add(&mut self, topic: &str, partition: i32, offset: i64, metadata: &str) {
        let Ok(name) = CString::new(topic) else { return };
        // SAFETY: the list is live; the name is copied by the call; the new element is ours to fill
        // until the list is freed, and librdkafka frees `metadata` with the C allocator that it
        // comes from here.
        unsafe {
            let element = sys::rd_kafka_topic_partition_list_add(self.0, name.as_ptr(), partition);
            (*element).offset = offset;
            if !metadata.is_empty() {
                let copy = libc::malloc(metadata.len());
                if !copy.is_null() {
                    std::ptr::copy_nonoverlapping(metadata.as_ptr(), copy.cast::<u8>(), metadata.len());
                    (*element).metadata = copy;
                    (*element).metadata_size = metadata.len();
                }
            }
        }
    }

    pub fn as_ptr(&self) -> *mut sys::rd_kafka_topic_partition_list_t {
        self.0
    }

    pub fn entries(&self) -> Vec<Entry> {
        // SAFETY: the list is live and not changed while it is read.
        unsafe { read(self.0) }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: owned, freed once.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0) }
    }
}

/// Copies a list out.
///
/// # Safety
/// `list` is null or points to a list that nothing changes meanwhile.
pub(super) unsafe fn read(list: *const sys::rd_kafka_topic_partition_list_t) -> Vec<Entry> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's promise; `elems` holds `cnt` elements whose strings librdkafka ends with
    // NUL. The error is read as the number that it is, since a broker newer than the client may
    // answer one that the client's enum lacks.
    unsafe {
        let count = (*list).cnt.max(0) as usize;
        (0..count)
            .map(|at| {
                let element = (*list).elems.add(at);
                let metadata = match (*element).metadata.is_null() {
                    true => &[][..],
                    false => std::slice::from_raw_parts((*element).metadata.cast::<u8>(), (*element).metadata_size),
                };
                Entry {
                    topic: CStr::from_ptr((*element).topic).to_string_lossy().into_owned(),
                    partition: (*element).partition,
                    offset: (*element).offset,
                    metadata: String::from_utf8_lossy(metadata).into_owned(),
                    error: std::ptr::addr_of!((*element).err).cast::<i32>().read(),
                }
            })
            .collect()
    }
}
