//! From one instance to three and back, while events come.

use crate::events::Events;
use crate::expect;
use crate::trial::{TASKS, Trial};
use testkit::wait_until;

#[test]
fn from_one_instance_to_three_and_back() {
    let trial = Trial::new("scale", &[]);
    let mut events = Events::new(4, 40);
    let feeder = trial.feed_on(move || events.take(20));
    let start = |state: &str| trial.start(state, &["--threads", "1", "--no-mirror"]);
    let mut first = start("first");
    first.wait_for("all tasks to run in one instance", |instance| (instance.running_tasks() == TASKS).then_some(()));
    let mut others = [start("second"), start("third")];
    for other in &mut others {
        let works = |instance: &crate::instance::Instance| instance.running_tasks() > 0 && instance.records() > 0;
        other.wait_for("a new instance to take its share", |instance| works(instance).then_some(()));
    }
    wait_until("every task to run somewhere", || {
        first.assert_running();
        first.running_tasks() + others.iter().map(|other| other.running_tasks()).sum::<usize>() == TASKS
    });
    for other in others {
        assert_quiet(&other.stop().stderr);
    }
    first.wait_for("all tasks to come back", |instance| (instance.running_tasks() == TASKS).then_some(()));
    feeder.stop();
    trial.wait_until_done(&mut [&mut first]);
    expect::assert_outputs(&trial);
    assert_quiet(&first.stop().stderr);
}

/// No line is a warning or an error: in ordinary rebalances nobody has to act.
fn assert_quiet(log: &str) {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    // What lasts for long is told as such ("for 12 s: …"), and how long things last on this machine
    // is not the question.
    let lasts = |line: &serde_json::Value| line["message"].as_str().is_some_and(|text| text.starts_with("for "));
    let is_loud = |line: &serde_json::Value| (line["level"] == "WARN" || line["level"] == "ERROR") && !lasts(line);
    let loud: Vec<_> = lines.filter(is_loud).collect();
    assert!(loud.is_empty(), "{loud:#?}");
}
