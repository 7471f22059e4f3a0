//! The number of threads changes while an instance runs: a thread that is removed commits and
//! leaves its group, and another one gets its number only then.

use super::*;

const LINES: [&str; 6] = ["a b", "a c d", "b a", "e f g", "a !", "g a"];
const WORDS: usize = 12;

impl Running {
    /// Another thread of the same instance, which the instance has asked for.
    fn second(&self, world: &World) -> Running {
        let number = self.instance.take_requested_thread().expect("a thread is asked for");
        let group = Group::new(&world.broker);
        let ports = ThreadPorts {
            membership: Box::new(group.clone()),
            fetching: Box::new(group.clone()),
            producers: Box::new(Producers { broker: world.broker.clone(), id: format!("app-0-{number}") }),
            renewal: self.instance.renewals(),
        };
        let thread = StreamThread::new(&self.instance, number, ports);
        Running { thread, instance: self.instance.clone(), group }
    }
}

fn of_topic(topic: &'static str) -> Vec<TopicPartition> {
    (0..PARTITIONS).map(|partition| TopicPartition::new(topic, partition)).collect()
}

#[test]
fn a_thread_that_is_removed_commits_and_leaves_and_its_tasks_go_on_elsewhere() {
    for (turns, has_static_members) in [0, 1, 5, 9, 40].into_iter().flat_map(|turns| [(turns, false), (turns, true)]) {
        let mut world = World::new();
        world.config.has_static_members = has_static_members;
        world.publish(&LINES);
        let mut first = world.start();
        first.event(GroupEvent::Assigned(of_topic(REPARTITION)));
        assert_eq!(first.instance.add_thread(), 1);
        let mut second = first.second(&world);
        second.event(GroupEvent::Assigned(of_topic("lines")));
        for _ in 0..turns {
            first.turns(1);
            second.turns(1);
        }
        assert_eq!(first.instance.remove_thread(), Some(1));
        assert_eq!((first.instance.remove_thread(), first.instance.thread_count()), (None, 2), "one stays");
        let ended = (0..1000).any(|_| {
            first.turns(1);
            second.thread.run_once().unwrap() == RunStatus::Stopped
        });
        assert!(ended && second.group.consumer.borrow().is_leaving, "it has left its group, and ended");
        let has_departed = second.group.consumer.borrow().leaves == 1;
        assert_eq!(has_departed, has_static_members, "a static member does not only close its client");
        assert!(world.broker.lock().open.iter().all(|id| !format!("{id:?}").contains("app-0-1")), "nothing stays open");
        assert_eq!(first.instance.add_thread(), 2, "number 1 is not free yet");
        assert_eq!(first.instance.remove_thread(), Some(2));
        drop(second);
        first.instance.thread_ended(1);
        assert!(first.instance.metrics().threads()[&1].snapshot().has_ended);
        assert!(first.instance.metrics().threads()[&1].uncommitted().is_none(), "nobody waits for its commit");
        first.event(GroupEvent::Assigned(of_topic("lines")));
        first.finish();
        first.stop();
        world.assert_exactly_once(WORDS);
    }
}

#[test]
fn an_instance_is_ready_when_all_threads_that_it_has_have_joined() {
    let world = World::new();
    let mut first = world.start_all();
    first.turns_until("it to be ready", |first| first.instance.metrics().ready());
    first.instance.add_thread();
    let mut second = first.second(&world);
    assert!(!first.instance.metrics().ready(), "the new thread has not joined");
    second.event(GroupEvent::Assigned(Vec::new()));
    second.turns(5);
    assert!(first.instance.metrics().ready());
    first.instance.remove_thread();
    while second.thread.run_once().unwrap() != RunStatus::Stopped {}
    first.instance.thread_ended(1);
    assert!(first.instance.metrics().ready());
    first.instance.add_thread();
    let third = first.second(&world);
    assert!(!third.instance.metrics().ready(), "the thread with the same number joins anew");
}

#[test]
fn the_memory_for_uncommitted_state_is_shared_out_among_the_threads() {
    let world = World::new();
    let running = world.start();
    let all = running.instance.config.uncommitted_bytes;
    assert_eq!(running.instance.uncommitted_bytes(), all);
    running.instance.add_thread();
    assert_eq!(running.instance.uncommitted_bytes(), all / 2);
    running.instance.add_thread();
    assert_eq!(running.instance.uncommitted_bytes(), all / 3);
    running.instance.remove_thread();
    assert_eq!(running.instance.uncommitted_bytes(), all / 2);
}
