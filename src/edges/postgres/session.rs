//! The connection: made when it is needed, made again when it broke; the first one brings the tables up to date.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor};

use super::fault::Fault;

/// Runs under an advisory lock, so that instances that start together migrate once.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// What no connection may do: hold locks while its client is gone or asleep, or wait for ever for those of another.
const SETTINGS: &str = "SET client_min_messages = warning; SET lock_timeout = '10s'; \
    SET idle_in_transaction_session_timeout = '10s'; \
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A Postgres database, with a connection at most.
pub(super) struct Session {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    migrated: bool,
}

impl Session {
    /// # Errors
    /// What is wrong with the URL; never with its password in it.
    pub(super) fn new(url: &str) -> Result<Session, String> {
        let options = PgConnectOptions::from_str(url).map_err(|e| match e {
            sqlx::Error::Configuration(reason) => reason.to_string(),
            other => other.to_string(),
        })?;
        let options = options.application_name("helixstream-mirror").disable_statement_logging();
        Ok(Session { options, connection: None, migrated: false })
    }

    /// The connection, made and prepared if there is none.
    pub(super) async fn connection(&mut self) -> Result<&mut PgConnection, Fault> {
        if self.connection.is_none() {
            let connected = tokio::time::timeout(CONNECT_LIMIT, self.options.connect()).await;
            let limit = CONNECT_LIMIT.as_secs();
            let mut connection = connected
                .map_err(|_| Fault::Down(format!("no connection to {} within {limit} s", self.place())))?
                .map_err(|e| Fault::Down(format!("cannot connect to {}: {e}", self.place())))?;
            connection.execute(SETTINGS).await?;
            if !self.migrated {
                MIGRATIONS.run_direct(None, &mut connection, false).await?;
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

    /// Host, port and database, for people.
    fn place(&self) -> String {
        let database = self.options.get_database().unwrap_or("the default database");
        format!("{database} at {}:{}", self.options.get_host(), self.options.get_port())
    }
}
