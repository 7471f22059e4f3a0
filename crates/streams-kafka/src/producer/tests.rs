//! The producer over a mock cluster.

use std::sync::mpsc::channel;

use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::types::RDKafkaApiKey;

use super::*;
use streams::offset::Offset;
use streams::record::{Headers, Record};

#[test]
fn a_client_that_has_failed_for_good_answers_whether_its_transaction_was_refused() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("out", 1, 1).unwrap();
    let settings = KafkaSettings::new(&cluster.bootstrap_servers(), "app", "0");
    let (send, answer) = channel();
    // On a thread of its own: what is feared is that it never answers.
    std::thread::spawn(move || {
        let mut producer = TransactionalProducer::new(&settings, "app-0-0", BatchLimit::Bytes(1 << 10)).unwrap();
        producer.init(Duration::from_secs(60)).unwrap();
        producer.begin().unwrap();
        let record = Record { key: None, value: Some(b"v"), headers: Headers::NONE, timestamp_ms: 1 };
        let topic = Arc::from("out");
        producer.send(&OutRecord { topic: &topic, partition: 0, record, token: 0 }).unwrap();
        let reason = c"as a test wants it";
        let code = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        // SAFETY: a live client and an ended string.
        unsafe { sys::rd_kafka_test_fatal_error(producer.client().as_ptr(), code, reason.as_ptr()) };
        assert!(producer.fatal_error().is_some() && producer.sender.in_flight() > 0);
        let refusal = producer.refusal();
        _ = send.send((refusal, producer.begin()));
    });
    let (refusal, begun) = answer.recv_timeout(Duration::from_secs(120)).expect("it answers");
    assert_eq!(refusal, None, "nobody was refused");
    assert!(matches!(begun, Err(Error::ProducerLost(_))), "{begun:?}");
}

#[test]
fn a_producer_is_given_up_where_librdkafka_waits_for_the_groups_coordinator_for_ever() {
    let cluster = MockCluster::new(2).unwrap();
    cluster.create_topic("out", 1, 1).unwrap();
    cluster.partition_leader("out", 0, Some(1)).unwrap();
    cluster.coordinator(MockCoordinator::Transaction("app-0-0".to_owned()), 1).unwrap();
    cluster.coordinator(MockCoordinator::Group("app".to_owned()), 2).unwrap();
    let transaction_timeout = Duration::from_secs(1);
    let settings =
        KafkaSettings { transaction_timeout, ..KafkaSettings::new(&cluster.bootstrap_servers(), "app", "0") };
    let mut producer = TransactionalProducer::new(&settings, "app-0-0", BatchLimit::Bytes(1 << 10)).unwrap();
    producer.init(Duration::from_secs(60)).unwrap();
    producer.begin().unwrap();
    cluster.broker_down(2).unwrap();
    let (send, answer) = channel();
    // On a thread of its own: what is feared is that it never answers.
    std::thread::spawn(move || {
        let (group, member) = (c"app".as_ptr(), c"member".as_ptr());
        // SAFETY: ended strings.
        let handle =
            unsafe { sys::rd_kafka_consumer_group_metadata_new_with_genid(group, 1, member, std::ptr::null()) };
        let handle = Arc::new(GroupHandle(handle));
        let group = GroupMetadata { generation: 1, member_id: "member".to_owned(), handle };
        let partition = TopicPartition::new("in", 0);
        let offsets = [OffsetCommit { partition, offset: Offset::FIRST, metadata: String::new() }];
        _ = send.send(producer.send_offsets(&offsets, &group, Duration::from_secs(1)));
    });
    let sent = answer.recv_timeout(Duration::from_secs(120)).expect("it answers");
    assert!(matches!(sent, Err(Error::ProducerLost(_))), "{sent:?}");
}

#[test]
fn a_record_that_was_delivered_to_nobody_knows_where_has_no_offset() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("changelog", 2, 1).unwrap();
    let settings = KafkaSettings::new(&cluster.bootstrap_servers(), "app", "0");
    let mut producer = TransactionalProducer::new(&settings, "app-0-0", BatchLimit::Bytes(1 << 10)).unwrap();
    let topic: Arc<str> = Arc::from("changelog");
    producer.track(std::slice::from_ref(&topic));
    producer.init(Duration::from_secs(60)).unwrap();
    producer.begin().unwrap();
    let mut last_offset_after = |partition, answer| {
        cluster.request_errors(RDKafkaApiKey::Produce, &[answer]);
        let record = Record { key: None, value: Some(b"v"), headers: Headers::NONE, timestamp_ms: 1 };
        assert!(producer.send(&OutRecord { topic: &topic, partition, record, token: 0 }).unwrap());
        producer.drain(Duration::from_secs(60));
        assert_eq!((producer.in_flight(), producer.take_failure()), (0, None), "it counts as delivered");
        producer.last_offset(&TopicPartition::new("changelog", partition))
    };
    let (appended, duplicate) = (
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER,
    );
    assert_eq!(last_offset_after(0, duplicate), None);
    assert_eq!(last_offset_after(1, appended), Some(Offset::FIRST));
    assert_eq!(last_offset_after(1, duplicate), None, "the record before is not the last one");
}

/// The first failure of a transaction whose only partition the broker refuses, read after
/// `wait` has brought all deliveries.
fn failure_of_a_refused_transaction(wait: impl Fn(&mut TransactionalProducer)) -> Error {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("out", 1, 1).unwrap();
    let refusal = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::AddPartitionsToTxn, &[refusal]);
    let settings = KafkaSettings::new(&cluster.bootstrap_servers(), "app", "0");
    let mut producer = TransactionalProducer::new(&settings, "app-0-0", BatchLimit::Bytes(1 << 10)).unwrap();
    producer.init(Duration::from_secs(60)).unwrap();
    producer.begin().unwrap();
    let record = Record { key: None, value: Some(b"v"), headers: Headers::NONE, timestamp_ms: 1 };
    let topic = Arc::from("out");
    producer.send(&OutRecord { topic: &topic, partition: 0, record, token: 0 }).unwrap();
    let started = Instant::now();
    while producer.in_flight() > 0 {
        assert!(started.elapsed() < Duration::from_secs(120), "the record is neither delivered nor purged");
        wait(&mut producer);
    }
    producer.take_failure().expect("the record was not delivered").error
}

#[test]
fn a_refused_transaction_names_the_missing_right_though_its_records_were_purged_before_anybody_asked() {
    let polled = failure_of_a_refused_transaction(|producer| producer.poll(Duration::from_millis(100)));
    let drained = failure_of_a_refused_transaction(|producer| producer.drain(Duration::from_secs(60)));
    for failure in [polled, drained] {
        let Error::Fatal(text) = failure else { panic!("a refusal stops the instance: {failure:?}") };
        assert!(text.contains("Write on topic out"), "{text}");
    }
}
