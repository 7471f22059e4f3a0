//! What the documents tell people to type into psql does what they say: the ten queries, and the
//! role that only reads.

use crate::log::Log;
use crate::outputs::{self, samples};
use crate::{sink, start, wait_for_log};
use mirror::ports::{Advance, LogBatch, LogHeader, LogRecord, LogSink, Stop, TopicPartition, Written};
use mirror_postgres::PostgresSink;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use testkit::postgres::query;
use testkit::{Postgres, Record, records, repo_path};

/// Runs statements as a person does, and gives what psql prints, or its complaint.
fn psql(url: &str, statements: &str) -> Result<String, String> {
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-P", "pager=off", "-d", url]).env("PGTZ", "UTC");
    let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    psql.stdin.take().unwrap().write_all(statements.as_bytes()).unwrap();
    let output = psql.wait_with_output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The samples' events, and what the stream makes of them.
fn mirrored() -> String {
    let (log, url) = (Log::new(12), Postgres::shared().create_database());
    log.append(records::read_file(repo_path("tests/fixtures/helixagent-events.jsonl")));
    let mirror = start(log.reader(0..12), &url);
    wait_for_log(&url, &log);
    mirror.stop();
    for what in ["snapshots", "conflicts"] {
        keep(
            outputs::sink(what, &url, &Stop::default()),
            &format!("helixagent.memory.{what}"),
            &samples(what).records(),
        );
    }
    url
}

/// Writes records, sorted by partition and offset, as one batch.
pub fn keep(mut sink: PostgresSink, topic: &str, records: &[Record]) {
    let mut batch = sink.batch();
    let mut ends: BTreeMap<TopicPartition, i64> = BTreeMap::new();
    for record in records {
        let partition = TopicPartition::new(topic, record.partition);
        let header = |(name, value): &'_ (String, Option<Vec<u8>>)| (name.clone().into_bytes(), value.clone());
        let headers: Vec<_> = record.headers.iter().map(header).collect();
        let headers: Vec<LogHeader<'_>> =
            headers.iter().map(|(name, value)| LogHeader { name, value: value.as_deref() }).collect();
        let pushed = batch.push(&LogRecord {
            partition: &partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.as_deref(),
            headers: &headers,
            value: record.value.as_deref(),
        });
        assert_eq!(pushed, Ok(()));
        ends.insert(partition, record.offset + 1);
    }
    let claimed = sink.claim(&ends.keys().cloned().collect::<Vec<_>>()).unwrap();
    let advances = claimed.into_iter().map(|at| {
        let to = ends[&at.partition];
        Advance { partition: at.partition, epoch: at.epoch, from: 0, to, rows: to.unsigned_abs(), checksum: 0 }
    });
    assert_eq!(sink.write(&batch, &advances.collect::<Vec<_>>()), Ok(Written::Kept { rejected: 0 }));
}

/// The document with the answers that this database gives under its queries, and the number of
/// these.
fn answered(document: &str, url: &str) -> (String, usize) {
    let (mut text, mut rest, mut queries) = (String::new(), document, 0);
    while let Some((before, after)) = rest.split_once("```sql\n") {
        let (sql, after) = after.split_once("```\n").unwrap();
        let (between, after) = after.split_once("```text\n").unwrap();
        let (_, after) = after.split_once("```\n").unwrap();
        let answer = psql(url, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let lines: Vec<&str> = answer.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        text.push_str(&format!("{before}```sql\n{sql}```\n{between}```text\n{}\n```\n", lines.join("\n")));
        (rest, queries) = (after, queries + 1);
    }
    (text + rest, queries)
}

#[test]
fn the_ten_queries_give_what_the_document_says() {
    let url = mirrored();
    for (page, count) in [("docs/queries.md", 10), ("README.md", 1)] {
        let document = std::fs::read_to_string(repo_path(page)).unwrap();
        let (truth, queries) = answered(&document, &url);
        assert_eq!(queries, count, "{page}");
        let lines = document.lines().zip(truth.lines()).find(|(is, should)| is != should);
        assert!(document == truth, "{page} should read:\n{truth}\nIt differs first in {lines:#?}");
    }
}

/// The block of a document that follows a line.
fn block_after<'d>(document: &'d str, line: &str) -> &'d str {
    let (_, after) = document.split_once(line).unwrap_or_else(|| panic!("the document has no {line}"));
    let (_, after) = after.split_once("```sql\n").unwrap();
    after.split_once("```\n").unwrap().0
}

#[test]
fn the_role_that_only_reads_reads_all_and_changes_nothing() {
    let url = mirrored();
    let page = std::fs::read_to_string(repo_path("docs/mirror.md")).unwrap();
    let grants = block_after(&page, "A role that only reads");
    psql(&url, grants).unwrap();
    // What comes later it may read too.
    sink(&url, &Stop::default()).claim(&[]).unwrap();
    query(&url, "select make_memory_event_partitions(1); select drop_memory_events('2000-01-01Z')");
    let reader = url.replace("postgres@", "memory_reader@");
    assert_ne!(reader, url);
    let relations =
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')
        and relname <> '_sqlx_migrations'";
    let relations = query(&url, relations);
    assert!(relations.len() > 15);
    for relation in relations.iter().flatten() {
        psql(&reader, &format!("select count(*) from {relation}"))
            .unwrap_or_else(|error| panic!("{relation}: {error}"));
    }
    let document = std::fs::read_to_string(repo_path("docs/queries.md")).unwrap();
    assert_eq!(answered(&document, &reader).0, document);
    for change in [
        "delete from memory_events",
        "set default_transaction_read_only = off; delete from memory_snapshots",
        "set default_transaction_read_only = off; update memory_event_checkpoints set next_offset = 0",
        "set default_transaction_read_only = off; select drop_memory_events(now())",
        "set default_transaction_read_only = off; select make_memory_event_partitions(9)",
        "set default_transaction_read_only = off; select note_dropped_events(now())",
        "set default_transaction_read_only = off; select count_memory_nodes()",
        "set default_transaction_read_only = off; create table mine (n int)",
    ] {
        let refused = psql(&reader, change).unwrap_err();
        assert!(
            refused.contains("permission denied") || refused.contains("read-only") || refused.contains("must be owner"),
            "{change}: {refused}"
        );
    }
}
