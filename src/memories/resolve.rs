//! The operator `resolve`: lets each event into its memory's state, and emits what changed.

use std::sync::Arc;

use super::encode::{Output, Taker};
use crate::domain::binary::BinaryError;
use crate::domain::event::wire;
use crate::domain::resolve::Reading;
use crate::domain::resolver::CustomResolver;
use crate::domain::settings::Settings;
use crate::domain::state::{ReadFailure, Rows, StateError};
use crate::domain::step::{Outcome, step};
use crate::streams::error::Error;
use crate::streams::processor::{Context, Processor, ProcessorError, StoreRef};
use crate::streams::record::{Header, Headers, Origin, Record};

/// Counter: conflict records that announce a conflict, by type.
pub const CONFLICTS: &str = "conflicts";
/// Counter: conflict records that end one, by type.
pub const SUPERSEDED: &str = "conflicts_superseded";
/// Counter: resolved memories emitted, by status (`active`, `inactive`).
pub const RESOLVED: &str = "resolved_memories";
/// Counter: events that reached a memory and changed nothing: redeliveries, and what later events had overtaken.
pub const UNCHANGED: &str = "unchanged_events";

const SCHEMA_VERSION: Header<'static> = ("schema_version", Some(b"1"));
const RESOLVED_HEADERS: &[Header<'static>] = &[("type", Some(b"memory.resolved")), SCHEMA_VERSION];
const CONFLICT_HEADERS: &[Header<'static>] = &[("type", Some(b"memory.conflict")), SCHEMA_VERSION];

/// How the operator resolves, and where its outputs go.
#[derive(Clone)]
pub struct ResolveOptions {
    /// The resolver's settings.
    pub settings: Settings,
    /// Decides fields whose strategy is `custom`.
    pub custom: Option<Arc<dyn CustomResolver>>,
    /// Name of the store of memories.
    pub store: String,
    /// Nodes that take resolved memories.
    pub snapshots: Vec<Taker>,
    /// Nodes that take conflict records.
    pub conflicts: Vec<Taker>,
}

/// Resolves memories.
pub struct Resolve {
    options: Arc<ResolveOptions>,
}

impl Resolve {
    /// A resolver with these options.
    pub fn new(options: Arc<ResolveOptions>) -> Resolve {
        Resolve { options }
    }

    fn emit(&self, record: &Record<'_>, outcome: &Outcome, ctx: &mut Context<'_>) -> Result<(), ProcessorError> {
        if let Some(resolved) = &outcome.resolved {
            ctx.count(RESOLVED, if resolved.is_active { "active" } else { "inactive" }, 1);
            let headers = Headers::List(RESOLVED_HEADERS);
            for taker in &self.options.snapshots {
                let value = taker.value(Output::Resolved, &resolved.json)?;
                ctx.forward_to(&taker.node, &Record { value: Some(&value), headers, ..*record })?;
            }
        }
        for conflict in &outcome.conflicts {
            let is_end = conflict.status == crate::domain::conflict::Status::Superseded;
            ctx.count(if is_end { SUPERSEDED } else { CONFLICTS }, conflict.conflict_type.as_str(), 1);
            let headers = Headers::List(CONFLICT_HEADERS);
            for taker in &self.options.conflicts {
                let value = taker.value(Output::Conflict, &conflict.json)?;
                ctx.forward_to(&taker.node, &Record { value: Some(&value), headers, ..*record })?;
            }
        }
        Ok(())
    }
}

impl Processor for Resolve {
    fn process(&mut self, record: &Record<'_>, ctx: &mut Context<'_>) -> Result<(), ProcessorError> {
        let failed = |what: String| ProcessorError::Failed(format!("{what} (task {})", ctx.task()));
        let (key, value) = match (record.key.map(std::str::from_utf8), record.value) {
            (Some(Ok(key)), Some(value)) => (key, value),
            _ => return Err(failed("a record of the repartition topic has no memory id or no event".to_owned())),
        };
        let event = wire::decode(value).map_err(|e| failed(format!("an internal event of memory {key:?} {e}")))?;
        ctx.set_origin(Origin {
            topic: event.source.topic,
            partition: event.source.partition,
            offset: event.source.offset,
            timestamp_ms: event.source_timestamp_ms,
        });
        let options = self.options.clone();
        let reading = Reading { settings: &options.settings, custom: options.custom.as_deref() };
        let task = ctx.task();
        let mut store = ctx.store(&options.store)?;
        let mut outcome = step(&StoreRows(&store), key, &event, &reading).map_err(|error| match error {
            StateError::Read { error, .. } => engine_error(error),
            StateError::Damaged { error: BinaryError::UnknownVersion { .. }, .. } => {
                ProcessorError::Failed(error.to_string())
            }
            damaged => Error::Corrupted { task, what: damaged.to_string() }.into(),
        })?;
        for (key, value) in outcome.puts.drain(..) {
            match value {
                Some(value) => store.put(&key, value)?,
                None => store.delete(&key)?,
            }
        }
        if !outcome.changed {
            ctx.count(UNCHANGED, "", 1);
        }
        self.emit(record, &outcome, ctx)
    }
}

/// The rows of memories in a store.
struct StoreRows<'s, 'a>(&'s StoreRef<'a>);

impl Rows for StoreRows<'_, '_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadFailure> {
        Ok(self.0.get(key)?.map(|value| value.to_vec()))
    }
}

/// Gives the engine its own error back.
fn engine_error(error: ReadFailure) -> ProcessorError {
    match error.downcast::<ProcessorError>() {
        Ok(engine) => *engine,
        Err(other) => ProcessorError::Failed(other.to_string()),
    }
}
