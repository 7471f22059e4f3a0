//! Answers to sync requests: a scan of the store in slices, one a commit, so that events are not
//! kept waiting. A request and how far its answer is lie in the store until it is done, so an
//! answer goes on where it was after a crash, and wherever its task goes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::store_rows::{StoreRows, state_error};
use memory::binary::{Reader, put_bytes};
use memory::state::{Row, memory_of_head};
use memory::sync::{self, Request};
use memory::view::{ResolutionContext, Resolved};
use streams::error::Error;
use streams::processor::{ProcessorContext, ProcessorError, StoreRef};

/// Prefix of the keys of requests: no memory has the empty id.
pub const REQUESTS: [u8; 2] = [0, b's'];
/// Memories looked at between two commits, at most.
const SLICE: usize = 1024;
/// Bytes answered between two commits, about.
const SLICE_BYTES: usize = 1 << 20;

/// Counter: sync requests that reached the task, and those that were answered whole.
pub const SYNCS: &str = "sync_requests";

/// A request that is being answered.
struct PendingRequest {
    /// As it came.
    request: Vec<u8>,
    /// The last memory that was looked at; empty at the beginning.
    cursor: String,
}

impl PendingRequest {
    fn row(&self) -> Vec<u8> {
        let mut row = vec![1];
        put_bytes(&mut row, &self.request);
        row.extend_from_slice(self.cursor.as_bytes());
        row
    }

    fn of(row: &[u8]) -> Option<PendingRequest> {
        let mut r = Reader::new(row.strip_prefix(&[1])?);
        let request = r.bytes("sync request").ok()?.to_vec();
        Some(PendingRequest { request, cursor: String::from_utf8(r.remaining().to_vec()).ok()? })
    }
}

/// The requests of a task, by their place in its log: the oldest is answered first.
#[derive(Default)]
pub(super) struct Syncs {
    pending: BTreeMap<i64, PendingRequest>,
}

/// Where a slice of an answer begins, and what it may look at.
pub(super) struct Slice<'s> {
    pub store: &'s str,
    pub context: ResolutionContext<'s>,
}

/// Content of an answer.
pub(super) struct Answer {
    pub memory: String,
    pub resolved: Resolved,
}

fn key(offset: i64) -> Vec<u8> {
    [&REQUESTS[..], &offset.to_be_bytes()].concat()
}

impl Syncs {
    /// Finds the requests that wait.
    pub fn load_requests(&mut self, store: &mut StoreRef<'_>) -> Result<(), ProcessorError> {
        let mut is_read = true;
        store.scan(&REQUESTS, |key, row| {
            let offset = key.strip_prefix(&REQUESTS).and_then(|offset| offset.try_into().ok()).map(i64::from_be_bytes);
            match offset.zip(PendingRequest::of(row)) {
                Some((offset, pending)) => _ = self.pending.insert(offset, pending),
                None => is_read = false,
            }
            if is_read { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if is_read {
            return Ok(());
        }
        Err(ProcessorError::Failed(
            "a sync request in the store cannot be read: run the program that wrote it, or a later one".to_owned(),
        ))
    }

    /// Whether a request waits.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes a request, which stands at this offset of the task's log.
    pub fn add_request(
        &mut self,
        offset: i64,
        request: &[u8],
        ctx: &mut dyn ProcessorContext<'_>,
        store: &str,
    ) -> Result<(), ProcessorError> {
        let pending = PendingRequest { request: request.to_vec(), cursor: String::new() };
        ctx.count(SYNCS, "asked", 1);
        ctx.store(store)?.put(&key(offset), pending.row())?;
        self.pending.insert(offset, pending);
        Ok(())
    }

    /// One slice of the answer to the oldest request. `is_forgotten` tells of a memory that is
    /// there and does not count; `send` sends an answer.
    pub fn answer_slice(
        &mut self,
        slice: &Slice<'_>,
        ctx: &mut dyn ProcessorContext<'_>,
        is_forgotten: impl Fn(&StoreRef<'_>, &str) -> Result<bool, ProcessorError>,
        mut send: impl FnMut(&Request<'_>, Answer, &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError>,
    ) -> Result<(), ProcessorError> {
        let Some((offset, mut pending)) = self.pending.pop_first() else { return Ok(()) };
        let request = sync::decode(&pending.request);
        let task = ctx.task();
        let mut bytes = 0;
        let request = request.map_err(|e| Error::Corrupted { task, what: format!("a sync request {e}") })?;
        let memories = next(&mut ctx.store(slice.store)?, &pending.cursor)?;
        for memory in &memories {
            let store = ctx.store(slice.store)?;
            pending.cursor.clone_from(memory);
            if is_forgotten(&store, memory)? {
                continue;
            }
            let unseen = sync::unseen(&StoreRows(&store), memory, &request, &slice.context);
            let Some(resolved) = unseen.map_err(|e| state_error(task, e))? else { continue };
            bytes += resolved.json.len();
            send(&request, Answer { memory: memory.clone(), resolved }, ctx)?;
            if bytes > SLICE_BYTES {
                break;
            }
        }
        let is_done = memories.len() < SLICE && memories.last().is_none_or(|last| *last == pending.cursor);
        if is_done {
            ctx.count(SYNCS, "answered", 1);
            return ctx.store(slice.store)?.delete(&key(offset));
        }
        ctx.store(slice.store)?.put(&key(offset), pending.row())?;
        self.pending.insert(offset, pending);
        Ok(())
    }
}

/// The next memories of the store, in its order.
fn next(store: &mut StoreRef<'_>, cursor: &str) -> Result<Vec<String>, ProcessorError> {
    let mut found = Vec::new();
    // A memory's head comes first of its rows, and all of them begin alike.
    let start = if cursor.is_empty() { vec![1] } else { Row::Head.key(cursor) };
    store.scan_from(b"", &start, |key, _| {
        found.extend(memory_of_head(key).filter(|memory| *memory != cursor).map(str::to_owned));
        if found.len() < SLICE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(found)
}
