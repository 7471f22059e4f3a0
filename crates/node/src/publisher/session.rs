//! A session: one producer from its initialisation to its loss, and all transactions between.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use streams::error::Error;
use streams::ports::{BatchLimit, Producer};

use super::reconciliation::{Finding, reconcile};
use super::transaction::{Outcome, Target, Transaction};
use super::work::{Interruption, PublisherLoop};
use crate::actor::Actor;
use crate::kafka::transactional_id;
use crate::ports::{Identity, OutboxEvent, Publication, chain_digest};
use crate::registry::{NodeRecord, NodeState};

/// How often the number of partitions of the events topic is read again.
const REFRESH: Duration = Duration::from_secs(30);
/// The longest wait for events between two looks at the signal to stop.
const LOOK: Duration = Duration::from_millis(250);
/// How long the first call of a producer may take before it is made again.
const INIT: Duration = Duration::from_secs(5);

/// A producer of the node's incarnation that is initialised.
pub(super) struct Session {
    producer: Box<dyn Producer>,
    batches: BatchLimit,
    pub actor: Actor,
    publication: Publication,
    joined_ms: i64,
    events: Target,
    nodes: Target,
    refreshed: Instant,
    last_record: Option<Instant>,
}

/// How a session begins.
pub(super) enum Opening {
    /// It can publish.
    Ready(Session),
    /// The actor is to be given up, for this reason. The session still holds its transactional id.
    Replace(Session, &'static str),
}

impl PublisherLoop {
    /// Initialises a producer, which fences an older process with this incarnation and ends its
    /// transaction; then reads the node's record and compares it with the database.
    pub(super) fn open_session(&self, identity: Identity, batches: BatchLimit) -> Result<Opening, Interruption> {
        let nodes = self.nodes.ensure(self.settings.replication)?;
        let mut factory = (self.kafka.producers)(&transactional_id(&identity.actor.incarnation));
        let mut producer = factory.create(batches)?;
        loop {
            match producer.init(self.limit().min(INIT)) {
                Err(Error::Retry(text)) if !self.stop.is_overdue() => self.note_failure(&text),
                other => break other?,
            }
        }
        let registered = self.nodes.read(self.limit(), &|| self.goes_on())?;
        let record = registered.of(&identity.actor)?.map(|node| &node.record);
        // Read again: a failure before this may have marked events.
        let identity = self.journal.identity()?;
        let finding = reconcile(&*self.journal, &identity, record)?;
        let own = Publication { counter: identity.published, chain: identity.chain };
        let publication = match (&finding, record) {
            (Finding::Continue(publication), _) => *publication,
            (Finding::Replace(_), record) => record.map_or(own, |record| record.published),
        };
        let session = Session {
            producer,
            batches,
            joined_ms: record.map_or_else(now_ms, |record| record.joined_ms),
            actor: identity.actor,
            publication,
            events: self.events_target()?,
            nodes: Target { topic: self.kafka.topics.nodes.clone(), partitions: nodes },
            refreshed: Instant::now(),
            last_record: None,
        };
        Ok(match finding {
            Finding::Continue(_) => Opening::Ready(session),
            Finding::Replace(reason) => Opening::Replace(session, reason),
        })
    }

    fn events_target(&self) -> Result<Target, Interruption> {
        let topic = self.kafka.topics.events.clone();
        let identity = self.kafka.identity(&topic)?.ok_or_else(|| {
            Error::Retry(format!(
                "topic {topic} does not exist, so no event can be published; create it (helixstream topics create) [HS8023]"
            ))
        })?;
        Ok(Target { topic, partitions: identity.partitions })
    }
}

impl Session {
    /// Publishes until the end is requested. The events that wait then are published before it
    /// writes that the node has stopped.
    pub fn publish(&mut self, work: &PublisherLoop) -> Result<(), Interruption> {
        // At once: the node joins, or is back.
        self.transact(work, &[], NodeState::Running)?;
        loop {
            let is_stopping = work.stop.is_requested();
            if self.refreshed.elapsed() > REFRESH {
                self.events = work.events_target()?;
                self.refreshed = Instant::now();
            }
            let events = work.journal.unpublished(work.settings.max_records, work.settings.max_bytes)?;
            if !events.is_empty() {
                self.transact(work, &events, NodeState::Running)?;
            } else if is_stopping {
                self.transact(work, &[], NodeState::Stopped)?;
                return Ok(());
            } else if self.is_heartbeat_due(work) {
                self.transact(work, &[], NodeState::Running)?;
            } else {
                work.journal.wait_for_unpublished(LOOK.min(work.settings.heartbeat_interval))?;
            }
            if work.stop.is_overdue() {
                return Err(Interruption::Stopped);
            }
        }
    }

    /// The counter of the last event that the node's record says was published.
    pub fn published_counter(&self) -> u64 {
        self.publication.counter
    }

    fn is_heartbeat_due(&self, work: &PublisherLoop) -> bool {
        self.last_record.is_none_or(|written| written.elapsed() >= work.settings.heartbeat_interval)
    }

    /// Writes that another actor goes on in the place of this one. The published counter and the
    /// chain stay as the topic has them, for other copies of the folder.
    pub fn write_replaced(&mut self, work: &PublisherLoop, successor: Actor) -> Result<(), Interruption> {
        self.transact(work, &[], NodeState::Replaced { successor })
    }

    /// One transaction with these events, which are the next ones to be published.
    fn transact(&mut self, work: &PublisherLoop, events: &[OutboxEvent], state: NodeState) -> Result<(), Interruption> {
        let chain = events.iter().fold(self.publication.chain, |chain, event| chain_digest(chain, &event.value));
        let counter = events.last().map_or(self.publication.counter, |event| event.counter);
        let after = Publication { counter, chain };
        let record = self.record(work, after, events.len() as u64, state)?;
        let (key, value) = (self.actor.to_string(), record.to_json());
        let transaction = Transaction {
            events,
            events_target: &self.events,
            record: (key.as_bytes(), &value, record.heartbeat_ms),
            record_target: &self.nodes,
            batches: self.batches,
            limit: work.limit(),
        };
        match transaction.run(&mut *self.producer)? {
            Outcome::Committed => {}
            Outcome::Refused(refused) => {
                for (index, reason) in refused {
                    work.mark_refused(&events[index], &reason)?;
                }
                return Ok(transaction.abort(&mut *self.producer)?);
            }
        }
        if !events.is_empty() {
            let marked = work.retried(|| work.journal.mark_published(counter))?;
            if marked != after {
                return Err(Interruption::Kafka(Error::Bug(format!(
                    "the database says that event {} of {} is the last one published, after event {counter} was",
                    marked.counter, self.actor
                ))));
            }
        }
        self.publication = after;
        self.last_record = Some(Instant::now());
        work.note_commit(events.len() as u64, after, record.heartbeat_ms);
        Ok(())
    }

    fn record(
        &self,
        work: &PublisherLoop,
        published: Publication,
        sent: u64,
        state: NodeState,
    ) -> Result<NodeRecord, Interruption> {
        let (depth, since) = work.journal.outbox_depth()?;
        let is_own = !matches!(state, NodeState::Replaced { .. });
        let counter = if is_own { work.journal.identity()?.counter } else { published.counter };
        let outbox_depth = if is_own { depth.saturating_sub(sent) } else { 0 };
        Ok(NodeRecord {
            actor: self.actor.clone(),
            role: work.settings.role,
            software_version: work.settings.software_version.clone(),
            capabilities: work.settings.capabilities.clone(),
            counter,
            published,
            outbox_depth,
            outbox_since_ms: since.filter(|_| outbox_depth > 0),
            joined_ms: self.joined_ms,
            heartbeat_ms: now_ms(),
            state,
        })
    }
}

/// The machine's clock, in milliseconds since 1970; at least 1, since librdkafka takes 0 for "now".
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX).max(1)
}
