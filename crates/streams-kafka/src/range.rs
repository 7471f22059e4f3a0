//! A range of one partition, read committed and handed over record by record: what `mirror verify`
//! counts.

use std::time::Duration;

use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use super::error::Call;
use super::log_bounds::log_bounds;
use super::messages::View;
use super::partitions::reading;
use super::restore_consumer::{RestoreConsumer, Single, TAKE_RECORDS};
use mirror::ports::{LogHeader, LogRecord};
use streams::error::{Error, Result};
use streams::offset::Offset;
use streams::record::TopicPartition;

/// How long the broker is waited for when a log's bounds are asked for.
const BOUNDS_LIMIT: Duration = Duration::from_secs(30);

/// A partition that is read from an offset on.
pub struct RangeReader {
    single: Single,
    end: Option<i64>,
    error: Option<Error>,
}

impl RestoreConsumer {
    /// The first offset that a partition's log has, and the one behind its last committed record.
    ///
    /// # Errors
    /// [`Error::Retry`] when no broker answers, [`Error::Fatal`] when there is no such partition.
    pub fn bounds(&self, partition: &TopicPartition) -> Result<(i64, i64)> {
        let doing = format!("ask for the log of {partition}");
        // SAFETY: a live client.
        let bounds = unsafe { log_bounds(self.client().as_ptr(), partition, BOUNDS_LIMIT) };
        bounds.map_err(|failure| failure.taking([reading(&partition.topic)]).remedy(Call::Consumer, &doing))
    }

    /// Begins to read a partition at an offset that its log has.
    ///
    /// # Errors
    /// [`Error::Fatal`] when the partition cannot be read.
    pub fn range(&self, partition: &TopicPartition, from: i64) -> Result<RangeReader> {
        Ok(RangeReader {
            single: self.read(partition, Offset::new(from).unwrap_or_default().into())?,
            end: None,
            error: None,
        })
    }
}

impl RangeReader {
    /// Hands over what is there, waiting up to `timeout` for the first of it. `Some` once the log
    /// was read to its end: the offset behind its last committed record.
    ///
    /// # Errors
    /// [`Error::Fatal`] when the partition cannot be read on: it is gone, the offset is no longer
    /// in its log, or we are refused.
    pub fn read(&mut self, timeout: Duration, to: &mut dyn FnMut(&LogRecord<'_>)) -> Result<Option<i64>> {
        let one = &mut self.single;
        one.queue.drain(TAKE_RECORDS, &mut one.buffer);
        let message = if one.buffer.len() == 0 { one.queue.poll(timeout) } else { None };
        let mut headers = Vec::new();
        for view in one.buffer.iter().chain(message.as_ref().map(|message| message.view())) {
            if view.is_end() {
                self.end = one.partitions.admit(&view).map(|_| view.offset()).or(self.end);
            } else if let Some(error) = error_of(&view) {
                self.error.get_or_insert(error);
            } else if let Some(partition) = one.partitions.admit(&view) {
                self.end = None;
                headers.clear();
                let mut found = view.headers();
                headers.extend(std::iter::from_fn(|| found.next_raw()).map(|(name, value)| LogHeader { name, value }));
                to(&LogRecord {
                    partition,
                    offset: view.offset(),
                    timestamp_ms: view.timestamp_ms(),
                    key: view.key(),
                    headers: &headers,
                    value: view.value(),
                });
            }
        }
        if message.is_none() && one.buffer.len() == 0 {
            self.error = self.error.take().or(one.common_error());
        }
        self.error.take().map_or(Ok(self.end), Err)
    }
}

/// The error that ends the reading; transient ones are logged.
fn error_of(view: &View<'_>) -> Option<Error> {
    let failure = view.failure()?;
    let doing = format!("read {}-{}", view.topic(), view.partition());
    if failure.code == Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET as i32 {
        return Some(Error::Fatal(format!(
            "{doing}: records were deleted from the topic while they were read ({}); start the command again [HS2016]",
            failure.text
        )));
    }
    match failure.taking([reading(view.topic())]).remedy(Call::Consumer, &doing) {
        Error::Retry(text) | Error::Migrated(text) => {
            tracing::warn!(code = "HS2007", "{text}");
            // Not the end: this one is tried again by the client.
            None
        }
        error => Some(error),
    }
}
