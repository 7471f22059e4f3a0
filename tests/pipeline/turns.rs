//! Two versions of the program take turns on one state folder, in mid-stream: each is killed at a
//! step of a commit, and the other one goes on with what it has left.

use crate::chaos::other_program;
use crate::events::Events;
use crate::expect;
use crate::instance::{Instance, Launch};
use crate::support::Finished;
use crate::trial::Trial;
use std::path::Path;

/// The records that a process has restored, as its log tells.
fn restored(finished: &Finished) -> u64 {
    let lines = finished.stderr.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines
        .filter(|line| line["message"] == "store restored from its changelog")
        .filter_map(|l| l["records"].as_u64())
        .sum()
}

/// With `OTHER_PROGRAM` (docs/chaos.md) that program begins and ends; without it, the same program
/// takes a turn after itself.
#[test]
fn one_program_goes_on_where_the_other_was_killed() {
    let other = other_program();
    // Before the commit the stores are at the last commit, and a transaction is open. Before the
    // store they lack what is committed.
    let all = ["commit", "commit", "store", "store", "commit", "store"];
    let steps = if other.is_some() { &all[..] } else { &all[..1] };
    let trial = Trial::new("turns", &[]);
    let mut events = Events::new(41, 40);
    let feeder = trial.feed_on(move || events.take(20));
    let (mut before, mut tails) = ("commit", 0);
    let start = |turn: usize, kill_at: Option<&str>| {
        let program: Option<&Path> = other.as_deref().filter(|_| turn.is_multiple_of(2));
        let launch = Launch { kill_at, program, ..Launch::default() };
        Instance::start(&trial, &trial.path("state"), &["--threads", "1", "--no-mirror"], launch)
    };
    for (turn, step) in steps.iter().enumerate() {
        let finished = start(turn, Some(&format!("{step}:10"))).wait_for_kill();
        let restored = restored(&finished);
        println!("turn {turn}: {restored} records restored, then killed before the step {step}");
        assert!(restored == 0 || before == "store", "turn {turn} restores what was committed and written");
        tails += restored;
        before = step;
    }
    // A single commit may have changed no store.
    assert!(tails > 0 || other.is_none(), "no turn has completed the stores of the one before it");
    let mut last = start(steps.len(), None);
    last.wait_for("the last turn to have work", |instance| (instance.records() > 0).then_some(()));
    feeder.stop();
    trial.wait_until_done(&mut [&mut last]);
    last.wait_until_answered();
    last.stop();
    expect::assert_outputs(&trial);
}
