//! The operator `resolve`: lets each event into its memory's state, and emits what changed. Beside
//! that it answers sync requests and forgets what was deleted long ago, both in slices.

mod retention;
mod store_rows;
mod sync;

use std::sync::Arc;

use super::source_headers::Original;
use memory::event::wire;
use memory::retention::Retention;
use memory::settings::ResolverSettings;
use memory::step::{Outcome, step, step_with_users};
use memory::strategy::CustomResolver;
use memory::sync::{Request, is_request};
use memory::users::Change;
use memory::view::{ResolutionContext, Resolved};
use operators::Outputs;
use retention::{Tombstones, Verdict};
use store_rows::{StoreRows, state_error};
use streams::processor::{Processor, ProcessorContext, ProcessorError, StoreRef};
use streams::record::{Header, Headers, Origin, Record};
use sync::{Answer, Slice, Syncs};

pub use retention::FORGOTTEN;
pub(super) use sync::REQUESTS as SYNC_REQUESTS;
pub use sync::SYNCS;

/// Counter: conflict records that announce a conflict, by type.
pub const CONFLICTS: &str = "conflicts";
/// Counter: conflict records that end one, by type.
pub const SUPERSEDED: &str = "conflicts_superseded";
/// Counter: resolved memories emitted, by status (`active`, `inactive`).
pub const RESOLVED: &str = "resolved_memories";
/// Counter: events that reached a memory and changed nothing: redeliveries, and what later events
/// had overtaken.
pub const UNCHANGED: &str = "unchanged_events";

const SCHEMA_VERSION: Header<'static> = ("schema_version", Some(b"1"));
const RESOLVED_HEADERS: &[Header<'static>] = &[("type", Some(b"memory.resolved")), SCHEMA_VERSION];
const CONFLICT_HEADERS: &[Header<'static>] = &[("type", Some(b"memory.conflict")), SCHEMA_VERSION];

/// How the operator resolves, and where its outputs go.
#[derive(Clone)]
pub struct ResolveOptions {
    /// The resolver's settings.
    pub settings: ResolverSettings,
    /// Decides fields whose strategy is `custom`.
    pub custom: Option<Arc<dyn CustomResolver>>,
    /// Name of the store of memories.
    pub store: String,
    /// Nodes that take resolved memories.
    pub snapshots: Outputs,
    /// Nodes that take conflict records.
    pub conflicts: Outputs,
    /// Nodes that take what becomes of users' memories.
    pub users: Outputs,
}

/// Resolves memories.
pub struct Resolve {
    options: Arc<ResolveOptions>,
    tombstones: Option<Tombstones>,
    syncs: Syncs,
    buffer: Vec<u8>,
    /// Whether the encoders of the outputs have all that they need of others.
    is_prepared: bool,
}

impl Resolve {
    /// A resolver with these options.
    pub fn new(options: Arc<ResolveOptions>) -> Resolve {
        let retention_ms = options.settings.tombstone_retention_ms();
        let tombstones = retention_ms.map(|ms| Tombstones::new(Retention { ms }));
        Resolve { options, tombstones, syncs: Syncs::default(), buffer: Vec::new(), is_prepared: false }
    }

    /// Makes sure that outputs can be written, before anything is done that brings them about.
    fn prepare(&mut self) -> Result<(), ProcessorError> {
        if !self.is_prepared {
            self.options.snapshots.prepare()?;
            self.options.conflicts.prepare()?;
            self.is_prepared = true;
        }
        Ok(())
    }

    /// The record of the repartition topic as an event, let into its memory.
    fn event(
        &mut self,
        key: &str,
        value: &[u8],
        record: &Record<'_>,
        ctx: &mut dyn ProcessorContext<'_>,
    ) -> Result<(), ProcessorError> {
        let failed = |what: String| ProcessorError::Failed(format!("{what} (task {})", ctx.task()));
        let event = wire::decode(value).map_err(|e| failed(format!("an internal event of memory {key:?} {e}")))?;
        let source_ms = event.source_timestamp_ms;
        ctx.set_origin(origin(&event.source, source_ms));
        let options = self.options.clone();
        let last_ms = match &self.tombstones {
            None => None,
            Some(tombstones) => match tombstones.judge(key, record.timestamp_ms, ctx, &options.store)? {
                Verdict::LetIn(last_ms) => last_ms,
                Verdict::Expired => return expired(key, record, source_ms, ctx),
            },
        };
        let context = ResolutionContext { settings: &options.settings, custom: options.custom.as_deref() };
        let task = ctx.task();
        let now = ctx.stream_time().ms();
        let mut store = ctx.store(&options.store)?;
        let step = if options.users.list.is_empty() { step } else { step_with_users };
        let mut outcome = step(&StoreRows(&store), key, &event, &context).map_err(|error| state_error(task, error))?;
        for (key, value) in outcome.puts.drain(..) {
            match value {
                Some(value) => store.put(&key, value)?,
                None => store.delete(&key)?,
            }
        }
        if let Some(tombstones) = &mut self.tombstones {
            let is_ms = (!outcome.is_active).then(|| Retention::last_ms(outcome.updated_at, now));
            tombstones.reached(&mut store, key, last_ms, is_ms)?;
        }
        if !outcome.changed {
            ctx.count(UNCHANGED, "", 1);
        }
        self.emit(record, &outcome, ctx)?;
        self.emit_user_changes(key, record, &outcome, ctx)
    }

    /// Tells the users of a memory what became of it.
    fn emit_user_changes(
        &mut self,
        memory: &str,
        record: &Record<'_>,
        outcome: &Outcome,
        ctx: &mut dyn ProcessorContext<'_>,
    ) -> Result<(), ProcessorError> {
        let Some(resolved) = &outcome.resolved else { return Ok(()) };
        let users = &outcome.users;
        let left = users.before.as_deref().filter(|user| Some(*user) != users.after.as_deref());
        let told = left.map(|user| (user, None)).into_iter();
        for (user, resolved) in told.chain(users.after.as_deref().map(|user| (user, Some(&resolved.json[..])))) {
            self.buffer.clear();
            Change { memory, resolved }.encode(&mut self.buffer);
            let key = Some(user.as_bytes());
            let value = Some(&self.buffer[..]);
            self.options.users.emit(&Record { key, value, headers: Headers::NONE, ..*record }, ctx)?;
        }
        Ok(())
    }

    fn resolved(
        &self,
        record: &Record<'_>,
        resolved: &Resolved,
        headers: &[Header<'_>],
        ctx: &mut dyn ProcessorContext<'_>,
    ) -> Result<(), ProcessorError> {
        ctx.count(RESOLVED, if resolved.is_active { "active" } else { "inactive" }, 1);
        let headers = Headers::List(headers);
        self.options.snapshots.emit(&Record { value: Some(&resolved.json), headers, ..*record }, ctx)
    }

    /// Sends one resolved memory to the node that asked.
    fn answer(
        &self,
        request: &Request<'_>,
        answer: &Answer,
        ctx: &mut dyn ProcessorContext<'_>,
    ) -> Result<(), ProcessorError> {
        ctx.set_origin(origin(&request.source, request.source_timestamp_ms));
        let headers =
            [RESOLVED_HEADERS[0], SCHEMA_VERSION, ("sync_for", Some(request.node.unwrap_or_default().as_bytes()))];
        let key = Some(answer.memory.as_bytes());
        let timestamp_ms = request.timestamp_ms;
        self.resolved(
            &Record { key, value: None, headers: Headers::NONE, timestamp_ms },
            &answer.resolved,
            &headers,
            ctx,
        )
    }

    fn emit(
        &self,
        record: &Record<'_>,
        outcome: &Outcome,
        ctx: &mut dyn ProcessorContext<'_>,
    ) -> Result<(), ProcessorError> {
        if let Some(resolved) = &outcome.resolved {
            self.resolved(record, resolved, RESOLVED_HEADERS, ctx)?;
        }
        for conflict in &outcome.conflicts {
            let is_end = conflict.status == memory::conflict::ConflictStatus::Superseded;
            ctx.count(if is_end { SUPERSEDED } else { CONFLICTS }, conflict.conflict_type.as_str(), 1);
            let headers = Headers::List(CONFLICT_HEADERS);
            self.options.conflicts.emit(&Record { value: Some(&conflict.json), headers, ..*record }, ctx)?;
        }
        Ok(())
    }
}

impl Processor for Resolve {
    fn init(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let now = ctx.stream_time().ms();
        let mut store = ctx.store(&self.options.store)?;
        if let Some(tombstones) = &mut self.tombstones {
            tombstones.find_first_due(&mut store, now)?;
        }
        self.syncs.load_requests(&mut store)
    }

    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        self.prepare()?;
        let offset = ctx.source().map_or(0, |source| source.origin.offset);
        match (record.key.map(std::str::from_utf8), record.value) {
            (_, Some(request)) if is_request(request) => {
                self.syncs.add_request(offset, request, ctx, &self.options.store)?;
            }
            (Some(Ok(key)), Some(value)) => self.event(key, value, record, ctx)?,
            _ => {
                let what = "a record of the repartition topic has no memory id or no event";
                return Err(ProcessorError::Failed(format!("{what} (task {})", ctx.task())));
            }
        }
        if let Some(tombstones) = &mut self.tombstones {
            tombstones.pass(ctx.stream_time().ms());
        }
        Ok(())
    }

    fn has_background_work(&self) -> bool {
        !self.syncs.is_empty() || self.tombstones.as_ref().is_some_and(Tombstones::is_due)
    }

    fn background_step(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let options = self.options.clone();
        if let Some(tombstones) = &mut self.tombstones {
            tombstones.forget_due(ctx, &options.store)?;
        }
        let context = ResolutionContext { settings: &options.settings, custom: options.custom.as_deref() };
        let mut syncs = std::mem::take(&mut self.syncs);
        let now = ctx.stream_time().ms();
        let is_forgotten = |store: &StoreRef<'_>, memory: &str| match &self.tombstones {
            None => Ok(false),
            Some(tombstones) => tombstones.is_forgotten(store, memory, now),
        };
        let slice = Slice { store: &options.store, context };
        syncs.answer_slice(&slice, ctx, is_forgotten, |request, answer, ctx| self.answer(request, &answer, ctx))?;
        self.syncs = syncs;
        Ok(())
    }
}

fn origin<'a>(source: &wire::Source<'a>, timestamp_ms: i64) -> Origin<'a> {
    Origin { topic: source.topic, partition: source.partition, offset: source.offset, timestamp_ms }
}

/// Puts an event that comes too late on the dead-letter topic, as it came.
fn expired(
    memory: &str,
    record: &Record<'_>,
    source_ms: i64,
    ctx: &mut dyn ProcessorContext<'_>,
) -> Result<(), ProcessorError> {
    let what = format!(
        "the event is older than tombstone_retention, and memory {memory:?} is not known (any more): it may have been deleted since"
    );
    ctx.dead_letter_of("expired", &what, &Original::of(record).record(source_ms))
}
