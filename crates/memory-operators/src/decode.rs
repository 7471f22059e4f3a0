//! The operator `decode`: a record of the events topic becomes a compact event keyed by its memory,
//! and a `memory.merged` an absorb at each memory that it takes in as well. Bad input goes to the
//! dead letters.

use std::sync::Arc;

use super::avro::{self, stopped};
use super::source_headers::Carried;
use memory::event::wire::{self, Source};
use memory::event::{Encoding, Event, EventKind, Limits};
use memory::sync;
use streams::ports::{Codec, CodecError};
use streams::processor::{Processor, ProcessorContext, ProcessorError};
use streams::record::{Headers, InRecord, Record};

/// Counter: events of a type that changes no state, of whatever name.
pub const UNKNOWN_TYPES: &str = "unknown_event_types";
/// Counter: events that were decoded and change no memory, by reason (`sync_request`: every
/// partition answers it; `no_memory`).
pub const STATELESS_EVENTS: &str = "stateless_events";

/// Decodes events and re-keys them by memory.
pub struct Decode {
    limits: Limits,
    encoding: Encoding,
    codec: Option<Arc<dyn Codec>>,
    carries_original: bool,
    buffer: Vec<u8>,
}

impl Decode {
    /// A decoder with these limits; without a codec Avro is of an unknown schema.
    pub fn new(limits: Limits, codec: Option<Arc<dyn Codec>>) -> Decode {
        Decode { limits, encoding: Encoding::Auto, codec, carries_original: false, buffer: Vec::new() }
    }

    /// The same, which sends each event's source record along: where tombstones are forgotten, what
    /// comes too late is to be a dead letter as it came.
    pub fn carrying(self, carries_original: bool) -> Decode {
        Decode { carries_original, ..self }
    }

    /// The same of values of this encoding alone.
    #[must_use]
    pub fn of(self, encoding: Encoding) -> Decode {
        Decode { encoding, ..self }
    }

    /// The event of a value of any encoding; or the class of a dead letter, and what is wrong.
    fn event(
        &self,
        value: Option<&[u8]>,
        timestamp_ms: i64,
    ) -> Result<Result<Event, (&'static str, String)>, ProcessorError> {
        match avro::event(value, timestamp_ms, &self.limits, self.encoding, self.codec.as_deref()) {
            Ok(event) => Ok(Ok(event)),
            Err(CodecError::Bad { class, message }) => Ok(Err((class, message))),
            Err(other) => Err(stopped(other)),
        }
    }

    fn forward(
        &mut self,
        ctx: &mut dyn ProcessorContext<'_>,
        at: &InRecord<'_>,
        event: &Event,
        memory: &str,
        absorb_into: Option<&str>,
    ) -> Result<(), ProcessorError> {
        let origin = at.origin;
        let source = Source { topic: origin.topic, partition: origin.partition, offset: origin.offset };
        self.buffer.clear();
        wire::encode(event, &source, origin.timestamp_ms, absorb_into, &mut self.buffer);
        let key = Some(memory.as_bytes());
        let value = Some(&self.buffer[..]);
        let sent = Record { key, value, headers: Headers::NONE, timestamp_ms: timestamp_ms(event, at) };
        if !self.carries_original {
            return ctx.forward(&sent);
        }
        let carried = Carried::of(&at.record);
        let headers = carried.headers();
        let whole = Record { headers: Headers::List(&headers), ..sent };
        if ctx.fits(&whole) {
            return ctx.forward(&whole);
        }
        let carried = Carried::of(&at.record).without_value();
        ctx.forward(&Record { headers: Headers::List(&carried.headers()), ..sent })
    }

    /// Every partition holds some of the memories that are asked for.
    fn broadcast_sync_request(
        &mut self,
        ctx: &mut dyn ProcessorContext<'_>,
        at: &InRecord<'_>,
        event: &Event,
    ) -> Result<(), ProcessorError> {
        let origin = at.origin;
        let source = Source { topic: origin.topic, partition: origin.partition, offset: origin.offset };
        let timestamp_ms = timestamp_ms(event, at);
        self.buffer.clear();
        sync::encode(event, &source, origin.timestamp_ms, timestamp_ms, &mut self.buffer);
        ctx.count(STATELESS_EVENTS, "sync_request", 1);
        ctx.broadcast(&Record { key: None, value: Some(&self.buffer), headers: Headers::NONE, timestamp_ms })
    }
}

/// The broker accepted the record's time, so a wrong machine clock cannot run stream time ahead.
fn timestamp_ms(event: &Event, at: &InRecord<'_>) -> i64 {
    let event_ms = (event.timestamp / 1_000_000) as i64;
    event_ms.min(at.origin.timestamp_ms).max(1)
}

impl Processor for Decode {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let Some(at) = ctx.source() else {
            return Err(ProcessorError::Failed(
                "decode has no source record: give it a source as its parent".to_owned(),
            ));
        };
        let event = match self.event(record.value, at.origin.timestamp_ms)? {
            Ok(event) => event,
            Err((class, message)) => return ctx.dead_letter(class, &message),
        };
        match (&event.kind, &event.memory_id) {
            (EventKind::Other(_), _) => ctx.count(UNKNOWN_TYPES, "", 1),
            (EventKind::SyncRequest, _) => self.broadcast_sync_request(ctx, &at, &event)?,
            (_, None) => ctx.count(STATELESS_EVENTS, "no_memory", 1),
            (kind, Some(memory)) => {
                self.forward(ctx, &at, &event, memory, None)?;
                if *kind == EventKind::Merged {
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
