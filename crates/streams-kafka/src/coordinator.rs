//! Questions that a group's coordinator answers, through a client of their own, which is given up
//! when no answer comes.
//!
//! The client is a consumer of the group, which it never joins (`KafkaSettings::groups` says why).
//!
//! librdkafka 2.12.1 has two faults in them (`rd_kafka_coord_req` and
//! `rd_kafka_admin_coord_request`), and a client that is given up has neither:
//!
//! - A client remembers the coordinator, and asks for another one only when a connection comes up
//!   or goes down. When the remembered broker dies and leaves the metadata, nothing of that happens
//!   any more: although the cluster has another coordinator within seconds, this client's questions
//!   wait until that broker is back.
//! - A request whose time is over is not taken back. When the coordinator is there again,
//!   librdkafka sends what it has freed, and ends the process
//!   (`rd_kafka_enq_once_del_source_return: Assertion eonce->refcnt > 0 failed`,
//!   confluentinc/librdkafka issue 4605). So its time must not be over while the client lives: it
//!   is [`REQUEST_LIMIT`], and the client is given up long before.

use std::ffi::c_int;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;

use super::error::{Call, Failure};
use super::messages::Buffer;
use super::native::{ClientKind, Native};
use super::queue::Queue;
use super::settings::KafkaSettings;
use streams::error::{Error, Result};

/// Time limit of such a request in librdkafka: the longest that it accepts.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(3600);
/// How long an answer may take before the client is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long clients are tried in all.
const LIMIT: Duration = Duration::from_secs(30);

/// The client for questions to coordinators. It is made when it is first used.
pub(super) struct GroupClient {
    settings: KafkaSettings,
    client: Mutex<Option<Arc<Native>>>,
}

impl GroupClient {
    /// For these settings.
    pub fn new(settings: &KafkaSettings) -> GroupClient {
        GroupClient { settings: settings.clone(), client: Mutex::new(None) }
    }

    /// Sends one request, which returns `None` when no answer came within [`PATIENCE`]; then a new
    /// client sends it again.
    ///
    /// # Errors
    /// [`Error::Retry`] while no broker answers at all, and when no client got an answer in time;
    /// those of the question.
    pub fn request<T>(&self, doing: &str, mut question: impl FnMut(&Native) -> Result<Option<T>>) -> Result<T> {
        let started = Instant::now();
        // One question at a time. A panic while it is held leaves no client, or one in working
        // order.
        let mut held = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let client = match held.take() {
                Some(client) => client,
                None => Arc::new(Native::new(ClientKind::Consumer, &self.settings.groups())?),
            };
            // In an outage nothing is asked, so that no client is given up again and again.
            if let Err(failure) = reach(&client, PATIENCE) {
                *held = Some(client);
                return Err(failure.remedy(Call::Admin, doing));
            }
            let answer = question(&client);
            if let Some(answer) = answer? {
                *held = Some(client);
                return Ok(answer);
            }
            if started.elapsed() >= LIMIT {
                return Err(Error::Retry(format!(
                    "{doing}: no answer within {} s [HS2002]",
                    started.elapsed().as_secs()
                )));
            }
            tracing::debug!("{doing}: no answer within {} s; a new client sends the request again", PATIENCE.as_secs());
        }
    }
}

/// Waits until a broker answers this client; otherwise the failure is the cause, as far as the
/// client has told one meanwhile.
fn reach(client: &Arc<Native>, patience: Duration) -> std::result::Result<(), Failure> {
    // Nobody polls this client between two questions: what it has told since the last one says
    // nothing of this one.
    take_errors(client);
    client.take_error();
    ask_for_brokers(client, patience).map_err(|failure| {
        take_errors(client);
        client.cause(failure)
    })
}

/// Takes the errors that the client has queued, of which it keeps the last one.
fn take_errors(client: &Arc<Native>) {
    if let Some(queue) = Queue::of_consumer(client) {
        queue.drain(Buffer::CAPACITY, &mut Buffer::new());
    }
}

fn ask_for_brokers(client: &Native, patience: Duration) -> std::result::Result<(), Failure> {
    let limit = c_int::try_from(patience.as_millis()).unwrap_or(c_int::MAX);
    let mut found = std::ptr::null();
    // SAFETY: a live client; what is found is ours to free, once.
    unsafe {
        let no_topics = 0;
        let code = sys::rd_kafka_metadata(client.as_ptr(), no_topics, std::ptr::null_mut(), &raw mut found, limit);
        if let Some(failure) = Failure::of(code) {
            return Err(failure);
        }
        sys::rd_kafka_metadata_destroy(found);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rdkafka::bindings::rd_kafka_resp_err_t as Code;
    use rdkafka::mocking::MockCluster;

    use super::*;

    #[test]
    fn an_old_error_is_not_taken_for_the_answer_to_a_new_question() {
        let cluster = MockCluster::new(1).unwrap();
        let settings = KafkaSettings::new(&cluster.bootstrap_servers(), "app", "0");
        let client = Arc::new(Native::new(ClientKind::Consumer, &settings.groups()).unwrap());
        assert!(reach(&client, PATIENCE).is_ok());
        cluster.broker_down(1).unwrap();
        let old = Failure::of(Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED).unwrap();
        client.tell(old);
        let failure = reach(&client, Duration::from_millis(300)).unwrap_err();
        assert!(!failure.is_refusal(), "{failure:?}");
    }
}
