//! Rows on their way into an open transaction.
//!
//! What Postgres refuses is tried again with a savepoint for each part: halved until the row is alone, which is then kept
//! raw. Where rows are there already (the checkpoint was removed, the rows were not) a part goes through a staging table
//! instead, which skips those. So does every part of a table that keeps the last record of a key alone: what is staged takes
//! the place of older rows, and is left out where a later one is there or staged.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor};

use crate::streams::ports::log::Keeps;

use super::batch::Batch;
use super::copy::{HEAD, TAIL};
use super::fault::Fault;

/// Bytes of one `CopyData` message: the connection buffers a message whole.
const MESSAGE_BYTES: usize = 256 << 10;

/// The rows of a batch on their way into an open transaction.
pub(super) struct Rows<'a> {
    pub(super) to: &'a mut PgConnection,
    pub(super) table: &'static str,
    pub(super) keeps: Keeps,
    pub(super) columns: &'a str,
    pub(super) batch: &'a Batch,
}

impl Rows<'_> {
    /// All as they are.
    pub(super) async fn copy_all(&mut self) -> Result<u64, Fault> {
        if self.batch.len() > 0 {
            let batch = self.batch;
            self.copy_part(batch.slice(0..batch.len()), false).await?;
        }
        Ok(0)
    }

    /// Halves what is refused until single rows are left; gives their number.
    pub(super) async fn copy_what_fits(&mut self) -> Result<u64, Fault> {
        let whole = 0..self.batch.len();
        let (mut todo, mut staged, mut rejected) = (vec![whole], false, 0);
        while let Some(rows) = todo.pop() {
            self.to.execute("SAVEPOINT part").await?;
            let batch = self.batch;
            let fault = match self.copy_part(batch.slice(rows.clone()), staged).await {
                Ok(()) => {
                    self.to.execute("RELEASE SAVEPOINT part").await?;
                    continue;
                }
                Err(fault) => fault,
            };
            if let Fault::Down(_) | Fault::Locked(_) | Fault::Foreign(_) = fault {
                return Err(fault);
            }
            self.to.execute("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part").await?;
            match (fault, rows.len()) {
                (Fault::Row(_), 2..) => {
                    let middle = rows.start + rows.len() / 2;
                    todo.extend([middle..rows.end, rows.start..middle]);
                }
                (Fault::Row(reason), _) => {
                    tracing::warn!(%reason, "Postgres refuses a decoded row; the mirror keeps the record raw");
                    let raw = batch.raw(rows.start, &reason);
                    self.copy_part(&raw, staged).await.map_err(still_refused)?;
                    rejected += 1;
                }
                (other, _) if staged => return Err(still_refused(other)),
                _ => {
                    staged = true;
                    todo.push(rows);
                }
            }
        }
        Ok(rejected)
    }

    /// Straight into the table, or `staged`: past what is there already.
    async fn copy_part(&mut self, bytes: &[u8], staged: bool) -> Result<(), Fault> {
        match self.keeps {
            Keeps::LastOfKey => self.replace(bytes).await,
            Keeps::Every if staged => {
                let inserted = self.insert_staged(bytes, "", "").await?;
                tracing::warn!(
                    inserted,
                    "rows of these records were there already, though the checkpoint did not say so; they stay as they are"
                );
                Ok(())
            }
            Keeps::Every => copy_in(self.to, self.table, self.columns, bytes).await,
        }
    }

    /// In the place of older rows of the same keys. Where one is there that is not older, it stays: its key, and its place
    /// in the log, are there once.
    async fn replace(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let remove_older = format!(
            "DELETE FROM {} AS old USING mirror_staging AS new WHERE old.kafka_key = new.kafka_key \
             AND (old.kafka_offset < new.kafka_offset \
             OR (old.kafka_topic, old.kafka_partition) IS DISTINCT FROM (new.kafka_topic, new.kafka_partition))",
            self.table
        );
        let last = "WHERE NOT EXISTS (SELECT FROM mirror_staging AS later \
             WHERE later.kafka_key = staged.kafka_key AND later.kafka_offset > staged.kafka_offset)";
        self.insert_staged(bytes, &remove_older, last).await?;
        Ok(())
    }

    /// Copies rows into the staging table, runs `prepare`, and inserts those of `which` that are not there yet; gives their
    /// number.
    async fn insert_staged(&mut self, bytes: &[u8], prepare: &str, which: &str) -> Result<u64, Fault> {
        let table = self.table;
        let make = format!(
            "CREATE TEMP TABLE IF NOT EXISTS mirror_staging (LIKE {table} INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
        );
        self.to.execute(AssertSqlSafe(make)).await?;
        // Empty, but for what an earlier part of the same transaction has left.
        self.to.execute("DELETE FROM mirror_staging").await?;
        copy_in(self.to, "mirror_staging", self.columns, bytes).await?;
        if !prepare.is_empty() {
            self.to.execute(AssertSqlSafe(prepare)).await?;
        }
        let insert =
            format!("INSERT INTO {table} SELECT * FROM mirror_staging AS staged {which} ON CONFLICT DO NOTHING");
        let inserted = self.to.execute(AssertSqlSafe(insert)).await?.rows_affected();
        Ok(inserted)
    }
}

fn still_refused(fault: Fault) -> Fault {
    Fault::Down(format!("Postgres refuses a record even raw: {}", fault.reason()))
}

/// Copies rows, laid out as binary `COPY` wants them, into columns of a table.
pub(super) async fn copy_in(to: &mut PgConnection, table: &str, columns: &str, rows: &[u8]) -> Result<(), Fault> {
    let mut copy = to.copy_in_raw(&format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary)")).await?;
    copy.send(HEAD).await?;
    for message in rows.chunks(MESSAGE_BYTES) {
        copy.send(message).await?;
    }
    copy.send(TAIL).await?;
    copy.finish().await?;
    Ok(())
}
