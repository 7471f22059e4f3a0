//! Branches: the actor of a stale write, and how branches go on under a new incarnation
//! ([`crate::actor`]).

use std::collections::BTreeMap;

use sqlx::query_as;

use super::schema::{failure, signed, unsigned};
use super::view::MemoryRow;
use super::writer::Writer;
use crate::actor::{MAX_BRANCHES, branch_name, branch_of, is_branch_of_node};
use crate::ports::JournalError;
use crate::settings::StaleWrites;
use crate::write::{Refusal, WriteError, WriteKind};

impl Writer {
    /// Whether the memory has a write of this actor that somebody who has seen what this clock says
    /// has not seen.
    pub(super) fn is_stale(&self, row: &MemoryRow, seen: &BTreeMap<String, u64>) -> bool {
        let entry = seen.get(&self.state.actor_name()).copied().unwrap_or(0);
        row.heading.is_some() && entry < row.last_own
    }

    /// The refusal of a write whose caller has not seen a write of this actor.
    pub(super) fn stale(&self, memory_id: &str, row: &MemoryRow) -> WriteError {
        match row.enclosed(memory_id, &self.issuer()) {
            Ok(memory) => Refusal::Stale(memory).into(),
            Err(error) => error.into(),
        }
    }

    /// The branch by which a write is written whose caller has seen what this clock says; `None`
    /// where it is refused as stale. A new branch has the name of its first event, whose counter is
    /// `counter`. A merge begins a new one: the memories that it absorbs may have events of an
    /// older one that its caller has not seen.
    pub(super) fn branch_of_write(
        &self,
        kind: WriteKind,
        row: &MemoryRow,
        seen: &BTreeMap<String, u64>,
        counter: u64,
    ) -> Option<u64> {
        let actor = self.state.actor_name();
        let heading = row.heading.as_ref().filter(|_| self.is_stale(row, seen));
        let Some(heading) = heading else { return Some(0) };
        if self.settings.stale_writes == StaleWrites::Refuse {
            return None;
        }
        // The caller goes on in a branch of which it has seen all that the node shows.
        let known = seen.iter().filter(|(name, counter)| heading.entry(name) == **counter);
        let own = known.filter_map(|(name, _)| branch_of(&actor, name).filter(|branch| *branch > 0));
        if let Some(branch) = own.max().filter(|_| kind != WriteKind::Merge) {
            return Some(branch);
        }
        let branches = heading.clock.iter().filter(|(name, _)| is_branch_of_node(&self.state.actor.name, name));
        (branches.count() < MAX_BRANCHES).then_some(counter)
    }

    /// The entries of a clock by which the events to these memories count that a clock of a former
    /// incarnation covers by this entry: under the next one (`next`) where they were written again,
    /// and under the actor of a copy of the folder where that one has published them.
    async fn renamed(
        &mut self,
        incarnation: &str,
        next: &str,
        memory_ids: &[String],
        branch: u64,
        counter: u64,
    ) -> Result<Vec<(String, u64)>, JournalError> {
        let mut renamed = Vec::new();
        for memory_id in memory_ids {
            let rows = query_as(
                "SELECT new_incarnation, new_branch, max(new_counter) FROM translations
                WHERE incarnation = ? AND memory_id = ? AND branch = ? AND counter <= ?
                GROUP BY new_incarnation, new_branch",
            );
            let rows = rows.bind(incarnation).bind(memory_id).bind(signed(branch)?).bind(signed(counter)?);
            let rows: Vec<(Option<String>, i64, i64)> =
                rows.fetch_all(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
            for (copy, new_branch, new_counter) in rows {
                let copy = copy.map(|copy| format!("{}.{copy}", self.state.actor.name));
                let name = branch_name(copy.as_deref().unwrap_or(next), unsigned(new_branch)?);
                renamed.push((name, unsigned(new_counter)?));
            }
        }
        Ok(renamed)
    }

    /// A clock of a former incarnation in terms of the next one: the entries of its actor and its
    /// branches stay as far as their events were published, and count by their new counters where
    /// these were written again. `memory_ids` are the memories whose events the clock is about.
    pub(super) async fn carry_over(
        &mut self,
        clock: &mut BTreeMap<String, u64>,
        former: &FormerActor<'_>,
        next: &str,
        memory_ids: &[String],
    ) -> Result<(), JournalError> {
        let own: Vec<(u64, u64)> =
            clock.iter().filter_map(|(name, entry)| Some((branch_of(former.name, name)?, *entry))).collect();
        for (branch, entry) in own {
            let name = branch_name(former.name, branch);
            match entry.min(former.published) {
                kept if kept > 0 && branch <= former.published => clock.insert(name, kept),
                _ => clock.remove(&name),
            };
            for (name, counter) in self.renamed(former.incarnation, next, memory_ids, branch, entry).await? {
                let entry = clock.entry(name).or_default();
                *entry = counter.max(*entry);
            }
        }
        Ok(())
    }
}

/// An actor that this node has been.
pub(super) struct FormerActor<'f> {
    pub name: &'f str,
    pub incarnation: &'f str,
    /// The greatest counter that it is known to have published.
    pub published: u64,
}

/// The greatest counter of an actor, or of a branch of it, in a clock; 0 where there is none.
pub(super) fn greatest_counter(clock: &BTreeMap<String, u64>, actor: &str) -> u64 {
    let own = clock.iter().filter(|(name, _)| branch_of(actor, name).is_some());
    own.map(|(_, counter)| *counter).max().unwrap_or(0)
}
