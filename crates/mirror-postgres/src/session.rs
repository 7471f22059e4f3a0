//! The connection: made when it is needed, made again when it broke; the first one brings the
//! tables up to date, in the schema that is ours (`migrate`). All work is done in transactions that
//! set for themselves what they need (`transaction`).

use std::fmt;
use std::time::Duration;

use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{Connection, Transaction};
use tokio::runtime::Builder;

use super::connect::{UrlError, Way};
use super::fault::Fault;
use super::migrations::newest_version;
use super::transaction::{Purpose, begin};
use secret::SecretSource;

/// Longest name that Postgres does not cut.
const MAX_NAME_BYTES: usize = 63;

/// A Postgres database and the schema in it that is ours.
#[derive(Clone)]
pub struct Database {
    way: Way,
    schema: String,
}

/// Reason why a session cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL does not parse; its password is not in the message.
    #[error("the Postgres URL cannot be read ({0}); write it as postgres://user:password@host:5432/database [HS4501]")]
    Url(#[from] UrlError),
    /// A name that no schema can have.
    #[error(
        "`{0}` cannot be the name of a schema: Postgres allows names of 1 to 63 bytes that do not begin with pg_ [HS4502]"
    )]
    Schema(String),
    /// The system provides no runtime for a connection.
    #[error("cannot start the event loop of the connection to Postgres: {0} [HS0008]")]
    Runtime(#[from] std::io::Error),
    /// Tables of our names that our migrations did not make.
    #[error("{0}")]
    Foreign(String),
    /// It does not answer, or not as it should.
    #[error("{0}")]
    Unavailable(String),
}

/// Result of [`Database::migrate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// Version of the schema before; 0 where it was empty.
    pub from: i64,
    /// Version of it now.
    pub to: i64,
    /// How many migrations were run.
    pub run: usize,
}

impl From<Fault> for DatabaseError {
    fn from(fault: Fault) -> DatabaseError {
        match fault {
            Fault::Foreign(reason) => DatabaseError::Foreign(reason),
            other => DatabaseError::Unavailable(other.reason()),
        }
    }
}

impl Database {
    /// The schema `schema` of the database of `url`. It does not connect.
    ///
    /// # Errors
    /// [`DatabaseError::Url`] and [`DatabaseError::Schema`].
    pub fn new(url: &str, schema: &str) -> Result<Database, DatabaseError> {
        let way = Way::new(url)?;
        if schema.is_empty() || schema.len() > MAX_NAME_BYTES || schema.starts_with("pg_") || schema.contains('\0') {
            return Err(DatabaseError::Schema(schema.to_owned()));
        }
        Ok(Database { way, schema: schema.to_owned() })
    }

    /// The same, with a password that is not in the URL: read anew for each connection, so that its
    /// file may change.
    #[must_use]
    pub fn with_password(mut self, password: SecretSource) -> Database {
        self.way = self.way.with_password(password);
        self
    }

    /// Whether the server, within `limit`, lets us in and answers a query. It looks at no tables.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`].
    pub fn ping(&self, limit: Duration) -> Result<(), DatabaseError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(async {
            let ask = async {
                let mut connection = self.connect().await?;
                sqlx::query("select 1").execute(&mut connection).await?;
                connection.close().await?;
                Ok::<_, Fault>(())
            };
            let late = || format!("no answer from {} within {} ms [HS4505]", self.place(), limit.as_millis());
            let asked = tokio::time::timeout(limit, ask).await;
            Ok(asked.map_err(|_| DatabaseError::Unavailable(late()))??)
        });
        // The end of the runtime would wait for the lookup of a name, which has no limit of its
        // own.
        runtime.shutdown_background();
        answer
    }

    /// Looks, within `limit`, for tables in our way, and changes nothing.
    ///
    /// # Errors
    /// [`DatabaseError::Foreign`] when there are such, [`DatabaseError::Unavailable`] when nobody
    /// could tell.
    pub fn check(&self, limit: Duration) -> Result<(), DatabaseError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(async {
            let look = async {
                let mut connection = self.connect().await?;
                self.read_schema_state(&mut connection).await?;
                connection.close().await?;
                Ok::<_, Fault>(())
            };
            let looked = tokio::time::timeout(limit, look).await;
            let late = || {
                DatabaseError::Unavailable(format!(
                    "no answer from {} within {} s [HS4505]",
                    self.place(),
                    limit.as_secs()
                ))
            };
            Ok(looked.map_err(|_| late())??)
        });
        runtime.shutdown_background();
        answer
    }

    /// Connects, without bringing the tables up to date.
    pub(super) async fn connect(&self) -> Result<PgConnection, Fault> {
        self.way.connect().await.map_err(|reason| Fault::Down(format!("cannot connect to {}: {reason}", self.place())))
    }

    /// Brings the tables up to date, if it may.
    ///
    /// # Errors
    /// [`DatabaseError::Foreign`] and [`DatabaseError::Unavailable`].
    pub fn migrate(&self) -> Result<Migrated, DatabaseError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let before = runtime.block_on(async {
            let mut connection = self.connect().await?;
            let before = self.bring_up_to_date(&mut connection).await?;
            connection.close().await?;
            Ok::<_, Fault>(before)
        })?;
        Ok(Migrated { from: before.version, to: newest_version(), run: before.missing })
    }

    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// Host, port and database, for people.
    pub(super) fn place(&self) -> String {
        self.way.to_string()
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, schema {}", self.place(), self.schema)
    }
}

/// A connection to the database, at most one.
pub(super) struct Session {
    database: Database,
    connection: Option<PgConnection>,
    migrated: bool,
}

impl Session {
    pub(super) fn new(database: Database) -> Session {
        Session { database, connection: None, migrated: false }
    }

    /// Connects and brings the tables up to date, if there is no connection.
    pub(super) async fn prepare(&mut self) -> Result<(), Fault> {
        if self.connection.is_none() {
            let mut connection = self.database.connect().await?;
            if !self.migrated {
                self.database.bring_up_to_date(&mut connection).await?;
                self.migrated = true;
            }
            self.connection = Some(connection);
        }
        Ok(())
    }

    /// Begins a transaction that writes, on a connection that is made and prepared if there is
    /// none.
    pub(super) async fn begin(&mut self) -> Result<Transaction<'_, Postgres>, Fault> {
        self.prepare().await?;
        let connection = self
            .connection
            .as_mut()
            .ok_or_else(|| Fault::Down("there is no connection to Postgres [HS9000]".to_owned()))?;
        begin(connection, &self.database.schema, Purpose::Write).await
    }

    /// Gives the connection up, whatever its state. The next one looks after the tables again:
    /// after a fault they may be those of another server.
    pub(super) fn reset(&mut self) {
        self.connection = None;
        self.migrated = false;
    }

    /// Closes it in good order.
    pub(super) async fn close(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(e) = connection.close().await
        {
            tracing::debug!(reason = %e, "the mirror's connection to Postgres broke while it was being closed");
        }
    }
}
