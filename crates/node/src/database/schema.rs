//! Migrations, the options of connections, and the classes of SQLite's errors.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlSafeStr};

use crate::ports::JournalError;

/// The migrations, oldest first: version, description, statements.
const MIGRATIONS: [(i64, &str, &str); 15] = [
    (1, "node", include_str!("../../migrations/0001_node.sql")),
    (2, "dead letters", include_str!("../../migrations/0002_dead_letters.sql")),
    (3, "evidence", include_str!("../../migrations/0003_evidence.sql")),
    (4, "sync", include_str!("../../migrations/0004_sync.sql")),
    (5, "changes", include_str!("../../migrations/0005_changes.sql")),
    (6, "search", include_str!("../../migrations/0006_search.sql")),
    (7, "restored", include_str!("../../migrations/0007_restored.sql")),
    (8, "last change", include_str!("../../migrations/0008_last_change.sql")),
    (9, "branches", include_str!("../../migrations/0009_branches.sql")),
    (10, "expiry", include_str!("../../migrations/0010_expiry.sql")),
    (11, "history", include_str!("../../migrations/0011_history.sql")),
    (12, "fair changes", include_str!("../../migrations/0012_fair_changes.sql")),
    (13, "published elsewhere", include_str!("../../migrations/0013_published_elsewhere.sql")),
    (14, "merges", include_str!("../../migrations/0014_merges.sql")),
    (15, "shown memories", include_str!("../../migrations/0015_shown_memories.sql")),
];

/// Memory for pages of one connection, in KiB: most of what an idle node takes.
const CACHE_KIB: u32 = 1024;

/// The write-ahead log is cut to this size after a checkpoint, in bytes.
const WAL_LIMIT: u32 = 16 << 20;

/// Primary result codes of SQLite that a later try may not have (sqlite.org/rescode.html): BUSY,
/// LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN.
const PASSING: [u32; 8] = [5, 6, 7, 8, 9, 10, 13, 14];

fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10))
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", format!("-{CACHE_KIB}"))
        .pragma("journal_size_limit", WAL_LIMIT.to_string())
        .thread_name(|id| format!("node-sqlite-{id}"))
        .disable_statement_logging()
}

/// Opens the one connection that makes changes, and brings the schema to this version.
pub(super) async fn open_writer(file: &Path) -> Result<SqliteConnection, JournalError> {
    let options = options(file).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    let mut connection = options.connect().await.map_err(|error| failure(&error))?;
    let migration = |(version, description, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let migrator = Migrator::with_migrations(MIGRATIONS.into_iter().map(migration).collect());
    migrator.run_direct(None, &mut connection, false).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => JournalError::Fatal(format!(
            "a newer version of this program has written {} (its schema is {version}); use that version [HS8006]",
            file.display()
        )),
        other => JournalError::Fatal(format!("the schema of {} cannot be made: {other} [HS8003]", file.display())),
    })?;
    Ok(connection)
}

/// Opens a connection that reads.
pub(super) async fn open_reader(file: &Path) -> Result<SqliteConnection, JournalError> {
    options(file).read_only(true).connect().await.map_err(|error| failure(&error))
}

/// The class of an error of SQLite: one that may pass, or damage.
pub(super) fn failure(error: &sqlx::Error) -> JournalError {
    let code = match error {
        sqlx::Error::Database(error) => error.code().and_then(|code| code.parse::<u32>().ok()),
        sqlx::Error::Io(_) => Some(10),
        _ => None,
    };
    if code.is_some_and(|code| PASSING.contains(&(code & 0xff))) {
        JournalError::Unavailable(format!("the database of the node is not available: {error} [HS8007]"))
    } else {
        damage(&error.to_string())
    }
}

/// The database holds what this program has not written, or refuses what it does.
pub(super) fn damage(problem: &str) -> JournalError {
    JournalError::Fatal(format!("the database of the node is damaged, or this program is wrong: {problem} [HS8003]"))
}

/// A number of the database as this program counts.
pub(super) fn unsigned(number: i64) -> Result<u64, JournalError> {
    u64::try_from(number).map_err(|_| damage(&format!("{number} is no counter")))
}

/// A number as the database has it: none of ours is above 2^63-1.
pub(super) fn signed(number: u64) -> Result<i64, JournalError> {
    i64::try_from(number).map_err(|_| damage(&format!("{number} is above 2^63-1")))
}

#[cfg(test)]
pub(super) mod tests {
    use futures::executor::block_on;

    use super::open_writer;

    /// The steps by which a new database would do a statement, as SQLite describes them.
    pub fn plan_of(statement: &'static str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = block_on(open_writer(&folder.path().join("node.db"))).unwrap();
        let plan = sqlx::query_as(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
        let plan: Vec<(i64, i64, i64, String)> = block_on(plan.fetch_all(&mut connection)).unwrap();
        plan.into_iter().map(|(.., step)| step).collect()
    }

    #[test]
    fn a_commit_of_the_writer_is_on_the_disk_when_it_returns() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = block_on(open_writer(&folder.path().join("node.db"))).unwrap();
        // 2 is FULL: in WAL mode each commit waits for fsync, which NORMAL leaves to checkpoints.
        let synchronous: i64 = block_on(sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut connection)).unwrap();
        let journal: String = block_on(sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection)).unwrap();
        assert_eq!((synchronous, journal.as_str()), (2, "wal"));
    }
}
