//! Finds the events of an outbox that another process has published.
//!
//! Where a folder was copied or rolled back, the outbox may have events that were accepted before
//! the copy was made and that another process has published since, under the incarnation that both
//! had or under one of its own. They must not be written again. No record names them; they are
//! looked for in the events topic by their ids, which an event keeps under every actor. The topic
//! is read from its beginning. This happens only where the folder was copied or rolled back.

use std::collections::HashSet;

use streams::error::Error;
use streams::record::TopicPartition;

use super::context::{CALL, PublisherContext};
use super::interruption::Interruption;
use crate::actor::{EventActor, NodeName};
use crate::ports::{JournalError, PublishedEvent};

/// So many events are looked for in one pass over the topic.
const PASS_EVENTS: usize = 100_000;
/// So many found events, or so many bytes of them, are noted together.
const NOTED_EVENTS: usize = 500;
const NOTED_BYTES: usize = 1 << 20;

/// Notes the events of the outbox with a counter up to `greatest` that the topic has, published by
/// a node with this name. Later ones were accepted by this process alone.
pub(super) fn note_published_elsewhere(
    context: &PublisherContext,
    name: &NodeName,
    greatest: u64,
    goes_on: &dyn Fn() -> bool,
) -> Result<(), Interruption> {
    let mut after = 0;
    loop {
        let mut waiting = context.journal.waiting_ids(after, PASS_EVENTS)?;
        waiting.retain(|(counter, _)| *counter <= greatest);
        let Some((last, _)) = waiting.last() else { return Ok(()) };
        after = *last;
        let ids: HashSet<String> = waiting.into_iter().map(|(_, event_id)| event_id).collect();
        note_pass(context, name, &ids, goes_on)?;
    }
}

/// One pass over the topic.
fn note_pass(
    context: &PublisherContext,
    name: &NodeName,
    ids: &HashSet<String>,
    goes_on: &dyn Fn() -> bool,
) -> Result<(), Interruption> {
    let topic = &context.kafka.topics.events;
    let identity = context.kafka.identity(topic)?;
    let partitions = identity.ok_or_else(|| Error::Retry(format!("topic {topic} does not exist [HS8023]")))?.partitions;
    let (mut found, mut bytes) = (Vec::new(), 0);
    for partition in 0..partitions {
        let partition = TopicPartition::new(topic.clone(), partition);
        let mut failed: Option<JournalError> = None;
        let read = context.kafka.read_to_end(&partition, CALL, goes_on, |record| {
            let event = record.record.value.and_then(|value| published_event(value, name, ids));
            bytes += event.as_ref().map_or(0, |event| event.value.len());
            found.extend(event);
            if found.len() >= NOTED_EVENTS || bytes >= NOTED_BYTES {
                bytes = 0;
                context.journal.note_published_elsewhere(&std::mem::take(&mut found)).map_err(|error| {
                    let text = error.to_string();
                    failed = Some(error);
                    Error::Retry(text)
                })?;
            }
            Ok(())
        });
        match failed {
            Some(error) => return Err(error.into()),
            None => read?,
        }
    }
    match found.is_empty() {
        true => Ok(()),
        false => Ok(context.journal.note_published_elsewhere(&found)?),
    }
}

/// The event of a record, where it has one of these ids and was published by a node with this name.
fn published_event(value: &[u8], name: &NodeName, ids: &HashSet<String>) -> Option<PublishedEvent> {
    let document = json::parse(value).ok()?;
    let root = document.root();
    let event_id = root.get("event_id")?.as_str().filter(|id| ids.contains(*id))?;
    let node_id = root.get("node_id")?.as_str()?;
    let writer: EventActor = node_id.parse().ok()?;
    let counter = root.get("vector_clock")?.get(node_id)?.number_text()?.parse().ok()?;
    (writer.actor.name == *name).then(|| PublishedEvent {
        event_id: event_id.to_owned(),
        writer,
        counter,
        value: value.to_owned(),
    })
}
