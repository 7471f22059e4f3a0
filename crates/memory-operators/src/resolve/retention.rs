//! Tombstone retention: forgets memories that were deleted long ago by stream time, and recognises
//! events that come too late for them.

use std::ops::ControlFlow;

use memory::retention::{INDEX, Retention, index_key, indexed, last_key, last_of, last_row};
use memory::state::{Row, prefix};
use streams::processor::{ProcessorContext, ProcessorError, StoreRef};

/// How many memories are forgotten between two commits at most.
const SLICE: usize = 1000;

/// Counter: memories that were forgotten.
pub const FORGOTTEN: &str = "forgotten_memories";

/// The deleted memories of a task, and when the first of them is due.
pub(super) struct Tombstones {
    retention: Retention,
    /// The last event's time of the memory that is due first, as far as it is known: none is due
    /// before.
    first_ms: Option<i64>,
    is_due: bool,
}

/// Verdict of retention on an event.
pub(super) enum Verdict {
    /// It is let in; with the last event's time of its memory, if that was not active.
    LetIn(Option<i64>),
    /// It comes too late.
    Expired,
}

impl Tombstones {
    pub fn new(retention: Retention) -> Tombstones {
        Tombstones { retention, first_ms: None, is_due: false }
    }

    /// Looks for the memory that is due first.
    pub fn find_first_due(
        &mut self,
        store: &mut StoreRef<'_>,
        stream_time_ms: Option<i64>,
    ) -> Result<(), ProcessorError> {
        self.first_ms = first(store, 1)?.first().map(|(last_ms, _)| *last_ms);
        self.pass(stream_time_ms);
        Ok(())
    }

    /// Stream time is this now.
    pub fn pass(&mut self, stream_time_ms: Option<i64>) {
        self.is_due = self.first_ms.is_some_and(|first| self.retention.is_over(first, stream_time_ms));
    }

    /// Whether a memory waits to be forgotten.
    pub fn is_due(&self) -> bool {
        self.is_due
    }

    /// Whether a memory that is still there counts as forgotten already.
    pub fn is_forgotten(
        &self,
        store: &StoreRef<'_>,
        memory: &str,
        stream_time_ms: Option<i64>,
    ) -> Result<bool, ProcessorError> {
        Ok(last(store, memory)?.is_some_and(|last_ms| self.retention.is_over(last_ms, stream_time_ms)))
    }

    /// Decides about an event. A memory that was due before it is forgotten first.
    pub fn judge(
        &self,
        memory: &str,
        timestamp_ms: i64,
        ctx: &mut dyn ProcessorContext<'_>,
        name: &str,
    ) -> Result<Verdict, ProcessorError> {
        let before = ctx.stream_time_before().ms();
        let now = ctx.stream_time().ms();
        let store = &mut ctx.store(name)?;
        let mut last_ms = last(store, memory)?;
        let mut is_known = last_ms.is_some() || store.get(&Row::Head.key(memory))?.is_some();
        if let Some(due) = last_ms.filter(|last_ms| self.retention.is_over(*last_ms, before)) {
            forget(store, memory, due)?;
            (last_ms, is_known) = (None, false);
            ctx.count(FORGOTTEN, "", 1);
        }
        if !is_known && self.retention.is_over(timestamp_ms, now) {
            return Ok(Verdict::Expired);
        }
        Ok(Verdict::LetIn(last_ms))
    }

    /// An event has reached a memory, that was and is remembered until then if these times are
    /// told.
    pub fn reached(
        &mut self,
        store: &mut StoreRef<'_>,
        memory: &str,
        was_ms: Option<i64>,
        is_ms: Option<i64>,
    ) -> Result<(), ProcessorError> {
        if was_ms == is_ms {
            return Ok(());
        }
        if let Some(was_ms) = was_ms {
            store.delete(&index_key(was_ms, memory))?;
        }
        match is_ms {
            None => store.delete(&last_key(memory)),
            Some(is_ms) => {
                self.first_ms = Some(self.first_ms.map_or(is_ms, |first| first.min(is_ms)));
                store.put(&last_key(memory), last_row(is_ms))?;
                store.put(&index_key(is_ms, memory), vec![1])
            }
        }
    }

    /// Forgets a slice of what is due.
    pub fn forget_due(&mut self, ctx: &mut dyn ProcessorContext<'_>, name: &str) -> Result<(), ProcessorError> {
        let now = ctx.stream_time().ms();
        let store = &mut ctx.store(name)?;
        let mut due = first(store, SLICE)?;
        due.retain(|(last_ms, _)| self.retention.is_over(*last_ms, now));
        for (last_ms, memory) in &due {
            forget(store, memory, *last_ms)?;
        }
        self.find_first_due(store, now)?;
        ctx.count(FORGOTTEN, "", due.len() as u64);
        Ok(())
    }
}

/// The memories that are due first, with the times of their last events.
fn first(store: &mut StoreRef<'_>, at_most: usize) -> Result<Vec<(i64, String)>, ProcessorError> {
    let mut found = Vec::new();
    store.scan(&INDEX, |key, _| {
        found.extend(indexed(key).map(|(last_ms, memory)| (last_ms, memory.to_owned())));
        if found.len() < at_most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(found)
}

fn last(store: &StoreRef<'_>, memory: &str) -> Result<Option<i64>, ProcessorError> {
    let Some(row) = store.get(&last_key(memory))? else { return Ok(None) };
    match last_of(&row) {
        Some(last_ms) => Ok(Some(last_ms)),
        None => Err(ProcessorError::Failed(format!(
            "the time of the last event of memory {memory:?} cannot be read: run the program that wrote it, or a later one"
        ))),
    }
}

/// Takes away every row of a memory.
fn forget(store: &mut StoreRef<'_>, memory: &str, last_ms: i64) -> Result<(), ProcessorError> {
    let mut rows = Vec::new();
    store.scan(&prefix(memory), |key, _| {
        rows.push(key.to_vec());
        ControlFlow::Continue(())
    })?;
    rows.push(index_key(last_ms, memory));
    rows.iter().try_for_each(|key| store.delete(key))
}
