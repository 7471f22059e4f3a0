//! The topics that an instance reads, as they were last seen: they may grow, go, or be made anew
//! under a running instance.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::ports::{Admin, TopicId, TopicIdentity};
use crate::record::TopicPartition;
use crate::task::Plan;
use crate::topology::TopicRef;

/// The source topics, as they were last seen.
pub(super) struct SourceTopics {
    topics: Mutex<Vec<SeenTopic>>,
    /// How often one of them was found to be made anew.
    recreations: AtomicU64,
}

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
        Ok(SourceTopics { topics: Mutex::new(all?), recreations: AtomicU64::new(0) })
    }

    fn seen(&self) -> MutexGuard<'_, Vec<SeenTopic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All partitions of the sources, as they were last seen.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        let of = |seen: &SeenTopic| {
            let topic = seen.topic.clone();
            (0..seen.identity.partitions).map(move |partition| TopicPartition { topic: topic.clone(), partition })
        };
        self.seen().iter().flat_map(of).collect()
    }

    /// The id of a topic, as it was last seen; `None` where the brokers know no ids.
    pub fn id(&self, topic: &str) -> Option<TopicId> {
        self.seen().iter().find(|seen| *seen.topic == *topic)?.identity.id
    }

    /// How often one of them was found to be deleted and made anew.
    pub fn recreations(&self) -> u64 {
        self.recreations.load(Ordering::Acquire)
    }

    /// Looks whether a source has grown, and notes which were made anew.
    ///
    /// # Errors
    /// [`Error::Fatal`] where tasks cannot go on with what became of a topic.
    pub fn check(&self, admin: &dyn Admin, plans: &[Arc<Plan>]) -> Result<bool> {
        let names: Vec<&str> = plans.iter().map(|plan| &*plan.source).collect();
        let found = admin.identities(&names)?;
        let mut seen = self.seen();
        let mut has_grown = false;
        // Both are in the order of the plans.
        for ((plan, now), was) in plans.iter().zip(found).zip(seen.iter_mut()) {
            match now {
                None if was.is_missing => return Err(deleted(plan)),
                None => was.is_missing = true,
                Some(now) if is_another(&was.identity, &now) => {
                    check_recreated(plan, was.identity.partitions, now.partitions)?;
                    has_grown |= was.identity.partitions != now.partitions;
                    (was.identity, was.is_missing) = (now, false);
                    self.recreations.fetch_add(1, Ordering::Release);
                }
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

/// A topic was made anew under a running instance: its tasks are restored again, by what is
/// committed of the new topic. Kafka has deleted the former one's offsets with it.
fn check_recreated(plan: &Plan, was: i32, is: i32) -> Result<()> {
    let topic = &plan.source;
    if was != is && (is_internal(plan) || !plan.stores.is_empty()) {
        return Err(Error::Fatal(format!(
            "topic `{topic}` was deleted and made anew with {is} partitions while this instance ran, and had {was}, which changes where keys belong: make \
             it again with {was} partitions, then start this instance again [HS1022]"
        )));
    }
    tracing::warn!(
        code = "HS1019",
        "topic `{topic}` was deleted and made anew while this instance ran: its tasks are restored again, by what is committed of the new topic, and the \
         stream threads get new clients; a task whose state needs a decision is stopped, and says which"
    );
    Ok(())
}

#[cfg(test)]
impl SourceTopics {
    /// Whether a topic was not there at the last look.
    pub fn is_missing(&self, topic: &str) -> bool {
        self.seen().iter().any(|seen| *seen.topic == *topic && seen.is_missing)
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
