//! A database of the test's own, filled through the mirror's row mapper and sink, and asked over
//! one connection.

use memory::event::Limits;
use memory_operators::mirror::EventRows;
use mirror::ports::{Advance, LogBatch, LogHeader, LogRecord, LogSink, Stop, Written};
use mirror_postgres::{Database as Target, PostgresSink};
use reference_model::Record;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};
use std::collections::BTreeMap;
use std::sync::Arc;
use streams::record::TopicPartition;
use testkit::Postgres;
use tokio::runtime::{Builder, Runtime};

pub type Query = sqlx::query::Query<'static, sqlx::Postgres, PgArguments>;

/// A query whose arguments are bound by the caller.
pub fn sql(text: impl Into<String>) -> Query {
    sqlx::query(AssertSqlSafe(text.into()))
}

pub struct Database {
    url: String,
    schema: &'static str,
    runtime: Runtime,
    connection: PgConnection,
}

impl Database {
    /// An empty database of the shared server, with the mirror's tables and functions.
    pub fn create() -> Database {
        let url = Postgres::shared().create_database();
        sink(&url, "public", Limits::default()).claim(&[]).expect("migrates");
        Database::connect(url)
    }

    /// A connection of its own to what `url` names.
    pub fn connect(url: String) -> Database {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(PgConnection::connect(&url)).expect("connects");
        Database { url, schema: "public", runtime, connection }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same, whose mirror's tables are in another schema.
    pub fn in_schema(self, schema: &'static str) -> Database {
        Database { schema, ..self }
    }

    /// Mirrors records, those of a partition in order of their offsets. None may be refused by
    /// Postgres.
    pub fn mirror(&mut self, records: &[Record], limits: Limits) {
        let mut next: BTreeMap<TopicPartition, (i64, u64)> = BTreeMap::new();
        let mut sink = sink(&self.url, self.schema, limits);
        let mut batch = sink.batch();
        for record in records {
            let partition = TopicPartition::new(record.topic.as_str(), record.partition);
            let headers: Vec<LogHeader<'_>> = record
                .headers
                .iter()
                .map(|(name, value)| LogHeader { name: name.as_bytes(), value: Some(value) })
                .collect();
            let pushed = batch.push(&LogRecord {
                partition: &partition,
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                key: record.key.as_deref(),
                headers: &headers,
                value: record.value.as_deref(),
            });
            assert_eq!(pushed, Ok(()));
            let (offset, rows) = next.entry(partition).or_default();
            (*offset, *rows) = (record.offset + 1, *rows + 1);
        }
        let partitions: Vec<TopicPartition> = next.keys().cloned().collect();
        let claimed = sink.claim(&partitions).expect("claims");
        let advance = claimed.into_iter().map(|at| {
            let (to, rows) = next[&at.partition];
            Advance { partition: at.partition, epoch: at.epoch, from: at.next_offset, to, rows, checksum: 0 }
        });
        assert_eq!(sink.write(&batch, &advance.collect::<Vec<_>>()), Ok(Written::Kept { rejected: 0 }));
    }

    /// Runs statements that give nothing back.
    pub fn run(&mut self, statements: &str) {
        let statements = AssertSqlSafe(statements.to_owned());
        self.runtime.block_on(self.connection.execute(statements)).expect("runs");
    }

    /// The rows of a query, each column as text.
    #[track_caller]
    pub fn rows(&mut self, query: Query) -> Vec<Vec<Option<String>>> {
        self.try_rows(query).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`Database::rows`], with Postgres' message when it fails.
    pub fn try_rows(&mut self, query: Query) -> Result<Vec<Vec<Option<String>>>, String> {
        let rows = self.runtime.block_on(query.fetch_all(&mut self.connection)).map_err(|error| error.to_string())?;
        let texts = |row: &PgRow| (0..row.len()).map(|column| row.get::<Option<String>, _>(column)).collect();
        Ok(rows.iter().map(texts).collect())
    }

    /// The one text that a query without arguments gives.
    #[track_caller]
    pub fn text(&mut self, query: &str) -> Option<String> {
        self.rows(sql(query)).remove(0).remove(0)
    }

    /// The one JSON value that a query without arguments gives, as `text`.
    #[track_caller]
    pub fn json(&mut self, query: &str) -> serde_json::Value {
        serde_json::from_str(&self.text(query).expect("a value")).expect("is JSON")
    }
}

fn sink(url: &str, schema: &str, limits: Limits) -> PostgresSink {
    PostgresSink::new(&Target::new(url, schema).unwrap(), Arc::new(EventRows::new(limits, None)), Stop::default())
        .unwrap()
}
