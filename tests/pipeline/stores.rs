//! Kinds of stores on real Kafka: whatever they lie in, a kill changes nothing of what comes out.

use crate::events::Events;
use crate::expect;
use crate::instance::Instance;
use crate::support::{Broker, Helix, records};
use crate::trial::Trial;

fn one_thread(trial: &Trial, state: &str) -> Instance {
    trial.start(state, &["--threads", "1", "--no-mirror"])
}

#[test]
fn a_store_in_memory_is_restored_whole_after_a_kill() {
    let trial = Trial::with_store("in-memory", "kind = \"memory\"");
    let mut events = Events::new(21, 40);
    trial.feed(&events.take(800));
    for step in ["changelog:2", "commit:2", "store:3"] {
        trial.start_killed_at(step, "state", &["--threads", "1", "--no-mirror"]).wait_for_kill();
    }
    let mut instance = one_thread(&trial, "state");
    trial.wait_until_done(&mut [&mut instance]);
    assert!(instance.metric("memory_store_bytes", "") > 0.0);
    instance.kill();
    let changes = records::read_committed(Broker::shared(), &trial.changelog()).len() as u64;
    let mut instance = one_thread(&trial, "state");
    instance.wait_until_ready();
    assert_eq!(instance.restored(), changes);
    trial.feed(&events.take(300));
    trial.wait_until_done(&mut [&mut instance]);
    expect::assert_outputs(&trial);
    instance.stop();
    let dumped = Helix::run(&["state", "dump", "--state-dir", &trial.path("state")]);
    dumped.assert_failed(1, &["the store `memories` cannot be looked into", "nothing of it lies on disk"]);
    let databases = std::fs::read_dir(trial.path("state/0/tasks")).map_or(0, Iterator::count);
    assert_eq!(databases, 0, "no task opens RocksDB");
}
