//! Changes under a running instance, for which its first thread checks at intervals: the topology
//! that the group agrees on, and the topics that it reads, which may grow, go, or be made anew.

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::backoff::Reminder;
use super::instance::Instance;
use super::thread::StreamThread;
use crate::error::{Error, Result};
use crate::ports::{Admin, TopicId, TopicIdentity};
use crate::task::Plan;
use crate::topology::TopicRef;

/// The checks of the source topics by a thread.
#[derive(Default)]
pub(super) struct SourceTopicsCheck {
    /// Result of the check that is under way in another thread: whether a source has grown.
    under_way: Option<Receiver<Result<bool>>>,
    /// When the next one is due.
    next: Duration,
    /// A source has grown, and the consumer has not looked at it since.
    has_grown: bool,
    /// Since when no look has come to its end.
    failing_since: Option<Duration>,
    /// When that was last logged.
    reminder: Reminder,
}

/// The source topics, as they were last seen.
pub(super) struct SourceTopics(Mutex<Vec<SeenTopic>>);

struct SeenTopic {
    topic: Arc<str>,
    identity: TopicIdentity,
    /// It was not there at the last look. One look alone may have asked a broker that does not know
    /// it yet.
    is_missing: bool,
}

impl SourceTopics {
    /// As they are now.
    ///
    /// # Errors
    /// The broker does not answer, or refuses to describe them. [`Error::Retry`] where it does not
    /// know one of them: it was there a moment before, and a topic that is left out here would
    /// never be watched.
    pub fn of(admin: &dyn Admin, plans: &[Arc<Plan>]) -> Result<SourceTopics> {
        let names: Vec<&str> = plans.iter().map(|plan| &*plan.source).collect();
        let seen = |(plan, identity): (&Arc<Plan>, Option<TopicIdentity>)| match identity {
            Some(identity) => Ok(SeenTopic { topic: plan.source.clone(), identity, is_missing: false }),
            None => Err(Error::Retry(format!("the broker does not know topic `{}`, or not yet", plan.source))),
        };
        let all: Result<Vec<SeenTopic>> = plans.iter().zip(admin.identities(&names)?).map(seen).collect();
        Ok(SourceTopics(Mutex::new(all?)))
    }

    fn seen(&self) -> MutexGuard<'_, Vec<SeenTopic>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of a topic, as it was last seen; `None` where the brokers know no ids.
    pub fn id(&self, topic: &str) -> Option<TopicId> {
        self.seen().iter().find(|seen| *seen.topic == *topic)?.identity.id
    }

    /// Looks whether a source has grown.
    ///
    /// # Errors
    /// [`Error::Fatal`] where tasks cannot go on with what became of a topic.
    fn check(&self, admin: &dyn Admin, plans: &[Arc<Plan>]) -> Result<bool> {
        let names: Vec<&str> = plans.iter().map(|plan| &*plan.source).collect();
        let found = admin.identities(&names)?;
        let mut seen = self.seen();
        let mut has_grown = false;
        // Both are in the order of the plans.
        for ((plan, now), was) in plans.iter().zip(found).zip(seen.iter_mut()) {
            match now {
                None if was.is_missing => return Err(deleted(plan)),
                None => was.is_missing = true,
                Some(now) if is_another(&was.identity, &now) => return Err(made_anew(plan)),
                Some(now) => {
                    has_grown |= grown(plan, was.identity.partitions, now.partitions)?;
                    let identity = TopicIdentity { id: now.id.or(was.identity.id), ..now };
                    (was.identity, was.is_missing) = (identity, false);
                }
            }
        }
        Ok(has_grown)
    }
}

/// Whether a topic has been made anew under its name. A broker that knows no ids does not tell.
fn is_another(was: &TopicIdentity, is: &TopicIdentity) -> bool {
    was.id.is_some() && is.id.is_some() && was.id != is.id
}

fn is_internal(plan: &Plan) -> bool {
    matches!(plan.source_ref, TopicRef::Repartition(_))
}

/// Whether a source has more partitions than before, which tasks can take.
fn grown(plan: &Plan, was: i32, is: i32) -> Result<bool> {
    let topic = &plan.source;
    if is <= was {
        return Ok(false);
    }
    if is_internal(plan) {
        return Err(Error::Fatal(format!(
            "internal topic `{topic}` has grown from {was} to {is} partitions, which changes where keys belong: nobody but helixstream may change \
             internal topics. Choose another application id, or delete the group and its internal topics to begin with nothing [HS1022]"
        )));
    }
    if let Some(store) = plan.stores.first() {
        return Err(Error::Fatal(format!(
            "source topic `{topic}` has grown from {was} to {is} partitions, and store `{}` reads it without a repartition topic: keys now lie in \
             other partitions than their state. Choose another application id, or delete the group and its internal topics to begin with \
             nothing; a topology with a repartition between source and store can grow [HS1022]",
            store.name
        )));
    }
    tracing::info!("source topic `{topic}` has grown from {was} to {is} partitions: the group assigns the new ones");
    Ok(true)
}

fn deleted(plan: &Plan) -> Error {
    let topic = &plan.source;
    Error::Fatal(match is_internal(plan) {
        false => format!(
            "source topic `{topic}` was deleted: make it again (helixstream topics create), then start this instance again, which reads it from its \
             first record [HS2004]"
        ),
        true => format!(
            "internal topic `{topic}` was deleted, and what was in it and not processed yet with it: start this instance again, which makes it anew \
             and says what to do about the state [HS2004]"
        ),
    })
}

fn made_anew(plan: &Plan) -> Error {
    let topic = &plan.source;
    Error::Fatal(format!(
        "topic `{topic}` was deleted and made anew while this instance ran: start it again. Committed offsets go with their topic, so a source is then \
         read from its first record; where the state needs a decision, the start says which [HS1019]"
    ))
}

impl StreamThread {
    /// Begins a look when it is time or the group has changed, and takes in what came of the last
    /// one. Waits for nothing, unless a source has grown.
    ///
    /// # Errors
    /// [`Error::Fatal`] where this instance must not go on.
    pub(super) fn check_group_and_sources(&mut self) -> Result<()> {
        if self.index != 0 {
            return Ok(());
        }
        let now = self.instance.now();
        let Some(under_way) = &self.source_check.under_way else {
            let is_due = now >= self.source_check.next;
            if is_due || self.instance.agreement.is_to_be_asked(now) {
                self.start_check(is_due);
            }
            if is_due {
                self.source_check.next = now + self.instance.config.check_interval;
            }
            return Ok(());
        };
        let found = match under_way.try_recv() {
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => Err(Error::Retry("the look ended without an answer".to_owned())),
            Ok(found) => found,
        };
        self.source_check.under_way = None;
        match found.and_then(|has_grown| self.refresh(has_grown)) {
            Err(error) if error.is_fatal() => Err(error),
            Err(error) => {
                self.check_failed(now, &error);
                Ok(())
            }
            Ok(()) => {
                self.source_check.failing_since = None;
                Ok(())
            }
        }
    }

    /// A coordinator that loads or moves is in order and is asked again; only a failure that lasts
    /// is for somebody to act on.
    fn check_failed(&mut self, now: Duration, error: &Error) {
        tracing::debug!("could not check the membership and the source topics: {error}");
        let since = *self.source_check.failing_since.get_or_insert(now);
        let lasted = now.saturating_sub(since);
        // While Kafka is away, the watch has said so.
        let is_explained = !self.instance.metrics().troubles().is_empty();
        if lasted > self.instance.config.contact_timeout && !is_explained && self.source_check.reminder.is_due(now) {
            tracing::warn!(
                code = "HS1006",
                "for {} s: the group `{}` and the topics that are read could not be described ({error}); this is retried, and until it \
                 succeeds no new task is started, and growth of a topic is not noticed",
                lasted.as_secs(),
                self.instance.config.application_id
            );
        }
    }

    /// Has the consumer look at its topics where one has grown; at the next look again if that
    /// fails.
    fn refresh(&mut self, has_grown: bool) -> Result<()> {
        self.source_check.has_grown |= has_grown;
        if self.source_check.has_grown {
            self.membership.refresh()?;
            self.source_check.has_grown = false;
        }
        Ok(())
    }

    fn start_check(&mut self, is_due: bool) {
        let (send, answer) = channel();
        let instance = self.instance.clone();
        self.source_check.under_way = Some(answer);
        self.instance.ports.executor.run_at_once(Box::new(move || {
            // The thread may have ended meanwhile.
            let _ = send.send(check_group_and_topics(&instance, is_due));
        }));
    }
}

fn check_group_and_topics(instance: &Instance, is_due: bool) -> Result<bool> {
    let admin = &*instance.ports.admin;
    let clock = &*instance.ports.clock;
    match is_due {
        true => instance.agreement.check(admin)?,
        false => instance.agreement.ensure(admin, clock)?,
    }
    if is_due { instance.sources.check(admin, &instance.plans) } else { Ok(false) }
}

#[cfg(test)]
impl SourceTopics {
    /// Whether a topic was not there at the last look.
    pub fn is_missing(&self, topic: &str) -> bool {
        self.seen().iter().any(|seen| *seen.topic == *topic && seen.is_missing)
    }
}

#[cfg(test)]
impl SourceTopicsCheck {
    /// Whether a warning was logged that looks fail.
    pub fn has_warned(&self) -> bool {
        let mut reminder = self.reminder;
        !reminder.is_due(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_knows_no_ids_makes_no_topic_another_one() {
        let topic = |id: Option<u128>| TopicIdentity { partitions: 1, id: id.map(TopicId) };
        assert!(is_another(&topic(Some(1)), &topic(Some(2))));
        assert!(!is_another(&topic(Some(1)), &topic(Some(1))));
        assert!(!is_another(&topic(Some(1)), &topic(None)) && !is_another(&topic(None), &topic(Some(1))));
    }
}
