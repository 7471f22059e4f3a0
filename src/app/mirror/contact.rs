//! Watches whether Kafka can be reached, for mirrors that run alone: beside a stream the stream's
//! health check does that.
//!
//! A mirror cannot tell this by itself: its consumer gets no records both when there are none and
//! when no broker answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::app::mirrored_topics::GROUP;
use crate::app::signals::LOOK;
use streams::error::{Error, Result};
use streams::ports::Admin;
use streams_kafka::KafkaSettings;
use streams_kafka::admin::ClusterAdmin;
use streams_kafka::renewal::CurrentSettings;
use streams_kafka::restore_consumer::RestoreConsumer;

/// How often the warning is repeated while the outage lasts.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How often Kafka is asked, as a part of the time after which it counts as unreachable.
const ASK_PART: u32 = 5;

/// The watch: a thread that asks the coordinator of the events mirror's group.
pub(super) struct Contact {
    outage: Arc<Mutex<Option<String>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// State of a watch, as the pages read it.
#[derive(Clone)]
pub(super) struct Outage(Arc<Mutex<Option<String>>>);

impl Outage {
    /// The outage in a line; `None` while Kafka answers.
    pub(super) fn text(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Contact {
    /// Starts to watch. Kafka counts as unreachable after `limit` without an answer.
    pub(super) fn watch(current: &CurrentSettings, topic: String, limit: Duration) -> anyhow::Result<Contact> {
        let (current, mut renewal) = (current.clone(), current.renewals());
        let mut admin = admin(&current)?;
        let outage = Arc::new(Mutex::new(None));
        let stop = Arc::new(AtomicBool::new(false));
        let told = outage.clone();
        let asked = stop.clone();
        let watch = move || {
            let mut heard = Heard::new(limit);
            while !asked.load(Ordering::Relaxed) {
                let renewals = current.renewals();
                if renewal != renewals {
                    // One that cannot be made just now is made at the next turn.
                    match self::admin(&current) {
                        Ok(new) => (admin, renewal) = (new, renewals),
                        Err(error) => {
                            tracing::debug!("the check whether Kafka is reachable keeps its former client: {error}")
                        }
                    }
                }
                let text = heard.record_answer(&admin.reach_group(&topic), Instant::now());
                *told.lock().unwrap_or_else(PoisonError::into_inner) = text;
                let next = Instant::now() + limit / ASK_PART;
                while Instant::now() < next && !asked.load(Ordering::Relaxed) {
                    thread::sleep(LOOK);
                }
            }
        };
        let thread = thread::Builder::new().name("kafka-watch".to_owned()).spawn(watch);
        Ok(Contact {
            outage,
            stop,
            thread: thread.map_err(|e| anyhow!("cannot start the thread that watches Kafka: {e} [HS0008]"))?,
        })
    }

    /// For the pages.
    pub(super) fn outage(&self) -> Outage {
        Outage(self.outage.clone())
    }

    /// Asks the thread to end, which it does once its last question is answered.
    pub(super) fn stop(self) -> JoinHandle<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
    }
}

/// A client that asks for the group of the events' mirror, which the principal may read.
fn admin(current: &CurrentSettings) -> Result<ClusterAdmin> {
    let kafka = current.get();
    let application_id = format!("{}-{GROUP}", kafka.application_id);
    let settings = KafkaSettings { application_id, ..kafka };
    ClusterAdmin::new(&settings, &RestoreConsumer::new(&settings)?)
}

/// Last answer of Kafka, and the log lines about it.
struct Heard {
    limit: Duration,
    /// When it last answered.
    at: Instant,
    /// When the outage was last logged.
    told_at: Option<Instant>,
}

impl Heard {
    fn new(limit: Duration) -> Heard {
        Heard { limit, at: Instant::now(), told_at: None }
    }

    /// Takes an answer in and logs what is to be logged; the outage in a line, if it is one.
    fn record_answer(&mut self, answer: &Result<()>, now: Instant) -> Option<String> {
        let silent = now.saturating_duration_since(self.at);
        let why = match answer {
            // A broker that refuses has answered. The mirror meets the refusal itself and stops
            // with the right that is missing.
            Ok(()) | Err(Error::Fatal(_) | Error::Bug(_)) => {
                if self.told_at.take().is_some() {
                    tracing::info!("Kafka is reachable again after {} s", silent.as_secs());
                }
                self.at = now;
                return None;
            }
            Err(why) => why,
        };
        if silent <= self.limit {
            return None;
        }
        let text = format!("Kafka has not been reachable for {} s ({why})", silent.as_secs());
        if self.told_at.is_none_or(|at| now.saturating_duration_since(at) >= TELL_EVERY) {
            self.told_at = Some(now);
            tracing::warn!(
                code = "HS2001",
                "{text}; the mirrors wait and go on by themselves when it is back, and nothing is lost"
            );
        }
        Some(format!("{text} [HS2001]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_after_its_limit_and_over_with_the_first_answer() {
        let mut heard = Heard::new(Duration::from_secs(10));
        let start = heard.at;
        let after = |seconds| start + Duration::from_secs(seconds);
        let silence = || Err(Error::Retry("connection refused".to_owned()));
        assert_eq!(heard.record_answer(&silence(), after(9)), None);
        let text = heard.record_answer(&silence(), after(12)).unwrap();
        assert_eq!(text, "Kafka has not been reachable for 12 s (connection refused) [HS2001]");
        let told = heard.told_at;
        assert!(heard.record_answer(&silence(), after(40)).is_some());
        assert_eq!(heard.told_at, told, "once a minute");
        assert!(heard.record_answer(&silence(), after(73)).is_some());
        assert_ne!(heard.told_at, told);
        assert_eq!(heard.record_answer(&Ok(()), after(80)), None);
        assert_eq!(heard.record_answer(&silence(), after(89)), None, "the limit counts from the last answer");
        assert_eq!(
            heard.record_answer(&Err(Error::Fatal("no right".to_owned())), after(95)),
            None,
            "a refusal is an answer"
        );
    }
}
