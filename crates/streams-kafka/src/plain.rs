//! The producer of `helixstream produce`: no transactions, idempotent, records as they are.

use std::ffi::c_int;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;

use super::delivery::Delivery;
use super::error::Failure;
use super::native::{ClientKind, Native};
use super::send::{Outcome, Sender};
use super::settings::KafkaSettings;
use streams::error::{Error, Result, with_code};
use streams::record::Record;

/// A refused batch is for the user to mend: records behind it may be in the log already, so that
/// sending it again would change their order.
fn advised(error: Error) -> Error {
    match error {
        Error::BatchTooLarge(what) => Error::Fatal(format!(
            "{what}; raise the topic's max.message.bytes and segment.bytes, or send smaller batches (-X batch.size=BYTES, less than both) [HS2015]"
        )),
        Error::Record(what) | Error::RecordTime(what) => Error::Record(with_code(what, "HS2015")),
        Error::Aborted(what) => Error::Aborted(with_code(what, "HS2002")),
        Error::ProducerLost(what) => Error::ProducerLost(with_code(what, "HS2002")),
        other => other,
    }
}

/// Publishes records in order.
pub struct PlainProducer {
    sender: Sender,
    deliveries: Vec<Delivery>,
    delivered: u64,
    failed: Option<Error>,
}

impl PlainProducer {
    /// Makes the producer; it connects with the first record.
    ///
    /// # Errors
    /// [`Error::Fatal`] for a setting that librdkafka does not take.
    pub fn new(settings: &KafkaSettings) -> Result<PlainProducer> {
        let client = Arc::new(Native::new(ClientKind::Producer, &settings.plain_producer())?);
        Ok(PlainProducer { sender: Sender::new(client), deliveries: Vec::new(), delivered: 0, failed: None })
    }

    /// Queues a record for a partition; waits while the queue is full. A timestamp of 0 becomes 1
    /// ms, the nearest that the client can send (it takes 0 for "now").
    ///
    /// # Errors
    /// The first failure of this or an earlier record, after which nothing more is taken.
    pub fn send(&mut self, topic: &Arc<str>, partition: i32, record: &Record<'_>) -> Result<()> {
        let timestamp_ms = if record.timestamp_ms == 0 { 1 } else { record.timestamp_ms };
        let record = Record { timestamp_ms, ..*record };
        loop {
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            if self.sender.send(topic, partition, &record, 0).map_err(advised)? == Outcome::Queued {
                return Ok(());
            }
            self.poll(Duration::from_millis(10));
        }
    }

    /// Serves deliveries, waiting at most `timeout` when none is there; called now and then when
    /// sending is paced.
    pub fn poll(&mut self, timeout: Duration) {
        let millis = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: a live client; the callbacks that run inside only fill the mailbox.
        unsafe { sys::rd_kafka_poll(self.sender.client().as_ptr(), millis) };
        self.sender.client().take_deliveries(&mut self.deliveries);
        for delivery in self.deliveries.drain(..) {
            self.sender.remove_in_flight(&delivery);
            match Failure::of_number(delivery.error, None) {
                None => self.delivered += 1,
                Some(failure) => {
                    let topic = self.sender.topic_name(delivery.topic as usize);
                    // The client failed for good: why, it says apart.
                    let failure = self.sender.client().fatal_error().unwrap_or(failure);
                    self.failed.get_or_insert_with(|| advised(failure.delivery(topic)));
                }
            }
        }
    }

    /// Records that the broker has.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Waits until the broker has every record.
    ///
    /// # Errors
    /// The first failure, or [`Error::Retry`] when some are still on their way after `timeout`.
    pub fn finish(&mut self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        while self.sender.in_flight() > 0 && self.failed.is_none() {
            if Instant::now() >= deadline {
                let left = self.sender.in_flight();
                return Err(Error::Retry(format!(
                    "publish: {left} records were not acknowledged within {} s [HS2002]",
                    timeout.as_secs()
                )));
            }
            self.poll(Duration::from_millis(10));
        }
        self.failed.clone().map_or(Ok(()), Err)
    }
}
