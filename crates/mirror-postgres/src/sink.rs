//! Rows and checkpoints in one transaction: lock the checkpoints, compare, `COPY` the rows, move
//! the checkpoints, commit.
//!
//! A batch that Postgres refuses, or of which rows are there already, is tried again part by part
//! (`rows`). The primary key is thus a second lock behind the checkpoint.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnection, PgRow, Postgres};
use sqlx::{AssertSqlSafe, Row, Transaction};
use tokio::runtime::{Builder, Runtime};

use mirror::ports::{
    Advance, LogSink, MaintenanceTask, RowMapper, RowPolicy, SinkCheckpoint, SinkError, StartupRow, Stop,
    TopicPartition, Written,
};

use super::batch::{Batch, column_list};
use super::fault::Fault;
use super::rows::Rows;
use super::session::{Database, DatabaseError, Session};
use super::startup_row::write_startup_row;

/// Longest a call may take; a batch is a few MiB, so past this the server hangs.
const CALL_LIMIT: Duration = Duration::from_secs(120);
/// Longest a migration or a chore may take, which may have to go through all rows.
const LONG_LIMIT: Duration = Duration::from_secs(6 * 3600);
/// A chore that failed has its next turn after this at the latest.
const AGAIN: Duration = Duration::from_secs(60);
/// How long a sink without chores need not be tended.
const IDLE: Duration = Duration::from_secs(3600);
/// How long a set stop may go unseen.
const STOP_LOOK: Duration = Duration::from_millis(50);

const CLAIM: &str = "INSERT INTO memory_event_checkpoints AS at (kafka_topic, kafka_partition) \
    SELECT * FROM unnest($1::text[], $2::int4[]) ORDER BY 1, 2 \
    ON CONFLICT (kafka_topic, kafka_partition) DO UPDATE SET writer_epoch = at.writer_epoch + 1, updated_at = now() \
    RETURNING kafka_topic, kafka_partition, next_offset, writer_epoch, checksum";
const READ: &str = "SELECT kafka_topic, kafka_partition, next_offset, writer_epoch, checksum FROM memory_event_checkpoints \
    WHERE (kafka_topic, kafka_partition) IN (SELECT * FROM unnest($1::text[], $2::int4[])) ORDER BY 1, 2";
const LOCK: &str = "SELECT kafka_topic, kafka_partition, next_offset, writer_epoch, checksum FROM memory_event_checkpoints \
    WHERE (kafka_topic, kafka_partition) IN (SELECT * FROM unnest($1::text[], $2::int4[])) ORDER BY 1, 2 FOR UPDATE";
/// Ends the sessions of mirrors that hold checkpoints locked and have waited for their client for
/// 10 s.
const END_SLEEPERS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity JOIN pg_locks USING (pid) \
    WHERE datname = current_database() AND application_name = 'helixstream-mirror' AND pid <> pg_backend_pid() \
    AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - interval '10 s' \
    AND relation = 'memory_event_checkpoints'::regclass AND mode = 'RowShareLock' AND granted";
const MOVE: &str = "UPDATE memory_event_checkpoints AS at \
    SET next_offset = step.next_offset, row_count = at.row_count + step.row_count, checksum = step.checksum, updated_at = now() \
    FROM unnest($1::text[], $2::int4[], $3::int8[], $4::int8[], $5::int8[]) \
        AS step (topic, partition, next_offset, row_count, checksum) \
    WHERE at.kafka_topic = step.topic AND at.kafka_partition = step.partition";

/// A Postgres database as a sink. It connects, and brings its tables up to date, when it is first
/// asked for something.
pub struct PostgresSink {
    tables: Tables,
    runtime: Runtime,
    mapper: Arc<dyn RowMapper>,
    startup_row: Option<Arc<dyn StartupRow>>,
    /// With the time of the next turn of each.
    maintenance: Vec<(MaintenanceTask, Instant)>,
    stop: Stop,
}

impl PostgresSink {
    /// A sink for the rows of `mapper` in a database. `stop` ends calls under way.
    ///
    /// # Errors
    /// [`DatabaseError::Runtime`]; a database that is down is no error here.
    pub fn new(database: &Database, mapper: Arc<dyn RowMapper>, stop: Stop) -> Result<PostgresSink, DatabaseError> {
        let session = Session::new(database.clone());
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let columns = column_list(mapper.as_ref());
        let tables = Tables { session, table: mapper.table(), row_policy: mapper.row_policy(), columns };
        Ok(PostgresSink { tables, runtime, mapper, startup_row: None, maintenance: Vec::new(), stop })
    }

    /// The same sink, which writes this row before it does anything else.
    #[must_use]
    pub fn with_startup_row(mut self, startup_row: Arc<dyn StartupRow>) -> PostgresSink {
        self.startup_row = Some(startup_row);
        self
    }

    /// The same sink, which runs these maintenance tasks when they are due.
    #[must_use]
    pub fn with_maintenance(mut self, maintenance: Vec<MaintenanceTask>) -> PostgresSink {
        let now = Instant::now();
        self.maintenance = maintenance.into_iter().map(|task| (task, now)).collect();
        self
    }

    /// Runs a call to its end, its limit, or the stop. Whatever went wrong, the connection is given
    /// up: a transaction that it may have open ends with it.
    fn call<T>(
        &mut self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut Tables) -> Result<T, Fault>,
    ) -> Result<T, SinkError> {
        let tables = &mut self.tables;
        let stop = &self.stop;
        let limited = async {
            // Apart from the call's own limit: the first connection migrates, which may take as
            // long as the rows are many.
            within(LONG_LIMIT, async { tables.session.prepare().await }).await?;
            within(limit, work(tables)).await
        };
        let outcome = self.runtime.block_on(async {
            tokio::select! {
                done = limited => done.map_err(|fault| SinkError::Unavailable(fault.reason())),
                () = until_set(stop) => Err(SinkError::Stopped),
            }
        });
        if outcome.is_err() {
            self.runtime.block_on(async { self.tables.session.reset() });
        }
        outcome
    }
}

impl Drop for PostgresSink {
    fn drop(&mut self) {
        let close = async { tokio::time::timeout(STOP_LOOK, self.tables.session.close()).await };
        if self.runtime.block_on(close).is_err() {
            tracing::debug!("Postgres did not answer while the mirror closed its connection");
        }
    }
}

impl LogSink for PostgresSink {
    type Batch = Batch;

    fn batch(&self) -> Batch {
        Batch::new(Arc::clone(&self.mapper))
    }

    fn begin(&mut self) -> Result<(), SinkError> {
        let Some(startup_row) = self.startup_row.clone() else { return Ok(()) };
        self.call(CALL_LIMIT, async |tables| {
            write_startup_row(startup_row.as_ref(), tables.session.begin().await?).await
        })
    }

    fn claim(&mut self, partitions: &[TopicPartition]) -> Result<Vec<SinkCheckpoint>, SinkError> {
        self.call(CALL_LIMIT, async |tables| claim(&mut tables.session, partitions).await)
    }

    fn read(&mut self, partitions: &[TopicPartition]) -> Result<Vec<SinkCheckpoint>, SinkError> {
        self.call(CALL_LIMIT, async |tables| {
            let mut open = tables.session.begin().await?;
            let found = checkpoints(&mut open, READ, partitions.iter()).await.map(standing)?;
            open.rollback().await?;
            Ok(found)
        })
    }

    fn write(&mut self, batch: &Batch, advances: &[Advance]) -> Result<Written, SinkError> {
        self.call(CALL_LIMIT, async |tables| match tables.attempt(batch, advances, false).await {
            Err(Fault::Row(_) | Fault::Duplicate(_)) => tables.attempt(batch, advances, true).await,
            outcome => outcome,
        })
    }

    fn run_maintenance(&mut self) -> Result<Duration, SinkError> {
        let mut maintenance = std::mem::take(&mut self.maintenance);
        let mut failed = Ok(());
        for (task, next) in &mut maintenance {
            if *next > Instant::now() {
                continue;
            }
            let done = self.call(LONG_LIMIT, async |tables| run(*task, tables.session.begin().await?).await);
            *next = Instant::now() + if done.is_ok() { task.every } else { task.every.min(AGAIN) };
            match done {
                Ok(0) => {}
                Ok(done) if task.every < AGAIN => {
                    tracing::debug!(task = task.function, done, "the mirror ran a maintenance task in Postgres")
                }
                Ok(done) => tracing::info!(task = task.function, done, "the mirror ran a maintenance task in Postgres"),
                Err(error) => failed = Err(error),
            }
        }
        let next = maintenance.iter().map(|(_, next)| *next).min();
        self.maintenance = maintenance;
        failed?;
        Ok(next.map_or(IDLE, |next| next.saturating_duration_since(Instant::now())))
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let late = |_| Fault::Down(format!("no answer within {} s", limit.as_secs()));
    tokio::time::timeout(limit, work).await.map_err(late)?
}

async fn until_set(stop: &Stop) {
    while !stop.is_set() {
        tokio::time::sleep(STOP_LOOK).await;
    }
}

struct Tables {
    session: Session,
    table: &'static str,
    row_policy: RowPolicy,
    columns: String,
}

impl Tables {
    /// One transaction. With `row_by_row` rows that Postgres refuses are found and kept raw, else
    /// they are an error.
    async fn attempt(&mut self, batch: &Batch, advances: &[Advance], row_by_row: bool) -> Result<Written, Fault> {
        let mut open = self.session.begin().await?;
        let found = checkpoints(&mut open, LOCK, advances.iter().map(|advance| &advance.partition)).await?;
        let stands = |advance: &Advance| {
            let at = found.iter().find(|at| at.at.partition == advance.partition);
            at.map_or((0, 0), |found| (found.at.epoch, found.at.next_offset))
        };
        // A commit whose answer was lost: the batch is kept already.
        if advances.iter().all(|advance| stands(advance) == (advance.epoch, advance.to)) {
            open.rollback().await?;
            return Ok(Written::Kept { rejected: 0 });
        }
        let moved = advances.iter().filter(|advance| stands(advance) != (advance.epoch, advance.from));
        let moved: Vec<SinkCheckpoint> = moved
            .map(|advance| {
                let (epoch, next_offset) = stands(advance);
                SinkCheckpoint { partition: advance.partition.clone(), next_offset, epoch }
            })
            .collect();
        if !moved.is_empty() {
            open.rollback().await?;
            return Ok(Written::Refused(moved));
        }
        let mut rows =
            Rows { to: &mut open, table: self.table, row_policy: self.row_policy, columns: &self.columns, batch };
        let copied = if row_by_row { rows.copy_what_fits().await } else { rows.copy_all().await };
        let rejected = match copied {
            Ok(rejected) => rejected,
            Err(fault) => {
                open.rollback().await?;
                return Err(fault);
            }
        };
        step(&mut open, advances, &found).await?;
        open.commit().await?;
        Ok(Written::Kept { rejected })
    }
}

/// Takes partitions over. A writer that holds one of them locked is waited for; one that sleeps in
/// mid-transaction (its process is frozen, its machine suspended) would hold it for ever, so its
/// session is ended.
async fn claim(session: &mut Session, partitions: &[TopicPartition]) -> Result<Vec<SinkCheckpoint>, Fault> {
    let mut open = session.begin().await?;
    match checkpoints(&mut open, CLAIM, partitions.iter()).await {
        Ok(claimed) => {
            open.commit().await?;
            Ok(standing(claimed))
        }
        Err(Fault::Locked(why)) => {
            open.rollback().await?;
            let mut open = session.begin().await?;
            let ended: i64 = sqlx::query_scalar(END_SLEEPERS).persistent(false).fetch_one(&mut *open).await?;
            open.commit().await?;
            tracing::warn!(
                code = "HS4055",
                ended,
                "another mirror holds the locks on the checkpoints; its database sessions that were idle in a transaction were terminated"
            );
            Err(Fault::Locked(why))
        }
        Err(fault) => Err(fault),
    }
}

fn standing(found: Vec<Found>) -> Vec<SinkCheckpoint> {
    found.into_iter().map(|found| found.at).collect()
}

/// Runs a maintenance task in a transaction of its own; returns the number that its function
/// returns.
async fn run(task: MaintenanceTask, mut open: Transaction<'_, Postgres>) -> Result<i64, Fault> {
    let call = sqlx::query_scalar(AssertSqlSafe(format!("SELECT {}($1)", task.function)));
    let done = call.bind(task.argument).persistent(false).fetch_one(&mut *open).await?;
    open.commit().await?;
    Ok(done)
}

/// Moves the checkpoints, which are locked and compared.
async fn step(open: &mut PgConnection, advances: &[Advance], found: &[Found]) -> Result<(), Fault> {
    let (topics, numbers) = columns(advances.iter().map(|advance| &advance.partition));
    let next: Vec<i64> = advances.iter().map(|advance| advance.to).collect();
    let rows: Vec<i64> = advances.iter().map(|advance| i64::try_from(advance.rows).unwrap_or(i64::MAX)).collect();
    // Added up here: SQL has no sum that wraps.
    let sum = |advance: &Advance| {
        let before = found.iter().find(|found| found.at.partition == advance.partition)?.checksum?;
        Some(before.wrapping_add(advance.checksum as i64))
    };
    let sums: Vec<Option<i64>> = advances.iter().map(sum).collect();
    let moved = sqlx::query(MOVE).bind(topics).bind(numbers).bind(next).bind(rows).bind(sums).persistent(false);
    let moved = moved.execute(open).await?.rows_affected();
    if moved != advances.len() as u64 {
        return Err(Fault::Down(format!(
            "{moved} of {} checkpoints could be moved: a trigger, rule or policy that somebody has put on memory_event_checkpoints \
             keeps the others as they are, and has to go",
            advances.len()
        )));
    }
    Ok(())
}

/// A checkpoint as it stands, with the running checksum where there is one.
struct Found {
    at: SinkCheckpoint,
    checksum: Option<i64>,
}

async fn checkpoints<'p>(
    connection: &mut PgConnection,
    statement: &'static str,
    partitions: impl Iterator<Item = &'p TopicPartition>,
) -> Result<Vec<Found>, Fault> {
    let (topics, numbers) = columns(partitions);
    let rows = sqlx::query(statement).bind(topics).bind(numbers).persistent(false).fetch_all(connection).await?;
    rows.iter().map(found).collect::<Result<_, sqlx::Error>>().map_err(Fault::from)
}

fn columns<'p>(partitions: impl Iterator<Item = &'p TopicPartition>) -> (Vec<String>, Vec<i32>) {
    partitions.map(|partition| (partition.topic.to_string(), partition.partition)).unzip()
}

fn found(row: &PgRow) -> Result<Found, sqlx::Error> {
    let partition = TopicPartition::new(row.try_get::<String, _>(0)?, row.try_get(1)?);
    let at = SinkCheckpoint { partition, next_offset: row.try_get(2)?, epoch: row.try_get(3)? };
    Ok(Found { at, checksum: row.try_get(4)? })
}
