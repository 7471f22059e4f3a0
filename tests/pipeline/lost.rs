//! An instance that is frozen for longer than its session: what it had is lost to it, others go on with it, and it comes back.

use crate::events::Events;
use crate::expect;
use crate::trial::{TASKS, Trial, assert_mirrored, database};
use rustix::process::Signal;

#[test]
fn an_instance_that_wakes_up_to_a_lost_assignment_doubles_nothing_and_rejoins() {
    let (trial, url) = (Trial::new("lost", &[]), database());
    let mut events = Events::new(13, 40);
    let feeder = trial.feed_on(move || events.take(20));
    let arguments = ["--threads", "2", "--postgres-url", &url];
    let mut first = trial.start("first", &arguments);
    first.wait_for("all tasks to run", |instance| (instance.running_tasks() == TASKS).then_some(()));
    first.wait_for("some records", |instance| (instance.records() > 100).then_some(()));
    let mut second = trial.start("second", &arguments);
    second.wait_for("its share", |instance| (instance.running_tasks() > 0 && instance.records() > 0).then_some(()));

    // In mid-transaction, as likely as not: it commits ten times a second and is never without work.
    first.signal(Signal::STOP);
    second.wait_for("all tasks to come over", |instance| (instance.running_tasks() == TASKS).then_some(()));
    let records = second.records();
    second.wait_for("work on them", |instance| (instance.records() > records + 200).then_some(()));
    first.signal(Signal::CONT);
    let records = first.records();
    first.wait_for("it to have its share again", |instance| {
        let running = (instance.running_tasks(), second.running_tasks());
        (running.0 > 0 && running.0 + running.1 == TASKS && instance.records() > records).then_some(())
    });
    let lost = first.log().iter().any(|line| line["message"] == "lost");
    assert!(lost, "it was told that its partitions were lost: {:#?}", first.log());
    feeder.stop();
    trial.wait_until_done(&mut [&mut first, &mut second]);
    let events = expect::assert_outputs(&trial);
    assert_mirrored(&url, &events);
    first.stop();
    second.stop();
}
