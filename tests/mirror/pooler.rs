//! Behind a pooler that gives each transaction another session: two mirrors, two schemas, one
//! database and one role.

use crate::log::Log;
use crate::{compare_rows_of, event, settings};
use memory::event::Limits;
use memory::settings::ResolverSettings as Resolver;
use memory_operators::mirror::{EventRows, ResolverSettingsRow, SnapshotRows, maintenance_tasks};
use mirror::ports::{MaintenanceTask, RowMapper, Stop};
use mirror::{Mirror, MirrorSettings};
use mirror_postgres::{Database, MirrorTables, PostgresSink, Unclaimed};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use testkit::postgres::query;
use testkit::{PgBouncer, Postgres, Record, wait_until};

/// A mirror into a schema, with all that a mirror does besides: its notice, its chores, as often as
/// it can.
fn start(rows: Arc<dyn RowMapper>, log: &Log, url: &str, schema: &str) -> Mirror {
    let stop = Stop::default();
    let often = |task: MaintenanceTask| MaintenanceTask { every: Duration::from_millis(20), ..task };
    let mut sink = PostgresSink::new(&Database::new(url, schema).unwrap(), rows, stop.clone()).unwrap();
    if schema.ends_with("events") {
        let resolver = Resolver { application_id: schema.to_owned(), ..Resolver::default() };
        let startup_row = ResolverSettingsRow { resolver, limits: Limits::default(), max_output_bytes: 16 << 20 };
        sink = sink
            .with_startup_row(Arc::new(startup_row))
            .with_maintenance(maintenance_tasks(2, None).into_iter().map(often).collect());
    }
    let settings = MirrorSettings { batch_bytes: 2 << 10, ..settings() };
    Mirror::start(Box::new(log.reader([0, 1])), sink, stop, settings).unwrap()
}

fn resolved(round: usize, of: &str, memory: usize) -> Record {
    let value = json!({"memory_id": format!("m{memory}"), "user_id": of, "status": "active", "version": round, "vector_clock": {"n": round},
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:01Z"});
    let headers = vec![("type".to_owned(), Some(b"memory.resolved".to_vec()))];
    let partition = i32::try_from(memory % 2).unwrap();
    Record { headers, ..Record::new(format!("m{memory}"), value.to_string()) }.in_partition(partition)
}

#[test]
fn two_mirrors_behind_a_transaction_pooler_have_each_exactly_its_rows() {
    let postgres = Postgres::shared();
    let (direct, pooler) = (postgres.create_database(), PgBouncer::start(postgres, 3));
    let url = pooler.of(&direct);
    let events: Vec<(String, Log)> = ["a_events", "b_events"].map(|schema| (schema.to_owned(), Log::new(2))).into();
    let snapshots: Vec<(String, Log)> =
        ["a_outputs", "b_outputs"].map(|schema| (schema.to_owned(), Log::new(2))).into();
    // All four bring their schemas up to date at once.
    let mut mirrors: Vec<Mirror> = Vec::new();
    for (schema, log) in &events {
        mirrors.push(start(Arc::new(EventRows::default()), log, &url, schema));
    }
    for (schema, log) in &snapshots {
        mirrors.push(start(Arc::new(SnapshotRows::default()), log, &url, schema));
    }
    for round in 0..20 {
        for (schema, log) in &events {
            log.append((0..30).map(|n| event(n % 2, &format!("{schema} {round} {n}"), schema)));
        }
        for (schema, log) in &snapshots {
            log.append((0..30).map(|n| resolved(round, schema, n)));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    for (schema, log) in events.iter().chain(&snapshots) {
        let end = format!("select sum(next_offset) from {schema}.memory_event_checkpoints");
        let expected = log.records().len().to_string();
        wait_until("the checkpoints", || {
            crate::try_query(&direct, &end).is_ok_and(|rows| rows == [[expected.clone()]])
        });
    }
    for (schema, log) in &events {
        compare_rows_of(&format!("{schema}.memory_events"), &direct, &log.records());
        let noted = query(&direct, &format!("select application_id from {schema}.memory_resolver_settings"));
        assert_eq!(noted, [[schema.clone()]]);
        let months = format!("select count(*) from pg_inherits where inhparent = '{schema}.memory_events'::regclass");
        wait_until("the months", || query(&direct, &months) == [["5"]]);
    }
    for (schema, _) in &snapshots {
        let whose = format!("select distinct user_id, vector_clock->>'n' from {schema}.memory_snapshots");
        assert_eq!(query(&direct, &whose), [[schema.clone(), "19".to_owned()]]);
        assert_eq!(query(&direct, &format!("select count(*) from {schema}.memory_snapshots")), [["30"]]);
    }
    for mirror in mirrors {
        let figures = mirror.status().figures();
        assert_eq!((figures.failures, figures.refused, figures.rejected), (0, 0, 0), "{figures:?}");
        mirror.stop();
    }
    // Nothing of ours is left in the sessions that others use next.
    let pooled = "select current_setting('search_path'), current_setting('lock_timeout'), \
        (select count(*) from pg_prepared_statements), to_regclass('pg_temp.helixstream_staging') is null, \
        (select count(*) from pg_locks join pg_database on pg_database.oid = database where locktype = 'advisory' and datname = current_database())";
    assert_eq!(query(&url, pooled), [["\"$user\", public", "0", "0", "t", "0"]]);
}

#[test]
fn rows_that_no_checkpoint_claims_are_noticed() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    log.append(crate::events(5, 1));
    let mirror = crate::start(log.reader([0]), &url);
    crate::wait_for_log(&url, &log);
    mirror.stop();
    let mut tables = MirrorTables::new(&Database::new(&url, "public").unwrap()).unwrap();
    assert_eq!(tables.unclaimed("memory_events").unwrap(), []);
    query(
        &url,
        "insert into memory_events (kafka_topic, kafka_partition, kafka_offset, record_time, record_timestamp_ms, \
            kafka_header_names, kafka_header_values) select t, p, o, '2026-01-01', 1, '{}', '{}' from (values \
            ('helixagent.memory.events', 0, 5), ('helixagent.memory.events', 0, 6), ('foreign', 3, 0)) as r (t, p, o)",
    );
    let unclaimed = |topic: &str, partition, rows, first_offset| Unclaimed {
        partition: streams::record::TopicPartition::new(topic, partition),
        rows,
        first_offset,
    };
    let expected = [unclaimed("foreign", 3, 1, 0), unclaimed("helixagent.memory.events", 0, 2, 5)];
    assert_eq!(tables.unclaimed("memory_events").unwrap(), expected);
    assert_eq!(tables.other_topics(&["x".to_owned()]).unwrap(), ["helixagent.memory.events"]);
}
