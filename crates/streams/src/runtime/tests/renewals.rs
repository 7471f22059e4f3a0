//! Clients that are renewed: a thread ends after its commit, another one with new clients takes its
//! place in the same instance, and nothing is lost or doubled.

use std::sync::mpsc::channel;
use std::time::Instant;

use super::super::topology_agreement::TopologyAgreement;
use super::*;
use crate::error::{Error, Result};
use crate::offset::Offset;
use crate::ports::{
    Admin, Committed, Deletion, GroupMember, LogRange, NewTopic, ProducerFactory as _, TopicIdentity, TopicInfo,
};
use crate::topology_digest::TopologyDigest;

const LINES: [&str; 6] = ["a b", "a c d", "b a", "e f g", "a !", "g a"];
const WORDS: usize = 12;

impl Running {
    /// Runs the thread to its end, and makes another one of the same instance with clients of its
    /// own.
    fn renewed(self, world: &World) -> Running {
        self.instance.renew_clients();
        self.replaced(world)
    }

    /// Runs the thread to its end, which it has cause for, and makes another one as above.
    pub fn replaced(mut self, world: &World) -> Running {
        let ended = (0..1000).any(|_| self.thread.run_once().unwrap() == RunStatus::Stopped);
        assert!(ended, "it does not end");
        assert!(!self.instance.is_stopping());
        let group = Group::new(&world.broker);
        let ports = ThreadPorts {
            membership: Box::new(group.clone()),
            fetching: Box::new(group.clone()),
            producers: Box::new(Producers { broker: world.broker.clone(), id: "app-0-0".to_owned() }),
            renewal: self.instance.renewals(),
        };
        Running { thread: StreamThread::new(&self.instance, 0, ports), instance: self.instance, group }
    }
}

#[test]
fn a_thread_with_new_clients_goes_on_where_the_former_one_committed() {
    for turns in [0, 1, 5, 9, 40] {
        let world = World::new();
        world.publish(&LINES);
        let mut running = world.start_all();
        running.turns(turns);
        let mut running = running.renewed(&world);
        assert!(world.broker.lock().open.is_empty(), "no transaction stays open");
        assert!(running.instance.metrics().threads()[&0].snapshot().is_out, "it has left the group");
        running.event(GroupEvent::Assigned(all_partitions()));
        running.finish();
        running.turns(200);
        assert!(!running.instance.metrics().threads()[&0].snapshot().is_out);
        let again = running.instance.metrics().threads()[&0].snapshot().records;
        assert!(again > 0, "the counters go on");
        running.stop();
        world.assert_exactly_once(WORDS);
    }
}

/// A static member that another one has fenced never joins its group again, whatever it is told.
#[test]
fn a_thread_whose_consumer_has_failed_for_good_is_replaced() {
    let fenced = || Error::ConsumerLost("poll: fenced".to_owned());
    for turns in [1, 5, 9, 40] {
        // Alone, and together with a producer that is lost: that is remedied in its place.
        for producer_too in [false, true] {
            let world = World::new();
            world.publish(&LINES);
            let mut running = world.start_all();
            running.turns(turns);
            world.broker.fault("poll", fenced());
            if producer_too {
                world.broker.fault("deliver", Error::ProducerLost("p".to_owned()));
            }
            let mut running = running.replaced(&world);
            running.event(GroupEvent::Assigned(all_partitions()));
            running.finish();
            running.stop();
            world.assert_exactly_once(WORDS);
        }
    }
}

/// The brokers do not let the former clients in any more: neither the commit nor the leaving comes
/// through.
#[test]
fn a_thread_whose_clients_are_refused_is_replaced_all_the_same() {
    let world = World::new();
    world.publish(&LINES);
    let mut running = world.start_all();
    running.turns(5);
    // More than there are calls within the time limit of one: each call is made once.
    for call in ["send_offsets", "commit", "abort"] {
        (0..100).for_each(|_| world.broker.fault(call, Error::Retry("no broker answers".to_owned())));
    }
    let mut running = running.renewed(&world);
    let left = std::mem::take(&mut world.broker.lock().faults).len();
    assert!(left >= 295, "each call was made once: {left} faults of 300 are left");
    running.event(GroupEvent::Assigned(all_partitions()));
    running.finish();
    running.stop();
    world.assert_exactly_once(WORDS);
}

#[test]
fn a_producer_that_cannot_be_made_is_waited_for() {
    let world = World::new();
    world.publish(&LINES);
    for _ in 0..2 {
        world.broker.fault("create", Error::Retry("its file is being replaced".to_owned()));
    }
    let mut producers = Producers { broker: world.broker.clone(), id: "app-0-0".to_owned() };
    assert!(producers.create(crate::ports::BatchLimit::OneRecord).is_err(), "the fault is met");
    let mut running = world.start_all();
    running.finish();
    running.stop();
    world.assert_exactly_once(WORDS);
}

/// A cluster that does not answer before it is told to.
struct Silent(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

fn unasked<T>() -> Result<T> {
    Err(Error::Fatal("it is not asked this".to_owned()))
}

impl Admin for Silent {
    fn member_ids(&self) -> Result<Vec<String>> {
        self.0.lock().unwrap().recv().unwrap();
        Ok(Vec::new())
    }

    fn all_committed(&self) -> Result<Vec<(TopicPartition, Committed)>> {
        Ok(Vec::new())
    }

    fn topics(&self, _: &[&str]) -> Result<Vec<Option<TopicInfo>>> {
        unasked()
    }

    fn end_transaction(&self, _: &str) -> Result<()> {
        unasked()
    }

    fn identities(&self, _: &[&str]) -> Result<Vec<Option<TopicIdentity>>> {
        unasked()
    }

    fn create_topics(&self, _: &[NewTopic]) -> Result<()> {
        unasked()
    }

    fn topic_config(&self, _: &str) -> Result<Vec<(String, String)>> {
        unasked()
    }

    fn offset_metadata_limit(&self) -> Result<Option<usize>> {
        unasked()
    }

    fn delete_records(&self, _: &[(TopicPartition, Offset)]) -> Result<Deletion> {
        unasked()
    }

    fn committed(&self, _: &[TopicPartition]) -> Result<Vec<Option<Committed>>> {
        unasked()
    }

    fn group_members(&self) -> Result<Option<Vec<GroupMember>>> {
        unasked()
    }

    fn reach_group(&self, _: &str) -> Result<()> {
        unasked()
    }

    fn append(&self, _: &TopicPartition, _: &[u8], _: Option<&[u8]>) -> Result<()> {
        unasked()
    }

    fn log_range(&self, _: &TopicPartition) -> Result<LogRange> {
        unasked()
    }
}

#[test]
fn a_question_to_a_former_client_that_stays_without_an_answer_keeps_no_other_one_waiting() {
    let digest = TopologyDigest::of(&[("graph", "a".to_owned())]);
    let config = RuntimeConfig { digest: Some(digest), ..RuntimeConfig::default() };
    let agreement = Arc::new(TopologyAgreement::new(&config, Vec::new()));
    agreement.question();
    let (answer, silence) = channel();
    let of_former = agreement.clone();
    let silent = Silent(std::sync::Mutex::new(silence));
    let former = std::thread::spawn(move || of_former.ensure(&silent, &TickingClock::default()));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !agreement.is_being_asked() {
        assert!(Instant::now() < deadline, "it does not ask");
        std::thread::yield_now();
    }
    agreement.renewed();
    let (now, silence) = channel();
    now.send(()).unwrap();
    agreement.ensure(&Silent(std::sync::Mutex::new(silence)), &TickingClock::default()).unwrap();
    assert!(!agreement.is_questioned());
    assert!(!former.is_finished());
    answer.send(()).unwrap();
    former.join().unwrap().unwrap();
}
