//! A store that forgets: a key that was not written for so much stream time is gone, from the
//! changelog too.
//!
//! A key past its time counts as gone at once, whenever it is read. Its rows are deleted a little
//! later, at a cost that goes with what is forgotten: beside the values the store holds an index by
//! time, of which each write, and each punctuation, takes a bounded slice. A write so takes away
//! more than it adds, and quiet times are made use of. The index is as coarse as a sixteenth of the
//! retention, so that a key which is written all the time seldom moves in it.
//!
//! Both are functions of the log alone: what is deleted when follows from stream time and the rows.

use std::ops::ControlFlow;
use std::time::Duration;

use super::context::ProcessorContext;
use super::error::ProcessorError;

type Result<T> = std::result::Result<T, ProcessorError>;

/// The first byte of a value's row. Behind it stand the time of the write and the time under which
/// the index has it ([`NOT_INDEXED`]: it has not), milliseconds since 1970, big-endian, and the
/// value.
const VERSION: u8 = 1;
const NOT_INDEXED: i64 = -1;
/// First bytes of keys: of the values, and of the index by time. Behind the latter stand the time
/// and the key; the row's value is empty.
const VALUES: u8 = b'k';
const TIMES: u8 = b't';
/// Index rows that a write looks at, and a punctuation.
const WRITE_SLICE: usize = 2;
const PUNCTUATION_SLICE: usize = 1000;
/// The index is so many times finer than the retention.
const STEPS: i64 = 16;

/// A processor's way to one of its stores, whose every row is its own. It is made with the
/// processor, since it keeps where in the index it is.
pub struct Retained {
    store: String,
    /// In milliseconds; `None` keeps all.
    retention_ms: Option<i64>,
    /// No index row lies below.
    cursor: Vec<u8>,
}

/// A value's row.
struct Row {
    written_ms: i64,
    indexed_ms: i64,
    value: Vec<u8>,
}

impl Row {
    fn decode(bytes: &[u8]) -> Option<Row> {
        let (version, rest) = bytes.split_first()?;
        let (written, rest) = rest.split_first_chunk()?;
        let (indexed, value) = rest.split_first_chunk()?;
        let written_ms = i64::from_be_bytes(*written);
        let indexed_ms = i64::from_be_bytes(*indexed);
        (*version == VERSION).then(|| Row { written_ms, indexed_ms, value: value.to_vec() })
    }
}

fn encode(written_ms: i64, indexed_ms: i64, value: &[u8]) -> Vec<u8> {
    [&[VERSION], &written_ms.to_be_bytes()[..], &indexed_ms.to_be_bytes()[..], value].concat()
}

fn value_key(key: &[u8]) -> Vec<u8> {
    [&[VALUES], key].concat()
}

fn time_key(time_ms: i64, key: &[u8]) -> Vec<u8> {
    [&[TIMES], &time_ms.to_be_bytes()[..], key].concat()
}

/// The time in an index row's key; `None` for the mere beginning of one.
fn time_of(index_key: &[u8]) -> Option<i64> {
    index_key.get(1..)?.first_chunk().copied().map(i64::from_be_bytes)
}

/// The key in an index row's key.
fn key_of(index_key: &[u8]) -> &[u8] {
    index_key.get(1 + size_of::<i64>()..).unwrap_or_default()
}

impl Retained {
    /// Of the store of this name. Without a retention it is a plain store whose rows bear the time
    /// of their write, so that one may be set later: what was written before then counts as gone in
    /// its time, and its row goes once it is written again and left.
    pub fn new(store: &str, retention: Option<Duration>) -> Retained {
        let retention_ms = retention.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX).max(1));
        Retained { store: store.to_owned(), retention_ms, cursor: vec![TIMES] }
    }

    /// How often the processor is to be punctuated
    /// ([`crate::topology::TopologyBuilder::punctuate`]) and then to call [`Retained::punctuate`].
    pub fn interval(retention: Duration) -> Duration {
        let millis = u64::try_from(retention.as_millis() / 64).unwrap_or(u64::MAX);
        Duration::from_millis(millis.clamp(1, 60_000))
    }

    fn now(ctx: &dyn ProcessorContext<'_>) -> i64 {
        ctx.stream_time().ms().unwrap_or_default()
    }

    fn is_past(&self, written_ms: i64, now: i64) -> bool {
        self.retention_ms.is_some_and(|retention| now.saturating_sub(written_ms) >= retention)
    }

    /// The length of a step of the index, in milliseconds.
    fn step(retention_ms: i64) -> i64 {
        (retention_ms / STEPS).max(1)
    }

    /// The time under which the index has a key that was written then.
    fn index_time(retention_ms: i64, written_ms: i64) -> i64 {
        let step = Retained::step(retention_ms);
        written_ms / step * step
    }

    fn row(&self, ctx: &mut dyn ProcessorContext<'_>, key: &[u8]) -> Result<Option<Row>> {
        let store = ctx.store(&self.store)?;
        let Some(bytes) = store.get(&value_key(key))? else { return Ok(None) };
        let row = Row::decode(&bytes).ok_or_else(|| {
            let version = bytes.first().map_or("none".to_owned(), u8::to_string);
            ProcessorError::Failed(format!(
                "a row of store `{}` has version {version}, this release reads version {VERSION}: run the release that wrote it, or a later one",
                self.store
            ))
        })?;
        Ok(Some(row))
    }

    /// The value of a key; `None` also for one past its time.
    ///
    /// # Errors
    /// The store cannot be read, or its row is of an unknown version.
    pub fn get(&self, ctx: &mut dyn ProcessorContext<'_>, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let row = self.row(ctx, key)?;
        let now = Retained::now(ctx);
        Ok(row.filter(|row| !self.is_past(row.written_ms, now)).map(|row| row.value))
    }

    /// Writes a key, and forgets a few that are past their time.
    ///
    /// # Errors
    /// As for [`Retained::get`].
    pub fn put(&mut self, ctx: &mut dyn ProcessorContext<'_>, key: &[u8], value: &[u8]) -> Result<()> {
        let now = Retained::now(ctx);
        let indexed = self.row(ctx, key)?.map_or(NOT_INDEXED, |row| row.indexed_ms);
        self.write(ctx, key, (now, indexed), value)?;
        self.forget(ctx, WRITE_SLICE)
    }

    /// Writes a value's row, and moves its key in the index from where it was.
    fn write(
        &mut self,
        ctx: &mut dyn ProcessorContext<'_>,
        key: &[u8],
        (written, was): (i64, i64),
        value: &[u8],
    ) -> Result<()> {
        let is = self.retention_ms.map_or(NOT_INDEXED, |retention| Retained::index_time(retention, written));
        let mut store = ctx.store(&self.store)?;
        if was != is && was != NOT_INDEXED {
            store.delete(&time_key(was, key))?;
        }
        if was != is && is != NOT_INDEXED {
            let index_key = time_key(is, key);
            store.put(&index_key, Vec::new())?;
            // No later row goes below those that were looked at already, but where the retention
            // was another once.
            self.cursor = std::mem::take(&mut self.cursor).min(index_key);
        }
        store.put(&value_key(key), encode(written, is, value))
    }

    /// Deletes a key; no error when it is absent.
    ///
    /// # Errors
    /// As for [`Retained::get`].
    pub fn delete(&mut self, ctx: &mut dyn ProcessorContext<'_>, key: &[u8]) -> Result<()> {
        let Some(row) = self.row(ctx, key)? else { return Ok(()) };
        let mut store = ctx.store(&self.store)?;
        if row.indexed_ms != NOT_INDEXED {
            store.delete(&time_key(row.indexed_ms, key))?;
        }
        store.delete(&value_key(key))
    }

    /// Forgets a slice of what is past its time.
    ///
    /// # Errors
    /// As for [`Retained::get`].
    pub fn punctuate(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<()> {
        self.forget(ctx, PUNCTUATION_SLICE)
    }

    /// Looks at so many rows of the index whose whole step is past its time.
    fn forget(&mut self, ctx: &mut dyn ProcessorContext<'_>, at_most: usize) -> Result<()> {
        let Some(retention) = self.retention_ms else { return Ok(()) };
        let now = Retained::now(ctx);
        let last = now.saturating_sub(retention).saturating_sub(Retained::step(retention));
        if last < 0 || time_of(&self.cursor).is_some_and(|time| time > last) {
            return Ok(());
        }
        let (mut due, mut next): (Vec<Vec<u8>>, _) = (Vec::new(), time_key(last.saturating_add(1), b""));
        // From the cursor on: deleted rows before it, which a database steps over one by one, are
        // not met again.
        ctx.store(&self.store)?.scan_from(&[TIMES], &self.cursor, |index_key, _| {
            let is_due = time_of(index_key).is_some_and(|time| time <= last);
            if !is_due || due.len() == at_most {
                next = index_key.to_vec();
                return ControlFlow::Break(());
            }
            due.push(index_key.to_vec());
            ControlFlow::Continue(())
        })?;
        self.cursor = next;
        due.into_iter().try_for_each(|index_key| self.forget_one(ctx, &index_key, now))
    }

    /// Deletes a key that the index has as past its time. It may not be, where the retention was
    /// another once: then it is put where it belongs.
    fn forget_one(&mut self, ctx: &mut dyn ProcessorContext<'_>, index_key: &[u8], now: i64) -> Result<()> {
        let key = key_of(index_key);
        match self.row(ctx, key)? {
            Some(row) if self.is_past(row.written_ms, now) => self.delete(ctx, key),
            Some(row) => self.write(ctx, key, (row.written_ms, row.indexed_ms), &row.value),
            None => ctx.store(&self.store)?.delete(index_key),
        }
    }
}

#[cfg(test)]
mod tests;
