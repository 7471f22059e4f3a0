//! The state-aware assignor on a real broker: who gets which partition, and how a group changes
//! over to it and back.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use streams::offset::StartOffset;
use streams::ports::{Fetching, GroupEvent, Membership, PartitionStart};
use streams::record::{RecordBatch, TopicPartition};
use streams::task_assignment::StateOnDisk;
use streams_kafka::KafkaSettings;
use streams_kafka::consumer::{GroupFetching, GroupMembership, group_consumer};
use testkit::{Broker, LIMIT, unique};

/// A group's member, and the partitions that it owns.
struct OwningMember {
    membership: GroupMembership,
    fetching: GroupFetching,
    owned: Vec<i32>,
}

impl OwningMember {
    fn join(settings: &KafkaSettings, topic: &str) -> OwningMember {
        let (mut membership, fetching) = group_consumer(settings, 0).unwrap();
        membership.subscribe(&[topic]).unwrap();
        OwningMember { membership, fetching, owned: Vec::new() }
    }

    /// Polls once, and follows what the group decides.
    fn follow(&mut self) {
        let mut batch = RecordBatch::new();
        self.fetching.poll(100, 1 << 20, Duration::from_millis(50), &mut batch).unwrap();
        match self.membership.event() {
            Some(GroupEvent::Assigned(more)) => {
                let start = |partition: &TopicPartition| PartitionStart {
                    partition: partition.clone(),
                    offset: StartOffset::Beginning,
                };
                self.fetching.assign(&more.iter().map(start).collect::<Vec<_>>()).unwrap();
                self.owned.extend(more.iter().map(|one| one.partition));
                self.owned.sort_unstable();
            }
            Some(GroupEvent::Revoked(gone) | GroupEvent::Lost(gone)) => {
                self.fetching.unassign(&gone).unwrap();
                self.owned.retain(|owned| !gone.iter().any(|one| one.partition == *owned));
            }
            None => {}
        }
    }

    fn leave(mut self) {
        self.membership.unsubscribe().unwrap();
        let started = Instant::now();
        while !self.membership.left() {
            assert!(started.elapsed() < LIMIT, "it does not leave its group");
            self.follow();
        }
    }
}

/// Follows until each member owns these partitions.
#[track_caller]
fn settle(members: &mut [(&mut OwningMember, &[i32])]) {
    let started = Instant::now();
    while members.iter().any(|(member, wanted)| member.owned != *wanted) {
        members.iter_mut().for_each(|(member, _)| member.follow());
        let owned: Vec<_> = members.iter().map(|(member, wanted)| (&member.owned, *wanted)).collect();
        assert!(started.elapsed() < LIMIT, "members own, and should own: {owned:?}");
    }
}

#[test]
fn tasks_go_where_their_state_is_once_all_members_offer_that() {
    let (application, topic) = (unique("aware"), unique("aware"));
    Broker::shared().create_topic(&topic, 4, &[]);
    let topic: Arc<str> = topic.into();
    let sticky = |instance: &str| KafkaSettings {
        session_timeout: Duration::from_secs(2),
        ..KafkaSettings::new(&Broker::shared().bootstrap(), &application, instance)
    };
    let aware = |instance: &str, partitions: &[i32]| {
        let state_on_disk = StateOnDisk::default();
        let source = |partition: &i32| TopicPartition::new(topic.clone(), *partition);
        partitions.iter().for_each(|partition| state_on_disk.set(source(partition), 10));
        KafkaSettings { state_on_disk: Some(state_on_disk), ..sticky(instance) }
    };
    let mut first = OwningMember::join(&aware("first", &[1, 3]), &topic);
    settle(&mut [(&mut first, &[0, 1, 2, 3])]);
    let mut second = OwningMember::join(&aware("second", &[0, 2]), &topic);
    settle(&mut [(&mut first, &[1, 3]), (&mut second, &[0, 2])]);
    // A third comes, which has what the first has, too: that is let go of, and nothing else.
    let mut third = OwningMember::join(&aware("third", &[3]), &topic);
    settle(&mut [(&mut first, &[1]), (&mut second, &[0, 2]), (&mut third, &[3])]);
    third.leave();
    settle(&mut [(&mut first, &[1, 3]), (&mut second, &[0, 2])]);
    // An instance that offers the sticky assignor alone, as a release before this one: the group
    // goes over to that, and back.
    let mut other = OwningMember::join(&sticky("other"), &topic);
    let started = Instant::now();
    while other.owned.is_empty() || first.owned.len() + second.owned.len() + other.owned.len() < 4 {
        [&mut first, &mut second, &mut other].into_iter().for_each(OwningMember::follow);
        assert!(started.elapsed() < LIMIT, "the group does not go over to the sticky assignor");
    }
    other.leave();
    settle(&mut [(&mut first, &[1, 3]), (&mut second, &[0, 2])]);
    second.leave();
    first.leave();
}
