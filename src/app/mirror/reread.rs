//! `helixstream mirror backfill --from unread`: corrects the rows of events whose schema was
//! unknown when they were mirrored.

use anyhow::{Context as _, anyhow};

use crate::app::mirrored_topics::{GROUP, mirrored_tables};
use crate::app::{CommandError, schema_registry};
use crate::edges::cli::RegistryArgs;
use crate::edges::cli::terminal::Progress;
use mirror_postgres::{Database, Reread, RereadError, Rereader};
use topology_file::Topology as File;

/// Reads the rows again, and says how many are set right.
pub(super) fn reread(args: &RegistryArgs, file: &File, database: &Database) -> Result<(), CommandError> {
    let codec = schema_registry::codecs(args, file, schema_registry::REPLAY_WAIT)?.stream;
    let codec = codec.ok_or_else(|| {
        CommandError::Usage(
            "--from unread needs the schema registry that knows the schemas: set --schema-registry-url [HS5511]"
                .to_owned(),
        )
    })?;
    let events = mirrored_tables(file, Some(&codec)).into_iter().find(|table| table.group == GROUP);
    let events = events.context("the topology has no events topic [HS4521]")?;
    let mut rows = Rereader::new(database, events.rows, events.topics)?;
    let bar = Progress::new("reread", None, false);
    let mut all = Reread::default();
    loop {
        match rows.part() {
            Ok(None) => break,
            Ok(Some(part)) => {
                all = Reread { rows: all.rows + part.rows, replaced: all.replaced + part.replaced };
                bar.set(all.rows, None);
            }
            Err(RereadError::NotYet(why)) => {
                let done = all.replaced;
                return Err(anyhow!(
                    "{why}; {done} rows are corrected, and the same command continues with the others [HS4529]"
                )
                .into());
            }
            Err(RereadError::Database(e)) => return Err(e.into()),
        }
    }
    drop(bar);
    println!("{} of {} rows of an unknown schema are set right", all.replaced, all.rows);
    Ok(())
}
