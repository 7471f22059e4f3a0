//! The mirrors of events, snapshots and conflicts: each its own consumer of its topics, and its own
//! connection to Postgres, at its own pace. They run inside `run`, and alone (`mirror run`, `mirror
//! backfill`); `mirror verify` compares.

mod backfill;
mod compare;
mod contact;
mod mirrors;
mod place;
mod reread;
mod run;
mod setup;
mod verify;

pub use mirrors::{Mirrors, sinks};
pub use place::{at as database_at, database, password, url_of_command};
pub use setup::refuse_foreign_tables;

use super::{CommandError, Program, settings};
use crate::edges::cli::{MigrateArgs, MirrorAction};
use mirror_postgres::Migrated;

/// `helixstream mirror`.
pub fn mirror(action: &MirrorAction, program: &Program) -> Result<(), CommandError> {
    match action {
        MirrorAction::Run(args) => run::run(args, program),
        MirrorAction::Verify(args) => verify::verify(args, program),
        MirrorAction::Backfill(args) => backfill::backfill(args, program),
        MirrorAction::Migrate(args) => migrate(args, program),
    }
}

/// `helixstream mirror migrate`: what a mirror does when it starts, for those whose mirror may not.
fn migrate(args: &MigrateArgs, program: &Program) -> Result<(), CommandError> {
    let file = settings::load(&args.topology, None, program)?;
    let database = setup::require_database(database(&args.postgres, &file)?)?;
    let Migrated { from, to, run } = database.migrate()?;
    match run {
        0 => println!("{database} is at version {to} already"),
        _ => println!("{database} is at version {to}, from version {from}: {run} migrations were run"),
    }
    Ok(())
}
