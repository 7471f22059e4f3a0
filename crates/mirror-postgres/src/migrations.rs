//! The migrations that are compiled in, from the folder `migrations` of the repository.

use sqlx::migrate::Migrator;

/// All migrations, oldest first.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// Version of the last migration that this program has.
pub(super) fn newest_version() -> i64 {
    MIGRATIONS.iter().map(|one| one.version).max().unwrap_or(0)
}
