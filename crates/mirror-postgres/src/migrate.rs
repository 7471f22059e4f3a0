//! The migrations: which of them a schema has, whether its tables are ours, and the run of those
//! that are missing.
//!
//! They run in one transaction under a lock that ends with it, and without prepared statements, so
//! that a pooler that assigns each transaction another session may stand in between. sqlx's own
//! runner holds a lock of the session and names its statements. The rows of `_sqlx_migrations` are
//! the same, so that earlier versions of this program understand it.

use sqlx::migrate::Migration;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor};

use super::fault::{Fault, of_migration};
use super::identifier::quoted;
use super::migrations::MIGRATIONS;
use super::session::Database;
use super::transaction::{Purpose, begin};

/// Whether our tables' schema is there, what is in it of these names, and whether migrations are
/// noted in it.
const LOOK: &str = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1), \
    EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident($1)) AND relname = '_sqlx_migrations'), \
    ARRAY(SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident($1)) \
        AND relname = ANY ($2) ORDER BY relname)";
const APPLIED: &str = "SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version";
/// Rights for the migrations that the role lacks: a GRANT, or the ownership of tables.
const LACKS: &str = "SELECT current_user::text, CASE \
        WHEN NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1) THEN \
            CASE WHEN NOT has_database_privilege(current_database(), 'CREATE') \
                THEN format('GRANT CREATE ON DATABASE %I TO %I', current_database(), current_user) END \
        WHEN NOT has_schema_privilege($1, 'CREATE') \
            THEN format('GRANT CREATE ON SCHEMA %I TO %I', $1, current_user) \
        ELSE (SELECT format('GRANT %I TO %I', pg_get_userbyid(relowner), current_user) FROM pg_class \
            WHERE relnamespace = to_regnamespace(quote_ident($1)) AND relname = 'memory_events' AND NOT pg_has_role(relowner, 'USAGE')) END";
/// One migration of a schema at a time; the wait ends with the call, not by `lock_timeout`.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('helixstream migrations', 0))";
const NOTES: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL, \
    installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, checksum bytea NOT NULL, execution_time bigint NOT NULL)";
const NOTE: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
    VALUES ($1, $2, true, $3, -1)";

/// How a schema stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SchemaState {
    is_there: bool,
    has_notes: bool,
    /// Version of its last migration; 0 where it has none.
    pub(super) version: i64,
    /// How many migrations it lacks.
    pub(super) missing: usize,
}

impl Database {
    /// How the schema stands; refuses one with tables of our names that are not ours, and one of
    /// another version.
    pub(super) async fn read_schema_state(&self, connection: &mut PgConnection) -> Result<SchemaState, Fault> {
        // One snapshot: a migration that another instance commits meanwhile is seen with its
        // tables, or not at all.
        let mut open = begin(connection, self.schema(), Purpose::Read).await?;
        let standing = self.check_schema_state(&mut open).await?;
        open.rollback().await?;
        Ok(standing)
    }

    async fn check_schema_state(&self, open: &mut PgConnection) -> Result<SchemaState, Fault> {
        let names: Vec<&str> = MIGRATIONS.iter().flat_map(|one| relations(one.sql.as_str())).collect();
        let (is_there, has_notes, found): (bool, bool, Vec<String>) =
            sqlx::query_as(LOOK).bind(self.schema()).bind(names).persistent(false).fetch_one(&mut *open).await?;
        let mut applied: Vec<(i64, Vec<u8>, bool)> = Vec::new();
        if has_notes {
            applied = sqlx::query_as(APPLIED).persistent(false).fetch_all(&mut *open).await?;
        }
        let is_applied =
            |one: &Migration| applied.iter().any(|(v, sum, ok)| *ok && *v == one.version && **sum == *one.checksum);
        let ours: Vec<&str> =
            MIGRATIONS.iter().filter(|one| is_applied(one)).flat_map(|one| relations(one.sql.as_str())).collect();
        if let Some(name) = found.iter().find(|name| !ours.contains(&name.as_str())) {
            return Err(Fault::Foreign(format!(
                "schema {} of {} has a table or view {name} that our migrations did not make; nothing was changed: choose a schema \
                 of its own for the mirror with --postgres-schema, or rename {name} [HS4503]",
                self.schema(),
                self.place()
            )));
        }
        for (version, checksum, is_done) in &applied {
            let known = MIGRATIONS.iter().find(|one| one.version == *version);
            if known.is_none_or(|one| *one.checksum != **checksum) || !is_done {
                return Err(Fault::Foreign(format!(
                    "the schema has migrations that are not those of this helixstream (migration {version} is unknown, \
                     another or unfinished): run the version that made them or a later one, or choose a schema of its own for \
                     the mirror with --postgres-schema [HS4504]"
                )));
            }
        }
        let version = applied.last().map_or(0, |(version, ..)| *version);
        Ok(SchemaState { is_there, has_notes, version, missing: MIGRATIONS.iter().count() - applied.len() })
    }

    /// Brings the schema up to date; returns how it stood before. Where nothing is missing, no
    /// right is needed but to read.
    pub(super) async fn bring_up_to_date(&self, connection: &mut PgConnection) -> Result<SchemaState, Fault> {
        let before = self.read_schema_state(connection).await?;
        if before.missing == 0 {
            return Ok(before);
        }
        let mut open = begin(connection, self.schema(), Purpose::Migrate).await?;
        open.execute(LOCK).await?;
        // Another instance may have done it while we waited for the lock.
        let standing = self.check_schema_state(&mut open).await?;
        if standing.missing > 0 {
            self.require_rights(&mut open, standing).await?;
            open.execute("SET LOCAL lock_timeout = '10s'").await?;
            self.run_missing(&mut open, standing).await?;
        }
        open.commit().await?;
        Ok(before)
    }

    async fn run_missing(&self, open: &mut PgConnection, standing: SchemaState) -> Result<(), Fault> {
        if !standing.is_there {
            open.execute(AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(self.schema())))).await?;
        }
        if !standing.has_notes {
            open.execute(NOTES).await?;
        }
        for migration in MIGRATIONS.iter().filter(|one| one.version > standing.version) {
            open.execute(migration.sql.clone()).await.map_err(of_migration)?;
            let note = sqlx::query(NOTE).bind(migration.version).bind(&*migration.description);
            note.bind(&*migration.checksum).persistent(false).execute(&mut *open).await?;
        }
        Ok(())
    }

    /// Says which right is missing before Postgres says only that one is.
    async fn require_rights(&self, open: &mut PgConnection, standing: SchemaState) -> Result<(), Fault> {
        let lacks = sqlx::query_as(LACKS).bind(self.schema()).persistent(false).fetch_one(open).await?;
        let (role, Some(grant)): (String, Option<String>) = lacks else { return Ok(()) };
        Err(Fault::Down(format!(
            "schema {} of {} lacks {} migrations, and role {role} may not run them. Run `helixstream mirror migrate` as the role \
             that owns the schema (docs/postgres.md has the roles and their GRANTs), or grant this role the right: {grant} [HS4510]",
            self.schema(),
            self.place(),
            standing.missing
        )))
    }
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
}
