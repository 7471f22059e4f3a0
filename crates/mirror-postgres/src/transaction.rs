//! Transactions, each with all that it needs set for itself. A pooler may give every transaction
//! another session, one that others have used and will use: so nothing of ours lives in a session,
//! and nothing that somebody has left in it reaches us.

use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{AssertSqlSafe, Connection, Transaction};

use super::fault::Fault;
use super::identifier::quoted;

/// Purpose of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It reads one state of the tables, and changes nothing.
    Read,
    /// It writes rows.
    Write,
    /// It changes tables and functions.
    Migrate,
}

/// Limits of every transaction: none may hold locks while its client is gone or asleep, or wait for
/// ever for those of another. Besides, the forms of values, so that no setting of the role shows in
/// what is written. Constraints and triggers that somebody has made deferrable speak up at the row
/// that they are about, not at the commit.
const SETTINGS: &str = "SET LOCAL client_min_messages = warning; SET LOCAL lock_timeout = '10s'; \
    SET LOCAL statement_timeout TO DEFAULT; SET LOCAL idle_in_transaction_session_timeout = '10s'; \
    SET LOCAL tcp_keepalives_idle = 10; SET LOCAL tcp_keepalives_interval = 5; SET LOCAL tcp_keepalives_count = 3; \
    SET LOCAL DateStyle = 'ISO, MDY'; SET LOCAL IntervalStyle = postgres; SET LOCAL TimeZone = 'UTC'; \
    SET LOCAL standard_conforming_strings = on; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = hex; \
    SET LOCAL quote_all_identifiers = off; SET LOCAL transform_null_equals = off; SET LOCAL array_nulls = on; \
    SET LOCAL row_security = on; SET CONSTRAINTS ALL IMMEDIATE";

/// Limits while tables change: that may take as long as there are rows.
const MIGRATING: &str =
    "; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0; SET LOCAL check_function_bodies = on";

/// Begins a transaction in which `schema` is where names are looked up.
pub(super) async fn begin<'c>(
    connection: &'c mut PgConnection,
    schema: &str,
    purpose: Purpose,
) -> Result<Transaction<'c, Postgres>, Fault> {
    let (isolation, more) = match purpose {
        Purpose::Read => ("REPEATABLE READ READ ONLY", ""),
        Purpose::Write => ("READ COMMITTED", ""),
        Purpose::Migrate => ("READ COMMITTED", MIGRATING),
    };
    // Temporary tables last, which other users of a pooled session may have left; Postgres' own
    // names come first by themselves.
    let path = quoted(schema);
    let statements =
        format!("BEGIN ISOLATION LEVEL {isolation}; SET LOCAL search_path = {path}, pg_temp; {SETTINGS}{more}");
    Ok(connection.begin_with(AssertSqlSafe(statements)).await?)
}
