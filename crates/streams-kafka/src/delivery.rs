//! The report of a delivery, as librdkafka's callback has it.

use rdkafka::bindings as sys;

/// One delivery report: the token that the record was produced with, and where it went or why it
/// did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub token: usize,
    pub topic: *mut sys::rd_kafka_topic_t,
    pub partition: i32,
    pub offset: i64,
    pub bytes: usize,
    pub error: i32,
}

// SAFETY: the topic pointer is only compared, and used as a handle that the producer keeps alive.
unsafe impl Send for Delivery {}
