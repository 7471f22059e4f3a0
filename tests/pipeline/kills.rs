//! Two instances of two threads with the mirror on, one of them killed with SIGKILL in mid-stream
//! again and again: at each step of a commit, and at random. Outputs equal `replay`'s, and each
//! record of the events topic stands in Postgres once.

use crate::events::Events;
use crate::expect;
use crate::instance::Instance;
use crate::trial::{Trial, assert_mirrored, database};
use streams::runtime::COMMIT_STEPS;
use testkit::Random;

fn arguments(url: &str) -> [&str; 4] {
    ["--threads", "2", "--postgres-url", url]
}

/// Records that went through an instance, and rows that its mirror wrote.
fn has_worked(instance: &Instance) -> bool {
    instance.records() > 0 && instance.metric("mirror_rows", "") > 0.0
}

#[test]
fn killed_at_each_step_of_a_commit() {
    let (trial, url) = (Trial::new("steps", &[]), database());
    let mut events = Events::new(1, 40);
    let feeder = trial.feed_on(move || events.take(20));
    let mut first = trial.start("first", &arguments(&url));
    for (at, step) in COMMIT_STEPS.into_iter().enumerate() {
        // Not always at the first commit: the state is then some way on.
        let step = format!("{}:{}", step.name(), 1 + at % 3 * 2);
        trial.start_killed_at(&step, "second", &arguments(&url)).wait_for_kill();
        first.assert_running();
    }
    let mut second = trial.start("second", &arguments(&url));
    second.wait_for("the instance to have work again", |instance| has_worked(instance).then_some(()));
    feeder.stop();
    trial.wait_until_done(&mut [&mut first, &mut second]);
    let events = expect::assert_outputs(&trial);
    assert_mirrored(&url, &events);
    first.stop();
    second.stop();
}

#[test]
fn killed_at_random() {
    let (trial, url) = (Trial::new("random", &[]), database());
    let (mut events, mut rng) = (Events::new(2, 40), Random::new(testkit::seed()));
    let feeder = trial.feed_on(move || events.take(20));
    let start = |at: usize| trial.start(&at.to_string(), &arguments(&url));
    let mut instances = vec![start(0), start(1)];
    for round in 0..6 {
        let at = round % 2;
        let count = 1 + rng.below(400) as u64;
        // In turn while it is busy with the stream, and with the mirror.
        let what = ["records", "mirror_rows"][round / 2 % 2];
        instances[at].wait_for(what, |instance| (instance.metric(what, "") >= count as f64).then_some(()));
        instances.remove(at).kill();
        instances.insert(at, start(at));
    }
    for instance in &mut instances {
        instance.wait_for("the instance to have work again", |instance| has_worked(instance).then_some(()));
    }
    feeder.stop();
    trial.wait_until_done(&mut instances.iter_mut().collect::<Vec<_>>());
    let events = expect::assert_outputs(&trial);
    assert_mirrored(&url, &events);
    instances.into_iter().for_each(|instance| drop(instance.stop()));
}

#[test]
fn both_killed_at_once() {
    let (trial, url) = (Trial::new("both", &[]), database());
    let mut events = Events::new(12, 40);
    let feeder = trial.feed_on(move || events.take(20));
    let start = || ["0", "1"].map(|state| trial.start(state, &arguments(&url)));
    let mut instances = start();
    for _ in 0..2 {
        for instance in &mut instances {
            instance.wait_for("the instance to have worked", |instance| has_worked(instance).then_some(()));
        }
        instances.into_iter().for_each(Instance::kill);
        instances = start();
    }
    feeder.stop();
    let [first, second] = &mut instances;
    trial.wait_until_done(&mut [first, second]);
    let events = expect::assert_outputs(&trial);
    assert_mirrored(&url, &events);
    instances.into_iter().for_each(|instance| drop(instance.stop()));
}
