//! The operator `decode`: a record of the events topic becomes a compact event keyed by its memory, and a `memory.merged`
//! an absorb at each memory that it takes in as well. Bad input goes to the dead letters.

use crate::domain::event::wire::{self, Source};
use crate::domain::event::{self, Event, Kind, Limits};
use crate::streams::processor::{Context, Processor, ProcessorError};
use crate::streams::record::{Headers, InRecord, Record};

/// Counter: events of a type that changes no state, of whatever name.
pub const UNKNOWN_TYPES: &str = "unknown_event_types";
/// Counter: events that were decoded and change no memory, by reason (`sync_request`, `no_memory`).
pub const STATELESS_EVENTS: &str = "stateless_events";

/// Decodes events and re-keys them by memory.
pub struct Decode {
    limits: Limits,
    buffer: Vec<u8>,
}

impl Decode {
    /// A decoder with these limits.
    pub fn new(limits: Limits) -> Decode {
        Decode { limits, buffer: Vec::new() }
    }

    fn forward(
        &mut self,
        ctx: &mut Context<'_>,
        at: &InRecord<'_>,
        event: &Event,
        memory: &str,
        absorb_into: Option<&str>,
    ) -> Result<(), ProcessorError> {
        let origin = at.origin;
        let source = Source { topic: origin.topic, partition: origin.partition, offset: origin.offset };
        self.buffer.clear();
        wire::encode(event, &source, origin.timestamp_ms, absorb_into, &mut self.buffer);
        // The broker accepted the record's time, so a wrong machine clock cannot run stream time ahead.
        let event_ms = (event.timestamp / 1_000_000) as i64;
        ctx.forward(&Record {
            key: Some(memory.as_bytes()),
            value: Some(&self.buffer),
            headers: Headers::NONE,
            timestamp_ms: event_ms.min(origin.timestamp_ms).max(1),
        })
    }
}

impl Processor for Decode {
    fn process(&mut self, record: &Record<'_>, ctx: &mut Context<'_>) -> Result<(), ProcessorError> {
        let Some(at) = ctx.source() else {
            return Err(ProcessorError::Failed(
                "decode has no source record: give it a source as its parent".to_owned(),
            ));
        };
        let event = match event::decode(record.value, at.origin.timestamp_ms, &self.limits) {
            Ok(event) => event,
            Err(bad) => return ctx.dead_letter(bad.class.as_str(), &bad.message),
        };
        match (&event.kind, &event.memory_id) {
            (Kind::Other(_), _) => ctx.count(UNKNOWN_TYPES, "", 1),
            (Kind::SyncRequest, _) => ctx.count(STATELESS_EVENTS, "sync_request", 1),
            (_, None) => ctx.count(STATELESS_EVENTS, "no_memory", 1),
            (kind, Some(memory)) => {
                self.forward(ctx, &at, &event, memory, None)?;
                if *kind == Kind::Merged {
                    let absorbed = event.merged_from.iter().filter(|id| !id.is_empty() && *id != memory);
                    for id in absorbed {
                        self.forward(ctx, &at, &event, id, Some(memory))?;
                    }
                }
            }
        }
        Ok(())
    }
}
