//! The operator `user_snapshots`: stores the memories of each user, and emits the snapshot of each
//! changed user at the end of an interval of stream time. What a snapshot costs follows what its
//! user has; who has not changed costs nothing.
//!
//! Rows: `u`, the user, then a memory's id: the resolved memory. `d` and the user: changes since
//! the user's last snapshot. `p`: the interval's end for which snapshots are being emitted, and how
//! far that is. Each value begins with a version byte.

use std::ops::ControlFlow;
use std::sync::Arc;

use memory::binary::{Reader, put_bytes, put_varint};
use memory::users::{Change, Heading, Snapshot};
use operators::Outputs;
use streams::error::Error;
use streams::processor::{Processor, ProcessorContext, ProcessorError, StoreRef};
use streams::record::{Header, Headers, Record};

/// Counter: user snapshots emitted, parts counted each.
pub const USER_SNAPSHOTS: &str = "user_snapshots";

const HEADERS: &[Header<'static>] = &[("type", Some(b"user.snapshot")), ("schema_version", Some(b"1"))];
const VERSION: u8 = 1;
pub(super) const PENDING: &[u8] = b"p";
/// Prefix of the keys of counts of changes.
pub(super) const DIRTY: &[u8] = b"d";
/// Users and bytes that are emitted at once, at most, about; the rest comes commit by commit.
const SLICE: usize = 500;
const SLICE_BYTES: usize = 4 << 20;

/// How user snapshots are made, and who takes them.
#[derive(Clone)]
pub struct UserOptions {
    /// Application id.
    pub application_id: String,
    /// Name of the store.
    pub store: String,
    /// A user that has changed so often since the last snapshot has one at once; 0: only at the end
    /// of an interval.
    pub changes: u64,
    /// Nodes that take the snapshots.
    pub snapshots: Outputs,
}

/// Snapshots that are being emitted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PendingInterval {
    boundary_ms: i64,
    /// The last user that was looked at; empty at the beginning.
    cursor: Vec<u8>,
}

impl PendingInterval {
    fn row(&self) -> Vec<u8> {
        let mut row = vec![VERSION];
        row.extend_from_slice(&self.boundary_ms.to_be_bytes());
        row.extend_from_slice(&self.cursor);
        row
    }

    fn of(row: &[u8]) -> Option<PendingInterval> {
        let (boundary, cursor) = row.strip_prefix(&[VERSION])?.split_first_chunk()?;
        Some(PendingInterval { boundary_ms: i64::from_be_bytes(*boundary), cursor: cursor.to_vec() })
    }
}

/// Keeps and emits user snapshots.
pub struct UserSnapshots {
    options: Arc<UserOptions>,
    pending: Option<PendingInterval>,
    /// Whether the encoders of the outputs have all that they need of others.
    is_prepared: bool,
}

fn memories_of(user: &[u8]) -> Vec<u8> {
    let mut key = vec![b'u'];
    put_bytes(&mut key, user);
    key
}

fn dirty(user: &[u8]) -> Vec<u8> {
    [DIRTY, user].concat()
}

impl UserSnapshots {
    /// An operator with these options.
    pub fn new(options: Arc<UserOptions>) -> UserSnapshots {
        UserSnapshots { options, pending: None, is_prepared: false }
    }

    /// Notes a change, and how many there were of this user since its last snapshot.
    fn store_change(&self, user: &[u8], change: &Change<'_>, store: &mut StoreRef<'_>) -> Result<u64, ProcessorError> {
        let mut key = memories_of(user);
        key.extend_from_slice(change.memory.as_bytes());
        match change.resolved {
            Some(resolved) => store.put(&key, [&[VERSION], resolved].concat())?,
            None => store.delete(&key)?,
        }
        let key = dirty(user);
        let before = match store.get(&key)? {
            None => 0,
            Some(row) => changes(&row).ok_or_else(|| unreadable("the count of a user's changes"))?,
        };
        let mut row = vec![VERSION];
        put_varint(&mut row, before + 1);
        store.put(&key, row)?;
        Ok(before + 1)
    }

    /// Emits the snapshot of one user; how many bytes it has.
    fn emit(&self, user: &[u8], boundary_ms: i64, ctx: &mut dyn ProcessorContext<'_>) -> Result<usize, ProcessorError> {
        let task = ctx.task();
        let damaged = |what: String| ProcessorError::from(Error::Corrupted { task, what });
        let mut rows: Vec<(String, Vec<u8>)> = Vec::new();
        let prefix = memories_of(user);
        let mut is_read = true;
        let store = &mut ctx.store(&self.options.store)?;
        store.scan(&prefix, |key, row| {
            let id = std::str::from_utf8(&key[prefix.len()..]).ok();
            match id.zip(row.strip_prefix(&[VERSION])) {
                Some((id, json)) => rows.push((id.to_owned(), json.to_vec())),
                None => is_read = false,
            }
            if is_read { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        store.delete(&dirty(user))?;
        let name = std::str::from_utf8(user).map_err(|_| damaged("a user's id is no text".to_owned()))?;
        if !is_read {
            return Err(unreadable("a user's memory"));
        }
        let heading = Heading {
            application_id: &self.options.application_id,
            user: name,
            timestamp: u64::try_from(boundary_ms).unwrap_or(0).saturating_mul(1_000_000),
        };
        let memories = rows.iter().map(|(id, json)| (id.as_str(), &json[..]));
        let snapshot = Snapshot::new(heading, memories).map_err(|e| damaged(e.to_string()))?;
        let key = format!("user:{name}");
        let record = Record {
            key: Some(key.as_bytes()),
            value: None,
            headers: Headers::List(HEADERS),
            timestamp_ms: boundary_ms.max(1),
        };
        let mut bytes = 0;
        for target in &self.options.snapshots.list {
            let mut failure = None;
            let parts = snapshot.parts(|json| match target.value(json) {
                Ok(value) => ctx.fits_in(&target.node, &Record { value: Some(&value), ..record }),
                Err(error) => {
                    failure = Some(error);
                    true
                }
            });
            failure.map_or(Ok(()), Err)?;
            for part in &parts {
                bytes += part.len();
                ctx.count(USER_SNAPSHOTS, "", 1);
                self.options.snapshots.emit_to(target, &Record { value: Some(part), ..record }, ctx)?;
            }
        }
        Ok(bytes)
    }

    /// Emits a slice of the snapshots that are due. What is left is noted, and waits for the next
    /// commit.
    fn slice(
        &mut self,
        mut pending: PendingInterval,
        ctx: &mut dyn ProcessorContext<'_>,
    ) -> Result<(), ProcessorError> {
        let mut users: Vec<Vec<u8>> = Vec::new();
        let cursor = pending.cursor.clone();
        ctx.store(&self.options.store)?.scan_from(DIRTY, &dirty(&cursor), |key, _| {
            users.extend(key.strip_prefix(DIRTY).filter(|user| **user != cursor[..]).map(<[u8]>::to_vec));
            if users.len() < SLICE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let mut bytes = 0;
        for user in &users {
            bytes += self.emit(user, pending.boundary_ms, ctx)?;
            pending.cursor.clone_from(user);
            if bytes > SLICE_BYTES {
                break;
            }
        }
        let is_done = users.len() < SLICE && users.last().is_none_or(|last| *last == pending.cursor);
        let mut store = ctx.store(&self.options.store)?;
        if is_done {
            self.pending = None;
            return store.delete(PENDING);
        }
        store.put(PENDING, pending.row())?;
        self.pending = Some(pending);
        Ok(())
    }
}

fn changes(row: &[u8]) -> Option<u64> {
    Reader::new(row.strip_prefix(&[VERSION])?).varint("changes").ok()
}

fn unreadable(what: &str) -> ProcessorError {
    ProcessorError::Failed(format!("{what} in the store cannot be read: run the program that wrote it, or a later one"))
}

impl Processor for UserSnapshots {
    fn init(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let store = ctx.store(&self.options.store)?;
        self.pending = match store.get(PENDING)? {
            None => None,
            Some(row) => Some(PendingInterval::of(&row).ok_or_else(|| unreadable("the state of user snapshots"))?),
        };
        Ok(())
    }

    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        // Before anything is done that brings outputs about.
        if !self.is_prepared {
            self.options.snapshots.prepare()?;
            self.is_prepared = true;
        }
        let failed = |what: String| ProcessorError::Failed(format!("{what} (task {})", ctx.task()));
        let (Some(user), Some(value)) = (record.key, record.value) else {
            return Err(failed("a record of the repartition topic has no user or no change".to_owned()));
        };
        let change = Change::decode(value).map_err(|e| failed(format!("an internal change of a user {e}")))?;
        let count = self.store_change(user, &change, &mut ctx.store(&self.options.store)?)?;
        if self.options.changes > 0 && count >= self.options.changes {
            self.emit(user, ctx.stream_time().ms().unwrap_or_default(), ctx)?;
        }
        Ok(())
    }

    fn punctuate(&mut self, boundary_ms: i64, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        self.slice(PendingInterval { boundary_ms, cursor: Vec::new() }, ctx)
    }

    fn has_background_work(&self) -> bool {
        self.pending.is_some()
    }

    fn background_step(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        match self.pending.take() {
            Some(pending) => self.slice(pending, ctx),
            None => Ok(()),
        }
    }
}
