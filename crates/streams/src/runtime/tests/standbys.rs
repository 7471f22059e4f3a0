//! Standbys: what they keep warm, when they let go, and that nothing of theirs is believed that is
//! not so.

use testkit::Random;

use super::*;
use crate::error::Error;
use crate::ports::{GroupMember, StoreEngine};
use crate::record::TaskId;

const COUNT_TASKS: [TaskId; 2] = [TaskId { subtopology: 1, partition: 0 }, TaskId { subtopology: 1, partition: 1 }];
const LINES: [&str; 6] = ["a b", "a c d", "b a", "e f g", "a !", "g a"];
const WORDS: usize = 12;

/// Two machines at one broker; who has what is for the test to say.
struct Pair {
    worlds: [World; 2],
}

impl Pair {
    fn new(kind: StoreKind) -> Pair {
        let mut one = World { options: StoreOptions { kind, standby: 1 }, ..World::new() };
        one.config.standby_interval = Duration::from_millis(1);
        let mut other = World { stores: MemoryStores::new(), ..one.clone() };
        one.config.instance_id = "0".to_owned();
        other.config.instance_id = "1".to_owned();
        Pair { worlds: [one, other] }
    }

    /// Starts one as the owner of everything; the group says so.
    fn start(&self, which: usize) -> Running {
        let running = self.worlds[which].start_as(&format!("app-{which}-0"));
        running.event(GroupEvent::Assigned(all_partitions()));
        self.say(Some(which));
        running
    }

    /// What the group says: who has everything.
    fn say(&self, owner: Option<usize>) {
        let member = |which: usize| GroupMember {
            client_id: format!("app-{which}-0"),
            partitions: if owner == Some(which) { all_partitions() } else { Vec::new() },
        };
        self.worlds[0].broker.lock().members = owner.map(|_| vec![member(0), member(1)]);
    }
}

fn idle(pair: &Pair, which: usize) -> (Running, StandbyThread) {
    let running = pair.worlds[which].start_as(&format!("app-{which}-0"));
    let standby = StandbyThread::new(&running.instance);
    (running, standby)
}

fn turns(standby: &mut StandbyThread, count: usize) {
    (0..count).for_each(|_| _ = standby.run_once());
}

fn changes(world: &World) -> u64 {
    (0..PARTITIONS).map(|partition| world.broker.read(CHANGELOG, partition).len() as u64).sum()
}

#[test]
fn after_the_owner_s_death_only_a_tail_is_restored() {
    for kind in [StoreKind::Disk, StoreKind::Memory] {
        let pair = Pair::new(kind);
        let (mut other, mut standby) = idle(&pair, 1);
        pair.worlds[0].publish(&LINES);
        let mut owner = pair.start(0);
        owner.finish();
        turns(&mut standby, 50);
        let metrics = other.instance.metrics();
        assert_eq!(metrics.standbys().keys().copied().collect::<Vec<_>>(), COUNT_TASKS);
        assert!(metrics.standbys().values().all(|status| status.lag == 0));
        let warm = changes(&pair.worlds[0]);
        assert_eq!(metrics.standby_records(), warm);
        // The standby sees no more of it.
        pair.worlds[0].publish(&["a b c d e f", "g"]);
        owner.finish();
        let tail = changes(&pair.worlds[0]) - warm;
        assert!(tail > 0);
        drop(owner);
        other.event(GroupEvent::Assigned(all_partitions()));
        other.turns(3);
        turns(&mut standby, 1);
        assert!(metrics.standbys().is_empty(), "it lets go at once, whatever the group said last");
        other.finish();
        assert_eq!(metrics.restored_records(), tail);
        pair.say(Some(1));
        turns(&mut standby, 20);
        assert!(metrics.standbys().is_empty(), "nobody stands by for himself");
        other.stop();
        pair.worlds[0].assert_exactly_once(WORDS + 7);
    }
}

#[test]
fn where_nothing_is_missing_nothing_is_restored() {
    let pair = Pair::new(StoreKind::Disk);
    let (mut other, mut standby) = idle(&pair, 1);
    pair.worlds[0].publish(&LINES);
    let mut owner = pair.start(0);
    for _ in 0..200 {
        owner.turns(1);
        turns(&mut standby, 1);
    }
    drop(owner);
    turns(&mut standby, 20);
    pair.say(Some(1));
    turns(&mut standby, 3);
    other.event(GroupEvent::Assigned(all_partitions()));
    other.finish();
    assert_eq!(other.instance.metrics().restored_records(), 0);
    other.stop();
    pair.worlds[0].assert_exactly_once(WORDS);
}

#[test]
fn renewed_clients_go_on_where_the_former_ones_stopped() {
    let pair = Pair::new(StoreKind::Disk);
    let (other, mut standby) = idle(&pair, 1);
    pair.worlds[0].publish(&LINES);
    let mut owner = pair.start(0);
    owner.finish();
    turns(&mut standby, 50);
    let metrics = other.instance.metrics();
    assert_eq!(metrics.standbys().len(), 2);
    let read = metrics.standby_records();
    other.instance.renew_clients();
    turns(&mut standby, 1);
    assert!(metrics.standbys().len() < 2, "the readers of the former client are closed");
    turns(&mut standby, 20);
    assert_eq!(metrics.standbys().len(), 2);
    assert_eq!(metrics.standby_records(), read, "nothing is read twice");
    owner.stop();
}

#[test]
fn what_was_not_committed_is_not_followed() {
    let pair = Pair::new(StoreKind::Disk);
    let (mut other, mut standby) = idle(&pair, 1);
    pair.worlds[0].publish(&LINES);
    let mut owner = pair.start(0);
    owner.finish();
    pair.worlds[0].broker.fault("send_offsets", Error::Aborted("as asked".to_owned()));
    pair.worlds[0].publish(&["a b c d e f", "g"]);
    for _ in 0..100 {
        owner.turns(1);
        turns(&mut standby, 2);
    }
    owner.finish();
    turns(&mut standby, 30);
    drop(owner);
    other.event(GroupEvent::Assigned(all_partitions()));
    other.turns(3);
    turns(&mut standby, 1);
    other.finish();
    assert_eq!(other.instance.metrics().restored_records(), 0);
    other.stop();
    pair.worlds[0].assert_exactly_once(WORDS + 7);
}

#[test]
fn a_group_that_is_being_settled_changes_nothing_and_one_without_us_ends_it() {
    let pair = Pair::new(StoreKind::Disk);
    let (other, mut standby) = idle(&pair, 1);
    pair.worlds[0].publish(&LINES);
    let mut owner = pair.start(0);
    owner.finish();
    turns(&mut standby, 20);
    assert_eq!(other.instance.metrics().standbys().len(), 2);
    pair.say(None);
    turns(&mut standby, 20);
    assert_eq!(other.instance.metrics().standbys().len(), 2);
    pair.worlds[0].broker.lock().members.replace(Vec::new());
    turns(&mut standby, 20);
    assert!(other.instance.metrics().standbys().is_empty());
    assert!(
        COUNT_TASKS.iter().all(|task| pair.worlds[1].stores.idle_time(*task).unwrap().is_some()),
        "its store stays"
    );
    owner.stop();
}

#[test]
fn a_changelog_that_cannot_be_read_is_tried_again_later() {
    let pair = Pair::new(StoreKind::Disk);
    let (other, mut standby) = idle(&pair, 1);
    pair.worlds[0].publish(&LINES);
    let mut owner = pair.start(0);
    owner.finish();
    pair.worlds[0].broker.fault("restore", Error::Retry("nobody answers".to_owned()));
    turns(&mut standby, 20);
    assert_eq!(other.instance.metrics().standbys().len(), 1, "the other goes on");
    turns(&mut standby, 2000);
    assert_eq!(other.instance.metrics().standbys().len(), 2);
    assert_eq!(other.instance.metrics().standby_records(), changes(&pair.worlds[0]));
    owner.stop();
}

#[test]
fn a_standby_that_is_refused_its_changelog_ends_its_instance_with_the_right_that_is_missing() {
    let pair = Pair::new(StoreKind::Disk);
    let (mut other, mut standby) = idle(&pair, 1);
    other.event(GroupEvent::Assigned(Vec::new()));
    pair.worlds[0].publish(&LINES);
    let mut owner = pair.start(0);
    owner.finish();
    turns(&mut standby, 20);
    other.turns(10);
    let refused = Error::Fatal("the principal of this client lacks Read on topic app-counts-changelog".to_owned());
    pair.worlds[0].broker.fault("restore", refused.clone());
    turns(&mut standby, 5);
    let error = (0..2000).find_map(|_| other.thread.run_once().err());
    assert_eq!(error, Some(refused), "it stops by itself");
    owner.stop();
}

#[test]
fn a_store_that_went_another_way_is_not_believed() {
    let pair = Pair::new(StoreKind::Disk);
    let (mut other, mut standby) = idle(&pair, 1);
    pair.worlds[0].publish(&LINES);
    let mut owner = pair.start(0);
    owner.finish();
    turns(&mut standby, 30);
    // A record that only the standby got: what it holds is not what was committed, and its checksum
    // says so.
    pair.worlds[0].broker.publish(CHANGELOG, 0, Some("zz"), "12345678", 1);
    turns(&mut standby, 30);
    drop((owner, standby));
    let whole = changes(&pair.worlds[0]);
    other.event(GroupEvent::Assigned(all_partitions()));
    other.finish();
    assert!(other.instance.metrics().restored_records() > 0 && other.instance.metrics().restored_records() < whole);
    other.stop();
    pair.worlds[0].assert_exactly_once(WORDS);
}

/// Owners die in mid-transaction, in turn; the other machine's standby is somewhere on its way, and
/// the group tells of it sooner or later.
fn soak(number: u64) {
    let mut dice = Random::new(number);
    let mut words = 0;
    let mut pair = Pair::new(if number.is_multiple_of(3) { StoreKind::Memory } else { StoreKind::Disk });
    for world in &mut pair.worlds {
        world.config.commit_interval = Duration::from_millis(1 + dice.below(30) as u64);
        world.config.task_timeout = Duration::from_secs(3600);
    }
    let (mut running, mut standby) = idle(&pair, 0);
    for round in 0..8 {
        let owner = round % 2;
        running.event(GroupEvent::Assigned(all_partitions()));
        let (other, mut other_standby) = idle(&pair, 1 - owner);
        let told_at = dice.below(30);
        for turn in 0..20 + dice.below(60) {
            if turn == told_at {
                pair.say(Some(owner));
            }
            if dice.below(4) == 0 {
                let word = ["a", "b", "c", "d e", "f a"][dice.below(5)];
                pair.worlds[0].broker.publish("lines", dice.below(2) as i32, None, word, 1000);
                words += word.split(' ').count();
            }
            if dice.below(40) == 0 {
                pair.worlds[0].broker.fault("restore", Error::Retry("r".to_owned()));
            }
            running.turns(dice.below(3));
            turns(&mut standby, dice.below(2));
            turns(&mut other_standby, dice.below(3));
        }
        drop((running, standby));
        pair.worlds[0].broker.lock().init(&format!("app-{owner}-0"));
        (running, standby) = (other, other_standby);
    }
    running.event(GroupEvent::Assigned(all_partitions()));
    pair.worlds[0].broker.lock().faults.clear();
    for _ in 0..50 {
        running.turns(1);
        turns(&mut standby, 1);
    }
    running.finish();
    running.stop();
    pair.worlds[0].assert_exactly_once(words);
}

#[test]
fn random_deaths_beside_standbys_lose_and_double_nothing() {
    testkit::seeds(200).for_each(soak);
}
