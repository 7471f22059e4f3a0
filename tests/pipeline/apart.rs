//! The mirror apart from the stream: `helixstream mirror run`, `backfill` and `verify`.

use crate::events::Events;
use crate::instance::Instance;
use crate::mirrored::assert_outputs_mirrored;
use crate::support::Helix;
use crate::trial::{Trial, assert_mirrored, database};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};
use testkit::postgres::query;
use testkit::{Record, repo_path, unique, wait_until};

/// A trial whose topics hold what `count` events come to, with nothing mirrored.
fn processed(stem: &str, seed: u64, count: usize) -> Trial {
    let trial = Trial::new(stem, &[]);
    let mut instance = trial.start("state", &["--no-mirror"]);
    trial.feed(&Events::new(seed, 40).take(count));
    trial.wait_until_done(&mut [&mut instance]);
    instance.stop();
    trial
}

fn rows(url: &str) -> usize {
    query(url, "select count(*) from memory_events")[0][0].parse().unwrap()
}

fn active(instance: &Instance) -> bool {
    instance.metric("mirror_lag", ".events\"") == 0.0 && instance.is_ready()
}

#[test]
fn two_mirrors_apart_share_the_topics_and_one_goes_on_when_the_other_is_killed() {
    let (trial, url) = (processed("apart", 21, 600), database());
    let mut one = trial.start_mirror(&["--postgres-url", &url]);
    one.wait_until_ready();
    let mut two = trial.start_mirror(&["--postgres-url", &url]);
    one.wait_for("the partitions to be shared", |one| {
        let shares = [one, &two].map(|i| i.metric("mirror_partitions", ".events\""));
        (shares.iter().all(|share| *share > 0.0) && shares.iter().sum::<f64>() == 12.0).then_some(())
    });
    assert_mirrored(&url, &trial.read("events"));
    assert_outputs_mirrored(&url, &trial);
    let mut more = Events::new(22, 40);
    let feeder = trial.feed_on(move || more.take(40));
    let before = rows(&url);
    wait_until("rows", || rows(&url) > before + 80);
    one.kill();
    let before = rows(&url);
    wait_until("rows", || rows(&url) > before + 80);
    feeder.stop();
    assert_mirrored(&url, &trial.read("events"));
    two.wait_for("the mirror to be at the end", |two| active(two).then_some(()));
    let finished = two.stop();
    assert!(finished.stderr.contains("stopped"), "{finished:?}");
    let same = trial.mirror("verify", &["--postgres-url", &url, "--topic", &trial.topic("events")]);
    assert_eq!(same.code, Some(0), "{same:?}");
}

/// What retention does: drops the records of a partition below an offset.
fn delete_records(trial: &Trial, topic: &str, partition: i32, below: i64) {
    let admin: AdminClient<DefaultClientContext> = trial.broker().client().create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, partition, Offset::Offset(below)).unwrap();
    futures::executor::block_on(admin.delete_records(&offsets, &AdminOptions::new())).unwrap();
}

/// The URL of a role that only reads, made as docs/postgres.md says for the schema `helixstream`.
fn reader(url: &str) -> String {
    let page = std::fs::read_to_string(repo_path("docs/postgres.md")).unwrap();
    let (_, section) = page.split_once("### A role that only reads").unwrap();
    let sql = section.split_once("```sql\n").unwrap().1.split_once("```").unwrap().0;
    let role = unique("reader").replace('-', "_");
    let sql = sql.replace("helixstream_reader", &role).replace("helixstream_owner", "postgres");
    query(url, &sql.replace("schema helixstream", "schema public"));
    url.replacen("postgres@", &format!("{role}@"), 1)
}

#[test]
fn an_empty_database_is_filled_compared_and_not_filled_twice() {
    let (trial, url) = (processed("backfill", 23, 600), database());
    let nothing = trial.mirror("verify", &["--postgres-url", &url]);
    nothing.assert_failed(1, &["nothing of", "is mirrored"]);
    // The log need not begin at 0.
    let events = trial.topic("events");
    delete_records(&trial, &events, 0, 3);
    let filled = trial.mirror("backfill", &["--postgres-url", &url, "--from", "earliest"]);
    assert_eq!(filled.code, Some(0), "{filled:?}");
    let there = trial.read("events");
    assert!(filled.stdout.contains(&format!("{events}: {} records mirrored", there.len())), "{filled:?}");
    assert_mirrored(&url, &there);
    let same = trial.mirror("verify", &["--postgres-url", &url]);
    assert_eq!(same.code, Some(0), "{same:?}");
    let lines: Vec<&str> = same.stdout.lines().collect();
    // Every partition of the three topics, and the sum.
    assert_eq!((lines.len(), lines.iter().filter(|line| line.ends_with("  same")).count()), (22, 21), "{same:?}");
    assert!(lines[21].starts_with("same: "), "{same:?}");
    // A role that only reads, with the GRANTs of the page, is told the same.
    let by_reader = trial.mirror("verify", &["--postgres-url", &reader(&url)]);
    assert_eq!((by_reader.code, &by_reader.stdout), (Some(0), &same.stdout), "{by_reader:?}");
    let first = lines.iter().find(|line| line.starts_with(&format!("{events}-0 "))).unwrap();
    assert!(first.contains("offsets 3 to "), "{first}");

    trial.mirror("backfill", &["--postgres-url", &url]).assert_failed(1, &["--from checkpoint", "--postgres-schema"]);
    trial.feed(&Events::new(24, 40).take(50));
    let further = trial.mirror("backfill", &["--postgres-url", &url, "--from", "checkpoint"]);
    assert!(further.stdout.contains(&format!("{events}: 50 records mirrored")), "{further:?}");
    assert_mirrored(&url, &trial.read("events"));
}

#[test]
fn the_first_difference_is_named() {
    let (trial, url) = (processed("differs", 25, 400), database());
    assert_eq!(trial.mirror("backfill", &["--postgres-url", &url]).code, Some(0));
    let (events, snapshots) = (trial.topic("events"), trial.topic("snapshots"));
    let check = |breaks: &str, mends: &str, topic: &str, says: &str| {
        query(&url, breaks);
        let found = trial.mirror("verify", &["--postgres-url", &url, "--topic", topic]);
        found.assert_failed(1, &["1 of ", " partitions differ from Kafka"]);
        let line = found.stdout.lines().find(|line| line.contains("DIFFERS")).unwrap_or_default();
        assert!(line.starts_with(&format!("{topic}-")) && line.contains(says), "{breaks}: {found:?}");
        query(&url, mends);
        let mended = trial.mirror("verify", &["--postgres-url", &url, "--topic", topic]);
        assert_eq!(mended.code, Some(0), "{mends}: {mended:?}");
    };
    let third = "kafka_partition = 2 and kafka_offset = 3";
    let set = |what: &str| format!("update memory_events set {what} where {third}");
    check(
        &set("kafka_value = kafka_value || 'x'"),
        &set("kafka_value = substring(kafka_value from 1 for length(kafka_value) - 1)"),
        &events,
        "offset 3 has another value",
    );
    let keep = format!("create table kept as select * from memory_events where {third}");
    query(&url, &keep);
    check(
        &format!("delete from memory_events where {third}"),
        "insert into memory_events select * from kept",
        &events,
        "offset 3 is in Kafka and has no row",
    );
    let checkpoint = |what: &str| {
        format!("update memory_event_checkpoints set {what} where kafka_partition = 2 and kafka_topic = '{events}'")
    };
    check(&checkpoint("row_count = row_count + 1"), &checkpoint("row_count = row_count - 1"), &events, "has counted");
    check(&checkpoint("checksum = ~checksum"), &checkpoint("checksum = ~checksum"), &events, "the checksum of Kafka's");
    // One whose offset before is no row's.
    query(
        &url,
        "create table one as select * from memory_snapshots as s where kafka_offset > 1 and not exists (select from memory_snapshots as t
         where t.kafka_partition = s.kafka_partition and t.kafka_offset = s.kafka_offset - 1) limit 1",
    );
    check(
        "delete from memory_snapshots using one where memory_snapshots.kafka_key = one.kafka_key",
        "insert into memory_snapshots select * from one",
        &snapshots,
        "has no row",
    );
    check(
        "update memory_snapshots set kafka_offset = kafka_offset - 1 where kafka_key = (select kafka_key from one)",
        "update memory_snapshots set kafka_offset = kafka_offset + 1 where kafka_key = (select kafka_key from one)",
        &snapshots,
        "is out of date",
    );
    // A range that leaves the difference out is the same.
    query(&url, &set("kafka_key = 'other'"));
    let range = |from: &str, to: &str| {
        let range = ["--partition", "2", "--from", from, "--to", to];
        trial.mirror("verify", &[&["--postgres-url", &url, "--topic", &events], &range[..]].concat())
    };
    assert_eq!((range("4", "100").code, range("0", "3").code, range("3", "4").code), (Some(0), Some(0), Some(1)));
}

#[test]
fn rows_that_retention_dropped_are_no_difference() {
    let (trial, url) = (Trial::new("dropped", &[]), database());
    let months_ago = |record: Record| record.at_ms(1_700_000_000_000);
    let old: Vec<Record> = Events::new(27, 40).take(100).into_iter().map(months_ago).collect();
    trial.feed(&old);
    assert_eq!(trial.mirror("backfill", &["--postgres-url", &url]).code, Some(0));
    let today: Vec<Record> = Events::new(28, 40).take(60).into_iter().map(|record| record.at_ms(now_ms())).collect();
    trial.feed(&today);
    // A mirror drops what is too old by itself, and keeps on mirroring.
    let mut mirror = trial.start_mirror(&["--postgres-url", &url, "--set", "mirror.retention=60d"]);
    mirror.wait_for("the old rows to be gone", |_| (rows(&url) == 60).then_some(()));
    mirror.stop();
    let events = trial.topic("events");
    let same = trial.mirror("verify", &["--postgres-url", &url, "--topic", &events]);
    assert_eq!(same.code, Some(0), "{same:?}");
    assert!(same.stdout.contains("without a row since retention dropped it"), "{same:?}");
    assert!(same.stdout.contains("same: 160 records of 12 partitions"), "{same:?}");
    // One that is not old has no such excuse.
    query(
        &url,
        "delete from memory_events where ctid = (select min(ctid) from memory_events) and record_time > now() - interval '1 day'",
    );
    let found = trial.mirror("verify", &["--postgres-url", &url, "--topic", &events]);
    found.assert_failed(1, &["differ from Kafka"]);
    assert!(found.stdout.contains("is in Kafka and has no row"), "{found:?}");
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[test]
fn tables_lie_in_the_schema_that_is_named_and_foreign_ones_are_left_alone() {
    let (trial, url) = (processed("schema", 26, 100), database());
    query(&url, "create table memory_snapshots (snapshot_id varchar(255) primary key)");
    query(&url, "insert into memory_snapshots values ('theirs')");
    let broker = trial.broker().bootstrap();
    let topology = trial.topology();
    let common = ["--topology", &topology, "--bootstrap-servers", &broker, "--postgres-url", &url];
    let state = trial.path("refused");
    let parts = ["memory_snapshots", "--postgres-schema", "our migrations did not make"];
    for command in [&["run", "--state-dir", &state][..], &["mirror", "run"], &["mirror", "backfill"]] {
        Helix::run(&[command, &common].concat()).assert_failed(1, &parts);
    }
    let names =
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')";
    assert_eq!(query(&url, names), [["memory_snapshots"]]);
    assert_eq!(query(&url, "select * from memory_snapshots"), [["theirs"]]);

    let schema = ["--postgres-url", &url, "--postgres-schema", "Our \"own\""];
    let filled = trial.mirror("backfill", &schema);
    assert_eq!(filled.code, Some(0), "{filled:?}");
    assert_eq!(trial.mirror("verify", &schema).code, Some(0));
    assert_eq!(query(&url, names), [["memory_snapshots"]]);
    // Whatever the search path of who asks.
    assert_eq!(query(&url, r#"select count(*) from "Our ""own""".memory_events"#), [["100"]]);
    assert_eq!(query(&url, r#"select count(*) from "Our ""own""".diff_rebuilt()"#), [["0"]]);
    trial
        .mirror("run", &["--postgres-url", &url, "--postgres-schema", "pg_x"])
        .assert_failed(2, &["--postgres-schema"]);
}
