//! The connection: made when it is needed, made again when it broke; the first one brings the tables up to date, in the
//! schema that is ours. A table of one of our names that our migrations did not make is never touched.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{Migration, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tokio::runtime::Builder;

use super::fault::Fault;

/// Runs under an advisory lock, so that instances that start together migrate once.
static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// What no connection may do: hold locks while its client is gone or asleep, or wait for ever for those of another.
const SETTINGS: &str = "SET client_min_messages = warning; SET lock_timeout = '10s'; \
    SET idle_in_transaction_session_timeout = '10s'; \
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// Longest name that Postgres does not cut.
const MAX_NAME_BYTES: usize = 63;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Whether our tables' schema is there, what is in it of these names, and whether migrations are noted in it.
const LOOK: &str = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1), \
    EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident($1)) AND relname = '_sqlx_migrations'), \
    ARRAY(SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident($1)) \
        AND relname = ANY ($2) ORDER BY relname)";

/// A Postgres database and the schema in it that is ours.
#[derive(Clone)]
pub struct Database {
    options: PgConnectOptions,
    schema: String,
}

/// What cannot be used, or is in our way.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL does not parse; its password is not in the message.
    #[error("the Postgres URL cannot be read ({0}); it looks like postgres://user:password@host:5432/database")]
    Url(String),
    /// A name that no schema can have.
    #[error("`{0}` cannot be a schema: Postgres takes names of 1 to 63 bytes that do not begin with pg_")]
    Schema(String),
    /// The system gives us nothing to run a connection on.
    #[error("cannot start what runs the connection to Postgres: {0}")]
    Runtime(#[from] std::io::Error),
    /// Tables of our names that our migrations did not make.
    #[error("{0}")]
    Foreign(String),
    /// It does not answer, or not as it should.
    #[error("{0}")]
    Unavailable(String),
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
        let options = PgConnectOptions::from_str(url).map_err(|e| match e {
            sqlx::Error::Configuration(reason) => DatabaseError::Url(reason.to_string()),
            other => DatabaseError::Url(other.to_string()),
        })?;
        if schema.is_empty() || schema.len() > MAX_NAME_BYTES || schema.starts_with("pg_") || schema.contains('\0') {
            return Err(DatabaseError::Schema(schema.to_owned()));
        }
        let options = options.application_name("helixstream-mirror").disable_statement_logging();
        Ok(Database { options, schema: schema.to_owned() })
    }

    /// Looks, within `limit`, for tables in our way, and changes nothing.
    ///
    /// # Errors
    /// [`DatabaseError::Foreign`] when there are such, [`DatabaseError::Unavailable`] when nobody could tell.
    pub fn check(&self, limit: Duration) -> Result<(), DatabaseError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let look = async {
                let mut connection = self.connect().await?;
                self.look(&mut connection).await?;
                connection.close().await?;
                Ok::<_, Fault>(())
            };
            let looked = tokio::time::timeout(limit, look).await;
            let late =
                || DatabaseError::Unavailable(format!("no answer from {} within {} s", self.place(), limit.as_secs()));
            Ok(looked.map_err(|_| late())??)
        })
    }

    /// Connects, without bringing the tables up to date.
    pub(super) async fn connect(&self) -> Result<PgConnection, Fault> {
        let connected = tokio::time::timeout(CONNECT_LIMIT, self.options.connect()).await;
        let limit = CONNECT_LIMIT.as_secs();
        let mut connection = connected
            .map_err(|_| Fault::Down(format!("no connection to {} within {limit} s", self.place())))?
            .map_err(|e| Fault::Down(format!("cannot connect to {}: {e}", self.place())))?;
        connection.execute(SETTINGS).await?;
        // As a statement, not as a parameter of the connection, which a pooler between us may refuse.
        let path = format!("SET search_path = {}", quoted(&self.schema));
        connection.execute(AssertSqlSafe(path)).await?;
        Ok(connection)
    }

    /// Whether the schema is there; refuses one with tables of our names that are not ours.
    async fn look(&self, connection: &mut PgConnection) -> Result<bool, Fault> {
        // One snapshot: a migration that another instance commits meanwhile is seen with its tables, or not at all.
        let mut open = connection.begin().await?;
        open.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let names: Vec<&str> = MIGRATIONS.iter().flat_map(|one| relations(one.sql.as_str())).collect();
        let (there, noted, found): (bool, bool, Vec<String>) =
            sqlx::query_as(LOOK).bind(&self.schema).bind(names).fetch_one(&mut *open).await?;
        let mut applied: Vec<(i64, Vec<u8>)> = Vec::new();
        if noted {
            applied = sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success")
                .fetch_all(&mut *open)
                .await?;
        }
        open.rollback().await?;
        let is_applied = |one: &Migration| applied.iter().any(|(v, sum)| *v == one.version && **sum == *one.checksum);
        let ours: Vec<&str> =
            MIGRATIONS.iter().filter(|one| is_applied(one)).flat_map(|one| relations(one.sql.as_str())).collect();
        match found.iter().find(|name| !ours.contains(&name.as_str())) {
            Some(name) => Err(Fault::Foreign(format!(
                "schema {} of {} has a table or view {name} that our migrations did not make; nothing there was \
                 touched: give the mirror a schema of its own with --postgres-schema, or rename {name}",
                self.schema,
                self.place()
            ))),
            None => Ok(there),
        }
    }

    /// Brings the tables up to date.
    async fn migrate(&self, connection: &mut PgConnection) -> Result<(), Fault> {
        if !self.look(connection).await? {
            // One after the other: two that make it at once would both find it missing.
            let mut open = connection.begin().await?;
            open.execute("SELECT pg_advisory_xact_lock(hashtextextended('helixstream: CREATE SCHEMA', 0))").await?;
            open.execute(AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(&self.schema)))).await?;
            open.commit().await?;
        }
        MIGRATIONS.run_direct(None, connection, false).await?;
        Ok(())
    }

    /// Host, port and database, for people.
    fn place(&self) -> String {
        let database = self.options.get_database().unwrap_or("the default database");
        format!("{database} at {}:{}", self.options.get_host(), self.options.get_port())
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

    /// The connection, made and prepared if there is none.
    pub(super) async fn connection(&mut self) -> Result<&mut PgConnection, Fault> {
        if self.connection.is_none() {
            let mut connection = self.database.connect().await?;
            if !self.migrated {
                self.database.migrate(&mut connection).await?;
                self.migrated = true;
            }
            self.connection = Some(connection);
        }
        self.connection.as_mut().ok_or_else(|| Fault::Down("no connection".to_owned()))
    }

    /// Gives the connection up, whatever its state. The next one looks after the tables again: after a fault they may be
    /// those of another server.
    pub(super) fn reset(&mut self) {
        self.connection = None;
        self.migrated = false;
    }

    /// Closes it in good order.
    pub(super) async fn close(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(e) = connection.close().await
        {
            tracing::debug!(reason = %e, "the mirror's connection broke while it was closed");
        }
    }
}

/// An identifier, as SQL takes any.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The tables and views that a migration makes: statements of ours begin at the start of a line.
fn relations(sql: &str) -> impl Iterator<Item = &str> {
    sql.lines().filter_map(|line| {
        let name = line.strip_prefix("CREATE TABLE ").or_else(|| line.strip_prefix("CREATE VIEW "))?;
        name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_the_migrations_are_known_by_name() {
        let names: Vec<&str> = MIGRATIONS.iter().flat_map(|one| relations(one.sql.as_str())).collect();
        for name in ["memory_events", "memory_event_checkpoints", "memory_snapshots", "memory_conflicts_current"] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
    }

    #[test]
    fn any_name_can_be_a_schema() {
        assert_eq!(quoted("a\"; drop"), "\"a\"\"; drop\"");
    }
}
