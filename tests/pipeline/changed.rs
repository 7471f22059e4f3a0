//! Instances of one application with different topologies: the second is refused, whatever differs,
//! and a change is made on purpose by stopping all of them and accepting just this change.

use crate::events::Events;
use crate::expect;
use crate::support::{Finished, Helix};
use crate::trial::{TASKS, Trial};
use testkit::repo_path;

/// Runs an instance of a topology file to its end, which comes by itself.
#[track_caller]
fn run(trial: &Trial, topology: &str, more: &[&str]) -> Finished {
    let (broker, state) = (trial.broker().bootstrap(), trial.path("other"));
    let fixed = ["run", "--topology", topology, "--bootstrap-servers", &broker, "--state-dir", &state, "--no-mirror"];
    let settings: Vec<&str> = trial.settings().iter().flat_map(|setting| ["--set", setting]).collect();
    Helix::run(&[&fixed, &settings[..], more].concat())
}

/// The trial's topology without the part that tells users' changes.
fn without_the_hop(trial: &Trial) -> String {
    let text = std::fs::read_to_string(trial.topology()).unwrap();
    let (resolving, _) = text.split_once("# The nodes below make the user snapshots").expect("the file has the part");
    std::fs::write(trial.path("no-hop.toml"), resolving).unwrap();
    trial.path("no-hop.toml")
}

/// The change that a refusal says how to accept.
#[track_caller]
pub fn change_of(refused: &Finished) -> String {
    let Some((_, rest)) = refused.stderr.split_once("--accept-topology-change ") else {
        panic!("the refusal names no change: {refused:?}");
    };
    rest.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn another_topology_is_refused_until_its_change_is_accepted() {
    let trial = Trial::new("changed", &[]);
    let mut events = Events::new(21, 20);
    trial.feed(&events.take(60));
    let mut first = trial.start("first", &["--no-mirror"]);
    trial.wait_until_done(&mut [&mut first]);

    let hop = without_the_hop(&trial);
    run(&trial, &hop, &[]).assert_failed(1, &["runs another topology", "What differs: formats, graph, snapshots"]);
    let refused = run(&trial, &trial.topology(), &["--set", "strategy=importance"]);
    refused.assert_failed(1, &["What differs: resolver", "stop all instances"]);
    // A running instance of the former topology is waited for: nobody changes the topology under
    // it.
    let change = change_of(&refused);
    let beside = ["--set", "strategy=importance", "--accept-topology-change", &change, "--set", "broker_timeout=2s"];
    run(&trial, &trial.topology(), &beside)
        .assert_failed(1, &["other instances of application", trial.application_id()]);
    let counts = repo_path("topologies/conflict-counts.toml").display().to_string();
    let named = ["--application-id", trial.application_id()];
    let other = run(&trial, &counts, &named);
    other.assert_failed(1, &["belongs to another program", "Choose another application id"]);
    assert!(!other.stderr.contains("delete"), "nobody is told to delete the topics of another program: {other:?}");

    trial.feed(&events.take(60));
    trial.wait_until_done(&mut [&mut first]);
    expect::assert_outputs(&trial);
    first.stop();

    run(&trial, &trial.topology(), &["--set", "strategy=importance"]).assert_failed(1, &[&change]);
    let changed = ["--no-mirror", "--set", "strategy=importance", "--accept-topology-change", &change];
    let mut now = trial.start("first", &changed);
    // It holds from the first commit of the new ones, before any record comes.
    now.wait_for("all tasks to run", |instance| (instance.running_tasks() == TASKS).then_some(()));
    run(&trial, &trial.topology(), &["--set", "broker_timeout=2s"]).assert_failed(1, &["another topology than this"]);
    let mut second = trial.start("second", &["--no-mirror", "--set", "strategy=importance"]);
    second.wait_for("its share", |instance| (instance.running_tasks() > 0).then_some(()));
    trial.feed(&events.take(60));
    trial.wait_until_done(&mut [&mut now, &mut second]);
    now.stop();
    second.stop();
}

#[test]
fn the_first_topology_of_a_fresh_group_holds_before_any_record_has_come() {
    let trial = Trial::new("fresh", &[]);
    let mut first = trial.start("first", &["--no-mirror"]);
    first.wait_until_ready();
    // By its commits or, before the first of them, by the client ids of its members.
    let refused = run(&trial, &trial.topology(), &["--set", "delete_policy=delete_wins", "--set", "broker_timeout=2s"]);
    refused.assert_failed(1, &["another topology than this"]);
    trial.feed(&Events::new(22, 20).take(40));
    trial.wait_until_done(&mut [&mut first]);
    expect::assert_outputs(&trial);
    first.stop();
}
