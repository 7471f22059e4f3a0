//! The mirror's tables as they stand, read-only: how far each partition is, and digests of its
//! rows.

use std::time::Duration;

use futures::TryStreamExt;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};
use tokio::runtime::{Builder, Runtime};

use super::fault::Fault;
use super::session::{Database, DatabaseError};
use super::transaction::{Purpose, begin};
use mirror::digest::{Digest, hash, hash_headers};
use streams::record::TopicPartition;

/// Longest a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(120);

const CHECKPOINTS: &str = "SELECT kafka_topic, kafka_partition, next_offset, row_count, checksum \
    FROM memory_event_checkpoints WHERE kafka_topic = ANY ($1) ORDER BY 1, 2";
const DROPPED_BEFORE: &str = "SELECT max((extract(epoch FROM dropped_before) * 1000)::int8) FROM memory_retention";
const IS_THERE: &str = "SELECT to_regclass('memory_event_checkpoints') IS NOT NULL";

const OTHER_TOPICS: &str = "SELECT kafka_topic FROM memory_event_checkpoints WHERE row_count > 0 AND kafka_topic <> ALL ($1) \
    GROUP BY 1 ORDER BY 1";

/// Rows of a partition that no checkpoint claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclaimed {
    /// The partition that they say they are of.
    pub partition: TopicPartition,
    /// How many there are.
    pub rows: u64,
    /// The least of their offsets.
    pub first_offset: i64,
}

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

/// Looks at the mirror's tables and changes nothing. A connection that broke is made again by the
/// next call.
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
        let rows = self.call(async |open| {
            if !sqlx::query_scalar::<_, bool>(IS_THERE).persistent(false).fetch_one(&mut *open).await? {
                return Ok(Vec::new());
            }
            Ok(sqlx::query(CHECKPOINTS).bind(topics).persistent(false).fetch_all(open).await?)
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

    /// Hands over the digest of each row of a partition from one offset up to another, in order of
    /// the offsets.
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
        self.call(async |open| {
            let query = sqlx::query(AssertSqlSafe(sql)).bind(&*partition.topic).bind(partition.partition);
            let mut rows = query.bind(from).bind(to).persistent(false).fetch(open);
            while let Some(row) = rows.try_next().await? {
                take(digest(&row)?);
            }
            Ok(())
        })
    }

    /// The time, in milliseconds since 1970, below which retention has dropped rows of events;
    /// `None` where it has not.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`].
    pub fn dropped_before(&mut self) -> Result<Option<i64>, DatabaseError> {
        self.call(async |open| Ok(sqlx::query_scalar(DROPPED_BEFORE).persistent(false).fetch_one(open).await?))
    }

    /// Rows of a table that no checkpoint claims: of partitions that have none, and from where a
    /// checkpoint stands on. They are none of ours, or the checkpoint was set back. Checkpoints and
    /// rows are read as they stand together.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`].
    pub fn unclaimed(&mut self, table: &'static str) -> Result<Vec<Unclaimed>, DatabaseError> {
        let sql = format!(
            "SELECT kafka_topic, kafka_partition, count(*), min(kafka_offset) FROM {table} AS kept WHERE NOT EXISTS ( \
                SELECT FROM memory_event_checkpoints AS at WHERE at.kafka_topic = kept.kafka_topic \
                AND at.kafka_partition = kept.kafka_partition AND at.next_offset > kept.kafka_offset) \
             GROUP BY 1, 2 ORDER BY 1, 2"
        );
        let found: Vec<(String, i32, i64, i64)> =
            self.call(async |open| Ok(sqlx::query_as(AssertSqlSafe(sql)).persistent(false).fetch_all(open).await?))?;
        let unclaimed = |(topic, partition, rows, first_offset): (String, i32, i64, i64)| Unclaimed {
            partition: TopicPartition::new(topic, partition),
            rows: u64::try_from(rows).unwrap_or(0),
            first_offset,
        };
        Ok(found.into_iter().map(unclaimed).collect())
    }

    /// Topics that something was mirrored of, but for these.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`].
    pub fn other_topics(&mut self, but: &[String]) -> Result<Vec<String>, DatabaseError> {
        self.call(async |open| Ok(sqlx::query_scalar(OTHER_TOPICS).bind(but).persistent(false).fetch_all(open).await?))
    }

    fn call<T>(&mut self, work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Fault>) -> Result<T, DatabaseError> {
        let kept = self.connection.take();
        let database = &self.database;
        let done = self.runtime.block_on(async {
            tokio::time::timeout(CALL_LIMIT, async {
                let mut connection = match kept {
                    Some(connection) => connection,
                    None => database.connect().await?,
                };
                let mut open = begin(&mut connection, database.schema(), Purpose::Read).await?;
                let value = work(&mut open).await?;
                open.rollback().await?;
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
