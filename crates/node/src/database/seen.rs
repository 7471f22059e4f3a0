//! The causality of a write: that of a token, of what the caller's session was shown, or of what
//! the node shows now.

use std::collections::BTreeMap;

use memory::clock::Clock;
use sqlx::query_as;

use super::branches::{FormerActor, greatest_counter};
use super::connection::statement;
use super::schema::{failure, unsigned};
use super::view::{Issuer, MemoryRow};
use super::writer::Writer;
use crate::actor::Actor;
use crate::clock_token::ClockToken;
use crate::hybrid_clock::TRUSTED_LEAD_NS;
use crate::ports::JournalError;
use crate::write::{MemoryWrite, Refusal, Seen, WriteError};

/// The memory as a caller has seen it.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenMemory {
    /// The clock of the memory as it was shown, in terms of the present incarnation.
    pub clock: BTreeMap<String, u64>,
    /// Its version.
    pub version: u64,
    /// Whether the caller carried no token.
    pub assumed: bool,
}

fn entries(clock: &Clock) -> BTreeMap<String, u64> {
    clock.entries().iter().cloned().collect()
}

impl Writer {
    /// The memory as the caller of a write has seen it.
    pub(super) async fn seen(
        &mut self,
        memory_id: &str,
        row: &MemoryRow,
        write: &MemoryWrite,
    ) -> Result<SeenMemory, WriteError> {
        match &write.seen {
            Seen::Token(text) => {
                let token = ClockToken::decode(text).map_err(|_| Refusal::InvalidToken)?;
                self.check_version(&token, row, write.allowed_users.is_some())?;
                let clock = self.admit(memory_id, &token).await?;
                Ok(SeenMemory { clock, version: token.version, assumed: false })
            }
            Seen::Session(session) => match self.shown_to(session, memory_id).await? {
                Some(token) => match self.admit(memory_id, &token).await {
                    Ok(clock) => Ok(SeenMemory { clock, version: token.version, assumed: true }),
                    Err(error) => Err(error),
                },
                None => Ok(self.present(row)),
            },
            Seen::Present => Ok(self.present(row)),
        }
    }

    /// The memory as the node shows it now.
    fn present(&self, row: &MemoryRow) -> SeenMemory {
        let heading = row.heading.as_ref();
        let clock = heading.map(|heading| self.issuer().own_entry_known(heading.clock.clone()));
        SeenMemory {
            clock: clock.into_iter().flatten().collect(),
            version: heading.map_or(0, |heading| heading.version),
            assumed: true,
        }
    }

    /// Checks the version of a token, which every later write of this node will have at least.
    /// Tokens are not signed: a caller who may write for some users alone could else bring one that
    /// leaves the writes of all users without an order.
    fn check_version(&self, token: &ClockToken, row: &MemoryRow, is_bound: bool) -> Result<(), Refusal> {
        // A snapshot that an earlier version of the program has restored may have a greater one.
        let shown = row.heading.as_ref().map_or(0, |heading| heading.version);
        let greatest = self.state.clock.greatest().max(shown);
        let trusted = greatest.max(self.now_ns().saturating_add(TRUSTED_LEAD_NS));
        let is_own = token.issuer == self.state.issuer();
        let is_wrong = (is_own && token.version > greatest) || (is_bound && token.version > trusted);
        if is_wrong { Err(Refusal::InvalidToken) } else { Ok(()) }
    }

    /// Checks a token, and translates its clock to the present incarnation.
    async fn admit(&mut self, memory_id: &str, token: &ClockToken) -> Result<BTreeMap<String, u64>, WriteError> {
        if token.memory_id != memory_id {
            let (of, write) = (token.memory_id.clone(), memory_id.to_owned());
            return Err(Refusal::TokenOfAnotherMemory { of, write }.into());
        }
        let clock = entries(&token.clock);
        let own = self.state.actor_name();
        let entry = |actor: &str| greatest_counter(&clock, actor);
        if token.issuer == self.state.issuer() {
            let is_ours = entry(&own) <= self.state.counter;
            return if is_ours { Ok(clock) } else { Err(Refusal::InvalidToken.into()) };
        }
        let (incarnation, opening) = token.issuer.split_once('.').ok_or(Refusal::InvalidToken)?;
        let former = self.state.former.iter().position(|former| former.incarnation.as_str() == incarnation);
        if former.is_none() && incarnation != self.state.actor.incarnation.as_str() {
            // Another node has handed it out. It knows of our events what we have published.
            let is_known = entry(&own) <= self.state.published;
            return if is_known { Ok(clock) } else { Err(Refusal::InvalidToken.into()) };
        }
        // An opening that this database does not know is one of a copy, or was rolled back.
        let last = query_as("SELECT last_counter FROM openings WHERE opening = ? AND incarnation = ?");
        let last: Option<(Option<i64>,)> = last
            .bind(opening)
            .bind(incarnation)
            .fetch_optional(self.connection.ready().await?)
            .await
            .map_err(|error| failure(&error))?;
        let (last,) = last.ok_or(Refusal::InvalidToken)?;
        let last = last.map_or(Ok(self.state.counter), unsigned)?;
        let issuer = match former {
            Some(at) => self.actor_of_former(at).to_string(),
            None => own,
        };
        if entry(&issuer) > last {
            return Err(Refusal::InvalidToken.into());
        }
        match former {
            Some(at) => Ok(self.translate(memory_id, clock, at).await?),
            None => Ok(clock),
        }
    }

    /// This node as the issuer of tokens.
    pub(super) fn issuer(&self) -> Issuer {
        let state = &self.state;
        Issuer { name: state.issuer(), actor: state.actor_name(), counter: state.counter }
    }

    /// A former incarnation as an actor.
    pub(super) fn actor_of_former(&self, at: usize) -> Actor {
        let incarnation = self.state.former.get(at).map_or(&self.state.actor.incarnation, |former| &former.incarnation);
        Actor { name: self.state.actor.name.clone(), incarnation: incarnation.clone() }
    }

    /// A clock that was handed out under a former incarnation: its events that were published stay,
    /// and those that were not count by their new counters.
    async fn translate(
        &mut self,
        memory_id: &str,
        mut clock: BTreeMap<String, u64>,
        from: usize,
    ) -> Result<BTreeMap<String, u64>, JournalError> {
        let memory_ids = [memory_id.to_owned()];
        for at in from..self.state.former.len() {
            let former = self.actor_of_former(at);
            let published = self.state.former.get(at).map_or(0, |former| former.published);
            let (name, incarnation) = (former.to_string(), former.incarnation.as_str());
            let former = FormerActor { name: &name, incarnation, published };
            let incarnation = self.state.incarnation_after(at).clone();
            let next = Actor { name: self.state.actor.name.clone(), incarnation }.to_string();
            self.carry_over(&mut clock, &former, &next, &memory_ids).await?;
        }
        Ok(clock)
    }

    async fn shown_to(&mut self, session: &str, memory_id: &str) -> Result<Option<ClockToken>, JournalError> {
        let row = query_as("SELECT token FROM shown WHERE session = ? AND memory_id = ?");
        let row: Option<(String,)> = row
            .bind(session)
            .bind(memory_id)
            .fetch_optional(self.connection.ready().await?)
            .await
            .map_err(|error| failure(&error))?;
        match row {
            Some((text,)) => ClockToken::decode(&text)
                .map(Some)
                .map_err(|_| super::schema::damage("a token in `shown` cannot be read")),
            None => Ok(None),
        }
    }

    /// Remembers what a session was shown.
    pub(super) fn remember_shown(&mut self, session: &str, token: &ClockToken) -> Result<(), JournalError> {
        let insert = statement(
            "INSERT INTO shown (session, memory_id, token, shown_at_ms) VALUES (?, ?, ?, ?)
            ON CONFLICT (session, memory_id) DO UPDATE SET token = excluded.token, shown_at_ms = excluded.shown_at_ms
            WHERE token <> excluded.token",
        );
        let insert = insert.bind(session).bind(&token.memory_id).bind(token.encode()).bind(self.now_ms());
        self.connection.queue(&insert)
    }
}
