//! Properties of Kafka and librdkafka that the design relies on, tested on a real broker.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod static_members;

use std::sync::Arc;
use std::time::{Duration, Instant};

use streams::error::Error;
use streams::offset::{Offset, StartOffset};
use streams::ports::{
    Admin, BatchLimit, Fetching, GroupEvent, Membership, NewTopic, OffsetCommit, OutRecord, PartitionStart, Producer,
    ProducerFactory, RestoreClient,
};
use streams::record::{Headers, Record as Out, RecordBatch, TopicPartition};
use streams_kafka::KafkaSettings;
use streams_kafka::admin::ClusterAdmin;
use streams_kafka::consumer::{GroupFetching, GroupMembership, group_consumer};
use streams_kafka::producer::TransactionalProducers;
use streams_kafka::restore_consumer::RestoreConsumer;
use testkit::{Broker, LIMIT, Record, records, unique};

const MINUTE: Duration = Duration::from_secs(60);
const YEAR_2262_MS: i64 = 9_223_372_036_854;

fn settings(application: &str, instance: &str) -> KafkaSettings {
    let mut settings = KafkaSettings::new(&Broker::shared().bootstrap(), application, instance);
    settings.session_timeout = Duration::from_secs(2);
    settings
}

fn topic(stem: &str, partitions: usize) -> Arc<str> {
    let name = unique(stem);
    Broker::shared().create_topic(&name, partitions, &[]);
    name.into()
}

fn at(topic: &Arc<str>, partition: i32) -> TopicPartition {
    TopicPartition::new(topic.clone(), partition)
}

fn offset(number: i64) -> Offset {
    Offset::new(number).unwrap()
}

fn start(topic: &Arc<str>, partition: i32, number: i64) -> PartitionStart {
    PartitionStart { partition: at(topic, partition), offset: offset(number).into() }
}

/// A group's member and what it has read.
struct Member {
    membership: GroupMembership,
    fetching: GroupFetching,
    /// Partition, offset, value.
    read: Vec<(i32, i64, String)>,
    /// Partition and offset of each end.
    ends: Vec<(i32, i64)>,
}

impl Member {
    fn join(settings: &KafkaSettings, topic: &str) -> Member {
        let (mut membership, fetching) = group_consumer(settings, 0).unwrap();
        membership.subscribe(&[topic]).unwrap();
        Member { membership, fetching, read: Vec::new(), ends: Vec::new() }
    }

    fn poll(&mut self) -> Option<GroupEvent> {
        let mut batch = RecordBatch::new();
        self.fetching.poll(100, 1 << 20, Duration::from_millis(50), &mut batch).unwrap();
        for record in batch.iter() {
            let value = String::from_utf8(record.record.value.unwrap_or(b"").to_vec()).unwrap();
            self.read.push((record.origin.partition, record.origin.offset, value));
        }
        self.ends.extend(batch.ends().iter().map(|end| (end.partition.partition, end.offset.number())));
        self.membership.event()
    }

    #[track_caller]
    fn event(&mut self) -> GroupEvent {
        self.poll_until("an event", |_, event| event.clone())
    }

    #[track_caller]
    fn poll_until<T>(&mut self, what: &str, probe: impl Fn(&Member, &Option<GroupEvent>) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            let event = self.poll();
            if let Some(value) = probe(self, &event) {
                return value;
            }
            assert!(event.is_none(), "an event came while waiting for {what}: {event:?}");
            assert!(started.elapsed() < LIMIT, "waited in vain: {what}; read {:?}, ends {:?}", self.read, self.ends);
        }
    }

    #[track_caller]
    fn assigned(&mut self) -> Vec<TopicPartition> {
        let GroupEvent::Assigned(mut partitions) = self.event() else { panic!("not assigned") };
        partitions.sort();
        partitions
    }

    /// Leaves the group, answering what comes.
    fn leave(mut self) {
        self.membership.unsubscribe().unwrap();
        let started = Instant::now();
        while !self.membership.left() {
            assert!(started.elapsed() < LIMIT, "it does not leave its group");
            if let Some(GroupEvent::Revoked(gone) | GroupEvent::Lost(gone)) = self.poll() {
                self.fetching.unassign(&gone).unwrap();
            }
        }
    }
}

fn producer(settings: &KafkaSettings) -> Box<dyn Producer> {
    let mut producer =
        TransactionalProducers::new(settings, 0).create(BatchLimit::Bytes(BatchLimit::DEFAULT_BYTES)).unwrap();
    producer.init(MINUTE).unwrap();
    producer
}

fn record(value: &[u8], timestamp_ms: i64) -> Out<'_> {
    Out { key: Some(b"k"), value: Some(value), headers: Headers::NONE, timestamp_ms }
}

fn send(producer: &mut dyn Producer, topic: &Arc<str>, partition: i32, record: Out<'_>, token: u64) {
    assert!(producer.send(&OutRecord { topic, partition, record, token }).unwrap(), "the queue has room");
}

fn drain(producer: &mut dyn Producer) {
    let started = Instant::now();
    while producer.in_flight() > 0 {
        assert!(started.elapsed() < LIMIT, "{} records are not delivered", producer.in_flight());
        producer.poll(Duration::from_millis(1));
    }
}

/// Sends values to partition 0 and ends the transaction.
fn transaction(producer: &mut dyn Producer, topic: &Arc<str>, values: &[&str], commit: bool) {
    producer.begin().unwrap();
    values.iter().for_each(|value| send(producer, topic, 0, record(value.as_bytes(), 1), 0));
    drain(producer);
    if commit { producer.commit(MINUTE) } else { producer.abort(MINUTE) }.unwrap();
}

fn clients(settings: &KafkaSettings) -> (ClusterAdmin, RestoreConsumer) {
    let reader = RestoreConsumer::new(settings).unwrap();
    (ClusterAdmin::new(settings, &reader).unwrap(), reader)
}

#[test]
fn a_part_of_an_assignment_is_accepted_and_the_rest_later() {
    let (app, topic) = (unique("partial"), topic("partial", 3));
    let records: Vec<_> =
        (0..3).map(|partition| Record::new("k", format!("v{partition}")).in_partition(partition)).collect();
    records::produce(Broker::shared(), &topic, &records);
    let mut member = Member::join(&settings(&app, "i"), &topic);
    assert_eq!(member.assigned().len(), 3);
    member.fetching.assign(&[start(&topic, 1, 0)]).unwrap();
    member.poll_until("partition 1", |member, _| member.ends.contains(&(1, 1)).then_some(()));
    assert_eq!(member.read, [(1, 0, "v1".to_owned())], "nothing comes of what was not given");
    member
        .fetching
        .assign(&[start(&topic, 0, 0), PartitionStart { partition: at(&topic, 2), offset: StartOffset::Beginning }])
        .unwrap();
    member.poll_until("the others", |member, _| (member.read.len() == 3).then_some(()));
    let metadata = member.membership.metadata().unwrap();
    assert!(metadata.generation > 0 && !metadata.member_id.is_empty(), "{metadata:?}");
    member.leave();
}

#[test]
fn an_end_of_partition_lies_past_markers_and_aborted_records() {
    let (app, topic) = (unique("ends"), topic("ends", 1));
    let settings = settings(&app, "i");
    let mut producer = producer(&settings);
    transaction(&mut *producer, &topic, &["a", "b"], true);
    transaction(&mut *producer, &topic, &["aborted"], false);
    // Offsets: a 0, b 1, marker 2, aborted 3, marker 4.
    let mut member = Member::join(&settings, &topic);
    member.assigned();
    member.fetching.assign(&[start(&topic, 0, 0)]).unwrap();
    member.poll_until("the end", |member, _| member.ends.contains(&(0, 5)).then_some(()));
    assert_eq!(member.read, [(0, 0, "a".to_owned()), (0, 1, "b".to_owned())]);
    assert_eq!(member.fetching.end_offset(&at(&topic, 0)), Some(offset(5)));
    member.leave();
}

#[test]
fn a_moved_partition_gives_each_record_once_from_there() {
    let (app, topic) = (unique("seek"), topic("seek", 2));
    let both = |n: usize| Record::new("k", format!("{n}")).in_partition((n % 2) as i32);
    records::produce(Broker::shared(), &topic, &(0..600).map(both).collect::<Vec<_>>());
    let mut member = Member::join(&settings(&app, "i"), &topic);
    member.assigned();
    member.fetching.assign(&[start(&topic, 0, 0), start(&topic, 1, 0)]).unwrap();
    let offsets = |member: &Member, partition: i32| -> Vec<i64> {
        member.read.iter().filter(|read| read.0 == partition).map(|read| read.1).collect()
    };
    member.poll_until("some records", |member, _| (offsets(member, 0).len() > 60).then_some(()));
    let before = offsets(&member, 0);
    member.fetching.seek(&[start(&topic, 0, 7)]).unwrap();
    member.poll_until("the end again", |member, _| (offsets(member, 0).last() == Some(&299)).then_some(()));
    assert_eq!(offsets(&member, 0)[before.len()..], (7..300).collect::<Vec<_>>());
    member.poll_until("the other one", |member, _| (offsets(member, 1).len() == 300).then_some(()));
    // Held back without an event, then given again, and paused at once: nothing is lost, nothing
    // comes twice.
    member.read.clear();
    member.fetching.unassign(&[at(&topic, 0)]).unwrap();
    member.fetching.assign(&[start(&topic, 0, 290)]).unwrap();
    member.fetching.pause(&[at(&topic, 0)]).unwrap();
    member.poll();
    member.fetching.resume(&[at(&topic, 0)]).unwrap();
    member.poll_until("the last ten", |member, _| (offsets(member, 0).last() == Some(&299)).then_some(()));
    assert_eq!(offsets(&member, 0), (290..300).collect::<Vec<_>>());
    member.leave();
}

#[test]
fn offsets_and_their_metadata_come_back_as_committed() {
    let (app, topic) = (unique("metadata"), topic("metadata", 2));
    let settings = settings(&app, "i");
    let (admin, _reader) = clients(&settings);
    let mut member = Member::join(&settings, &topic);
    member.assigned();
    member.fetching.assign(&[]).unwrap();
    let mut producer = producer(&settings);
    producer.track(std::slice::from_ref(&topic));
    producer.begin().unwrap();
    send(&mut *producer, &topic, 1, record(b"x", 1), 0);
    send(&mut *producer, &topic, 1, record(b"y", 1), 1);
    drain(&mut *producer);
    assert_eq!(producer.last_offset(&at(&topic, 1)), Some(offset(1)), "deliveries tell the offsets of tracked topics");
    let group = member.membership.metadata().unwrap();
    let metadata = "m".repeat(4096);
    let commit = OffsetCommit { partition: at(&topic, 0), offset: offset(7), metadata: metadata.clone() };
    producer.send_offsets(&[commit], &group, MINUTE).unwrap();
    producer.commit(MINUTE).unwrap();
    let committed = admin.committed(&[at(&topic, 1), at(&topic, 0)]).unwrap();
    assert_eq!(committed[0], None);
    let committed = committed[1].as_ref().unwrap();
    assert_eq!((committed.offset, &committed.metadata), (offset(7), &metadata));
    member.leave();
}

#[test]
fn restores_read_committed_records_only() {
    let (app, topic) = (unique("restore"), topic("restore", 1));
    let settings = settings(&app, "i");
    let (admin, reader) = clients(&settings);
    let mut first = producer(&settings);
    transaction(&mut *first, &topic, &["a"], true);
    transaction(&mut *first, &topic, &["aborted"], false);
    let mut pending = producer(&KafkaSettings { instance_id: "other".to_owned(), ..settings });
    pending.begin().unwrap();
    send(&mut *pending, &topic, 0, record(b"pending", 1), 0);
    drain(&mut *pending);
    transaction(&mut *first, &topic, &["behind it"], true);
    let read = |start: StartOffset, until: i64| {
        let (mut values, mut batch) = (Vec::new(), RecordBatch::new());
        let mut partition = reader.open(&at(&topic, 0), start).unwrap();
        let started = Instant::now();
        while !batch.ends().iter().any(|end| end.offset.number() >= until) {
            assert!(started.elapsed() < LIMIT, "no end at {until}: {values:?}");
            batch.clear();
            partition.poll(1 << 20, Duration::from_millis(100), &mut batch).unwrap();
            values.extend(batch.iter().map(|one| String::from_utf8(one.record.value.unwrap().to_vec()).unwrap()));
        }
        values
    };
    // a 0, marker 1, aborted 2, marker 3, pending 4, behind it 5, marker 6.
    assert_eq!(read(StartOffset::Beginning, 4), ["a"], "an open transaction ends the reading");
    assert_eq!(admin.log_range(&at(&topic, 0)).unwrap().end, offset(7), "the log goes on behind it");
    pending.commit(MINUTE).unwrap();
    assert_eq!(read(offset(0).into(), 8), ["a", "pending", "behind it"]);
    assert_eq!(read(offset(5).into(), 8), ["behind it"], "a partition can be opened again, at another offset");
}

#[test]
fn a_full_queue_is_told_and_drained() {
    let (app, topic) = (unique("full"), topic("full", 1));
    let mut producer = producer(&settings(&app, "i"));
    producer.begin().unwrap();
    let (value, mut sent, mut full) = (vec![7; 900_000], 0, 0);
    let started = Instant::now();
    while sent < 100 {
        assert!(started.elapsed() < LIMIT, "{sent} records were taken");
        let out = OutRecord { topic: &topic, partition: 0, record: record(&value, 1), token: sent };
        match producer.send(&out).unwrap() {
            true => sent += 1,
            false => {
                full += 1;
                producer.poll(Duration::from_millis(10));
            }
        }
        assert!(producer.in_flight_bytes() <= 40 << 20, "the queue is bounded");
    }
    drain(&mut *producer);
    assert!(full > 0, "90 MB do not fit into the queue");
    assert_eq!((producer.in_flight_bytes(), producer.take_failure()), (0, None));
    producer.commit(MINUTE).unwrap();
    assert_eq!(records::read_committed(Broker::shared(), &topic).len(), 100);
}

#[test]
fn our_topics_take_times_from_1970_to_2262_and_others_refuse_the_record() {
    let app = unique("times");
    let settings = settings(&app, "i");
    let (admin, _reader) = clients(&settings);
    let ours: Arc<str> = unique("ours").into();
    let config = [("message.timestamp.type", "CreateTime"), ("message.timestamp.after.max.ms", "9223372036854775807")];
    let config = config.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let new = NewTopic { name: ours.to_string(), partitions: 1, replication: None, config };
    admin.create_topics(std::slice::from_ref(&new)).unwrap();
    admin.create_topics(&[new]).unwrap();
    assert_eq!(admin.topics(&[&ours, "no such topic"]).unwrap()[1], None);
    let found = admin.topic_config(&ours).unwrap();
    assert!(found.contains(&("message.timestamp.after.max.ms".to_owned(), i64::MAX.to_string())));
    let mut producer = producer(&settings);
    producer.begin().unwrap();
    send(&mut *producer, &ours, 0, record(b"1970", 1), 0);
    send(&mut *producer, &ours, 0, record(b"2262", YEAR_2262_MS), 1);
    drain(&mut *producer);
    producer.commit(MINUTE).unwrap();
    let times: Vec<i64> = records::read_committed(Broker::shared(), &ours).iter().map(|one| one.timestamp_ms).collect();
    assert_eq!(times, [1, YEAR_2262_MS]);
    let theirs = topic("theirs", 1);
    producer.begin().unwrap();
    send(&mut *producer, &theirs, 0, record(b"2262", YEAR_2262_MS), 42);
    drain(&mut *producer);
    let failure = producer.take_failure().unwrap();
    assert!(matches!(failure.error, Error::RecordTime(_)) && failure.token == 42, "{failure:?}");
    producer.abort(MINUTE).unwrap();
    // The broker's refusal leaves a gap in the producer's sequence: librdkafka fails the next
    // transaction too, and goes on with a new epoch.
    producer.begin().unwrap();
    send(&mut *producer, &theirs, 0, record(b"refused with it", 1), 0);
    drain(&mut *producer);
    if let Err(error) = producer.commit(MINUTE) {
        assert!(matches!(error, Error::Aborted(_)), "{error}");
        producer.abort(MINUTE).unwrap();
    }
    transaction(&mut *producer, &theirs, &["then all goes on"], true);
}

#[test]
fn null_and_empty_are_not_the_same_and_headers_keep_their_order() {
    let (app, topic) = (unique("nulls"), topic("nulls", 1));
    let settings = settings(&app, "i");
    let mut producer = producer(&settings);
    producer.begin().unwrap();
    // A NUL ends no name: Kafka counts its bytes.
    let list = [("a", Some(&b"1"[..])), ("a", None), ("b", Some(&b""[..])), ("n\0ul", Some(&b"2"[..])), ("\0", None)];
    for (key, value) in [(None, Some(&b""[..])), (Some(&b""[..]), None)] {
        let record = Out { key, value, headers: Headers::List(&list), timestamp_ms: 1 };
        send(&mut *producer, &topic, 0, record, 0);
    }
    drain(&mut *producer);
    producer.commit(MINUTE).unwrap();
    let (mut batch, mut reader) = (
        RecordBatch::new(),
        RestoreConsumer::new(&settings).unwrap().open(&at(&topic, 0), StartOffset::Beginning).unwrap(),
    );
    let started = Instant::now();
    while batch.is_empty() {
        assert!(started.elapsed() < LIMIT, "nothing is read");
        reader.poll(1 << 20, Duration::from_millis(100), &mut batch).unwrap();
    }
    let found: Vec<_> = batch.iter().map(|one| (one.record.key, one.record.value)).collect();
    assert_eq!(found, [(None, Some(&b""[..])), (Some(&b""[..]), None)]);
    assert_eq!(batch.get(0).unwrap().record.headers.iter().collect::<Vec<_>>(), list);
}

#[test]
fn a_new_member_gets_what_it_needs_and_no_more_moves() {
    let (app, topic) = (unique("two"), topic("two", 4));
    let mut first = Member::join(&settings(&app, "first"), &topic);
    let all = first.assigned();
    first
        .fetching
        .assign(
            &all.iter()
                .map(|one| PartitionStart { partition: one.clone(), offset: StartOffset::Beginning })
                .collect::<Vec<_>>(),
        )
        .unwrap();
    let mut second = Member::join(&settings(&app, "second"), &topic);
    let (mut revoked, mut given) = (Vec::new(), Vec::new());
    let started = Instant::now();
    while given.len() < 2 {
        assert!(started.elapsed() < LIMIT, "revoked {revoked:?}, given {given:?}");
        match first.poll() {
            Some(GroupEvent::Revoked(gone)) => {
                let group = first.membership.metadata().unwrap();
                assert!(group.generation > 0 && !group.member_id.is_empty(), "what goes can still be committed");
                first.fetching.unassign(&gone).unwrap();
                revoked.extend(gone);
            }
            Some(GroupEvent::Assigned(more)) => {
                assert!(more.is_empty(), "nothing comes to the first: {more:?}");
                first.fetching.assign(&[]).unwrap();
            }
            Some(GroupEvent::Lost(gone)) => panic!("lost {gone:?}"),
            None => {}
        }
        if let Some(GroupEvent::Assigned(more)) = second.poll() {
            second.fetching.assign(&[]).unwrap();
            given.extend(more);
        }
    }
    revoked.sort();
    given.sort();
    assert_eq!((revoked.len(), &revoked), (2, &given));
    // What stayed goes on just where it ended: a rebalance pauses all partitions and goes on at the
    // position that librdkafka saved.
    let stayed: Vec<TopicPartition> = all.into_iter().filter(|one| !given.contains(one)).collect();
    let next: Vec<_> = stayed.iter().map(|one| Record::new("k", "next").in_partition(one.partition)).collect();
    records::produce(Broker::shared(), &topic, &next);
    let started = Instant::now();
    while first.read.len() < 2 {
        assert!(started.elapsed() < LIMIT, "waited in vain for the next records; read {:?}", first.read);
        // The end of the rebalance, in which nothing comes to the first, may reach it after the
        // second has its part.
        match first.poll() {
            Some(GroupEvent::Assigned(more)) if more.is_empty() => first.fetching.assign(&[]).unwrap(),
            Some(other) => panic!("an event came while waiting for the next records: {other:?}"),
            None => {}
        }
    }
    first.read.sort();
    assert_eq!(first.read, stayed.iter().map(|one| (one.partition, 0, "next".to_owned())).collect::<Vec<_>>());
    second.leave();
    first.leave();
}

#[test]
fn the_last_revoke_can_be_committed_and_then_the_group_is_left() {
    let (app, topic) = (unique("leave"), topic("leave", 1));
    let settings = settings(&app, "i");
    let (admin, _reader) = clients(&settings);
    let mut member = Member::join(&settings, &topic);
    member.assigned();
    member.fetching.assign(&[start(&topic, 0, 0)]).unwrap();
    let mut producer = producer(&settings);
    producer.begin().unwrap();
    member.membership.unsubscribe().unwrap();
    let GroupEvent::Revoked(gone) = member.event() else { panic!("not revoked") };
    assert_eq!(gone, [at(&topic, 0)]);
    let group = member.membership.metadata().unwrap();
    let commit = OffsetCommit { partition: at(&topic, 0), offset: offset(3), metadata: String::new() };
    producer.send_offsets(&[commit], &group, MINUTE).unwrap();
    producer.commit(MINUTE).unwrap();
    assert!(!member.membership.left());
    member.fetching.unassign(&gone).unwrap();
    member.poll_until("the end of the membership", |member, _| member.membership.left().then_some(()));
    assert_eq!(admin.committed(&[at(&topic, 0)]).unwrap()[0].as_ref().map(|one| one.offset), Some(offset(3)));
}

#[test]
fn a_fenced_producer_is_lost_and_a_nobody_commits_nothing() {
    let (app, topic) = (unique("fenced"), topic("fenced", 1));
    let settings = settings(&app, "i");
    let mut old = producer(&settings);
    old.begin().unwrap();
    send(&mut *old, &topic, 0, record(b"old", 1), 0);
    drain(&mut *old);
    let mut member = Member::join(&settings, &topic);
    let nobody = member.membership.metadata().unwrap();
    let commit = || OffsetCommit { partition: at(&topic, 0), offset: offset(1), metadata: String::new() };
    assert!(nobody.generation < 0, "{nobody:?}");
    assert!(matches!(old.send_offsets(&[commit()], &nobody, MINUTE), Err(Error::Migrated(_))));
    let mut new = producer(&settings);
    assert!(matches!(old.commit(MINUTE), Err(Error::Fenced(_))));
    assert!(matches!(old.fatal_error(), Some(Error::Fenced(_))));
    assert!(matches!(old.begin(), Err(Error::Fenced(_))), "a dead producer answers and does not wait");
    transaction(&mut *new, &topic, &["new"], true);
    let values: Vec<_> = records::read_committed(Broker::shared(), &topic).into_iter().map(|one| one.value).collect();
    assert_eq!(values, [Some(b"new".to_vec())], "init ended the predecessor's transaction");
    member.assigned();
    member.fetching.assign(&[]).unwrap();
    member.leave();
}

#[test]
fn no_broker_is_an_error_that_says_where() {
    let settings = KafkaSettings::new("localhost:1", "app", "i");
    let (admin, _reader) = clients(&settings);
    let error = admin.wait_for_brokers(Duration::from_secs(1)).unwrap_err();
    assert!(
        matches!(&error, Error::Fatal(text) if text.contains("localhost:1") && text.contains("--bootstrap-servers")),
        "{error}"
    );
}
