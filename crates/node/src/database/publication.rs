//! The way of events out of the outbox: published, failed, or written again under a new
//! incarnation.

use std::collections::{BTreeMap, BTreeSet};

use json::{ObjectWriter, Value};
use memory::clock::write_clock;
use memory::event;
use sqlx::{query, query_as};

use super::branches::FormerActor;
use super::connection::statement;
use super::failed_events::kept_reason;
use super::schema::{damage, failure, signed, unsigned};
use super::state::Former;
use super::writer::Writer;
use crate::actor::{Incarnation, branch_name};
use crate::ports::{Agreement, Identity, JournalError, Publication, chain_digest};
use crate::shown::Publishing;

/// Published events stay for a day, so each statement about waiting or newly published events names
/// an index or a range that leaves older ones out: they would be read for each transaction.
const WAITING: &str = "SELECT number, counter, event_id, value, timestamp_ms, branch
    FROM outbox INDEXED BY outbox_pending
    WHERE state = 'pending' AND incarnation = ?1 AND counter <= ?2 ORDER BY counter";

/// The waiting events up to a counter become published.
const PUBLISHED: &str = "UPDATE outbox INDEXED BY outbox_pending SET state = 'published'
    WHERE state = 'pending' AND incarnation = ?1 AND counter <= ?2";

/// The memories whose resolved state covers an event of those with these counters that was just
/// published. What was published before them is looked at when a resolved state is applied.
const COVERED: &str = "SELECT DISTINCT overlays.memory_id FROM outbox
    CROSS JOIN overlays ON overlays.event = outbox.number
    JOIN memories ON memories.memory_id = overlays.memory_id
    WHERE outbox.state = 'published' AND outbox.incarnation = ?1 AND outbox.counter > ?2 AND outbox.counter <= ?3
    AND json_extract(memories.resolved, '$.vector_clock.\"' || ?4 ||
        CASE branch WHEN 0 THEN '\"' ELSE '.b' || branch || '\"' END) >= outbox.counter";

/// An event that was written again.
struct WrittenAgain {
    /// The memories that it touches.
    touched: Vec<String>,
    /// Why it is to fail: its clock has an entry more, which may be one too many.
    failure: Option<String>,
}

/// A waiting event: its number, counter, id, value and timestamp, and its branch.
pub(super) type WaitingRow = (i64, i64, String, String, i64, i64);

impl Writer {
    /// Compares the outbox with what the nodes topic says of this actor.
    pub(super) async fn reconcile(&mut self, found: Publication) -> Result<Agreement, JournalError> {
        if found.counter < self.state.published || found.counter > self.state.counter {
            return Ok(Agreement::Differs);
        }
        let rows = self.waiting_up_to(found.counter).await?;
        let last = rows.last().map_or(Ok(self.state.published), |row| unsigned(row.1))?;
        let chain = rows.iter().fold(self.state.chain, |chain, row| chain_digest(chain, row.3.as_bytes()));
        if last != found.counter || chain != found.chain {
            return Ok(Agreement::Differs);
        }
        self.mark_published(found.counter).await?;
        Ok(Agreement::Agrees)
    }

    /// Marks the waiting events up to a counter as published.
    pub(super) async fn mark_published(&mut self, counter: u64) -> Result<Publication, JournalError> {
        let before = self.state.published;
        let rows = self.waiting_up_to(counter).await?;
        for (_, counter, event_id, value, ..) in rows {
            self.state.published = unsigned(counter)?;
            self.state.chain = chain_digest(self.state.chain, value.as_bytes());
            self.state.waiting = self.state.waiting.saturating_sub(1);
            self.ended.push((event_id, Publishing::Published));
        }
        let published = statement(PUBLISHED).bind(self.state.actor.incarnation.as_str()).bind(signed(counter)?);
        self.connection.queue(&published)?;
        // Where the resolved memory covers them already, they lie over it no longer.
        let covered = statement(COVERED).bind(self.state.actor.incarnation.as_str());
        let covered = covered.bind(signed(before)?).bind(signed(counter)?).bind(self.state.actor_name());
        let covered: Vec<(String,)> = self.connection.fetch_all(&covered).await?;
        for (memory_id,) in covered {
            self.refresh(&memory_id).await?;
        }
        Ok(Publication { counter: self.state.published, chain: self.state.chain })
    }

    /// Marks an event as failed, and all others of its write. It lies over its memory no longer,
    /// since no other node will see it.
    pub(super) async fn mark_failed(&mut self, counter: u64, reason: &str) -> Result<(), JournalError> {
        let row = query_as(
            "SELECT number, event_id, part_of FROM outbox WHERE state = 'pending' AND incarnation = ? AND counter = ?",
        );
        let row: Option<(i64, String, Option<String>)> = row
            .bind(self.state.actor.incarnation.as_str())
            .bind(signed(counter)?)
            .fetch_optional(self.connection.ready().await?)
            .await
            .map_err(|error| failure(&error))?;
        match row {
            Some((_, _, Some(part_of))) => self.fail_write(&part_of, reason).await,
            Some((number, event_id, None)) => self.fail(number, event_id, reason).await,
            None => Ok(()),
        }
    }

    /// Marks the events of a write that is several as failed; `part_of` is the id of the last one.
    async fn fail_write(&mut self, part_of: &str, reason: &str) -> Result<(), JournalError> {
        let rows = query_as("SELECT number, event_id FROM outbox WHERE part_of = ? AND state = 'pending'");
        let rows: Vec<(i64, String)> =
            rows.bind(part_of).fetch_all(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        for (number, event_id) in rows {
            self.fail(number, event_id, reason).await?;
        }
        Ok(())
    }

    async fn fail(&mut self, number: i64, event_id: String, reason: &str) -> Result<(), JournalError> {
        let reason = kept_reason(reason);
        let failed =
            query("UPDATE outbox SET state = 'failed', failure = ? WHERE number = ?").bind(reason).bind(number);
        failed.execute(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        self.state.waiting = self.state.waiting.saturating_sub(1);
        self.lift(number, event_id, reason).await
    }

    /// Removes an event that has failed from the views of its memories.
    pub(super) async fn lift(&mut self, number: i64, event_id: String, reason: &str) -> Result<(), JournalError> {
        let touched = self.touched(number).await?;
        let lifted = query("DELETE FROM overlays WHERE event = ?").bind(number);
        lifted.execute(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        self.ended.push((event_id, Publishing::Failed(reason.to_owned())));
        for memory_id in touched {
            self.lower_last_own(&memory_id).await?;
            self.refresh(&memory_id).await?;
            self.rest_after_failure(&memory_id, number).await?;
        }
        Ok(())
    }

    /// Lowers the last own counter of a memory to what the view of it can show after an event has
    /// failed. Otherwise every later write would lack that event and be refused as stale.
    async fn lower_last_own(&mut self, memory_id: &str) -> Result<(), JournalError> {
        let lowered = query(
            "UPDATE memories SET last_own = min(last_own, max(
                coalesce((SELECT max(outbox.counter) FROM overlays JOIN outbox ON outbox.number = overlays.event
                    WHERE overlays.memory_id = ?1 AND outbox.incarnation = ?2 AND outbox.branch = 0), 0),
                coalesce(json_extract(resolved, ?3), 0)))
            WHERE memory_id = ?1",
        );
        let lowered = lowered.bind(memory_id).bind(self.state.actor.incarnation.as_str());
        let lowered = lowered.bind(format!("$.vector_clock.\"{}\"", self.state.actor_name()));
        lowered.execute(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        Ok(())
    }

    /// Begins a new incarnation, and writes every waiting event again under it that no other
    /// process has published.
    pub(super) async fn begin_incarnation(
        &mut self,
        incarnation: Incarnation,
        reason: &str,
    ) -> Result<Identity, JournalError> {
        let sql = |error: sqlx::Error| failure(&error);
        self.mark_dead_letters_published().await?;
        let waiting = self.waiting_up_to(self.state.counter).await?;
        let old = self.state.actor.clone();
        let ended =
            query("INSERT INTO former_incarnations (incarnation, published, reason, ended_at_ms) VALUES (?, ?, ?, ?)");
        let ended = ended.bind(old.incarnation.as_str()).bind(signed(self.state.published)?);
        ended.bind(reason).bind(self.now_ms()).execute(self.connection.ready().await?).await.map_err(sql)?;
        self.state.former.push(Former { incarnation: old.incarnation.clone(), published: self.state.published });
        self.state.actor.incarnation = incarnation;
        self.state.opening = Incarnation::random().to_string();
        self.state.begin_opening(&mut self.connection).await?;
        let published = self.state.published;
        (self.state.counter, self.state.published, self.state.chain) = (0, 0, 0);
        let forgotten = query("UPDATE memories SET last_own = 0 WHERE last_own <> 0");
        forgotten.execute(self.connection.ready().await?).await.map_err(sql)?;
        let (mut touched, mut branches) = (BTreeSet::new(), BTreeMap::new());
        let (name, incarnation) = (old.to_string(), old.incarnation.as_str());
        let old = FormerActor { name: &name, incarnation, published };
        let mut failed = Vec::new();
        for row in waiting {
            if let Some(taken_in) = self.take_in(&row, &old).await? {
                touched.extend(taken_in);
                continue;
            }
            let again = self.write_again(row, &old, &mut branches).await?;
            touched.extend(again.touched);
            failed.extend(again.failure.map(|reason| (self.state.counter, reason)));
        }
        // A write that is several events fails as a whole, once all of them have their counters.
        for (counter, reason) in failed {
            self.mark_failed(counter, &reason).await?;
        }
        self.forget_published_elsewhere().await?;
        for memory_id in touched {
            self.refresh(&memory_id).await?;
        }
        Ok(self.state.identity())
    }

    /// Writes a waiting event again under the present incarnation, with its id, time and version.
    /// `branches` are those of the old incarnation that go on, by their numbers.
    async fn write_again(
        &mut self,
        (number, counter, event_id, value, timestamp_ms, branch): WaitingRow,
        old: &FormerActor<'_>,
        branches: &mut BTreeMap<i64, u64>,
    ) -> Result<WrittenAgain, JournalError> {
        let sql = |error: sqlx::Error| failure(&error);
        self.state.counter += 1;
        let damaged = |problem: String| damage(&format!("the event {event_id} cannot be written again: {problem}"));
        let (new, new_counter) = (self.state.actor_name(), self.state.counter);
        let new_branch = if branch == 0 { 0 } else { *branches.entry(branch).or_insert(new_counter) };
        let touched = self.touched(number).await?;
        let mut clock = clock_of(value.as_bytes()).map_err(damaged)?;
        self.carry_over(&mut clock, old, &new, &touched).await?;
        let name = branch_name(&new, new_branch);
        clock.insert(name.clone(), new_counter);
        let rewritten = rewritten(value.as_bytes(), &name, &clock).map_err(damaged)?;
        let checked = event::decode(Some(&rewritten), timestamp_ms, &self.settings.limits);
        let rewritten = String::from_utf8(rewritten).map_err(|error| damage(&error.to_string()))?;
        let again = query("UPDATE outbox SET incarnation = ?, branch = ?, counter = ?, value = ? WHERE number = ?");
        let again = again.bind(self.state.actor.incarnation.as_str()).bind(signed(new_branch)?);
        let again = again.bind(signed(new_counter)?).bind(rewritten).bind(number);
        again.execute(self.connection.ready().await?).await.map_err(sql)?;
        for memory_id in &touched {
            let new = (None, signed(new_branch)?, signed(new_counter)?);
            self.put_translation(old, memory_id, (branch, counter), new).await?;
            self.put_last_own(memory_id, if branch == 0 { new_counter } else { 0 })?;
        }
        Ok(WrittenAgain { touched, failure: checked.err().map(|error| error.to_string()) })
    }

    /// The memories over which an event lies.
    pub(super) async fn touched(&mut self, number: i64) -> Result<Vec<String>, JournalError> {
        let rows = query_as("SELECT memory_id FROM overlays WHERE event = ?").bind(number);
        let rows: Vec<(String,)> =
            rows.fetch_all(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        Ok(rows.into_iter().map(|(memory_id,)| memory_id).collect())
    }

    /// The waiting events up to a counter, in their order.
    async fn waiting_up_to(&mut self, counter: u64) -> Result<Vec<WaitingRow>, JournalError> {
        let rows = query_as(WAITING);
        let rows = rows.bind(self.state.actor.incarnation.as_str()).bind(signed(counter)?);
        rows.fetch_all(self.connection.ready().await?).await.map_err(|error| failure(&error))
    }
}

/// The clock of an event of this node.
fn clock_of(value: &[u8]) -> Result<BTreeMap<String, u64>, String> {
    let document = json::parse(value).map_err(|error| error.to_string())?;
    let clock = document.root().get("vector_clock").ok_or("it has no clock")?;
    let number = |value: Value<'_>| value.number_text().and_then(|text| text.parse::<u64>().ok());
    let entries = clock.members().map(|(actor, entry)| Some((actor.to_owned(), number(entry)?)));
    entries.collect::<Option<_>>().ok_or_else(|| "an entry of its clock is no counter".to_owned())
}

/// Whether an event is a write of this node, `own`, under whichever actor and clock.
pub(super) fn is_same_write(event: &[u8], own: &[u8]) -> bool {
    let actor = json::parse(own).ok().and_then(|own| own.root().get("node_id")?.as_str().map(str::to_owned));
    let under_own = actor.zip(clock_of(own).ok()).map(|(actor, clock)| rewritten(event, &actor, &clock));
    under_own.is_some_and(|event| event.as_deref() == Ok(own))
}

/// An event under another actor, with another clock.
fn rewritten(value: &[u8], actor: &str, clock: &BTreeMap<String, u64>) -> Result<Vec<u8>, String> {
    let document = json::parse(value).map_err(|error| error.to_string())?;
    let mut out = Vec::with_capacity(value.len() + 64);
    let mut object = ObjectWriter::new(&mut out);
    for (name, member) in document.root().sorted_members() {
        match name {
            "node_id" => object.str(name, actor),
            "vector_clock" => {
                let entries: Vec<(&str, u64)> = clock.iter().map(|(name, entry)| (name.as_str(), *entry)).collect();
                write_clock(object.key(name), &entries);
            }
            _ => member.write_canonical(object.key(name)),
        }
    }
    object.end();
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::schema::tests::plan_of;

    #[test]
    fn no_statement_of_a_publication_reads_the_events_that_were_published_before() {
        for (statement, access) in [
            (WAITING, "outbox USING INDEX outbox_pending (counter<?)"),
            (PUBLISHED, "outbox USING INDEX outbox_pending (counter<?)"),
            (COVERED, "(incarnation=? AND counter>? AND counter<?)"),
        ] {
            let plan = plan_of(statement);
            let of_outbox: Vec<&String> = plan.iter().filter(|step| step.contains(" outbox ")).collect();
            assert!(matches!(of_outbox[..], [step] if step.contains(access)), "{statement}: {plan:?}");
        }
    }
}
