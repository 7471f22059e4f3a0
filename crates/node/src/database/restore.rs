//! User snapshots that are brought back.
//!
//! A snapshot is restored in one transaction, with the request for what has changed since: so no
//! memory stays as an old snapshot has it without the stream being asked.

use std::cmp::Ordering;

use memory::clock;

use super::schema::damage;
use super::view::MemoryRow;
use super::writer::Writer;
use crate::overlay::Heading;
use crate::ports::JournalError;
use crate::restore::{RestoreError, Restored, UserSnapshot};
use crate::settings::Subscription;

impl Writer {
    /// Restores the memories of a snapshot that this node does not have as new or newer.
    pub(super) async fn restore(&mut self, snapshot: &UserSnapshot) -> Result<Restored, RestoreError> {
        let (mut restored, mut not_subscribed, mut is_any_unknown) = (0, 0, false);
        for memory in snapshot.memories() {
            let row = self.memory_row(&memory.memory_id).await?;
            let heading = Heading::of(memory.json.as_bytes()).map_err(|problem| damage(&problem))?;
            if !self.is_kept(&row, &heading) {
                not_subscribed += 1;
            } else if is_older(&row, &heading)? {
                is_any_unknown |= !row.exists;
                self.put_restored(&memory.memory_id, &memory.json).await?;
                self.refresh(&memory.memory_id).await?;
                restored += 1;
            }
        }
        // A node that keeps some memories alone may have forgotten one since it went to another
        // user, and a request for this user would not be answered with it.
        let asks_for_all = is_any_unknown && self.settings.subscription != Subscription::All;
        let request = self.request_sync((!asks_for_all).then_some(snapshot.user_id())).await?;
        let memories = snapshot.memories().len() as u64;
        Ok(Restored { user_id: snapshot.user_id().to_owned(), memories, restored, not_subscribed, request })
    }
}

/// Whether the resolved memory of a row is older than that of a snapshot: its clock is below it.
fn is_older(row: &MemoryRow, new: &Heading) -> Result<bool, JournalError> {
    let Some(resolved) = &row.resolved else { return Ok(true) };
    let old = Heading::of(resolved.as_bytes()).map_err(|problem| damage(&problem))?;
    Ok(clock::compare(old.clock_entries(), new.clock_entries()) == Some(Ordering::Less))
}
