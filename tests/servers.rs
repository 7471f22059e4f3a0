//! The test servers themselves, and what ships around the code (scripts, compose file): the ground
//! that the other tests stand on.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

use testkit::postgres::{query, try_query};
use testkit::{Broker, Postgres, Record, records, tools, unique, wait_until};

#[test]
fn records_come_back_as_they_were_published() {
    let (broker, topic) = (Broker::shared(), unique("round-trip"));
    broker.create_topic(&topic, 2, &[]);
    let plain = Record::new("k", "v");
    let tombstone = Record { value: None, ..Record::new("k", "") }.in_partition(1);
    let odd = Record {
        key: None,
        headers: vec![("h".into(), Some(vec![0, 255])), ("n".into(), None)],
        ..Record::new("", "")
    };
    let odd = odd.at_ms(1);
    records::produce(broker, &topic, &[plain.clone(), tombstone.clone(), odd.clone()]);
    let expected = vec![plain, Record { offset: 1, ..odd }, tombstone];
    assert_eq!(records::read_committed(broker, &topic), expected);
    assert_eq!(tools::end_offsets(broker, &topic), [(0, 2), (1, 1)]);
    let lines: Vec<Record> = expected.iter().map(|record| Record::from_line(&record.to_line())).collect();
    assert_eq!(lines, expected);
}

#[test]
fn read_committed_leaves_out_aborted_and_open_transactions() {
    use rdkafka::producer::Producer;
    let (broker, topic) = (Broker::shared(), unique("transactions"));
    broker.create_topic(&topic, 1, &[]);
    let producer = records::transactional_producer(broker, &topic);
    let minute = std::time::Duration::from_secs(60);
    for (key, commit) in [("aborted", false), ("committed", true)] {
        producer.begin_transaction().unwrap();
        records::send(&producer, &topic, &[Record::new(key, "")]);
        producer.flush(minute).unwrap();
        if commit { producer.commit_transaction(minute) } else { producer.abort_transaction(minute) }.unwrap();
    }
    producer.begin_transaction().unwrap();
    records::send(&producer, &topic, &[Record::new("open", "")]);
    producer.flush(minute).unwrap();
    let keys = |records: Vec<Record>| records.iter().map(Record::key_text).collect::<Vec<_>>();
    assert_eq!(keys(records::read_committed(broker, &topic)), ["committed"]);
    assert_eq!(keys(records::read_uncommitted(broker, &topic)), ["aborted", "committed", "open"]);
    let dump = tools::dump_log(broker, &topic, 0);
    assert!(dump.contains("endTxnMarker: ABORT") && dump.contains("endTxnMarker: COMMIT"), "{dump}");
}

#[test]
fn kafkas_tools_tell_settings_groups_and_partitions() {
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    let (broker, topic) = (Broker::shared(), unique("settings"));
    broker.create_topic(&topic, 1, &[("cleanup.policy", "compact")]);
    assert_eq!(tools::topic_settings(broker, &topic), [("cleanup.policy".to_owned(), "compact".to_owned())]);
    records::produce(broker, &topic, &[Record::new("a", ""), Record::new("b", "")]);
    assert_eq!(tools::group_lag(broker, &topic), None);
    let consumer: BaseConsumer = broker.client().set("group.id", &topic).create().unwrap();
    let mut offsets = rdkafka::TopicPartitionList::new();
    offsets.add_partition_offset(&topic, 0, rdkafka::Offset::Offset(1)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    assert_eq!(tools::group_lag(broker, &topic), Some(1));
    broker.grow_topic(&topic, 3);
    assert_eq!(broker.partition_count(&topic), Some(3));
    broker.delete_topic(&topic);
    assert!(!broker.topics().contains(&topic));
}

#[test]
fn a_killed_broker_comes_back_with_its_data_on_its_port() {
    let broker = Broker::start();
    broker.create_topic("t", 1, &[]);
    records::produce(&broker, "t", &[Record::new("before", "")]);
    let address = broker.bootstrap();
    broker.kill();
    assert!(std::net::TcpStream::connect(&address).is_err());
    broker.restart();
    broker.stop();
    broker.restart();
    assert_eq!(broker.bootstrap(), address);
    assert_eq!(records::read_committed(&broker, "t")[0].key_text(), "before");
}

#[test]
fn a_stopped_postgres_comes_back_with_its_data_on_its_port() {
    let postgres = Postgres::start();
    let url = postgres.create_database();
    query(&url, "create table t (a text, b int)");
    query(&url, "insert into t values ('x\ny', 1), (null, 2)");
    postgres.stop();
    assert!(try_query(&url, "select 1").is_err());
    postgres.restart();
    postgres.kill();
    postgres.restart();
    assert_eq!(query(&url, "select a, b from t order by b"), [["x\ny", "1"], ["", "2"]]);
}

#[test]
fn databases_of_the_shared_server_are_apart() {
    let (one, other) = (Postgres::shared().create_database(), Postgres::shared().create_database());
    query(&one, "create table t (a int)");
    assert!(try_query(&other, "select * from t").is_err());
}

/// Runs this test binary once more, kills it in mid-test, and looks whether its broker and folder
/// are gone.
#[test]
fn nothing_stays_behind_when_a_test_process_is_killed() {
    let marker = testkit::process::temp_dir("marker").join("pids");
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--ignored", "--exact", "helper_that_waits_to_be_killed"]).env("HELIX_TEST_MARKER", &marker);
    again.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut again = testkit::process::Process::start(again, rustix::process::Signal::KILL).unwrap();
    let text = testkit::wait_for("the other process's servers", || {
        assert!(again.poll().is_none(), "the other test process ended by itself");
        std::fs::read_to_string(&marker).ok().filter(|text| text.ends_with('\n'))
    });
    let lines: Vec<&str> = text.lines().collect();
    let [root, broker, postgres] = lines[..] else { panic!("{text}") };
    let alive = |address: &str| std::net::TcpStream::connect(address).is_ok();
    assert!(std::path::Path::new(root).exists() && alive(broker) && alive(postgres), "{text}");
    again.kill();
    wait_until("the servers' end", || !alive(broker) && !alive(postgres));
    wait_until("the folder's end", || !std::path::Path::new(root).exists());
}

#[test]
#[ignore = "not a test: the process that the test above kills"]
fn helper_that_waits_to_be_killed() {
    let marker = std::env::var("HELIX_TEST_MARKER").expect("run by the test above");
    let (broker, postgres) = (Broker::start(), Postgres::start());
    let root = testkit::process::temp_dir("root");
    let root = root.parent().unwrap().display();
    let url = postgres.url("");
    let address = url.split(['@', '/']).nth(3).unwrap();
    std::fs::write(&marker, format!("{root}\n{}\n{address}\n", broker.bootstrap())).unwrap();
    std::thread::park();
}
