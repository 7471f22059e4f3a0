//! From a real Kafka into a real Postgres.

use crate::log::partition;
use crate::{compare_rows, event, events, settings, sink, wait_for_rows};
use mirror::Mirror;
use mirror::ports::{LogSink, Stop};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::Producer;
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;
use streams_kafka::KafkaSettings;
use streams_kafka::mirror::MirrorSource;
use testkit::postgres::query;
use testkit::{Broker, Postgres, Record, records, repo_path, tools, unique, wait_until};

/// A mirror of `topic`, as the instance `instance` of an application runs it.
fn start(broker: &Broker, topic: &str, application: &str, instance: &str, url: &str) -> Mirror {
    let kafka = KafkaSettings::new(&broker.bootstrap(), application, instance);
    let source = MirrorSource::new(&kafka, "mirror", &[topic]).unwrap();
    let stop = Stop::default();
    Mirror::start(Box::new(source), sink(url, &stop), stop, settings()).unwrap()
}

/// Waits until every committed record has its row, and compares them.
fn wait_for_topic(broker: &Broker, topic: &str, url: &str) {
    let records = records::read_committed(broker, topic);
    wait_for_rows(url, records.len());
    compare_rows(url, &records);
}

fn wait_for_no_lag(mirror: &Mirror) {
    wait_until("the mirror's lag to be none", || mirror.status().figures().lag == Some(0));
}

#[test]
fn samples_bad_records_and_transactions_are_mirrored_and_the_group_shows_no_lag() {
    let (broker, topic, url) = (Broker::shared(), unique("mirror"), Postgres::shared().create_database());
    let application = unique("app");
    broker.create_topic(&topic, 12, &[("max.message.bytes", "9437184")]);
    records::produce(broker, &topic, &records::read_file(repo_path("tests/fixtures/helixagent-events.jsonl")));
    let headers = vec![("h".to_owned(), Some(vec![0, 255])), ("n".to_owned(), None), ("h".to_owned(), Some(vec![]))];
    let odd = Record { key: None, value: None, headers, ..Record::new("", "") };
    let big = event(4, "big", &"x".repeat((8 << 20) - 400));
    records::produce(broker, &topic, &[odd.in_partition(3), Record::new("k", "{").in_partition(3), big]);
    let producer = records::transactional_producer(broker, &topic);
    let minute = Duration::from_secs(60);
    for (id, commit) in [("aborted", false), ("committed", true), ("aborted too", false)] {
        producer.begin_transaction().unwrap();
        records::send(&producer, &topic, &[event(5, id, "x"), event(6, id, "x")]);
        producer.flush(minute).unwrap();
        if commit { producer.commit_transaction(minute) } else { producer.abort_transaction(minute) }.unwrap();
    }
    let mirror = start(broker, &topic, &application, "i", &url);
    wait_for_topic(broker, &topic, &url);
    wait_for_no_lag(&mirror);
    assert_eq!(mirror.status().figures().partitions, 12);
    let group = format!("{application}-mirror");
    wait_until("the group's lag to be none", || tools::group_lag(broker, &group) == Some(0));
    mirror.stop();
    assert_eq!(query(&url, "select count(*) from memory_events where error_class is not null"), [["2"]]);
}

#[test]
fn the_checkpoint_decides_where_it_starts_not_the_group() {
    let (broker, topic, url) = (Broker::shared(), unique("mirror"), Postgres::shared().create_database());
    let application = unique("app");
    broker.create_topic(&topic, 2, &[]);
    records::produce(broker, &topic, &events(50, 2));
    let mirror = start(broker, &topic, &application, "i", &url);
    wait_for_topic(broker, &topic, &url);
    mirror.stop();
    // Another group has no offsets at all, and the topic's rows are there.
    records::produce(broker, &topic, &events(20, 2));
    let mirror = start(broker, &topic, &unique("other"), "j", &url);
    wait_for_topic(broker, &topic, &url);
    wait_until("all to be told", || mirror.status().figures().rows == 20);
    mirror.stop();
    // The group says that all is read, and the database is a new one.
    let empty = Postgres::shared().create_database();
    let mirror = start(broker, &topic, &application, "i", &empty);
    wait_for_topic(broker, &topic, &empty);
    mirror.stop();
}

#[test]
fn members_come_and_go_while_records_come_and_postgres_is_away() {
    let (broker, topic, postgres) = (Broker::shared(), unique("mirror"), Postgres::start());
    let (application, url) = (unique("app"), postgres.create_database());
    broker.create_topic(&topic, 4, &[]);
    let produce = |count| records::produce(broker, &topic, &events(count, 4));
    produce(400);
    let first = start(broker, &topic, &application, "a", &url);
    wait_for_rows(&url, 400);
    let second = start(broker, &topic, &application, "b", &url);
    produce(400);
    wait_until("both to have partitions", || {
        let counts = [&first, &second].map(|mirror| mirror.status().figures().partitions);
        counts == [2, 2]
    });
    postgres.kill();
    produce(400);
    wait_until("both to notice", || [&first, &second].iter().all(|mirror| mirror.status().figures().down));
    // One leaves while its batch cannot be written.
    first.stop();
    postgres.restart();
    produce(400);
    wait_for_topic(broker, &topic, &url);
    wait_for_no_lag(&second);
    assert_eq!(second.status().figures().partitions, 4);
    second.stop();
}

#[test]
fn a_broker_that_dies_and_comes_back_is_followed() {
    let (broker, url) = (Broker::start(), Postgres::shared().create_database());
    broker.create_topic("t", 1, &[]);
    records::produce(&broker, "t", &events(10, 1));
    let mirror = start(&broker, "t", "app", "i", &url);
    wait_for_rows(&url, 10);
    broker.kill();
    broker.restart();
    records::produce(&broker, "t", &events(10, 1));
    wait_for_topic(&broker, "t", &url);
    mirror.stop();
}

#[test]
fn a_mirror_further_than_the_log_says_so_and_waits() {
    let (broker, topic, url) = (Broker::shared(), unique("mirror"), Postgres::shared().create_database());
    broker.create_topic(&topic, 1, &[]);
    records::produce(broker, &topic, &events(10, 1));
    let mut ahead = sink(&url, &Stop::default());
    let at = streams::record::TopicPartition { topic: topic.as_str().into(), ..partition(0) };
    ahead.claim(&[at]).unwrap();
    query(&url, "update memory_event_checkpoints set next_offset = 15");
    let mirror = start(broker, &topic, &unique("app"), "i", &url);
    wait_until("a second claim", || query(&url, "select writer_epoch > 2 from memory_event_checkpoints") == [["t"]]);
    wait_for_rows(&url, 0);
    assert_eq!(mirror.status().figures().lag, None);
    // The log grows to where the checkpoint stands.
    records::produce(broker, &topic, &events(10, 1));
    wait_for_rows(&url, 5);
    mirror.stop();
}

#[test]
fn records_that_retention_drops_while_postgres_is_away_are_stepped_over() {
    let (broker, topic, postgres) = (Broker::shared(), unique("mirror"), Postgres::start());
    let url = postgres.create_database();
    broker.create_topic(&topic, 1, &[]);
    let mirror = start(broker, &topic, &unique("app"), "i", &url);
    records::produce(broker, &topic, &[event(0, "first", "x")]);
    wait_for_rows(&url, 1);
    postgres.stop();
    let large = (0..400).map(|n| event(0, &n.to_string(), &"x".repeat(20_000)));
    records::produce(broker, &topic, &large.collect::<Vec<_>>());
    wait_until("the mirror to notice", || mirror.status().figures().down);
    // More than it has in memory.
    delete_records(broker, &topic, 390);
    postgres.restart();
    let next = || crate::try_query(&url, "select next_offset from memory_event_checkpoints");
    wait_until("the last record", || next().is_ok_and(|rows| rows == [["401"]]));
    assert_eq!(query(&url, "select count(*) from memory_events where kafka_offset >= 390"), [["11"]]);
    let sql = "select count(*) = count(distinct kafka_offset), count(*) = max(row_count) from memory_events, memory_event_checkpoints";
    assert_eq!(query(&url, sql), [["t", "t"]]);
    mirror.stop();
}

/// What retention does: drops the records of partition 0 below an offset.
fn delete_records(broker: &Broker, topic: &str, below: i64) {
    let admin: AdminClient<DefaultClientContext> = broker.client().create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, 0, Offset::Offset(below)).unwrap();
    futures::executor::block_on(admin.delete_records(&offsets, &AdminOptions::new())).unwrap();
}
