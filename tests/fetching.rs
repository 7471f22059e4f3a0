//! A kept partition goes on exactly where it was read to, whatever the rest of the group does.

mod support;

use std::time::Duration;

use helixstream::edges::kafka::KafkaSettings;
use helixstream::edges::kafka::consumer::{GroupFetching, GroupMembership, group_consumer};
use helixstream::streams::ports::{Fetching, GroupEvent, Membership, PartitionStart};
use helixstream::streams::record::{RecordBatch, TopicPartition};
use support::{Broker, Record, records, unique, wait_until};

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

    /// Reads, and does what the group asks for: new partitions from their beginning, since nothing is committed here.
    fn poll(&mut self) {
        let mut batch = RecordBatch::new();
        self.fetching.poll(1000, 1 << 20, Duration::from_millis(20), &mut batch).unwrap();
        for record in batch.iter() {
            let value = String::from_utf8(record.record.value.unwrap().to_vec()).unwrap();
            self.read.push((record.origin.partition, value));
        }
        self.ends.extend(batch.ends().iter().map(|end| (end.partition.partition, end.offset)));
        match self.membership.event() {
            Some(GroupEvent::Assigned(new)) => {
                self.owned.extend(new.iter().map(|partition| partition.partition));
                let start = |partition: TopicPartition| PartitionStart { partition, offset: 0 };
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
