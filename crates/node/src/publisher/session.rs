//! A session: one producer from its initialisation to its loss, and all transactions between.

use std::time::{Duration, Instant};

use streams::error::Error;
use streams::ports::{BatchLimit, Producer};

use super::claim::initialise;
use super::context::PublisherContext;
use super::departure::OwnRecords;
use super::interruption::Interruption;
use super::reconciliation::{ReconciliationOutcome, reconcile};
use super::record_times::RecordTimes;
use super::transaction::{Outcome, Target, Transaction};
use crate::actor::Actor;
use crate::kafka::transactional_id;
use crate::ports::{Identity, OutboxEvent, Publication, SyncRequest, chain_digest};
use crate::registry::{NodeRecord, NodeState};

/// How often the number of partitions of the events topic is read again.
const REFRESH: Duration = Duration::from_secs(30);
/// The longest wait for events between two looks at the signal to stop.
const LOOK: Duration = Duration::from_millis(250);

/// A producer of the node's incarnation that is initialised.
pub(super) struct Session {
    producer: Box<dyn Producer>,
    batches: BatchLimit,
    /// The times of its records; what it has learned of them serves the next session.
    pub times: RecordTimes,
    pub actor: Actor,
    publication: Publication,
    joined_ms: i64,
    events: Target,
    nodes: Target,
    refreshed: Instant,
    last_record: Option<Instant>,
    own_records: OwnRecords,
}

/// How a session begins.
pub(super) enum Opening {
    /// It can publish.
    Ready(Box<Session>),
    /// The actor is to be given up, for this reason.
    Replace(&'static str),
}

/// Initialises a producer, which fences an older process with this incarnation and ends its
/// transaction; then reads the node's record and compares it with the database.
pub(super) fn open_session(
    context: &PublisherContext,
    identity: Identity,
    batches: BatchLimit,
    times: RecordTimes,
) -> Result<Opening, Interruption> {
    let nodes = context.nodes.ensure(context.settings.replication)?;
    let producer = initialise(context, &transactional_id(&identity.actor.incarnation), batches)?;
    let registered = context.nodes.read(context.limit(), &|| context.goes_on())?;
    let record = registered.of(&identity.actor)?.map(|node| &node.record);
    // Read again: a failure before this may have marked events.
    let identity = context.journal.identity()?;
    let publication = match reconcile(&*context.journal, &identity, record)? {
        ReconciliationOutcome::Continue(publication) => publication,
        ReconciliationOutcome::Replace(reason) => return Ok(Opening::Replace(reason)),
    };
    Ok(Opening::Ready(Box::new(Session {
        producer,
        batches,
        times,
        joined_ms: record.map_or_else(|| context.now_ms(), |record| record.joined_ms),
        actor: identity.actor,
        publication,
        events: events_target(context)?,
        nodes: Target { topic: context.kafka.topics.nodes.clone(), partitions: nodes },
        refreshed: Instant::now(),
        last_record: None,
        own_records: OwnRecords { known: record.cloned(), attempted: None },
    })))
}

fn events_target(context: &PublisherContext) -> Result<Target, Interruption> {
    let topic = context.kafka.topics.events.clone();
    let identity = context.kafka.identity(&topic)?.ok_or_else(|| {
        Error::Retry(format!(
            "topic {topic} does not exist, so no event can be published; create it (helixstream topics create) [HS8023]"
        ))
    })?;
    Ok(Target { topic, partitions: identity.partitions })
}

impl Session {
    /// Publishes until the end is requested. The events that wait then are published before it
    /// writes that the node has stopped.
    pub fn publish(&mut self, context: &PublisherContext) -> Result<(), Interruption> {
        // At once: the node joins, or is back.
        self.transact(context, &[], &[], NodeState::Running)?;
        loop {
            let is_stopping = context.stop.is_requested();
            if self.refreshed.elapsed() > REFRESH {
                self.events = events_target(context)?;
                self.refreshed = Instant::now();
            }
            let events = context.journal.unpublished(context.settings.max_records, context.settings.max_bytes)?;
            let requests = context.journal.unsent_requests()?;
            if !events.is_empty() || !requests.is_empty() {
                self.transact(context, &events, &requests, NodeState::Running)?;
            } else if is_stopping {
                self.transact(context, &[], &[], NodeState::Stopped)?;
                return Ok(());
            } else if self.is_heartbeat_due(context) {
                self.transact(context, &[], &[], NodeState::Running)?;
            } else {
                context.journal.wait_for_unpublished(LOOK.min(context.settings.heartbeat_interval))?;
            }
            if context.stop.is_overdue() {
                return Err(Interruption::Stopped);
            }
        }
    }

    /// The records of its actor that it knows to be its own.
    pub fn into_own_records(self) -> OwnRecords {
        self.own_records
    }

    fn is_heartbeat_due(&self, context: &PublisherContext) -> bool {
        self.last_record.is_none_or(|written| written.elapsed() >= context.settings.heartbeat_interval)
    }

    /// One transaction with these events, which are the next ones to be published, and with these
    /// sync requests. A request is in neither the counter nor the chain: where it is not known
    /// whether the transaction was committed, it is sent again, and is answered again.
    fn transact(
        &mut self,
        context: &PublisherContext,
        events: &[OutboxEvent],
        requests: &[SyncRequest],
        state: NodeState,
    ) -> Result<(), Interruption> {
        let chain = events.iter().fold(self.publication.chain, |chain, event| chain_digest(chain, &event.value));
        let counter = events.last().map_or(self.publication.counter, |event| event.counter);
        let after = Publication { counter, chain };
        let record = self.record(context, after, events.len() as u64, state)?;
        let (key, value) = (self.actor.to_string(), record.to_json());
        let heartbeat_ms = record.heartbeat_ms;
        self.times.review();
        self.own_records.attempted = Some(record);
        let transaction = Transaction {
            events,
            requests,
            events_target: &self.events,
            times: self.times,
            now_ms: context.now_ms(),
            record: (key.as_bytes(), &value, heartbeat_ms),
            record_target: &self.nodes,
            batches: self.batches,
            limit: context.limit(),
            observe_step: context.settings.observe_step,
        };
        match transaction.run(&mut *self.producer)? {
            Outcome::Committed => {
                self.own_records.known = self.own_records.attempted.take();
                if !transaction.is_heartbeat() {
                    self.times.accept();
                }
            }
            Outcome::Tried => {
                self.times.accept();
                return Ok(transaction.abort(&mut *self.producer)?);
            }
            Outcome::Refused(refused) => {
                for (index, reason) in refused {
                    match events.get(index) {
                        Some(event) => context.mark_refused(event, &reason)?,
                        None => context.drop_request(&requests[index - events.len()], &reason)?,
                    }
                }
                return Ok(transaction.abort(&mut *self.producer)?);
            }
        }
        if !events.is_empty() {
            let marked = context.retried(|| context.journal.mark_published(counter))?;
            if marked != after {
                return Err(Interruption::Kafka(Error::Bug(format!(
                    "the database says that event {} of {} is the last one published, after event {counter} was",
                    marked.counter, self.actor
                ))));
            }
        }
        if !requests.is_empty() {
            let sent: Vec<String> = requests.iter().map(|request| request.event_id.clone()).collect();
            context.retried(|| context.journal.mark_requests_sent(&sent))?;
        }
        self.publication = after;
        self.last_record = Some(Instant::now());
        context.note_commit(events.len() as u64, requests.len() as u64, after, heartbeat_ms);
        Ok(())
    }

    fn record(
        &self,
        context: &PublisherContext,
        published: Publication,
        sent: u64,
        state: NodeState,
    ) -> Result<NodeRecord, Interruption> {
        let (depth, since) = context.journal.outbox_depth()?;
        let counter = context.journal.identity()?.counter;
        let outbox_depth = depth.saturating_sub(sent);
        Ok(NodeRecord {
            actor: self.actor.clone(),
            role: context.settings.role,
            software_version: context.settings.software_version.clone(),
            capabilities: context.settings.capabilities.clone(),
            counter,
            published,
            outbox_depth,
            outbox_since_ms: since.filter(|_| outbox_depth > 0),
            joined_ms: self.joined_ms,
            heartbeat_ms: context.now_ms(),
            state,
        })
    }
}
