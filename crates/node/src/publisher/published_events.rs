//! Finds the events of an outbox that another process has published under the same actor.
//!
//! Where a folder was copied or rolled back, the copy's outbox may have events that were accepted
//! before the copy was made and that the other process has published since. They are published with
//! their bytes, so they must not be written again under a new actor. The node's record does not
//! name them; they are looked for in the events topic, which is read from its beginning. This
//! happens only where the folder was copied or rolled back.

use std::collections::HashMap;
use std::time::Duration;

use streams::error::{Error, Result};
use streams::record::TopicPartition;

use super::interruption::Interruption;
use crate::kafka::KafkaClients;
use crate::ports::{Journal, OutboxEvent, chain_digest};

/// So many events are looked for in one pass over the topic.
const PASS_RECORDS: usize = 10_000;
/// Bytes of the events of one pass.
const PASS_BYTES: usize = 16 << 20;

/// Marks the events of the outbox that the topic has, of those with a counter up to `greatest`. The
/// published events of an actor have one order, of which each process with its incarnation knows a
/// beginning; so the events that both know come before all others.
pub(super) fn mark_published_elsewhere(
    kafka: &KafkaClients,
    journal: &dyn Journal,
    greatest: u64,
    limit: Duration,
    goes_on: &dyn Fn() -> bool,
) -> std::result::Result<(), Interruption> {
    loop {
        let mut events = journal.unpublished(PASS_RECORDS, PASS_BYTES)?;
        events.retain(|event| event.counter <= greatest);
        if events.is_empty() {
            return Ok(());
        }
        let found = find(kafka, &events, limit, goes_on)?;
        let Some(last) = found.iter().rposition(|is_found| *is_found) else { return Ok(()) };
        for (event, is_found) in events[..last].iter().zip(&found) {
            if !is_found {
                let reason =
                    "another process with a copy of this folder has left this event out, since the brokers refused it";
                journal.mark_failed(event.counter, reason)?;
            }
        }
        journal.mark_published(events[last].counter)?;
        if last + 1 < events.len() {
            return Ok(());
        }
    }
}

/// For each event whether the topic has a record with its bytes.
fn find(
    kafka: &KafkaClients,
    events: &[OutboxEvent],
    limit: Duration,
    goes_on: &dyn Fn() -> bool,
) -> Result<Vec<bool>> {
    let topic = &kafka.topics.events;
    let identity = kafka.identity(topic)?;
    let partitions = identity.ok_or_else(|| Error::Retry(format!("topic {topic} does not exist [HS8023]")))?.partitions;
    let digests: HashMap<u128, usize> =
        events.iter().enumerate().map(|(at, event)| (chain_digest(0, &event.value), at)).collect();
    let mut found = vec![false; events.len()];
    for partition in 0..partitions {
        let partition = TopicPartition::new(topic.clone(), partition);
        kafka.read_to_end(&partition, limit, goes_on, |record| {
            let value = record.record.value.unwrap_or_default();
            let at = digests.get(&chain_digest(0, value)).copied();
            if let Some(at) = at.filter(|at| events[*at].value == value) {
                found[at] = true;
            }
            Ok(())
        })?;
    }
    Ok(found)
}
