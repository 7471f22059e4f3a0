//! What may change under a running instance, looked at now and then by its first thread: the topology that the group agrees on, and the
//! topics that it reads, which may grow, go, or be made anew.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::instance::Instance;
use super::thread::StreamThread;
use crate::streams::error::{Error, Result};
use crate::streams::ports::{Admin, TopicIdentity};
use crate::streams::task::Plan;
use crate::streams::topology::TopicRef;

/// The looks of a thread.
#[derive(Default)]
pub(super) struct Look {
    /// What comes of the one that is under way in another thread: whether a source has grown.
    under_way: Option<Receiver<Result<bool>>>,
    /// When the next one is due.
    next: Duration,
    /// A source has grown, and the consumer has not looked at it since.
    has_grown: bool,
}

/// The topics that tasks read, as they were last seen.
#[derive(Default)]
pub(super) struct Sources(Mutex<BTreeMap<Arc<str>, Seen>>);

#[derive(Clone)]
struct Seen {
    identity: TopicIdentity,
    /// It was not there at the last look. One look alone may have asked a broker that does not know it yet.
    is_missing: bool,
}

impl Sources {
    /// As they are now.
    ///
    /// # Errors
    /// The broker does not answer, or refuses to describe them.
    pub fn of(admin: &dyn Admin, plans: &[Arc<Plan>]) -> Result<Sources> {
        let names: Vec<&str> = plans.iter().map(|plan| &*plan.source).collect();
        let found = plans.iter().zip(admin.identities(&names)?);
        let seen = |identity| Seen { identity, is_missing: false };
        let all = found.filter_map(|(plan, identity)| Some((plan.source.clone(), seen(identity?))));
        Ok(Sources(Mutex::new(all.collect())))
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether a source has grown.
    ///
    /// # Errors
    /// [`Error::Fatal`] where tasks cannot go on with what became of a topic.
    fn look(&self, admin: &dyn Admin, plans: &[Arc<Plan>]) -> Result<bool> {
        let names: Vec<&str> = plans.iter().map(|plan| &*plan.source).collect();
        let found = admin.identities(&names)?;
        let mut seen = self.seen();
        let mut has_grown = false;
        for (plan, now) in plans.iter().zip(found) {
            let Some(was) = seen.get_mut(&plan.source) else { continue };
            match now {
                None if was.is_missing => return Err(deleted(plan)),
                None => was.is_missing = true,
                Some(now) if is_another(&was.identity, &now) => return Err(made_anew(plan)),
                Some(mut now) => {
                    if now.id.is_empty() {
                        now.id.clone_from(&was.identity.id);
                    }
                    has_grown |= grown(plan, was.identity.partitions, now.partitions)?;
                    *was = Seen { identity: now, is_missing: false };
                }
            }
        }
        Ok(has_grown)
    }
}

/// Whether a topic has been made anew under its name. A broker that knows no ids does not tell.
fn is_another(was: &TopicIdentity, is: &TopicIdentity) -> bool {
    !was.id.is_empty() && !is.id.is_empty() && was.id != is.id
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
             internal topics. Take another application id, or delete the group and its internal topics to begin with nothing"
        )));
    }
    if let Some(store) = plan.stores.first() {
        return Err(Error::Fatal(format!(
            "source topic `{topic}` has grown from {was} to {is} partitions, and store `{}` follows it straight: keys now lie in other partitions \
             than their state. Take another application id, or delete the group and its internal topics to begin with nothing; a topology \
             with a repartition between source and store can grow",
            store.name
        )));
    }
    tracing::info!("source topic `{topic}` has grown from {was} to {is} partitions: the group shares out the new ones");
    Ok(true)
}

fn deleted(plan: &Plan) -> Error {
    let topic = &plan.source;
    Error::Fatal(match is_internal(plan) {
        false => format!(
            "source topic `{topic}` was deleted: make it again (helixstream topics create), then start this instance again, which reads it from its \
             first record"
        ),
        true => format!(
            "internal topic `{topic}` was deleted, and what was in it and not processed yet with it: start this instance again, which makes it anew \
             and says what to do about the state"
        ),
    })
}

fn made_anew(plan: &Plan) -> Error {
    let topic = &plan.source;
    Error::Fatal(format!(
        "topic `{topic}` was deleted and made anew while this instance ran: start it again. Committed offsets go with their topic, so a source is then \
         read from its first record; where the state needs a decision, the start says which"
    ))
}

impl StreamThread {
    /// Begins a look when it is time or the group has changed, and takes in what came of the last one. Waits for nothing, unless a source has grown.
    ///
    /// # Errors
    /// [`Error::Fatal`] where this instance must not go on.
    pub(super) fn check_group_and_sources(&mut self) -> Result<()> {
        if self.index != 0 {
            return Ok(());
        }
        let now = self.instance.now();
        let Some(under_way) = &self.around.under_way else {
            let is_due = now >= self.around.next;
            if is_due || self.instance.agreement.is_questioned() {
                self.begin_look(is_due);
            }
            if is_due {
                self.around.next = now + self.instance.config.check_interval;
            }
            return Ok(());
        };
        let found = match under_way.try_recv() {
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => Err(Error::Retry("the look ended without an answer".to_owned())),
            Ok(found) => found,
        };
        self.around.under_way = None;
        match found.and_then(|has_grown| self.refresh(has_grown)) {
            Err(Error::Fatal(what)) => Err(Error::Fatal(what)),
            Err(error) => {
                tracing::debug!("the group and the sources could not be looked at: {error}");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Has the consumer look at its topics where one has grown; at the next look again if that fails.
    fn refresh(&mut self, has_grown: bool) -> Result<()> {
        self.around.has_grown |= has_grown;
        if self.around.has_grown {
            self.membership.refresh()?;
            self.around.has_grown = false;
        }
        Ok(())
    }

    fn begin_look(&mut self, is_due: bool) {
        let (send, answer) = channel();
        let instance = self.instance.clone();
        self.around.under_way = Some(answer);
        self.instance.ports.executor.run_at_once(Box::new(move || {
            // The thread may have ended meanwhile.
            let _ = send.send(look(&instance, is_due));
        }));
    }
}

fn look(instance: &Instance, is_due: bool) -> Result<bool> {
    let admin = &*instance.ports.admin;
    match is_due {
        true => instance.agreement.check(admin)?,
        false => instance.agreement.ensure(admin)?,
    }
    if is_due { instance.sources.look(admin, &instance.plans) } else { Ok(false) }
}

#[cfg(test)]
impl Sources {
    /// Whether a topic was not there at the last look.
    pub fn is_missing(&self, topic: &str) -> bool {
        self.seen().get(topic).is_some_and(|seen| seen.is_missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_knows_no_ids_makes_no_topic_another_one() {
        let topic = |id: &str| TopicIdentity { partitions: 1, id: id.to_owned() };
        assert!(is_another(&topic("a"), &topic("b")));
        assert!(!is_another(&topic("a"), &topic("a")));
        assert!(!is_another(&topic("a"), &topic("")) && !is_another(&topic(""), &topic("a")));
    }
}
