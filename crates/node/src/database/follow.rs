//! Resolved memories of the snapshots topic.

use std::cmp::Ordering;

use memory::clock;

use super::connection::statement;
use super::view::{MemoryRow, Resolution};
use super::writer::{Batch, Writer};
use crate::overlay::Heading;
use crate::ports::{JournalError, SnapshotRecord};
use crate::resolved_state::StateSource;

impl Writer {
    /// Applies the records of one partition, and moves its position behind them.
    pub(super) async fn apply(&mut self, batch: &Batch<SnapshotRecord>) -> Result<(), JournalError> {
        for record in &batch.records {
            self.apply_one(batch, record).await?;
        }
        self.put_position(&batch.topic, batch.partition, batch.next_offset)
    }

    /// Moves the position of a partition.
    pub(super) fn put_position(&mut self, topic: &str, partition: i32, next_offset: i64) -> Result<(), JournalError> {
        let position = statement(
            "INSERT INTO positions (topic, partition, next_offset) VALUES (?, ?, ?)
            ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
        );
        self.connection.queue(&position.bind(topic).bind(partition).bind(next_offset))
    }

    /// Moves the position of a partition to its first record, and asks for all memories, since
    /// records before that are gone.
    pub(super) async fn begin_again(&mut self, topic: &str, partition: i32, start: i64) -> Result<(), JournalError> {
        self.put_position(topic, partition, start)?;
        self.note_request(None).await
    }

    async fn apply_one(&mut self, batch: &Batch<SnapshotRecord>, record: &SnapshotRecord) -> Result<(), JournalError> {
        let json = std::str::from_utf8(&record.value).map_err(|error| error.to_string());
        let read = json.and_then(|json| Ok((json, Heading::of(json.as_bytes())?)));
        let read = read.and_then(|(json, heading)| {
            let is_known = matches!(heading.status.as_str(), "active" | "deleted" | "merged");
            if is_known { Ok((json, heading)) } else { Err(format!("its status is {:?}", heading.status)) }
        });
        let (json, heading) = match read {
            Ok(read) => read,
            Err(problem) => {
                let (topic, partition, offset) = (&batch.topic, batch.partition, record.offset);
                tracing::warn!(
                    code = "HS8004", topic, partition, offset, %problem,
                    "a record of the snapshots topic is no resolved memory and is left out"
                );
                return Ok(());
            }
        };
        self.follow_version(&record.memory_id, heading.version);
        self.note_listed(&record.memory_id, &heading)?;
        let row = self.memory_row(&record.memory_id).await?;
        if !is_newer(&row, &heading, batch.partition, record.offset)? {
            return Ok(());
        }
        if !self.is_kept(&row, &heading) {
            return self.forget(&record.memory_id).await;
        }
        self.note_state(&record.memory_id, &row, json, StateSource::Stream, heading.user_id.as_deref())?;
        let source = Some((i64::from(batch.partition), record.offset));
        let resolution = Resolution { json: json.to_owned(), heading, source };
        self.resolve(&record.memory_id, row, resolution)?;
        Ok(())
    }

    /// Follows a version, and reports one that is far ahead of the wall clock, once in a process.
    pub(super) fn follow_version(&mut self, memory_id: &str, version: u64) {
        let lead = self.state.clock.observe(version, self.now_ns());
        if let (Some(lead), false) = (lead, self.has_warned) {
            self.has_warned = true;
            let seconds = lead / 1_000_000_000;
            tracing::warn!(
                code = "HS8005",
                memory_id,
                seconds,
                "the version of a memory is ahead of this machine's clock; the versions of this node's writes follow it"
            );
        }
    }
}

/// Whether a record is newer than what its row has: it stands after it in the same partition, or
/// its clock is not covered. The topic may have grown by partitions, or may have been created anew.
///
/// A row that came from a user snapshot stands in no partition, and the follower may still be
/// reading what is older.
fn is_newer(row: &MemoryRow, new: &Heading, partition: i32, offset: i64) -> Result<bool, JournalError> {
    let Some(resolved) = &row.resolved else { return Ok(true) };
    let is_same_partition = row.source.is_some_and(|(old, _)| old == i64::from(partition));
    if is_same_partition && row.source.is_some_and(|(_, old)| offset > old) {
        return Ok(true);
    }
    let old = Heading::of(resolved.as_bytes()).map_err(|problem| super::schema::damage(&problem))?;
    let order = clock::compare(old.clock_entries(), new.clock_entries());
    Ok(match row.source {
        None => order != Some(Ordering::Greater),
        Some(_) if is_same_partition => order == Some(Ordering::Less),
        Some(_) => !matches!(order, Some(Ordering::Equal | Ordering::Greater)),
    })
}
