//! The mirror's tables as they stand, read-only: how far each partition is, and digests of its rows.

use std::time::Duration;

use futures::TryStreamExt;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};
use tokio::runtime::{Builder, Runtime};

use super::fault::Fault;
use super::session::{Database, DatabaseError};
use crate::streams::digest::{Digest, hash, hash_headers};
use crate::streams::record::TopicPartition;

/// Longest a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(120);

const CHECKPOINTS: &str = "SELECT kafka_topic, kafka_partition, next_offset, row_count, checksum \
    FROM memory_event_checkpoints WHERE kafka_topic = ANY ($1) ORDER BY 1, 2";
const DROPPED_BEFORE: &str = "SELECT max((extract(epoch FROM dropped_before) * 1000)::int8) FROM memory_retention";
const IS_THERE: &str = "SELECT to_regclass('memory_event_checkpoints') IS NOT NULL";

/// How far a partition is mirrored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The partition.
    pub partition: TopicPartition,
    /// First offset that is not mirrored yet.
    pub next_offset: i64,
    /// Records mirrored so far.
    pub records: u64,
    /// Sum of their checksums; `None` where nobody has counted.
    pub checksum: Option<u64>,
}

/// Looks at the mirror's tables and changes nothing. A connection that broke is made again by the next call.
pub struct MirrorTables {
    database: Database,
    runtime: Runtime,
    connection: Option<PgConnection>,
}

impl MirrorTables {
    /// Of a database; it does not connect yet.
    ///
    /// # Errors
    /// [`DatabaseError::Runtime`].
    pub fn new(database: &Database) -> Result<MirrorTables, DatabaseError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(MirrorTables { database: database.clone(), runtime, connection: None })
    }

    /// How far the partitions of these topics are; none where the tables are not made yet.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`].
    pub fn progress(&mut self, topics: &[String]) -> Result<Vec<Progress>, DatabaseError> {
        let rows = self.call(async |connection| {
            if !sqlx::query_scalar::<_, bool>(IS_THERE).fetch_one(&mut *connection).await? {
                return Ok(Vec::new());
            }
            Ok(sqlx::query(CHECKPOINTS).bind(topics).fetch_all(connection).await?)
        })?;
        let progress = |row: &PgRow| {
            let checksum: Option<i64> = row.try_get(4)?;
            Ok(Progress {
                partition: TopicPartition::new(row.try_get::<String, _>(0)?, row.try_get(1)?),
                next_offset: row.try_get(2)?,
                records: u64::try_from(row.try_get::<i64, _>(3)?).unwrap_or(0),
                checksum: checksum.map(i64::cast_unsigned),
            })
        };
        let all: Result<Vec<Progress>, sqlx::Error> = rows.iter().map(progress).collect();
        Ok(all.map_err(Fault::from)?)
    }

    /// Hands over the digest of each row of a partition from one offset up to another, in order of the offsets.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`].
    pub fn rows(
        &mut self,
        table: &'static str,
        partition: &TopicPartition,
        (from, to): (i64, i64),
        take: &mut dyn FnMut(Digest),
    ) -> Result<(), DatabaseError> {
        let sql = format!(
            "SELECT kafka_offset, record_timestamp_ms, kafka_key, kafka_header_names, kafka_header_values, kafka_value \
             FROM {table} WHERE kafka_topic = $1 AND kafka_partition = $2 AND kafka_offset >= $3 AND kafka_offset < $4 \
             ORDER BY kafka_offset"
        );
        self.call(async |connection| {
            let query = sqlx::query(AssertSqlSafe(sql)).bind(&*partition.topic).bind(partition.partition);
            let mut rows = query.bind(from).bind(to).fetch(connection);
            while let Some(row) = rows.try_next().await? {
                take(digest(&row)?);
            }
            Ok(())
        })
    }

    /// The time, in milliseconds since 1970, below which retention has dropped rows of events; `None` where it has not.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`].
    pub fn dropped_before(&mut self) -> Result<Option<i64>, DatabaseError> {
        self.call(async |connection| Ok(sqlx::query_scalar(DROPPED_BEFORE).fetch_one(connection).await?))
    }

    fn call<T>(&mut self, work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Fault>) -> Result<T, DatabaseError> {
        let (kept, database) = (self.connection.take(), &self.database);
        let done = self.runtime.block_on(async {
            tokio::time::timeout(CALL_LIMIT, async {
                let mut connection = match kept {
                    Some(connection) => connection,
                    None => database.connect().await?,
                };
                let value = work(&mut connection).await?;
                Ok::<_, Fault>((value, connection))
            })
            .await
        });
        let limit = CALL_LIMIT.as_secs();
        let late = |_| DatabaseError::Unavailable(format!("Postgres gave no answer within {limit} s"));
        let (value, connection) = done.map_err(late)??;
        self.connection = Some(connection);
        Ok(value)
    }
}

fn digest(row: &PgRow) -> Result<Digest, sqlx::Error> {
    let names: Vec<Vec<u8>> = row.try_get(3)?;
    let values: Vec<Option<Vec<u8>>> = row.try_get(4)?;
    let headers = names.iter().zip(&values).map(|(name, value)| (name.as_slice(), value.as_deref()));
    Ok(Digest {
        offset: row.try_get(0)?,
        timestamp_ms: row.try_get(1)?,
        key: hash(row.try_get(2)?),
        headers: hash_headers(headers),
        value: hash(row.try_get(5)?),
    })
}
