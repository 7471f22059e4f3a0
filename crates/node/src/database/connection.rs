//! The connection of the writer, which hands several statements to SQLite at a time.
//!
//! sqlx gives a connection a thread of its own, and each call is handed to that thread and its
//! result back. This costs more than most statements do. So statements that need no result wait in
//! a queue, and go with the next call: one that reads, or the end of a request. sqlx runs them in
//! their order and stops at the first that fails, so the failure of one that has waited is that of
//! the call with which it goes. The queue never outlasts a request: each one's failure undoes
//! itself alone.

use std::sync::Arc;

use futures::{FutureExt as _, TryStream, TryStreamExt as _};
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Connection as _, Either, Executor as _, FromRow, query_with};

use super::schema::{damage, failure};
use crate::ports::JournalError;

/// How often the writer yields the processor to SQLite's thread before it sleeps until a message
/// comes.
const YIELDS: u32 = 8;

/// A value that a statement has in place of a parameter.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Text(Arc<str>),
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Integer(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Value {
        Value::Integer(i64::from(number))
    }
}

impl From<bool> for Value {
    fn from(is_true: bool) -> Value {
        Value::Integer(i64::from(is_true))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(Arc::from(text))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Value {
        Value::from(text.as_str())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(Arc::from(text))
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Value {
        Value::Bytes(bytes)
    }
}

impl<T> From<Option<T>> for Value
where
    Value: From<T>,
{
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Value::from)
    }
}

impl From<&Option<String>> for Value {
    fn from(text: &Option<String>) -> Value {
        text.as_deref().map_or(Value::Null, Value::from)
    }
}

/// One statement with its values. Its parameters are `?`, in the order of the values, or `?1` for
/// the first of them.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    text: &'static str,
    values: Vec<Value>,
}

/// A statement that has no values yet.
pub(super) fn statement(text: &'static str) -> Statement {
    Statement { text, values: Vec::new() }
}

impl Statement {
    /// Adds the value of the next parameter.
    pub fn bind(mut self, value: impl Into<Value>) -> Statement {
        self.values.push(value.into());
        self
    }
}

/// Statements that wait for the next call.
#[derive(Default)]
struct Queue {
    text: String,
    values: Vec<Value>,
    /// How many statements there are.
    length: usize,
    /// Whether one of them is more than the control of a transaction or a savepoint.
    has_statements: bool,
}

impl Queue {
    /// Adds a statement that controls a transaction.
    fn add_control(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push(';');
        }
        self.text.push_str(text);
        self.length += 1;
    }

    /// Adds a statement. In the text that is handed over each parameter is `?`: sqlx counts these
    /// through all statements of a text, and numbers would be those of the whole text.
    fn add(&mut self, statement: &Statement) -> Result<(), JournalError> {
        self.add_control("");
        self.has_statements = true;
        let (mut rest, mut counted) = (statement.text, 0);
        while let Some(at) = rest.find('?') {
            let (before, after) = rest.split_at(at + 1);
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = after.split_at(digits);
            counted += usize::from(number.is_empty());
            let number = if number.is_empty() { Ok(counted) } else { number.parse() };
            let value = number.ok().and_then(|number| statement.values.get(number.checked_sub(1)?));
            let value = value.ok_or_else(|| damage(&format!("a parameter has no value: {}", statement.text)))?;
            self.text.push_str(before);
            self.values.push(value.clone());
            rest = after;
        }
        self.text.push_str(rest);
        Ok(())
    }

    fn arguments(values: Vec<Value>) -> Result<SqliteArguments, JournalError> {
        let mut arguments = SqliteArguments::default();
        for value in values {
            let added = match value {
                Value::Null => arguments.add(None::<i64>),
                Value::Integer(number) => arguments.add(number),
                Value::Text(text) => arguments.add(text),
                Value::Bytes(bytes) => arguments.add(bytes),
            };
            added.map_err(|error| damage(&error.to_string()))?;
        }
        Ok(arguments)
    }
}

/// The place of a savepoint: the calls before it, and the queue as it was.
pub(super) struct Savepoint {
    calls: u64,
    text: usize,
    length: usize,
}

/// The connection of the writer.
pub(super) struct WriterConnection {
    connection: SqliteConnection,
    queue: Queue,
    /// Calls that were handed over since the start.
    calls: u64,
    /// The calls before the transaction.
    calls_before: u64,
    /// The failure of the last call, if it failed.
    failure: Option<JournalError>,
}

impl WriterConnection {
    pub fn new(connection: SqliteConnection) -> WriterConnection {
        WriterConnection { connection, queue: Queue::default(), calls: 0, calls_before: 0, failure: None }
    }

    /// Calls that were handed over since the start.
    #[cfg(test)]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Closes the connection.
    pub async fn close(self) -> Result<(), JournalError> {
        self.connection.close().await.map_err(|error| failure(&error))
    }

    /// Adds a statement without a result to the next call.
    pub fn queue(&mut self, statement: &Statement) -> Result<(), JournalError> {
        self.queue.add(statement)
    }

    /// Hands over what waits.
    pub async fn flush(&mut self) -> Result<(), JournalError> {
        self.call().await.map(|_| ())
    }

    /// The connection itself, for a statement by sqlx: what waits is done before.
    pub async fn ready(&mut self) -> Result<&mut SqliteConnection, JournalError> {
        self.flush().await?;
        self.calls += 1;
        Ok(&mut self.connection)
    }

    /// The rows of a statement.
    pub async fn fetch_all<T: for<'r> FromRow<'r, SqliteRow>>(
        &mut self,
        statement: &Statement,
    ) -> Result<Vec<T>, JournalError> {
        self.queue.add(statement)?;
        rows_of(self.call().await?.pop())
    }

    /// The first row of a statement, if there is one.
    pub async fn fetch_optional<T: for<'r> FromRow<'r, SqliteRow>>(
        &mut self,
        statement: &Statement,
    ) -> Result<Option<T>, JournalError> {
        Ok(self.fetch_all(statement).await?.into_iter().next())
    }

    /// The first row of a statement, if there is one, and the rows of another one.
    pub async fn fetch_both<T, U>(
        &mut self,
        one: &Statement,
        other: &Statement,
    ) -> Result<(Option<T>, Vec<U>), JournalError>
    where
        T: for<'r> FromRow<'r, SqliteRow>,
        U: for<'r> FromRow<'r, SqliteRow>,
    {
        self.queue.add(one)?;
        self.queue.add(other)?;
        let mut results = self.call().await?;
        let others = rows_of(results.pop())?;
        Ok((rows_of(results.pop())?.into_iter().next(), others))
    }

    /// Hands over what waits, and returns the rows of each statement.
    async fn call(&mut self) -> Result<Vec<Vec<SqliteRow>>, JournalError> {
        let Queue { text, values, length, .. } = std::mem::take(&mut self.queue);
        if length == 0 {
            return Ok(Vec::new());
        }
        self.calls += 1;
        self.failure = None;
        let arguments = Queue::arguments(values)?;
        let mut steps = self.connection.fetch_many(query_with(AssertSqlSafe(text), arguments));
        let (mut results, mut rows) = (Vec::with_capacity(length), Vec::new());
        loop {
            match next_step(&mut steps).await {
                Ok(Some(Either::Right(row))) => rows.push(row),
                Ok(Some(Either::Left(_))) => results.push(std::mem::take(&mut rows)),
                Ok(None) => return Ok(results),
                Err(error) => {
                    let error = failure(&error);
                    self.failure = Some(error.clone());
                    return Err(error);
                }
            }
        }
    }

    /// Begins a transaction, with the first call that has work.
    pub fn begin(&mut self) {
        self.queue = Queue::default();
        self.calls_before = self.calls;
        self.queue.add_control("BEGIN IMMEDIATE");
    }

    /// Commits the transaction. One that has done nothing was never begun.
    pub async fn commit(&mut self) -> Result<(), JournalError> {
        if self.is_unused() {
            self.queue = Queue::default();
            return Ok(());
        }
        self.queue.add_control("COMMIT");
        self.flush().await
    }

    /// Undoes the transaction.
    pub async fn roll_back_all(&mut self) -> Result<(), JournalError> {
        self.queue = Queue::default();
        if self.calls == self.calls_before {
            return Ok(());
        }
        self.queue.add_control("ROLLBACK");
        self.flush().await
    }

    fn is_unused(&self) -> bool {
        self.calls == self.calls_before && !self.queue.has_statements
    }

    /// Begins a savepoint. The statements before it are done before, so their failure is not the
    /// savepoint's.
    pub async fn save(&mut self) -> Result<Savepoint, JournalError> {
        if self.queue.has_statements {
            self.flush().await?;
        }
        let savepoint = Savepoint { calls: self.calls, text: self.queue.text.len(), length: self.queue.length };
        self.queue.add_control("SAVEPOINT request");
        Ok(savepoint)
    }

    /// Ends a savepoint, and keeps what was done in it.
    pub async fn release(&mut self, savepoint: &Savepoint) -> Result<(), JournalError> {
        if self.calls == savepoint.calls && !self.queue.has_statements {
            self.take_back(savepoint);
            return Ok(());
        }
        self.queue.add_control("RELEASE request");
        self.flush().await
    }

    /// Undoes what was done in a savepoint. Where that fails there is no transaction any more, for
    /// example after a fault of the disk; the failure is that of the call which met it.
    pub async fn undo(&mut self, savepoint: &Savepoint) -> Result<(), JournalError> {
        if self.calls == savepoint.calls {
            self.take_back(savepoint);
            return Ok(());
        }
        let cause = self.failure.take();
        self.queue = Queue::default();
        self.queue.add_control("ROLLBACK TO request");
        self.queue.add_control("RELEASE request");
        self.flush().await.map_err(|error| cause.unwrap_or(error))
    }

    /// Takes a savepoint out of the queue, with all that follows it.
    fn take_back(&mut self, savepoint: &Savepoint) {
        self.queue.text.truncate(savepoint.text);
        self.queue.length = savepoint.length;
        // Before the savepoint there is no work, so no value.
        self.queue.values.clear();
        self.queue.has_statements = false;
    }
}

/// The next message of SQLite's thread, which sends one for each statement. To be woken for each
/// costs more than to let that thread go on.
async fn next_step<S: TryStream + Unpin>(steps: &mut S) -> Result<Option<S::Ok>, S::Error> {
    for _ in 0..YIELDS {
        if let Some(step) = steps.try_next().now_or_never() {
            return step;
        }
        std::thread::yield_now();
    }
    steps.try_next().await
}

fn rows_of<T: for<'r> FromRow<'r, SqliteRow>>(rows: Option<Vec<SqliteRow>>) -> Result<Vec<T>, JournalError> {
    rows.unwrap_or_default().iter().map(T::from_row).collect::<Result<_, _>>().map_err(|error| failure(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_handed_over_in_the_order_in_which_they_stand() {
        let mut queue = Queue::default();
        queue.add_control("BEGIN");
        queue.add(&statement("SELECT ?2, ?1, ?2").bind(1).bind("two")).unwrap();
        queue.add(&statement("SELECT ?, ?").bind(None::<i64>).bind(true)).unwrap();
        assert_eq!(queue.text, "BEGIN;SELECT ?, ?, ?;SELECT ?, ?");
        assert_eq!(format!("{:?}", queue.values), r#"[Text("two"), Integer(1), Text("two"), Null, Integer(1)]"#);
        assert!(queue.add(&statement("SELECT ?3").bind(1)).is_err());
    }
}
