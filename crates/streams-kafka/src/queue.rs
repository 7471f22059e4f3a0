//! The queues of a client that its messages come from: that of a group's consumer, and those of
//! single partitions.

use std::ffi::{CString, c_int};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as sys;

use super::messages::{Buffer, Message};
use super::native::Native;

/// A queue of messages; it keeps its client alive.
pub(super) struct Queue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    client: Arc<Native>,
}

// SAFETY: librdkafka's queues are thread-safe.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// The queue of everything that a group's consumer gets. `None` without a group id.
    pub fn of_consumer(client: &Arc<Native>) -> Option<Queue> {
        // SAFETY: a live client; the reference is ours and given back in drop.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_get_consumer(client.as_ptr()) })?;
        Some(Queue { queue, client: client.clone() })
    }

    /// A partition's own queue, cut loose from the consumer's. To be asked for before the partition
    /// is assigned: what was fetched before goes to the consumer's queue.
    pub fn of_partition(client: &Arc<Native>, topic: &str, partition: i32) -> Option<Queue> {
        let name = CString::new(topic).ok()?;
        // SAFETY: as above; forwarding to null keeps the partition's messages in its own queue.
        unsafe {
            let queue = NonNull::new(sys::rd_kafka_queue_get_partition(client.as_ptr(), name.as_ptr(), partition))?;
            sys::rd_kafka_queue_forward(queue.as_ptr(), std::ptr::null_mut());
            Some(Queue { queue, client: client.clone() })
        }
    }

    pub fn as_ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.queue.as_ptr()
    }

    pub fn client(&self) -> &Arc<Native> {
        &self.client
    }

    /// Takes what is there, without waiting, up to `max` messages, in order.
    ///
    /// One by one, never by librdkafka's batch call: that one takes an end of partition for a
    /// record and moves the position past it. A partition that a rebalance leaves with us then goes
    /// on one offset too far, and the next record is skipped without a word, or the offset is said
    /// to be outside of the log (rd_kafka_q_serve_rkmessages, 2.12.1).
    pub fn drain(&self, max: usize, buffer: &mut Buffer) {
        buffer.clear();
        for _ in 0..max.min(Buffer::CAPACITY) {
            // SAFETY: a live queue; the message is ours.
            let Some(message) = NonNull::new(unsafe { sys::rd_kafka_consume_queue(self.as_ptr(), 0) }) else { return };
            buffer.push(message);
        }
    }

    /// Waits for one message, at most `timeout`; a rebalance announced meanwhile ends the wait.
    pub fn poll(&self, timeout: Duration) -> Option<Message> {
        let timeout_ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: a live queue of this client; the message is ours.
        let wait = || unsafe { sys::rd_kafka_consume_queue(self.as_ptr(), timeout_ms) };
        NonNull::new(self.client.poll_until_rebalance(wait)).map(Message::owned)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}
