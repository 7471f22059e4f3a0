//! A producer that writes the records of nodes and nothing else: by it a process closes an
//! incarnation, and registers the one that it goes on as.

use std::collections::BTreeSet;
use std::time::Duration;

use streams::error::Error;
use streams::ports::{BatchLimit, Producer};

use super::context::PublisherContext;
use super::interruption::Interruption;
use super::record_times::RecordTimes;
use super::transaction::{Outcome, Target, Transaction};
use crate::actor::Actor;
use crate::kafka::transactional_id;
use crate::registry::NodeRecord;

/// How long the first call of a producer may take before it is made again.
const INIT: Duration = Duration::from_secs(5);

/// Initialises a producer: it fences each older one with its transactional id, and their open
/// transaction is decided before this returns.
pub(super) fn initialise(
    context: &PublisherContext,
    transactional_id: &str,
    batches: BatchLimit,
) -> Result<Box<dyn Producer>, Interruption> {
    let mut producer = (context.kafka.producers)(transactional_id).create(batches)?;
    loop {
        match producer.init(context.limit().min(INIT)) {
            Err(Error::Retry(text)) if !context.stop.is_overdue() => context.note_failure(&text),
            other => break other?,
        }
    }
    Ok(producer)
}

/// A transactional id that this process has taken for a record of a node.
pub(super) struct Claim {
    producer: Box<dyn Producer>,
    times: RecordTimes,
    nodes: Target,
}

/// How a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimOutcome {
    /// It is on the topic.
    Committed,
    /// Another process has taken the transactional id, and it is not.
    Fenced,
}

impl Claim {
    /// Takes a transactional id.
    pub fn take(context: &PublisherContext, transactional_id: &str, times: RecordTimes) -> Result<Claim, Interruption> {
        let partitions = context.nodes.ensure(context.settings.replication)?;
        let nodes = Target { topic: context.kafka.topics.nodes.clone(), partitions };
        let batches = BatchLimit::Bytes(BatchLimit::DEFAULT_BYTES);
        Ok(Claim { producer: initialise(context, transactional_id, batches)?, times, nodes })
    }

    /// Writes a record in a transaction of its own.
    pub fn write(&mut self, context: &PublisherContext, record: &NodeRecord) -> Result<ClaimOutcome, Interruption> {
        let (key, value) = (record.actor.to_string(), record.to_json());
        let transaction = Transaction {
            events: &[],
            requests: &[],
            events_target: &self.nodes,
            times: self.times,
            now_ms: context.now_ms(),
            record: (key.as_bytes(), &value, record.heartbeat_ms),
            record_target: &self.nodes,
            batches: BatchLimit::Bytes(BatchLimit::DEFAULT_BYTES),
            limit: context.limit(),
            observe_step: |_| {},
        };
        match transaction.run(&mut *self.producer) {
            Ok(Outcome::Committed) => Ok(ClaimOutcome::Committed),
            Ok(other) => Err(Error::Bug(format!("the record of {key} was sent alone, and ended as {other:?}")).into()),
            Err(Error::Fenced(_)) => Ok(ClaimOutcome::Fenced),
            Err(error) => Err(error.into()),
        }
    }
}

/// How an incarnation was closed.
pub(super) enum Closed {
    /// By this process; the record that it had before, if any, and the incarnations of its name.
    Now(Option<Box<NodeRecord>>, BTreeSet<Actor>),
    /// By another process before.
    Before,
    /// Not yet: another process has taken its transactional id meanwhile.
    Fenced,
}

/// Closes an incarnation: whoever has its transactional id is fenced, and its last record says that
/// `last.state` names its successor. The record keeps what the topic says was published, or at
/// least what `last` does.
pub(super) fn close(context: &PublisherContext, last: &NodeRecord, times: RecordTimes) -> Result<Closed, Interruption> {
    if !last.is_replaced() {
        return Err(Error::Bug(format!("the record that is to close {} names no successor", last.actor)).into());
    }
    let mut claim = Claim::take(context, &transactional_id(&last.actor.incarnation), times)?;
    let registered = context.nodes.read(context.limit(), &|| context.goes_on())?;
    let before = registered.of(&last.actor)?.map(|node| &node.record);
    if before.is_some_and(NodeRecord::is_replaced) {
        return Ok(Closed::Before);
    }
    let base = before.filter(|before| before.published.counter >= last.published.counter).unwrap_or(last);
    let record = NodeRecord {
        counter: base.published.counter,
        outbox_depth: 0,
        outbox_since_ms: None,
        heartbeat_ms: context.now_ms(),
        state: last.state.clone(),
        ..base.clone()
    };
    match claim.write(context, &record)? {
        ClaimOutcome::Committed => {
            Ok(Closed::Now(before.cloned().map(Box::new), registered.incarnations(&last.actor).collect()))
        }
        ClaimOutcome::Fenced => Ok(Closed::Fenced),
    }
}
