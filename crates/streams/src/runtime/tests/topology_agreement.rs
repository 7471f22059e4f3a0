//! Instances of one group with different topologies: who is refused, when, and how a change is made
//! on purpose.

use super::*;
use crate::error::Error;
use crate::topology_digest::{Stamp, TopologyDigest, client_id_with};

fn digest(graph: &str) -> TopologyDigest {
    TopologyDigest::of(&[("graph", graph.to_owned()), ("limits", String::new())])
}

impl World {
    /// The world of an instance whose topology has this graph.
    fn with_graph(&self, graph: &str) -> World {
        let config = RuntimeConfig { digest: Some(digest(graph)), ..self.config.clone() };
        World { config, stores: MemoryStores::new(), ..self.clone() }
    }

    /// The same, with the change accepted that the refusal names.
    fn accepting(&self, refusal: &str) -> World {
        let (_, change) = refusal.rsplit_once("--accept-topology-change ").expect("the refusal names the change");
        let accepted_change = Some(change.split(' ').next().unwrap().to_owned());
        World { config: RuntimeConfig { accepted_change, ..self.config.clone() }, ..self.clone() }
    }

    /// Why an instance does not start.
    fn refusal(&self) -> Error {
        let ports = self.ports();
        Instance::new(&(self.topology)(self.options), self.config.clone(), 1, ports).err().expect("it is refused")
    }

    fn member_ids(&self, ids: &[(&str, &str)]) {
        let ids = ids.iter().map(|(id, graph)| client_id_with(id, &digest(graph))).collect();
        self.broker.lock().member_ids = ids;
    }

    fn generations(&self) -> Vec<u64> {
        let state = self.broker.lock();
        state.committed.values().filter_map(|of| Stamp::find(&of.metadata)).map(|stamp| stamp.generation).collect()
    }
}

/// Runs until the thread stops with an error.
fn end(running: &mut Running) -> Error {
    (0..20_000).find_map(|_| running.thread.run_once().err()).expect("it stops by itself")
}

/// A world in which an instance of graph `a` has counted words.
fn world_of_a() -> World {
    let world = World::new().with_graph("a");
    world.publish(&["a b", "c"]);
    let mut running = world.start_all();
    running.finish();
    running.stop();
    world
}

#[test]
fn another_topology_is_refused_before_it_joins() {
    let world = world_of_a();
    assert_eq!(world.generations(), [1; 4]);
    let other = World { stores: world.stores.clone(), ..world.with_graph("b") };
    let Error::Disagreement(what) = other.refusal() else { panic!("{:?}", other.refusal()) };
    assert!(what.contains("What differs: graph (topology digest of the application"), "{what}");
    assert!(what.contains("choose another application id"), "{what}");
    // The same goes on.
    let mut running = world.start_all();
    running.finish();
    running.stop();
    world.assert_exactly_once(3);
}

#[test]
fn a_change_holds_from_the_first_commit_of_who_accepts_it() {
    let world = world_of_a();
    let refusal = world.with_graph("b").refusal().to_string();
    let changed = world.with_graph("b").accepting(&refusal);
    let mut running = changed.start_all();
    // No record comes; yet every task commits, so that others see the change.
    running.turns(400);
    assert_eq!(changed.generations(), [2; 4]);
    changed.publish(&["d"]);
    running.finish();
    running.stop();
    changed.assert_exactly_once(4);
    // Who comes back with the former topology is refused, and what was accepted for one change is
    // not for another.
    let Error::Disagreement(back) = world.refusal() else { panic!("the former topology came back") };
    let kept_flag = world.accepting(&refusal);
    assert!(matches!(kept_flag.refusal(), Error::Disagreement(_)), "the flag is for the change to b");
    // With the flag left behind the changed topology goes on.
    let mut running = changed.start_all();
    running.turns(50);
    running.stop();
    let mut running = world.accepting(&back).start_all();
    running.turns(400);
    assert_eq!(world.generations(), [3; 4], "back again is a change of its own");
    running.stop();
}

#[test]
fn commits_of_a_release_without_digests_are_taken_over() {
    let world = World::new();
    world.publish(&["a b", "c"]);
    let mut running = world.start_all();
    running.finish();
    running.stop();
    assert_eq!(world.generations(), [0; 0]);
    let now = world.with_graph("a");
    let mut running = now.start_all();
    running.turns(400);
    assert_eq!(now.generations(), [1; 4], "at once, though nothing came");
    now.publish(&["d"]);
    running.finish();
    running.stop();
    now.assert_exactly_once(4);
    assert!(matches!(now.with_graph("b").refusal(), Error::Disagreement(_)));
}

#[test]
fn a_running_instance_stops_when_the_topology_was_changed() {
    let world = world_of_a();
    let mut running = world.start_all();
    running.finish();
    // Another instance has changed it meanwhile, unseen.
    let stamp = Stamp { generation: 2, digest: digest("b") };
    world.broker.lock().committed.values_mut().next().unwrap().metadata.push_str(&stamp.words());
    let error = end(&mut running).to_string();
    assert!(error.contains("runs another topology than this instance"), "{error}");
}

#[test]
fn members_with_another_topology_are_waited_for_at_the_start() {
    let world = World::new().with_graph("a");
    world.member_ids(&[("app-9-0", "b")]);
    let Error::Retry(what) = world.refusal() else { panic!("{:?}", world.refusal()) };
    assert!(what.contains("members app-9-0."), "{what}");
    // Not so members of the same topology, of no known one, and this very slot's before it was
    // started again.
    world.member_ids(&[("app-9-0", "a"), ("app-0-0", "b")]);
    world.broker.lock().member_ids.push("app-8-0".to_owned());
    let mut running = world.start_all();
    world.publish(&["a"]);
    running.finish();
    running.stop();
}

#[test]
fn of_two_topologies_in_a_fresh_group_none_is_processed() {
    let world = World::new().with_graph("a");
    world.publish(&["a b", "c"]);
    let mut running = world.start_all();
    // It joins at the same time: neither has committed, and nothing says which of the two is right.
    world.member_ids(&[("app-9-0", "b")]);
    let error = end(&mut running).to_string();
    assert!(error.contains("other instances of application `app` are running another topology"), "{error}");
    assert!(world.outputs().is_empty() && world.broker.lock().committed.is_empty());
}

#[test]
fn who_runs_by_what_is_committed_goes_on_beside_a_stranger() {
    let world = world_of_a();
    let mut running = world.start_all();
    world.member_ids(&[("app-9-0", "b")]);
    running.event(GroupEvent::Assigned(Vec::new()));
    world.publish(&["d"]);
    running.finish();
    running.stop();
    world.assert_exactly_once(4);
}

#[test]
fn a_change_is_not_made_beside_an_instance_of_the_former_topology() {
    let world = world_of_a();
    let refusal = world.with_graph("b").refusal().to_string();
    let changed = world.with_graph("b").accepting(&refusal);
    world.member_ids(&[("app-9-0", "a")]);
    assert!(matches!(changed.refusal(), Error::Retry(_)));
    // It was not there yet at the start.
    world.broker.lock().member_ids.clear();
    let mut running = changed.start_all();
    world.member_ids(&[("app-9-0", "a")]);
    world.publish(&["d"]);
    let error = end(&mut running).to_string();
    assert!(error.contains("other instances of application `app` are running another topology"), "{error}");
    assert_eq!(world.generations(), [1; 4]);
}

#[test]
fn the_id_of_another_program_is_refused_with_its_topics() {
    let world = World::new();
    world.broker.lock().committed.insert(
        TopicPartition::new("other.events", 3),
        crate::ports::Committed { offset: super::broker::offset(5), metadata: String::new() },
    );
    // Its repartition topic has other partitions: that is no reason to delete it.
    world.broker.create(REPARTITION, 7);
    let error = world.with_graph("a").refusal().to_string();
    assert!(error.contains("belongs to another program: its group has committed offsets of `other.events`"), "{error}");
    assert!(error.contains("Choose another application id") && !error.contains("delete"), "{error}");
}

#[test]
fn a_coordinator_that_loads_is_asked_with_a_growing_wait_and_is_told_of_only_if_it_lasts() {
    let mut world = World::new().with_graph("a");
    world.config.contact_timeout = Duration::from_millis(1500);
    world.config.task_timeout = Duration::from_secs(3600);
    world.config.check_interval = Duration::from_secs(3600);
    world.publish(&["a b", "c"]);
    let mut running = world.start_all();
    let loads = || Error::Retry("Broker: Coordinator load in progress".to_owned());
    (0..1000).for_each(|_| world.broker.fault("member_ids", loads()));
    world.broker.lock().asked_for_members = 0;
    let started = running.instance.now();
    running.turns_until("1400 ms", |running| running.instance.now() >= started + Duration::from_millis(1400));
    // After 100, 300, 700 and 1500 ms, whatever number of tasks waits for the answer; not once a
    // turn.
    let asked = world.broker.lock().asked_for_members;
    assert!((2..=5).contains(&asked), "asked {asked} times");
    assert!(!running.thread.has_warned_of_looks());
    running.turns_until("9000 ms", |running| running.instance.now() >= started + Duration::from_millis(9000));
    assert!(running.thread.has_warned_of_looks());
    let asked = world.broker.lock().asked_for_members;
    assert!(asked <= 9, "asked {asked} times");
    world.broker.lock().faults.clear();
    running.finish();
    running.stop();
    world.assert_exactly_once(3);
}
