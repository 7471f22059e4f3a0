//! The mirrors of what the stream puts out: of each key's snapshots the last, of conflicts every
//! record, whoever is killed.

use crate::log::{Log, Reader, partition};
use crate::support::Helix;
use crate::{settings, wait_for_log_in};
use memory_operators::mirror::{ConflictRows, SnapshotRows};
use mirror::ports::{LogSink, RowMapper, Stop};
use mirror::{Mirror, MirrorSettings};
use mirror_postgres::{Database, PostgresSink};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use testkit::postgres::query;
use testkit::process::{Process, temp_dir};
use testkit::{Postgres, Record, records, repo_path, wait_until};

/// What the stream makes of the samples: resolved memories or conflict records, as a log.
pub fn samples(what: &str) -> Log {
    let output = temp_dir("outputs");
    let (topology, input) = (repo_path("topologies/memory.toml"), repo_path("tests/fixtures/helixagent-events.jsonl"));
    let paths = [&topology, &input, &output].map(|path| path.to_str().unwrap().to_owned());
    Helix::run_ok(&["replay", "--topology", &paths[0], "--input", &paths[1], "--output", &paths[2]]);
    let log = Log::new(12);
    log.append(records::read_file(output.join(format!("{what}.jsonl"))));
    assert!(log.records().len() > 20, "{what}");
    log
}

fn rows_of(what: &str) -> Arc<dyn RowMapper> {
    if what == "snapshots" { Arc::new(SnapshotRows::default()) } else { Arc::new(ConflictRows::default()) }
}

pub fn sink(what: &str, url: &str, stop: &Stop) -> PostgresSink {
    PostgresSink::new(&Database::new(url, "public").unwrap(), rows_of(what), stop.clone()).unwrap()
}

fn start(what: &str, reader: Reader, url: &str) -> Mirror {
    let stop = Stop::default();
    // A few records a batch, so that keys come again in the next one and within one.
    let settings = MirrorSettings { batch_bytes: 8 << 10, ..settings() };
    Mirror::start(Box::new(reader), sink(what, url, &stop), stop, settings).unwrap()
}

/// Waits until the checkpoints stand at the log's end, then compares all rows.
fn wait_for_rows(what: &str, url: &str, log: &Log) {
    let records = log.records();
    let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
    ends.extend(records.iter().map(|record| (record.partition, record.offset + 1)));
    let ends: Vec<Vec<String>> = ends.iter().map(|(at, end)| vec![at.to_string(), end.to_string()]).collect();
    let sql = "select kafka_partition, next_offset from memory_event_checkpoints where next_offset > 0 order by 1";
    wait_until("the checkpoints", || crate::try_query(url, sql).is_ok_and(|found| found == ends));
    if what == "snapshots" {
        let mut last: BTreeMap<String, Record> = BTreeMap::new();
        last.extend(records.into_iter().map(|record| (record.key_text(), record)));
        let mut last: Vec<Record> = last.into_values().collect();
        last.sort_by_key(|record| (record.partition, record.offset));
        wait_for_log_in("memory_snapshots", url, &last);
    } else {
        wait_for_log_in("memory_conflicts", url, &records);
    }
}

/// A resolved memory.
fn resolved(memory: &str, more: serde_json::Value) -> Record {
    let mut value = json!({"memory_id": memory, "user_id": "u", "status": "active", "version": 1, "vector_clock": {"n": 1},
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:01.5Z"});
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    typed("memory.resolved", memory, &value.to_string())
}

fn typed(kind: &str, key: &str, value: &str) -> Record {
    let headers = vec![("type".to_owned(), Some(kind.as_bytes().to_vec()))];
    Record { headers, ..Record::new(key, value) }
}

#[test]
fn of_the_samples_the_last_resolved_memory_of_each_stands() {
    let (log, url) = (samples("snapshots"), Postgres::shared().create_database());
    let mirror = start("snapshots", log.reader(0..12), &url);
    wait_for_rows("snapshots", &url, &log);
    let records = u64::try_from(log.records().len()).unwrap();
    wait_until("all to be told", || mirror.status().figures().rows == records);
    mirror.stop();
    let sql = "with raw as (select *, convert_from(kafka_value, 'UTF8')::jsonb as r from memory_snapshots)
        select count(*) from raw where error_class is not null or record_type <> 'memory.resolved' or resolved <> r
        or memory_id <> r->>'memory_id' or user_id is distinct from r->>'user_id' or status <> r->>'status'
        or (r->>'updated_at')::timestamptz - timestamp not between interval '0' and '1 us' or vector_clock <> r->'vector_clock' or snapshot_id is not null";
    assert_eq!(query(&url, sql), [["0"]]);
}

#[test]
fn of_the_samples_every_conflict_record_is_a_row() {
    let (log, url) = (samples("conflicts"), Postgres::shared().create_database());
    let mirror = start("conflicts", log.reader(0..12), &url);
    wait_for_rows("conflicts", &url, &log);
    mirror.stop();
    let sql = "with raw as (select *, convert_from(kafka_value, 'UTF8')::jsonb as r from memory_conflicts)
        select count(*) from raw where error_class is not null or conflict_id <> (r->>'conflict_id')::uuid
        or memory_id <> r->>'memory_id' or user_id is distinct from r->>'user_id' or conflict_type <> r->>'conflict_type'
        or local_event_id <> r->>'local_event_id' or remote_event_id <> r->>'remote_event_id'
        or resolution_strategy <> r->>'resolution_strategy' or resolved_version is distinct from r->'resolved_version'
        or resolved_by <> r->>'resolved_by' or status <> r->>'status' or superseded_by is distinct from r->>'superseded_by'
        or (r->>'detected_at')::timestamptz - detected_at not between interval '0' and '1 us'
        or (r->>'resolved_at')::timestamptz - resolved_at not between interval '0' and '1 us'
        or details->'fields' is distinct from r->'fields' or details->'delete_update' is distinct from r->'delete_update'";
    assert_eq!(query(&url, sql), [["0"]]);
    let sql =
        "select (select count(*) from memory_conflicts_current) = count(distinct conflict_id) from memory_conflicts";
    assert_eq!(query(&url, sql), [["t"]]);
}

#[test]
fn records_that_cannot_be_read_are_kept_raw_and_nothing_stops() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    let of_user = json!({"snapshot_id": "s", "timestamp": "2026-01-01T00:00:00Z", "node_id": "app", "user_id": "u",
        "memories": [{"content": "a\u{0}b"}], "vector_clock": {"n": 1}});
    log.append([
        resolved("good", json!({"content": "old"})),
        resolved("spoiled", json!({})),
        typed("memory.resolved", "spoiled", "{"),
        typed("memory.resolved", "another", &json!({"memory_id": "m"}).to_string()),
        typed("memory.conflict", "strange", "{}"),
        Record { key: None, ..typed("memory.resolved", "", "") },
        Record { key: None, value: None, ..Record::new("", "") },
        typed("user.snapshot", "user:u", &of_user.to_string()),
        resolved("refused", json!({"content": "fits"})),
        resolved("refused", json!({"content": "x", "status": "refused"})),
        resolved("good", json!({"content": "new\u{0}"})),
    ]);
    sink("snapshots", &url, &Stop::default()).claim(&[]).unwrap();
    query(&url, "alter table memory_snapshots add constraint test check (status <> 'refused')");
    let mirror = start("snapshots", log.reader([0]), &url);
    wait_until("all", || query(&url, "select next_offset from memory_event_checkpoints") == [["11"]]);
    wait_until("all to be told", || mirror.status().figures().rejected == 1);
    mirror.stop();
    let sql = "select kafka_offset, convert_from(kafka_key, 'UTF8'), error_class, error_message <> '', memory_id, resolved->>'content',
        memory_count, memories->0->>'content' from memory_snapshots order by 1";
    let expected = [
        ["2", "spoiled", "malformed_json", "t", "", "", "", ""],
        ["3", "another", "missing_field", "t", "", "", "", ""],
        ["4", "strange", "unknown_record_type", "t", "", "", "", ""],
        ["5", "", "empty_value", "t", "", "", "", ""],
        ["6", "", "unknown_record_type", "t", "", "", "", ""],
        ["7", "user:u", "", "", "", "", "1", "a\u{fffd}b"],
        ["9", "refused", "mirror_rejected", "t", "", "", "", ""],
        ["10", "good", "", "", "good", "new\u{fffd}", "", ""],
    ];
    assert_eq!(query(&url, sql), expected);
    // As long as they like, ids are no matter for an index.
    let long = "long ".repeat(20_000);
    log.append([resolved(&long, json!({})), resolved(&long, json!({}))]);
    // From zero again, as after somebody removed the checkpoint: what is newer stays.
    query(&url, "delete from memory_event_checkpoints");
    let mirror = start("snapshots", log.reader([0]), &url);
    wait_until("all", || query(&url, "select next_offset from memory_event_checkpoints") == [["13"]]);
    mirror.stop();
    let mut again = query(&url, sql);
    assert_eq!(again.pop().map(|row| row[0].clone()), Some("12".to_owned()));
    assert_eq!(again, expected);
}

#[test]
fn a_row_never_goes_back_to_an_older_record() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    log.append((0..40).map(|n| resolved("m", json!({"content": "x".repeat(1000), "version": n}))));
    let mirror = start("snapshots", log.reader([0]), &url);
    wait_for_rows("snapshots", &url, &log);
    mirror.stop();
    // From the start, and no further than half: the mirror's table has what came after.
    query(&url, "update memory_event_checkpoints set next_offset = 0");
    query(&url, "alter table memory_event_checkpoints add constraint test check (next_offset < 39) not valid");
    let mirror = start("snapshots", log.reader([0]), &url);
    wait_until("some of it", || query(&url, "select next_offset > 0 from memory_event_checkpoints") == [["t"]]);
    assert_eq!(query(&url, "select kafka_offset, resolved->'version' from memory_snapshots"), [["39", "39"]]);
    mirror.stop();
}

#[test]
fn two_mirrors_at_once_write_the_same_as_one() {
    for what in ["snapshots", "conflicts"] {
        let (log, url) = (samples(what), Postgres::shared().create_database());
        let mirrors = [(); 2].map(|()| start(what, log.reader(0..12), &url));
        wait_for_rows(what, &url, &log);
        let [gone, left] = mirrors;
        gone.stop();
        let again: Vec<Record> = log.records().into_iter().take(50).collect();
        log.append(again);
        wait_for_rows(what, &url, &log);
        left.stop();
    }
}

/// Where a mirror is killed: its rows are written, its checkpoint is not moved; and: it waits for
/// the answer to its commit.
pub const POINTS: [&str; 2] = [
    "create trigger hold before update of next_offset on memory_event_checkpoints for each row execute function hold()",
    "create constraint trigger hold after update of next_offset on memory_event_checkpoints deferrable initially deferred
        for each row execute function hold()",
];

/// Makes a transaction stand at its point for as long as there is a row in `held`.
pub const HOLD: &str = "create table held (since timestamptz default now());
    create function hold() returns trigger language plpgsql as $$ begin
        while exists (select from held) loop perform pg_sleep(0.01); end loop; return new;
    end $$";

#[test]
fn a_mirror_killed_at_each_point_of_its_transaction_is_followed_by_one_that_ends_it() {
    for (what, point) in ["snapshots", "conflicts"].into_iter().flat_map(|what| POINTS.map(|point| (what, point))) {
        let (log, url) = (samples(what), Postgres::shared().create_database());
        sink(what, &url, &Stop::default()).claim(&[partition(0)]).unwrap();
        query(&url, HOLD);
        query(&url, point);
        let file = temp_dir("killed").join("records.jsonl");
        records::write_file(&file, &log.records());
        for _ in 0..3 {
            query(&url, "insert into held default values");
            let mut helper = std::process::Command::new(std::env::current_exe().unwrap());
            helper.args(["--ignored", "--exact", "outputs::helper_that_mirrors_until_killed"]);
            helper.env("MIRROR_TEST_URL", &url).env("MIRROR_TEST_FILE", &file).env("MIRROR_TEST_ROWS", what);
            helper.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let mut helper = Process::start(helper, Signal::KILL).unwrap();
            let standing =
                "select 1 from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
            wait_until("the mirror to stand at the point", || query(&url, standing) == [["1"]]);
            helper.kill();
            query(&url, "delete from held");
            wait_until("its session to end", || query(&url, standing).is_empty());
        }
        let mirror = start(what, log.reader(0..12), &url);
        wait_for_rows(what, &url, &log);
        mirror.stop();
    }
}

#[test]
#[ignore = "not a test: the process that the test above kills"]
fn helper_that_mirrors_until_killed() {
    let [url, file, what] = ["URL", "FILE", "ROWS"].map(|name| std::env::var(format!("MIRROR_TEST_{name}")).unwrap());
    let log = Log::new(12);
    log.append(records::read_file(file));
    let mirror = start(&what, log.reader(0..12), &url);
    std::thread::park();
    mirror.stop();
}
