//! Two roles: one owns the schema and migrates, the other mirrors and may create nothing. The
//! GRANTs are those of docs/postgres.md.

use crate::log::{Log, partition};
use crate::outputs;
use crate::{event, events, settings, sink, wait_for_rows};
use memory::event::Limits;
use memory::settings::ResolverSettings as Resolver;
use memory_operators::mirror::{ConflictRows, EventRows, ResolverSettingsRow, SnapshotRows, maintenance_tasks};
use mirror::Mirror;
use mirror::ports::{LogSink, MaintenanceTask, RowMapper, Stop};
use mirror_postgres::{Database, MirrorTables, PostgresSink};
use std::sync::Arc;
use std::time::Duration;
use testkit::postgres::{query, try_query};
use testkit::{Postgres, repo_path, unique, wait_until};

/// The first block of SQL under a heading of the page.
fn sql_of_the_page(heading: &str) -> String {
    let page = std::fs::read_to_string(repo_path("docs/postgres.md")).unwrap();
    let (_, section) = page.split_once(heading).unwrap_or_else(|| panic!("docs/postgres.md has no heading {heading}"));
    let (_, code) = section.split_once("```sql\n").unwrap();
    code.split_once("```").unwrap().0.to_owned()
}

/// A database whose roles and rights are those of the page, under names of the test's own.
struct Roles {
    /// URLs of the superuser, the owner, the mirror, and of a role that only reads.
    all: String,
    owner: String,
    mirror: String,
    reader: String,
    schema: String,
}

impl Roles {
    fn new() -> Roles {
        let (all, name) = (Postgres::shared().create_database(), unique("role").replace('-', "_"));
        let database = query(&all, "select current_database()").remove(0).remove(0);
        let schema = format!("{name}_schema");
        let named = |sql: String| {
            let sql = sql.replace("helixstream_owner", &format!("{name}_owner"));
            let sql = sql.replace("helixstream_mirror", &format!("{name}_mirror"));
            let sql = sql.replace("helixstream_reader", &format!("{name}_reader"));
            sql.replace("database memories", &format!("database {database}"))
                .replace("schema helixstream", &format!("schema {schema}"))
        };
        query(&all, &named(sql_of_the_page("## Roles and GRANTs")));
        query(&all, &named(sql_of_the_page("### A role that only reads")));
        let of = |role: &str| all.replace("postgres@", &format!("{name}_{role}@"));
        Roles { owner: of("owner"), mirror: of("mirror"), reader: of("reader"), schema, all: all.clone() }
    }

    fn sink(&self, rows: Arc<dyn RowMapper>, stop: &Stop) -> PostgresSink {
        PostgresSink::new(&Database::new(&self.mirror, &self.schema).unwrap(), rows, stop.clone()).unwrap()
    }
}

#[test]
fn a_role_that_may_create_nothing_mirrors_what_another_has_migrated() {
    let roles = Roles::new();
    let (rows, stop) = (Arc::new(EventRows::default()), Stop::default());
    // Before the migration: it says who has to do what.
    let reason = roles.sink(rows.clone(), &stop).claim(&[partition(0)]).unwrap_err().to_string();
    let grant = format!("GRANT CREATE ON SCHEMA {}", roles.schema);
    assert!(reason.contains("helixstream mirror migrate") && reason.contains(&grant), "{reason}");
    let migrated = Database::new(&roles.owner, &roles.schema).unwrap().migrate().unwrap();
    assert_eq!((migrated.from, i64::try_from(migrated.run).unwrap()), (0, migrated.to));
    assert_eq!(Database::new(&roles.owner, &roles.schema).unwrap().migrate().unwrap().run, 0);
    assert!(try_query(&roles.mirror, &format!("create table {}.theirs ()", roles.schema)).is_err());

    // All of a mirror: events, their upkeep and retention, the notice, both outputs.
    let often = |task: MaintenanceTask| MaintenanceTask { every: Duration::from_millis(20), ..task };
    let maintenance = maintenance_tasks(2, Some(Duration::from_secs(86_400))).into_iter().map(often).collect();
    let startup_row =
        ResolverSettingsRow { resolver: Resolver::default(), limits: Limits::default(), max_output_bytes: 16 << 20 };
    let sink = roles.sink(rows, &stop).with_startup_row(Arc::new(startup_row)).with_maintenance(maintenance);
    let log = Log::new(1);
    log.append([event(0, "old", "x").at_ms(1_577_836_800_000)]);
    log.append(events(20, 1));
    let mirror = Mirror::start(Box::new(log.reader([0])), sink, stop, settings()).unwrap();
    let of_events =
        format!("select count(*), count(*) filter (where event_id = 'old') from {}.memory_events", roles.schema);
    let months =
        format!("select count(*) from pg_inherits where inhparent = '{}.memory_events'::regclass", roles.schema);
    wait_until("the old month to be dropped", || {
        query(&roles.all, &of_events)[0][1] == "0" && query(&roles.all, &months) == [["5"]]
    });
    let figures = mirror.status().figures();
    assert_eq!(figures.failures, 0, "{figures:?}");
    mirror.stop();
    let outputs: [(&str, Arc<dyn RowMapper>); 2] =
        [("snapshots", Arc::new(SnapshotRows::default())), ("conflicts", Arc::new(ConflictRows::default()))];
    for (what, rows) in outputs {
        let (log, stop) = (outputs::samples(what), Stop::default());
        let mirror = Mirror::start(Box::new(log.reader(0..12)), roles.sink(rows, &stop), stop, settings()).unwrap();
        let topic = crate::log::TOPIC;
        let count = format!(
            "select sum(row_count) >= {} from {}.memory_event_checkpoints where kafka_topic = '{topic}'",
            log.records().len(),
            roles.schema
        );
        wait_until("the rows", || query(&roles.all, &count) == [["t"]]);
        assert_eq!(mirror.status().figures().failures, 0, "{what}");
        mirror.stop();
        query(&roles.all, &format!("delete from {}.memory_event_checkpoints", roles.schema));
    }
    let drops = format!("select {}.drop_memory_events(now())", roles.schema);
    // Who only reads looks and drops nothing, though it was granted every function.
    assert!(query(&roles.reader, &format!("select count(*) from {}.diff_rebuilt()", roles.schema)).len() == 1);
    MirrorTables::new(&Database::new(&roles.reader, &roles.schema).unwrap()).unwrap().progress(&[]).unwrap();
    for call in [&drops, &drops.replace("drop_memory_events(now())", "make_memory_event_partitions(9)")] {
        let refused =
            try_query(&roles.reader, &format!("set default_transaction_read_only = off; {call}")).unwrap_err();
        assert!(refused.contains("permission denied"), "{refused}");
    }
    assert!(query(&roles.mirror, &drops).len() == 1);
    query(
        &roles.all,
        &format!(
            "drop owned by {0}_mirror; drop owned by {0}_reader; drop owned by {0}_owner",
            roles.schema.trim_end_matches("_schema")
        ),
    );
}

#[test]
fn a_right_that_is_missing_is_named_and_waited_for() {
    let (log, roles) = (Log::new(1), Roles::new());
    Database::new(&roles.owner, &roles.schema).unwrap().migrate().unwrap();
    let role = roles.schema.replace("_schema", "_mirror");
    query(&roles.owner, &format!("revoke insert on {}.memory_events from {role}", roles.schema));
    let (rows, stop) = (Arc::new(EventRows::default()), Stop::default());
    log.append(events(5, 1));
    let mirror = Mirror::start(Box::new(log.reader([0])), roles.sink(rows, &stop), stop, settings()).unwrap();
    wait_until("failures", || mirror.status().figures().failures > 1);
    query(&roles.owner, &format!("grant insert on {}.memory_events to {role}", roles.schema));
    let count = format!("select count(*) from {}.memory_events", roles.schema);
    wait_until("the rows", || query(&roles.all, &count) == [["5"]]);
    mirror.stop();
    query(&roles.owner, &format!("revoke update on {}.memory_event_checkpoints from {role}", roles.schema));
    let reason =
        roles.sink(Arc::new(EventRows::default()), &Stop::default()).claim(&[partition(0)]).unwrap_err().to_string();
    assert!(reason.contains("memory_event_checkpoints") && reason.contains("docs/postgres.md"), "{reason}");
}

/// What it needs no right for, it does not ask for one.
#[test]
fn without_create_a_schema_that_is_up_to_date_is_mirrored_into() {
    let (log, url) = (Log::new(1), Postgres::shared().create_database());
    sink(&url, &Stop::default()).claim(&[]).unwrap();
    let role = unique("plain").replace('-', "_");
    query(
        &url,
        &format!("create role {role} login; grant postgres to {role}; revoke create on schema public from public"),
    );
    log.append(events(5, 1));
    let mirror = crate::start(log.reader([0]), &url.replace("postgres@", &format!("{role}@")));
    wait_for_rows(&url, 5);
    assert_eq!(mirror.status().figures().failures, 0);
    mirror.stop();
}
