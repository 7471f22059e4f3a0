//! User snapshots that are brought back.
//!
//! A snapshot is restored in chunks, so that other requests have their turn between. Each chunk is
//! true by itself, and its transaction leaves a request for what has changed since. That is sent
//! once the last chunk is there ([`Signals::hold_requests`](super::Signals::hold_requests)), also
//! where the process ends between: so no memory stays as an old snapshot has it without the stream
//! being asked.

use std::cmp::Ordering;

use memory::clock;

use super::schema::damage;
use super::view::{MemoryRow, Resolution};
use super::writer::Writer;
use crate::overlay::Heading;
use crate::ports::JournalError;
use crate::resolved_state::StateSource;
use crate::restore::{Chunk, RestoreError, RestoredChunk};
use crate::settings::Subscription;

impl Writer {
    /// Restores the memories of a chunk that this node does not have as new or newer.
    pub(super) async fn restore(&mut self, chunk: &Chunk) -> Result<RestoredChunk, RestoreError> {
        let before = chunk.before.as_ref();
        let (mut restored, mut not_subscribed) = before.map_or((0, 0), |b| (b.restored, b.not_subscribed));
        let mut asks_for_all = before.is_some_and(|before| before.asks_for_all);
        for memory in &chunk.memories {
            let row = self.memory_row(&memory.memory_id).await?;
            let heading = Heading::of(memory.json.as_bytes()).map_err(|problem| damage(&problem))?;
            if !self.is_kept(&row, &heading) {
                not_subscribed += 1;
            } else if is_older(&row, &heading)? {
                // A node that keeps some memories alone may have forgotten one since it went to
                // another user, and a request for this user would not be answered with it.
                asks_for_all |= !row.exists && self.settings.subscription != Subscription::All;
                self.follow_version(&memory.memory_id, heading.version);
                let user = heading.user_id.as_deref();
                self.note_state(&memory.memory_id, &row, &memory.json, StateSource::Restore, user)?;
                let resolution = Resolution { json: memory.json.clone(), heading, source: None };
                self.resolve(&memory.memory_id, row, resolution)?;
                restored += 1;
            }
        }
        let user = (!asks_for_all).then_some(chunk.user_id.as_str());
        let request = match before {
            None => self.request_sync(user).await?,
            // What is restored already is not refused any more.
            Some(before) => {
                let request = self.request_soon(user).await?;
                let is_same = request.event_id == before.request.event_id;
                if is_same { before.request.clone() } else { request }
            }
        };
        Ok(RestoredChunk { restored, not_subscribed, asks_for_all, request })
    }
}

/// Whether the resolved memory of a row is older than that of a snapshot: its clock is below it.
fn is_older(row: &MemoryRow, new: &Heading) -> Result<bool, JournalError> {
    let Some(resolved) = &row.resolved else { return Ok(true) };
    let old = Heading::of(resolved.as_bytes()).map_err(|problem| damage(&problem))?;
    Ok(clock::compare(old.clock_entries(), new.clock_entries()) == Some(Ordering::Less))
}
