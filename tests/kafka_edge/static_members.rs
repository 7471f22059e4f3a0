//! Static members of a consumer group (KIP-345), and what the engine takes for granted of them.

use std::time::{Duration, Instant};

use streams::ports::{Fetching, GroupEvent, Membership};
use streams_kafka::KafkaSettings;
use testkit::unique;

use super::{Member, settings, topic};

fn of(application: &str) -> KafkaSettings {
    KafkaSettings {
        static_membership: true,
        session_timeout: Duration::from_secs(30),
        ..settings(application, "first")
    }
}

#[test]
fn a_static_member_finds_its_partitions_again() {
    let (app, topic) = (unique("static"), topic("static", 4));
    let mut first = Member::join(&of(&app), &topic);
    assert_eq!(first.assigned().len(), 4);
    first.fetching.assign(&[]).unwrap();
    // It ends without a word, and comes back within its session timeout.
    drop(first);
    let mut again = Member::join(&of(&app), &topic);
    let started = Instant::now();
    assert_eq!(again.assigned().len(), 4);
    assert!(started.elapsed() < Duration::from_secs(25), "it did not wait for its own session to end");
    again.fetching.assign(&[]).unwrap();
    again.leave();
}

#[test]
fn a_static_member_can_leave_and_join_again_so_that_the_group_rebalances() {
    let (app, topic) = (unique("rejoin"), topic("rejoin", 4));
    let mut first = Member::join(&of(&app), &topic);
    assert_eq!(first.assigned().len(), 4);
    first.fetching.assign(&[]).unwrap();
    let generation = first.membership.metadata().unwrap().generation;
    first.membership.leave().unwrap();
    // The subscription waits until everything is given back.
    first.membership.subscribe(&[&topic]).unwrap();
    let GroupEvent::Revoked(gone) = first.event() else { panic!("not revoked") };
    assert_eq!(gone.len(), 4);
    first.fetching.unassign(&[]).unwrap();
    let started = Instant::now();
    assert_eq!(first.assigned().len(), 4);
    assert!(started.elapsed() < Duration::from_secs(25), "it did not wait for its own session to end");
    first.fetching.assign(&[]).unwrap();
    assert!(first.membership.metadata().unwrap().generation > generation, "the group has rebalanced");
    first.leave();
}
