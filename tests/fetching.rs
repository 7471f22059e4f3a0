//! A kept partition goes on exactly where it was read to, whatever the rest of the group does; and
//! a consumer can be dropped at any moment.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use streams::offset::StartOffset;
use streams::ports::{Fetching, GroupEvent, Membership, PartitionStart, RestoreClient};
use streams::record::{RecordBatch, TopicPartition};
use streams_kafka::KafkaSettings;
use streams_kafka::consumer::{GroupFetching, GroupMembership, group_consumer};
use streams_kafka::restore_consumer::RestoreConsumer;
use testkit::wait::wait_for_within;
use testkit::{Broker, Record, records, unique, wait_for, wait_until};

/// More than one stays with each member, so that their ends come in one go.
const PARTITIONS: i32 = 24;

struct Member {
    membership: GroupMembership,
    fetching: GroupFetching,
    owned: Vec<i32>,
    /// Partition and value.
    read: Vec<(i32, String)>,
    /// Partition and offset of each end.
    ends: Vec<(i32, i64)>,
}

impl Member {
    fn join(group: &str, instance: &str, topic: &str) -> Member {
        let settings = KafkaSettings::new(&Broker::shared().bootstrap(), group, instance);
        let (mut membership, fetching) = group_consumer(&settings, 0).unwrap();
        membership.subscribe(&[topic]).unwrap();
        Member { membership, fetching, owned: Vec::new(), read: Vec::new(), ends: Vec::new() }
    }

    /// Reads, and does what the group asks for: new partitions from their beginning, since nothing
    /// is committed here.
    fn poll(&mut self) {
        let mut batch = RecordBatch::new();
        self.fetching.poll(1000, 1 << 20, Duration::from_millis(20), &mut batch).unwrap();
        for record in batch.iter() {
            let value = String::from_utf8(record.record.value.unwrap().to_vec()).unwrap();
            self.read.push((record.origin.partition, value));
        }
        self.ends.extend(batch.ends().iter().map(|end| (end.partition.partition, end.offset.number())));
        match self.membership.event() {
            Some(GroupEvent::Assigned(new)) => {
                self.owned.extend(new.iter().map(|partition| partition.partition));
                let start = |partition: TopicPartition| PartitionStart { partition, offset: StartOffset::Beginning };
                self.fetching.assign(&new.into_iter().map(start).collect::<Vec<_>>()).unwrap();
            }
            Some(GroupEvent::Revoked(gone) | GroupEvent::Lost(gone)) => {
                self.owned.retain(|partition| gone.iter().all(|gone| gone.partition != *partition));
                self.fetching.unassign(&gone).unwrap();
            }
            None => {}
        }
    }
}

#[test]
fn partitions_that_are_kept_over_a_rebalance_go_on_where_they_were_read_to() {
    let (broker, topic, group) = (Broker::shared(), unique("kept"), unique("kept"));
    broker.create_topic(&topic, PARTITIONS as usize, &[]);
    let one_each = |value: &str| (0..PARTITIONS).map(|p| Record::new("k", value).in_partition(p)).collect::<Vec<_>>();
    records::produce(broker, &topic, &one_each("first"));
    let mut old = Member::join(&group, "old", &topic);
    wait_until("the ends of all partitions", || {
        old.poll();
        (0..PARTITIONS).all(|partition| old.ends.contains(&(partition, 1)))
    });
    let mut new = Member::join(&group, "new", &topic);
    wait_until("half of them to move", || {
        old.poll();
        new.poll();
        !new.owned.is_empty() && new.owned.iter().all(|partition| new.ends.contains(&(*partition, 1)))
    });
    let kept = old.owned.clone();
    assert!(!kept.is_empty() && kept.len() + new.owned.len() == PARTITIONS as usize, "{kept:?}, {:?}", new.owned);
    old.read.clear();
    records::produce(broker, &topic, &one_each("second"));
    wait_until("the next record of each that was kept", || {
        old.poll();
        new.poll();
        old.read.len() >= kept.len()
    });
    old.read.sort();
    let mut expected: Vec<(i32, String)> = kept.iter().map(|partition| (*partition, "second".to_owned())).collect();
    expected.sort();
    assert_eq!(old.read, expected);
}

/// Drops a member on a thread of its own, as the end of a stream thread does, and fails if that
/// hangs.
fn drop_apart(member: Member) {
    let dropping = std::thread::spawn(move || drop(member));
    wait_until("a dropped consumer's end", || dropping.is_finished());
    dropping.join().unwrap();
}

impl Member {
    /// Polls without an answer until a rebalance comes.
    fn event(&mut self, ask_others: &mut dyn FnMut()) -> GroupEvent {
        let mut batch = RecordBatch::new();
        wait_for("an event", || {
            ask_others();
            self.fetching.poll(1000, 1 << 20, Duration::from_millis(20), &mut batch).unwrap();
            self.membership.event()
        })
    }

    fn owns(&self, count: i32) -> bool {
        self.owned.len() == count as usize
    }
}

#[test]
fn a_consumer_can_be_dropped_whatever_is_unanswered() {
    let (broker, topic) = (Broker::shared(), unique("dropped"));
    broker.create_topic(&topic, PARTITIONS as usize, &[]);
    records::produce(
        broker,
        &topic,
        &(0..PARTITIONS).map(|p| Record::new("k", "v").in_partition(p)).collect::<Vec<_>>(),
    );

    // It never polled: the assignment waits in its queue.
    let group = unique("dropped");
    let member = Member::join(&group, "silent", &topic);
    let client: BaseConsumer = broker.client().create().unwrap();
    let is_stable = || {
        let groups = client.fetch_group_list(Some(&group), Duration::from_secs(10));
        groups.is_ok_and(|list| list.groups().iter().any(|found| found.state() == "Stable"))
    };
    wait_until("the group to be stable", is_stable);
    drop_apart(member);

    // An assignment was taken and not answered.
    let mut member = Member::join(&group, "assigned", &topic);
    assert!(matches!(member.event(&mut || {}), GroupEvent::Assigned(new) if new.len() == PARTITIONS as usize));
    drop_apart(member);

    // A revocation was taken and not answered; the other one gets all.
    let mut old = Member::join(&group, "old", &topic);
    wait_until("all partitions", || {
        old.poll();
        old.owns(PARTITIONS) && old.read.len() == PARTITIONS as usize
    });
    let mut new = Member::join(&group, "new", &topic);
    assert!(matches!(old.event(&mut || new.poll()), GroupEvent::Revoked(_)));
    drop_apart(old);
    wait_until("all partitions to come over", || {
        new.poll();
        new.owns(PARTITIONS)
    });

    // It was leaving, and its last revocation is not answered, or not even polled.
    new.membership.unsubscribe().unwrap();
    assert!(matches!(new.event(&mut || {}), GroupEvent::Revoked(_)));
    drop_apart(new);
    let mut member = Member::join(&group, "leaving", &topic);
    wait_until("all partitions", || {
        member.poll();
        member.owns(PARTITIONS)
    });
    member.membership.unsubscribe().unwrap();
    drop_apart(member);

    // Records lie in its hands and in its queue; its thread panics.
    let mut member = Member::join(&group, "panics", &topic);
    wait_until("all partitions", || {
        member.poll();
        member.owns(PARTITIONS) && !member.read.is_empty()
    });
    let panicking = std::thread::spawn(move || {
        let _member = member;
        panic!("as asked");
    });
    wait_until("the end of a thread that panicked", || panicking.is_finished());
    assert!(panicking.join().is_err());
}

#[test]
fn a_consumer_can_be_dropped_while_its_broker_is_gone() {
    let (broker, topic, group) = (Broker::start(), "t", "g");
    broker.create_topic(topic, 2, &[]);
    let settings = KafkaSettings::new(&broker.bootstrap(), group, "i");
    let (mut membership, fetching) = group_consumer(&settings, 0).unwrap();
    membership.subscribe(&[topic]).unwrap();
    let mut member = Member { membership, fetching, owned: Vec::new(), read: Vec::new(), ends: Vec::new() };
    assert!(matches!(member.event(&mut || {}), GroupEvent::Assigned(_)));
    broker.kill();
    drop_apart(member);
}

#[test]
fn a_reader_of_changelogs_ends_at_once_whenever_it_is_dropped() {
    let topic = unique("ends");
    Broker::shared().create_topic(&topic, 1, &[]);
    let settings = KafkaSettings::new(&Broker::shared().bootstrap(), &unique("ends"), "i");
    let partition = TopicPartition::new(topic.as_str(), 0);
    // A question to a client's group that met the end of the group had no answer: about one drop in
    // thirty.
    for _ in 0..100 {
        let reader = RestoreConsumer::new(&settings).unwrap();
        let one = reader.open(&partition, StartOffset::Beginning).unwrap();
        let dropping = std::thread::spawn(move || drop((one, reader)));
        // A client that does not end is left behind after 15 s.
        wait_for_within(Duration::from_secs(12), "the reader's end", || dropping.is_finished().then_some(()));
    }
}
