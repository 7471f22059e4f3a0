//! Rows of events whose schema was unknown when they were mirrored (there was no registry, or it
//! did not know the id yet), read again from their own bytes. What they turn out to be takes their
//! place; those that are unknown still stay as they are.

use std::sync::Arc;

use futures::TryStreamExt;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Executor, Row};
use tokio::runtime::{Builder, Runtime};

use super::batch::{Batch, column_list};
use super::fault::Fault;
use super::rows::copy_in;
use super::session::{Database, DatabaseError};
use super::transaction::{Purpose, begin};
use mirror::ports::{LogBatch, LogHeader, LogRecord, NotYet, RowMapper};
use streams::record::TopicPartition;

/// Bytes of values after which a part ends.
const PART_BYTES: usize = 4 << 20;

const UNREAD: &str = "SELECT kafka_topic, kafka_partition, kafka_offset, record_timestamp_ms, kafka_key, kafka_header_names, \
    kafka_header_values, kafka_value FROM memory_events \
    WHERE error_class = 'unknown_schema' AND kafka_topic = ANY ($1) AND (kafka_topic, kafka_partition, kafka_offset) > ($2, $3, $4) \
    ORDER BY kafka_topic, kafka_partition, kafka_offset LIMIT 1000";
/// Nodes are counted up to an offset: who counts on waits, and then passes over what is counted
/// here.
const HOLD_COUNTS: &str = "SELECT FROM memory_node_progress FOR UPDATE";
/// Where rows wait for those in whose place they go, within a transaction.
const STAGING: &str = "pg_temp.helixstream_staging";
const REMOVE: &str = "DELETE FROM memory_events AS old USING pg_temp.helixstream_staging AS new \
    WHERE old.kafka_topic = new.kafka_topic AND old.kafka_partition = new.kafka_partition AND old.kafka_offset = new.kafka_offset \
    AND old.record_time = new.record_time AND old.error_class = 'unknown_schema' AND new.error_class IS DISTINCT FROM 'unknown_schema'";
/// Inserts what is not there, and counts the nodes of it that a count has passed already; behind it
/// the columns that are inserted.
const INSERT: [&str; 3] = [
    "WITH inserted AS (INSERT INTO memory_events (",
    ") SELECT ",
    " FROM pg_temp.helixstream_staging WHERE error_class IS DISTINCT FROM 'unknown_schema' \
        ON CONFLICT ON CONSTRAINT memory_events_pkey DO NOTHING \
        RETURNING kafka_topic, kafka_partition, kafka_offset, node_id, event_id, event_time, event_time_ns, version, vector_clock \
    ), counted AS ( \
        SELECT i.*, count(*) OVER of_node AS records, row_number() OVER (of_node ORDER BY i.kafka_offset DESC) AS from_last \
        FROM inserted AS i JOIN memory_node_progress AS p USING (kafka_topic, kafka_partition) \
        WHERE i.node_id IS NOT NULL AND i.kafka_offset < p.counted_offset \
        WINDOW of_node AS (PARTITION BY i.kafka_topic, i.kafka_partition, i.node_id) \
    ), noted AS ( \
        INSERT INTO memory_node_checkpoints AS at (kafka_topic, kafka_partition, node_digest, node_id, last_offset, last_event_id, \
            last_event_time, last_event_time_ns, last_version, vector_clock, event_count) \
        SELECT kafka_topic, kafka_partition, memory_digest(node_id), node_id, kafka_offset, event_id, event_time, event_time_ns, \
            version, vector_clock, records FROM counted WHERE from_last = 1 \
        ON CONFLICT (kafka_topic, kafka_partition, node_digest) DO UPDATE SET \
            event_count = at.event_count + excluded.event_count, updated_at = now(), \
            (last_offset, last_event_id, last_event_time, last_event_time_ns, last_version, vector_clock) = ( \
                SELECT either.* FROM (SELECT at.last_offset, at.last_event_id, at.last_event_time, at.last_event_time_ns, \
                    at.last_version, at.vector_clock \
                UNION ALL SELECT excluded.last_offset, excluded.last_event_id, excluded.last_event_time, excluded.last_event_time_ns, \
                    excluded.last_version, excluded.vector_clock) AS either (at_offset, id, time, time_ns, version, clock) \
                ORDER BY at_offset DESC LIMIT 1) \
    ) SELECT count(*) FROM inserted",
];

/// Why rows could not be read again.
#[derive(Debug, thiserror::Error)]
pub enum RereadError {
    /// The schema registry is not to be had; what was set right so far stays.
    #[error("{0}")]
    NotYet(#[from] NotYet),
    /// Nor is Postgres.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Outcome for a part of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reread {
    /// Rows that were looked at.
    pub rows: u64,
    /// Rows that another one took the place of.
    pub replaced: u64,
}

/// A row as it lies in Kafka.
struct Raw {
    partition: TopicPartition,
    offset: i64,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    header_names: Vec<Vec<u8>>,
    header_values: Vec<Option<Vec<u8>>>,
    value: Option<Vec<u8>>,
}

/// Reads rows again, part by part.
pub struct Rereader {
    runtime: Runtime,
    connection: PgConnection,
    schema: String,
    columns: String,
    batch: Batch,
    topics: Vec<String>,
    /// The last row that was looked at.
    last: (String, i32, i64),
}

impl Rereader {
    /// Of the events of these topics.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`].
    pub fn new(
        database: &Database,
        mapper: Arc<dyn RowMapper>,
        topics: Vec<String>,
    ) -> Result<Rereader, DatabaseError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let connection = runtime.block_on(database.connect())?;
        let columns = column_list(mapper.as_ref());
        let last = (String::new(), -1, -1);
        let schema = database.schema().to_owned();
        Ok(Rereader { runtime, connection, schema, columns, batch: Batch::new(mapper), topics, last })
    }

    /// The next part; `None` behind the last row. A record is read before anything of its part is
    /// written, and outside of a transaction: the registry may take its time.
    ///
    /// # Errors
    /// [`RereadError`]
    pub fn part(&mut self) -> Result<Option<Reread>, RereadError> {
        let rows = self.runtime.block_on(async {
            let mut open = begin(&mut self.connection, &self.schema, Purpose::Read).await?;
            let rows = unread(&mut open, &self.topics, &self.last).await?;
            open.rollback().await?;
            Ok::<_, Fault>(rows)
        });
        let rows = rows.map_err(DatabaseError::from)?;
        let Some(last) = rows.last() else { return Ok(None) };
        let last = (last.partition.topic.to_string(), last.partition.partition, last.offset);
        self.batch.clear();
        for row in &rows {
            let headers = row.header_names.iter().zip(&row.header_values);
            let headers: Vec<LogHeader<'_>> =
                headers.map(|(name, value)| LogHeader { name, value: value.as_deref() }).collect();
            self.batch.push(&LogRecord {
                partition: &row.partition,
                offset: row.offset,
                timestamp_ms: row.timestamp_ms,
                key: row.key.as_deref(),
                headers: &headers,
                value: row.value.as_deref(),
            })?;
        }
        let replaced =
            self.runtime.block_on(replace_what_fits(&mut self.connection, &self.schema, &self.columns, &self.batch));
        let replaced = replaced.map_err(DatabaseError::from)?;
        self.last = last;
        Ok(Some(Reread { rows: rows.len() as u64, replaced }))
    }
}

async fn unread(
    connection: &mut PgConnection,
    topics: &[String],
    (topic, partition, offset): &(String, i32, i64),
) -> Result<Vec<Raw>, Fault> {
    let mut found =
        sqlx::query(UNREAD).bind(topics).bind(topic).bind(partition).bind(offset).persistent(false).fetch(connection);
    let mut rows = Vec::new();
    let mut bytes = 0;
    while bytes < PART_BYTES
        && let Some(row) = found.try_next().await?
    {
        let row = raw(&row)?;
        bytes += row.value.as_ref().map_or(0, Vec::len);
        rows.push(row);
    }
    Ok(rows)
}

fn raw(row: &PgRow) -> Result<Raw, sqlx::Error> {
    Ok(Raw {
        partition: TopicPartition::new(row.try_get::<String, _>(0)?, row.try_get(1)?),
        offset: row.try_get(2)?,
        timestamp_ms: row.try_get(3)?,
        key: row.try_get(4)?,
        header_names: row.try_get(5)?,
        header_values: row.try_get(6)?,
        value: row.try_get(7)?,
    })
}

/// Puts all rows in their places at once, or where Postgres refuses one of them each by itself:
/// raw, as the mirror would have kept it.
async fn replace_what_fits(
    connection: &mut PgConnection,
    schema: &str,
    columns: &str,
    batch: &Batch,
) -> Result<u64, Fault> {
    match replace(connection, schema, columns, batch.slice(0..batch.len())).await {
        Err(Fault::Row(_) | Fault::Duplicate(_)) => {}
        done => return done,
    }
    let mut replaced = 0;
    for row in 0..batch.len() {
        replaced += match replace(connection, schema, columns, batch.slice(row..row + 1)).await {
            Err(Fault::Row(reason) | Fault::Duplicate(reason)) => {
                replace(connection, schema, columns, &batch.raw(row, &reason)).await?
            }
            done => done?,
        };
    }
    Ok(replaced)
}

/// Puts rows in the place of those of the same records, in one transaction; returns their number.
async fn replace(connection: &mut PgConnection, schema: &str, columns: &str, rows: &[u8]) -> Result<u64, Fault> {
    let mut open = begin(connection, schema, Purpose::Write).await?;
    open.execute(HOLD_COUNTS).await?;
    let stage = format!(
        "CREATE TEMP TABLE helixstream_staging ON COMMIT DROP AS SELECT {columns} FROM memory_events WITH NO DATA"
    );
    open.execute(AssertSqlSafe(stage)).await?;
    copy_in(&mut open, STAGING, columns, rows).await?;
    let removed = open.execute(REMOVE).await?.rows_affected();
    let insert = AssertSqlSafe(INSERT.join(columns));
    let replaced: i64 = sqlx::query_scalar(insert).persistent(false).fetch_one(&mut *open).await?;
    let replaced = u64::try_from(replaced).unwrap_or(0);
    if replaced < removed {
        let reason =
            format!("a trigger or rule that somebody has put on memory_events left out {} rows", removed - replaced);
        return Err(Fault::Down(format!(
            "{reason}; nothing was changed (docs/postgres.md says what may be added to the tables)"
        )));
    }
    open.commit().await?;
    Ok(replaced)
}
