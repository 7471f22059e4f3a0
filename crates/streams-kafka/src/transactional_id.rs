//! Takes a transactional id by a producer that sends nothing: for the rights on it, or to end the
//! transaction that a producer which died has left open.

use std::time::Duration;

use rdkafka::bindings as sys;

use super::error::Failure;
use super::metadata::millis;
use super::native::{ClientKind, Native};
use super::settings::KafkaSettings;
use streams::error::Result;

/// Initialises a producer with this transactional id, by which an open transaction of the id is
/// aborted and its producer fenced, and closes it. The failure, where it was not initialised.
///
/// # Errors
/// The client cannot be made.
pub(super) fn take(settings: &KafkaSettings, id: &str, limit: Duration) -> Result<Option<Failure>> {
    let client = Native::new(ClientKind::Producer, &settings.transactional_as(id))?;
    // SAFETY: a live client.
    let error = unsafe { sys::rd_kafka_init_transactions(client.as_ptr(), millis(limit)) };
    Ok(Failure::from_error(error).map(|failure| client.fatal_error().unwrap_or(failure)))
}
