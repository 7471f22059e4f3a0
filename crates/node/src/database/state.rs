//! Identity, openings and former incarnations, as the writer holds them between its transactions.

use sqlx::query_as;
use sqlx::sqlite::SqliteConnection;

use super::connection::{Statement, WriterConnection, statement};
use super::schema::{damage, failure, signed, unsigned};
use crate::actor::{Actor, Incarnation, NodeName};
use crate::hybrid_clock::HybridClock;
use crate::ports::{Identity, JournalError};

/// A former incarnation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Former {
    pub incarnation: Incarnation,
    /// The greatest counter that it is known to have published.
    pub published: u64,
}

/// The identity of the node after the changes that the writer has made so far.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(super) actor: Actor,
    pub(super) opening: String,
    pub(super) counter: u64,
    pub(super) published: u64,
    pub(super) chain: u128,
    pub(super) clock: HybridClock,
    pub(super) former: Vec<Former>,
    /// Events that wait in the outbox.
    pub(super) waiting: u64,
    /// Sync requests that wait.
    pub(super) requests: u64,
    /// The last row of `changes`.
    pub(super) last_change: LastChange,
}

/// A row of `changes`: its number, its opening, and the bytes of all changes up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LastChange {
    pub number: i64,
    pub opening: i64,
    pub total: i64,
}

type IdentityRow = (String, String, i64, i64, Vec<u8>, i64);

/// The identity as the database has it; `None` in a new one.
async fn row(connection: &mut SqliteConnection) -> Result<Option<IdentityRow>, JournalError> {
    let row = query_as("SELECT name, incarnation, counter, published, chain, version FROM identity");
    row.fetch_optional(connection).await.map_err(|error| failure(&error))
}

fn chain_of(bytes: &[u8]) -> Result<u128, JournalError> {
    bytes.try_into().map(u128::from_be_bytes).map_err(|_| damage("the chain in `identity` has not 16 bytes"))
}

/// The identity as the last commit has it.
pub(super) async fn identity(connection: &mut SqliteConnection) -> Result<Identity, JournalError> {
    let row = row(connection).await?.ok_or_else(|| damage("`identity` has no row"))?;
    let (name, incarnation, counter, published, chain, _) = row;
    let actor = actor_of(&name, &incarnation)?;
    let (counter, published) = (unsigned(counter)?, unsigned(published)?);
    Ok(Identity { actor, counter, published, chain: chain_of(&chain)? })
}

/// An actor as the database has its parts.
pub(super) fn actor_of(name: &str, incarnation: &str) -> Result<Actor, JournalError> {
    let wrong = |error: crate::actor::ActorError| damage(&error.to_string());
    Ok(Actor { name: name.parse().map_err(wrong)?, incarnation: incarnation.parse().map_err(wrong)? })
}

impl State {
    /// Loads the identity, or draws one in a new database, and begins an opening. The name is that
    /// of the database, which the caller compares with its own.
    pub(super) async fn open(connection: &mut WriterConnection, name: &NodeName) -> Result<State, JournalError> {
        let sql = |error: sqlx::Error| failure(&error);
        let opening = Incarnation::random().to_string();
        let Some((name, incarnation, counter, published, chain, version)) = row(connection.ready().await?).await?
        else {
            let actor = Actor { name: name.clone(), incarnation: Incarnation::random() };
            let mut state = State {
                actor,
                opening,
                counter: 0,
                published: 0,
                chain: 0,
                clock: HybridClock::default(),
                former: Vec::new(),
                waiting: 0,
                requests: 0,
                last_change: LastChange::default(),
            };
            let identity = statement(
                "INSERT INTO identity (number, name, incarnation, issuer, counter, published, chain, version)
                VALUES (1, ?, ?, ?, 0, 0, zeroblob(16), 0)",
            );
            let identity = identity.bind(state.actor.name.as_str()).bind(state.actor.incarnation.as_str());
            connection.queue(&identity.bind(state.issuer()))?;
            state.begin_opening(connection).await?;
            return Ok(state);
        };
        let rows = query_as("SELECT incarnation, published FROM former_incarnations ORDER BY number");
        let rows: Vec<(String, i64)> = rows.fetch_all(connection.ready().await?).await.map_err(sql)?;
        let former = rows.into_iter().map(|(former, published)| {
            Ok(Former { incarnation: actor_of(&name, &former)?.incarnation, published: unsigned(published)? })
        });
        let former = former.collect::<Result<_, JournalError>>()?;
        let waiting = query_as(
            "SELECT (SELECT count(*) FROM outbox WHERE state = 'pending'),
            (SELECT count(*) FROM sync_requests WHERE state = 'pending')",
        );
        let (waiting, requests): (i64, i64) = waiting.fetch_one(connection.ready().await?).await.map_err(sql)?;
        let mut state = State {
            actor: actor_of(&name, &incarnation)?,
            opening,
            counter: unsigned(counter)?,
            published: unsigned(published)?,
            chain: chain_of(&chain)?,
            clock: HybridClock::new(unsigned(version)?),
            former,
            waiting: unsigned(waiting)?,
            requests: unsigned(requests)?,
            last_change: LastChange::default(),
        };
        state.begin_opening(connection).await?;
        connection.queue(&state.update_statement()?)?;
        Ok(state)
    }

    /// The name of this node's present actor: the `node_id` of its events.
    pub(super) fn actor_name(&self) -> String {
        self.actor.to_string()
    }

    /// The issuer of the tokens that are handed out now.
    pub(super) fn issuer(&self) -> String {
        format!("{}.{}", self.actor.incarnation, self.opening)
    }

    /// The identity as the publisher sees it.
    pub(super) fn identity(&self) -> Identity {
        Identity { actor: self.actor.clone(), counter: self.counter, published: self.published, chain: self.chain }
    }

    /// The incarnations from the one at `from` among the former ones to the present one.
    pub(super) fn incarnation_after(&self, former: usize) -> &Incarnation {
        self.former.get(former + 1).map_or(&self.actor.incarnation, |next| &next.incarnation)
    }

    /// Ends the opening before, at the present counter, and begins this one.
    pub(super) async fn begin_opening(&mut self, connection: &mut WriterConnection) -> Result<(), JournalError> {
        let ended = statement("UPDATE openings SET last_counter = ? WHERE last_counter IS NULL");
        connection.queue(&ended.bind(signed(self.counter)?))?;
        let begun = statement("INSERT INTO openings (opening, incarnation) VALUES (?, ?)");
        connection.queue(&begun.bind(&self.opening).bind(self.actor.incarnation.as_str()))?;
        // By the opening of a change a reader knows that the changes before it are those it has
        // read.
        let change = statement(
            "INSERT INTO changes (number, opening, total, was_shown, pending)
            SELECT coalesce(max(number), 0) + 1, (SELECT max(number) FROM openings), coalesce(max(total), 0), 0, 0
            FROM changes RETURNING number, opening, total",
        );
        let (number, opening, total): (i64, i64, i64) =
            connection.fetch_optional(&change).await?.ok_or_else(|| damage("`changes` has no row"))?;
        self.last_change = LastChange { number, opening, total };
        let first = statement("UPDATE openings SET first_change = ? WHERE number = ?");
        connection.queue(&first.bind(number).bind(opening))?;
        Ok(())
    }

    /// The statement that writes the identity.
    pub(super) fn update_statement(&self) -> Result<Statement, JournalError> {
        let update = statement(
            "UPDATE identity SET incarnation = ?, issuer = ?, counter = ?, published = ?, chain = ?, version = ?",
        );
        Ok(update
            .bind(self.actor.incarnation.as_str())
            .bind(self.issuer())
            .bind(signed(self.counter)?)
            .bind(signed(self.published)?)
            .bind(self.chain.to_be_bytes().to_vec())
            .bind(signed(self.clock.greatest())?))
    }
}
