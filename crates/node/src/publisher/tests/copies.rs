//! Publishers of copies of one folder: whichever of them hang, die and go on, each event is
//! published once, under one actor.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use streams::error::Error;
use testkit::{LIMIT, Random, wait_until};

use super::{EVENTS, journal_with, nodes, pending, publish_all, published};
use super::{Publisher, PublisherSettings};
use crate::actor::Actor;
use crate::kafka::transactional_id;
use crate::memory_journal::MemoryJournal;
use crate::memory_kafka::MemoryKafka;
use crate::ports::Journal;
use crate::registry::{NodeState, NodesTopic};
use crate::settings::system_clock;

/// How long a process waits for a sign of another one.
const PATIENCE: Duration = Duration::from_millis(30);

/// A publisher whose steps have the name of its process, too. The clock of the original is an hour
/// behind those of the others.
fn process(kafka: &MemoryKafka, name: &str, journal: &Arc<MemoryJournal>) -> Publisher {
    let nodes = Arc::new(NodesTopic::new(kafka.clients()));
    let heartbeat_interval = Duration::from_millis(10);
    let settings = PublisherSettings {
        max_records: 2,
        heartbeat_interval,
        departure_patience: PATIENCE,
        wall_clock: if name == "original" { || system_clock() - 3_600_000_000_000 } else { system_clock },
        ..PublisherSettings::default()
    };
    Publisher::start(kafka.clients_of(name), nodes, journal.clone(), settings).unwrap()
}

/// An original and its copy: both know a to c, of which a is published, and each has one of its
/// own.
fn copies(kafka: &MemoryKafka) -> [Arc<MemoryJournal>; 2] {
    let original = journal_with(1, &["a"]);
    publish_all(kafka, &original);
    ["b", "c"].iter().for_each(|id| original.write(id));
    let copy = original.copy();
    original.write("d");
    copy.write("e");
    [original, copy]
}

/// A process stops at a step until it is released; returns what it says when it stops, and what
/// releases it.
fn stop_at(kafka: &MemoryKafka, step: &str) -> (Receiver<()>, Sender<()>) {
    let ((stopped, has_stopped), (release, is_released)) = (channel(), channel());
    kafka.hook(step, move |_| {
        stopped.send(()).unwrap();
        let _ = is_released.recv();
        Ok(())
    });
    (has_stopped, release)
}

fn state_of(kafka: &MemoryKafka, actor: &Actor) -> NodeState {
    nodes(kafka).into_iter().find(|node| node.record.actor == *actor).unwrap().record.state
}

/// The process on the original is fenced by the one on the copy, which stops at the nth time that
/// it reaches this step. Returns both, and what releases the second one.
fn fenced_by_one_that_stops(
    kafka: &MemoryKafka,
    [original, copy]: &[Arc<MemoryJournal>; 2],
    step: &str,
    nth: usize,
) -> (Publisher, Publisher, Sender<()>) {
    let step = format!("copy {step}");
    (1..nth).for_each(|_| kafka.hook(&step, |_| Ok(())));
    let (has_stopped, release) = stop_at(kafka, &step);
    let (send, second) = channel();
    // The first commit is that of the record alone.
    kafka.hook("original before commit", |_| Ok(()));
    let copy = copy.clone();
    kafka.hook("original before commit", move |kafka| {
        send.send(process(kafka, "copy", &copy)).unwrap();
        has_stopped.recv().unwrap();
        Ok(())
    });
    let one = process(kafka, "original", original);
    (one, second.recv_timeout(LIMIT).unwrap(), release)
}

#[test]
fn an_event_that_a_silent_process_holds_too_is_published_once_though_that_one_goes_on_later() {
    for (step, nth) in [("begin", 1), ("begin", 2), ("deliver", 2), ("before commit", 2), ("after commit", 2)] {
        let kafka = MemoryKafka::start();
        let both = copies(&kafka);
        let [original, copy] = &both;
        let old = original.identity().unwrap().actor;
        let (one, two, release) = fenced_by_one_that_stops(&kafka, &both, step, nth);
        wait_until(&format!("the fenced one to go on ({step} {nth})"), || pending(original) == 0);
        let successor = original.identity().unwrap().actor;
        assert_eq!(state_of(&kafka, &old), NodeState::Replaced { successor: successor.clone() });
        let before = published(&kafka);
        assert_eq!(before, ["a", "b", "c", "d"], "{step} {nth}");
        let epoch = kafka.epoch(&transactional_id(&old.incarnation));

        drop(release);
        wait_until(&format!("the silent one to go on ({step} {nth})"), || pending(copy) == 0);
        one.stop(LIMIT);
        two.stop(LIMIT);
        assert_eq!(published(&kafka), ["a", "b", "c", "d", "e"], "{step} {nth}");
        assert_eq!(state_of(&kafka, &old), NodeState::Replaced { successor });
        assert_ne!(copy.identity().unwrap().actor, original.identity().unwrap().actor);
        assert_eq!(kafka.epoch(&transactional_id(&old.incarnation)), epoch, "nobody takes the id any more");
    }
}

#[test]
fn a_process_that_dies_on_its_way_to_the_next_incarnation_begins_it_anew() {
    // Its third commit closes the incarnation, the fourth one registers the next, the fifth one is
    // the record of that, and the sixth one has events.
    for (at, nth) in (3..=6).flat_map(|nth| [("before commit", nth), ("after commit", nth)]) {
        let kafka = MemoryKafka::start();
        let both = copies(&kafka);
        let [original, copy] = &both;
        let (died, has_died) = channel();
        let step = format!("original {at}");
        let (one, two, release) = fenced_by_one_that_stops(&kafka, &both, "begin", 1);
        (3..nth).for_each(|_| kafka.hook(&step, |_| Ok(())));
        kafka.hook(&step, move |_| {
            let _ = died.send(());
            Err(Error::ProducerLost("the process is killed".to_owned()))
        });
        has_died.recv_timeout(LIMIT).unwrap();
        drop(one);
        let one = process(&kafka, "later", original);
        if nth % 2 == 0 {
            drop(release);
        } else {
            wait_until("the one that died to go on", || pending(original) == 0);
            drop(release);
        }
        wait_until(&format!("both to go on ({at} {nth})"), || pending(original) + pending(copy) == 0);
        one.stop(LIMIT);
        two.stop(LIMIT);
        assert_eq!(published(&kafka), ["a", "b", "c", "d", "e"], "{at} {nth}");
    }
}

#[test]
fn a_closed_incarnation_is_not_opened_again_by_a_heartbeat() {
    let kafka = MemoryKafka::start();
    let both = copies(&kafka);
    let [original, copy] = &both;
    let third = copy.copy();
    let old = original.identity().unwrap().actor;
    let (one, two, release_copy) = fenced_by_one_that_stops(&kafka, &both, "begin", 1);
    // It stops when it has registered its next incarnation, and before it takes that one's id.
    kafka.hook("original after commit", |_| Ok(()));
    let (has_registered, release_original) = stop_at(&kafka, "original after commit");
    has_registered.recv_timeout(LIMIT).unwrap();
    let NodeState::Replaced { successor } = state_of(&kafka, &old) else { panic!("{old} is closed") };
    assert_eq!(state_of(&kafka, &successor), NodeState::Running);
    let other = process(&kafka, "third", &third);
    wait_until("another process to find it silent, and to publish all", || pending(&third) == 0);
    other.stop(LIMIT);
    let closed = state_of(&kafka, &successor);
    assert!(matches!(closed, NodeState::Replaced { .. }), "{closed:?}");

    // Its search lasts for longer than the time between two heartbeats.
    for _ in 0..20 {
        kafka.hook("open", |_| {
            std::thread::sleep(PATIENCE / 2);
            Ok(())
        });
    }
    drop(release_original);
    wait_until("the original to go on", || pending(original) == 0);
    drop(release_copy);
    wait_until("the copy to go on", || pending(copy) == 0);
    one.stop(LIMIT);
    two.stop(LIMIT);
    assert_eq!(state_of(&kafka, &successor), closed);
    assert_ne!(original.identity().unwrap().actor, successor);
    assert_eq!(published(&kafka), ["a", "b", "c", "d", "e"]);
    assert_eq!(kafka.committed_records(EVENTS).len(), 5, "each event is published once");
}

#[test]
fn two_fenced_copies_that_leave_at_the_same_time_publish_what_both_have_once() {
    let kafka = MemoryKafka::start();
    let both = copies(&kafka);
    let old = both[0].identity().unwrap().actor;
    let (one, two, release) = fenced_by_one_that_stops(&kafka, &both, "begin", 1);
    // A third one takes the id, and dies.
    kafka.init(&transactional_id(&old.incarnation));
    drop(release);
    wait_until("both to go on", || both.iter().all(|journal| pending(journal) == 0));
    one.stop(LIMIT);
    two.stop(LIMIT);
    assert_eq!(published(&kafka), ["a", "b", "c", "d", "e"]);
}

/// Several copies of one folder, and copies of these, of which each has writes of its own. They are
/// started and killed at random, fail at random steps, and are silent for longer than the others
/// wait.
fn random_history(seed: u64) {
    const STEPS: [&str; 6] = ["init", "begin", "deliver", "before commit", "after commit", "open"];
    let (kafka, mut random) = (MemoryKafka::start(), Random::new(seed));
    let mut journals = vec![journal_with(u128::from(seed), &[])];
    let mut running: Vec<Option<Publisher>> = vec![None];
    let mut written = Vec::new();
    for turn in 0..60 {
        let at = random.below(journals.len());
        match random.below(10) {
            0..=3 => {
                let id = format!("e{turn:02}");
                journals[at].write(&id);
                written.push(id);
            }
            4 if journals.len() < 4 => {
                let copy = journals[at].copy();
                journals.push(copy);
                running.push(None);
            }
            4..=6 => running[at] = Some(process(&kafka, "", &journals[at])),
            7 => running[at] = None,
            kind => {
                let step = random.pick(&STEPS);
                kafka.hook(step, move |_| {
                    if kind == 8 {
                        return Err(Error::ProducerLost("a fault".to_owned()));
                    }
                    std::thread::sleep(2 * PATIENCE);
                    Ok(())
                });
            }
        }
        // Whatever it has come to meanwhile.
        std::thread::sleep(Duration::from_millis(random.below(30) as u64));
    }
    for (publisher, journal) in running.iter_mut().zip(&journals) {
        publisher.get_or_insert_with(|| process(&kafka, "", journal));
    }
    wait_until(&format!("all to be published, SEED={seed}"), || journals.iter().all(|journal| pending(journal) == 0));
    running.into_iter().flatten().for_each(|publisher| drop(publisher.stop(LIMIT)));
    assert_eq!(published(&kafka), written, "SEED={seed}");
}

#[test]
fn copies_of_copies_that_hang_and_die_at_random_publish_each_event_once() {
    std::thread::scope(|scope| {
        for seed in testkit::seeds(8) {
            scope.spawn(move || random_history(seed));
        }
    });
}
