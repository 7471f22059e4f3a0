//! Rows on their way into an open transaction.
//!
//! A batch that Postgres refuses is tried again with a savepoint for each part: halved until the
//! row is alone, which is then kept raw. Where rows are there already (the checkpoint was removed,
//! the rows were not) a part goes through a staging table instead, which skips those. So does every
//! part of a table that keeps the last record of a key alone: what is staged takes the place of
//! older rows, and is left out where a later one is there or staged.
//!
//! Only our own keys make a row one that is there already. What violates an index of somebody
//! else's is refused like any other row; and where rows come to nothing, by a trigger or a rule,
//! nothing of the batch is kept.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor};

use mirror::ports::RowPolicy;

use super::batch::Batch;
use super::copy::{HEAD, TAIL};
use super::fault::Fault;

/// Bytes of one `CopyData` message: the connection buffers a message whole.
const MESSAGE_BYTES: usize = 256 << 10;

/// Where rows wait within a transaction before they go into their table. Named with its schema, as
/// nobody else's can be.
const STAGING: &str = "pg_temp.helixstream_staging";

/// The rows of a batch on their way into an open transaction.
pub(super) struct Rows<'a> {
    pub(super) to: &'a mut PgConnection,
    pub(super) table: &'static str,
    pub(super) row_policy: RowPolicy,
    pub(super) columns: &'a str,
    pub(super) batch: &'a Batch,
}

impl Rows<'_> {
    /// All as they are.
    pub(super) async fn copy_all(&mut self) -> Result<u64, Fault> {
        if self.batch.len() > 0 {
            let batch = self.batch;
            self.copy_part(batch.slice(0..batch.len()), batch.len(), false).await?;
        }
        Ok(0)
    }

    /// Halves what is refused until single rows are left; returns their number.
    pub(super) async fn copy_what_fits(&mut self) -> Result<u64, Fault> {
        let whole = 0..self.batch.len();
        let mut todo = vec![whole];
        let mut rejected = 0;
        // Staged rows pass by those of our own keys, so a key that is doubled then is one of an
        // index that somebody has added.
        let mut staged = self.row_policy != RowPolicy::Append;
        while let Some(rows) = todo.pop() {
            self.to.execute("SAVEPOINT part").await?;
            let batch = self.batch;
            let fault = match self.copy_part(batch.slice(rows.clone()), rows.len(), staged).await {
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
            match fault {
                Fault::Duplicate(_) if !staged => {
                    staged = true;
                    todo.push(rows);
                }
                _ if rows.len() > 1 => {
                    let middle = rows.start + rows.len() / 2;
                    todo.extend([middle..rows.end, rows.start..middle]);
                }
                refused => {
                    let reason = refused.reason();
                    tracing::warn!(code = "HS4063", %reason, "Postgres refuses a decoded row, so the mirror stores the record raw");
                    let raw = batch.raw(rows.start, &reason);
                    self.copy_part(&raw, 1, true).await.map_err(still_refused)?;
                    rejected += 1;
                }
            }
        }
        Ok(rejected)
    }

    /// Straight into the table, or `staged`: past what is there already.
    async fn copy_part(&mut self, bytes: &[u8], rows: usize, staged: bool) -> Result<(), Fault> {
        match self.row_policy {
            RowPolicy::UpsertByKey => self.replace(bytes, false).await,
            RowPolicy::UpsertByPartitionAndKey => self.replace(bytes, true).await,
            RowPolicy::Append if staged => {
                let passed = self.insert_staged(bytes, "", "true").await?;
                if passed > 0 {
                    tracing::warn!(
                        code = "HS4064",
                        rows = passed,
                        "rows of these records are in the table already, though the checkpoint does not cover them; they stay as they are"
                    );
                }
                Ok(())
            }
            RowPolicy::Append => {
                let copied = copy_in(self.to, self.table, self.columns, bytes).await?;
                if copied == rows as u64 { Ok(()) } else { Err(self.left_out(rows as u64 - copied.min(rows as u64))) }
            }
        }
    }

    /// In the place of older rows of the same keys. Where one is there that is not older, it stays:
    /// its key, and its place in the log, are there once. With `each_partition` a key has one row
    /// in every partition of the topic.
    async fn replace(&mut self, bytes: &[u8], each_partition: bool) -> Result<(), Fault> {
        let table = self.table;
        let (of_old, of_later) = match each_partition {
            true => (
                "AND (old.kafka_partition = new.kafka_partition OR old.kafka_topic <> new.kafka_topic)",
                "AND later.kafka_partition = staged.kafka_partition",
            ),
            false => ("", ""),
        };
        let remove_older = format!(
            "DELETE FROM {table} AS old USING {STAGING} AS new WHERE old.kafka_key = new.kafka_key {of_old} \
             AND (old.kafka_offset < new.kafka_offset \
             OR (old.kafka_topic, old.kafka_partition) IS DISTINCT FROM (new.kafka_topic, new.kafka_partition))"
        );
        let last = format!(
            "NOT EXISTS (SELECT FROM {STAGING} AS later WHERE later.kafka_key = staged.kafka_key {of_later} \
                AND (later.kafka_offset, later.kafka_topic, later.kafka_partition) \
                    > (staged.kafka_offset, staged.kafka_topic, staged.kafka_partition)) \
             AND NOT EXISTS (SELECT FROM {table} AS at WHERE at.kafka_key = staged.kafka_key \
                AND at.kafka_topic = staged.kafka_topic AND at.kafka_partition = staged.kafka_partition \
                AND at.kafka_offset >= staged.kafka_offset)"
        );
        self.insert_staged(bytes, &remove_older, &last).await?;
        Ok(())
    }

    /// Copies rows into the staging table, runs `prepare`, and inserts those of `which` that are
    /// not there yet; returns the number of the others. Columns are named throughout: somebody may
    /// have added some to the table.
    async fn insert_staged(&mut self, bytes: &[u8], prepare: &str, which: &str) -> Result<u64, Fault> {
        let table = self.table;
        let columns = self.columns;
        // Gone with the transaction: the session may be another's next time.
        let make = format!(
            "CREATE TEMP TABLE IF NOT EXISTS helixstream_staging ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA"
        );
        self.to.execute(AssertSqlSafe(make)).await?;
        // Empty, but for what an earlier part of the same transaction has left.
        self.to.execute(AssertSqlSafe(format!("DELETE FROM {STAGING}"))).await?;
        let staged = copy_in(self.to, STAGING, columns, bytes).await?;
        if !prepare.is_empty() {
            self.to.execute(AssertSqlSafe(prepare)).await?;
        }
        let insert = format!(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM {STAGING} AS staged WHERE {which} \
             ON CONFLICT ON CONSTRAINT {table}_pkey DO NOTHING"
        );
        let inserted = self.to.execute(AssertSqlSafe(insert)).await?.rows_affected();
        if inserted < staged {
            let left_out = format!(
                "SELECT count(*) FROM {STAGING} AS staged WHERE {which} AND NOT EXISTS (SELECT FROM {table} AS at \
                 WHERE at.kafka_topic = staged.kafka_topic AND at.kafka_partition = staged.kafka_partition \
                 AND at.kafka_offset = staged.kafka_offset)"
            );
            let left_out: i64 =
                sqlx::query_scalar(AssertSqlSafe(left_out)).persistent(false).fetch_one(&mut *self.to).await?;
            if left_out > 0 {
                return Err(self.left_out(left_out.unsigned_abs()));
            }
        }
        Ok(staged.saturating_sub(inserted))
    }

    /// Rows that Postgres has taken and not kept.
    fn left_out(&self, rows: u64) -> Fault {
        Fault::Down(format!(
            "a trigger or rule that somebody has put on {} left out {rows} rows: the mirror waits until it keeps every row (a trigger \
             BEFORE INSERT has to return NEW; docs/postgres.md says what may be added to the tables)",
            self.table
        ))
    }
}

fn still_refused(fault: Fault) -> Fault {
    Fault::Down(format!(
        "Postgres refuses a record even raw: {}; the mirror waits until it is taken (a constraint, index, trigger or column that somebody \
         has added? docs/postgres.md says what may be added to the tables)",
        fault.reason()
    ))
}

/// Copies rows, laid out as binary `COPY` wants them, into columns of a table; returns the number
/// of those that were kept.
pub(super) async fn copy_in(to: &mut PgConnection, table: &str, columns: &str, rows: &[u8]) -> Result<u64, Fault> {
    let mut copy = to.copy_in_raw(&format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary)")).await?;
    copy.send(HEAD).await?;
    for message in rows.chunks(MESSAGE_BYTES) {
        copy.send(message).await?;
    }
    copy.send(TAIL).await?;
    Ok(copy.finish().await?)
}
